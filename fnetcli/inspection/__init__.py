"""What a network separated, and why: numbers, traces and facts for `fnet inspect`."""
