"""Results as files that people look at."""
