"""A whole run: jobs, plan, batch, manifest."""
