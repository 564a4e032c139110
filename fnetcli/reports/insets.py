"""Rectangles of pictures that are enlarged in a corner, in figures and on the page."""

from __future__ import annotations

from fnetcli.errors import EvaluationError

SHARE = 0.45  # of a picture's width or height, at most

Inset = tuple[int, int, int, int]  # left, top, width, height in pixels
Place = tuple[float, float, float, float]  # the same, in shares of the picture


def require_inside(case: str, inset: Inset, width: int, height: int) -> None:
    """Raise EvaluationError if a rectangle leaves a picture of this size."""
    x, y, wide, high = inset
    if x + wide > width or y + high > height:
        raise EvaluationError(
            f"--inset {case}={x},{y},{wide},{high}: leaves the picture, which is {width}x{height}; "
            "give a rectangle inside"
        )


def corner_of(inset: Inset, width: int, height: int) -> Place:
    """Return where a rectangle is enlarged: in the corner of the picture opposite to it."""
    x, y, wide, high = inset
    scale = min(SHARE * width / wide, SHARE * height / high)
    across, down = scale * wide / width, scale * high / height
    is_left, is_top = x + wide / 2 < width / 2, y + high / 2 < height / 2
    return (1 - across if is_left else 0.0, 1 - down if is_top else 0.0, across, down)
