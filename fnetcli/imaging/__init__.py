"""What a picture is: pixels on a grid, colour, intensity scaling."""
