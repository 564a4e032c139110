"""Networks, at rest and in torch; no files, no devices, no command line."""
