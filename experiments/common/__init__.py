"""Everything that is the same for every experiment."""
