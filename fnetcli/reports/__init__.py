"""Results as files for people to look at."""
