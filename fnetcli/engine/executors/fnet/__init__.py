"""Fast executors of FNet."""
