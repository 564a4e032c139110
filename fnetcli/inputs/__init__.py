"""What the paths that a user names mean."""
