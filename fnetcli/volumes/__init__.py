"""The pipeline for two volumes."""
