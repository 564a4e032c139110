"""`fnet train`: recipe, pairs, losses, loop."""
