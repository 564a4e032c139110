"""What FNet shows of itself."""
