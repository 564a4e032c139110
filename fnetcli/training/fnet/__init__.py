"""How FNet is trained."""
