"""What CDDFuse shows of itself."""
