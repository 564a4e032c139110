"""The walk of two volumes."""
