"""What registration did, to look at: checkerboards, flicker, and the residual of every block."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

Levels = NDArray[np.uint8]  # (H, W), (H, W, 1) or (H, W, 3)

SQUARES = 10  # of a checkerboard, along the longer side
FLICKER_MS = 600
LENGTHENED = 5.0  # residuals are drawn so much longer
AGREES, DIFFERS = (60, 220, 90), (255, 80, 60)
DIMMED = 0.6
GAP = 8  # pixels between two pictures


def checkerboard(one: Levels, other: Levels) -> PIL.Image.Image:
    """Return squares of two pictures of one size in turn: edges go on where both lie well."""
    first, second = _rgb(one), _rgb(other)
    height, width, _ = first.shape
    side = max(8, math.ceil(max(height, width) / SQUARES))
    rows, columns = np.mgrid[:height, :width] // side
    is_first = (rows + columns) % 2 == 0
    return PIL.Image.fromarray(np.where(is_first[..., None], first, second))


def residual_arrows(reference: Levels, found: Sequence[Sequence[Any]]) -> PIL.Image.Image:
    """Return the reference with the displacement that is left in each block, five times as long.

    `found` holds x, y, dx, dy in pixels of `reference`, and whether the block agrees; of those that
    do not, only the place is drawn, since their displacements mean little.
    """
    dimmed = np.rint(DIMMED * _rgb(reference)).astype(np.uint8)
    picture = PIL.Image.fromarray(dimmed)
    pen = PIL.ImageDraw.Draw(picture)
    width = max(1, max(picture.size) // 320)
    for x, y, right, down, agrees in found:
        ink = AGREES if agrees else DIFFERS
        if agrees:
            end = (x + LENGTHENED * right, y + LENGTHENED * down)
            pen.line([(x, y), end], fill=ink, width=width)
        dot = 1.5 * width
        pen.ellipse([x - dot, y - dot, x + dot, y + dot], fill=ink)
    return picture


def side_by_side(pictures: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    """Return pictures in a row."""
    width = sum(one.width for one in pictures) + GAP * (len(pictures) - 1)
    row = PIL.Image.new("RGB", (width, max(one.height for one in pictures)), (255, 255, 255))
    left = 0
    for one in pictures:
        row.paste(one, (left, 0))
        left += one.width + GAP
    return row


def flicker(one: PIL.Image.Image, other: PIL.Image.Image, kind: str = "PNG") -> bytes:
    """Return an animation that shows two pictures in turn, as PNG or WebP."""
    file = io.BytesIO()
    one.save(
        file,
        kind,
        save_all=True,
        append_images=[other],
        duration=FLICKER_MS,
        loop=0,
        **({} if kind == "PNG" else {"quality": 75}),
    )
    return file.getvalue()


def picture_of(levels: Levels) -> PIL.Image.Image:
    """Return levels as a picture in colour."""
    return PIL.Image.fromarray(_rgb(levels))


def _rgb(levels: Levels) -> Levels:
    grey = levels[..., None] if levels.ndim == 2 else levels
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))
