"""A whole run: plan, manifest, batch."""
