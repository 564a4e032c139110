"""Executors: they run a network on images that fit into memory."""
