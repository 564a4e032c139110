"""How UAAFusion is trained."""
