"""What runs a network on images that fit into memory."""
