"""`fnet eval`: fused images of any methods, scored against their sources and compared."""
