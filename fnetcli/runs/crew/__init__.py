"""Other processes and machines that process the cases of a run."""
