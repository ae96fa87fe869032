"""Many runs in one table: means over the seeds, and two sets of runs compared."""
