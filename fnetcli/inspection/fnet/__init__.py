"""FNet's inspector."""
