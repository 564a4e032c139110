"""How CDDFuse is trained."""
