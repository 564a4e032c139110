"""The walk of two pictures."""
