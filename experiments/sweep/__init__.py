"""Recipes times seeds of one experiment: a run for each, and one table at the end."""
