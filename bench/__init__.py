"""Benchmarks: scripts that print a ratio against a named baseline."""
