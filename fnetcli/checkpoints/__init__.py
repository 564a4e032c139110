"""Weights files: which ship, how they are read and written."""
