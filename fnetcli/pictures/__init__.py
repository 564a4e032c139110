"""The pipeline for two pictures."""
