"""Networks: torch only; no files, no devices, no command line."""
