"""FNet: l0-regularised sparse coding."""
