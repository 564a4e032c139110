"""How a camera's two pictures are aligned, as its factory measured it.

The thermal camera sees a window of the visible picture: its size divided by Real2IR, centred, moved
by (OffsetX, OffsetY) visible pixels. The factory assumes a distance: nearer things are displaced.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from fnetcli.formats.flir.block import ALIGNMENT, BIG, LITTLE, Block
from fnetcli.imaging.image import Alignment

MIN_RATIO, MAX_RATIO = 0.2, 20.0  # of the two fields of view
MAX_SHAPE = 1.02  # ratio of two aspect ratios from which a window has another shape
MIN_SHARE = 0.25  # of the thermal picture that lies in the visible one
MAX_LENGTH = 1 << 12

ABSENT = "the file does not say how the two pictures are aligned"
ASSUMED = "both are taken to show the same view; compare them, and align them if they differ"
OTHER_SHAPE = (
    "its thermal and visible pictures differ in shape: the window of the visible one is computed "
    "from its width, and may be wrong"
)


def read_alignment(block: Block, thermal: tuple[int, int], visible: tuple[int, int]) -> Alignment:
    """Return how a thermal picture (width, height) lies in the visible one.

    Without a record that makes sense, both are taken to show the same view, and a notice says so.
    """
    content = block.read(ALIGNMENT, "alignment", MAX_LENGTH)
    if content is None or len(content) < 8:
        return _of_window(thermal, visible, 1.0, (0, 0), (f"{ABSENT}: {ASSUMED}",))
    for order in (LITTLE, BIG):
        ratio, x, y = struct.unpack_from(f"{order}fhh", content)
        if math.isfinite(ratio) and MIN_RATIO <= ratio <= MAX_RATIO:
            found = _of_window(thermal, visible, ratio, (x, y))
            if _common_share(found, thermal, visible) >= MIN_SHARE:
                return found
    words = f"its alignment makes no sense: {ASSUMED}"
    return _of_window(thermal, visible, 1.0, (0, 0), (words,))


def _of_window(
    thermal: tuple[int, int],
    visible: tuple[int, int],
    ratio: float,
    offset: tuple[int, int],
    notices: tuple[str, ...] = (),
) -> Alignment:
    width, height = visible[0] / ratio, visible[1] / ratio
    shape = (width / height) / (thermal[0] / thermal[1])
    if max(shape, 1 / shape) > MAX_SHAPE:  # pixels are square: the width decides
        height = width * thermal[1] / thermal[0]
        notices = (*notices, OTHER_SHAPE)
    matrix = np.eye(3)
    for axis, size in enumerate((width, height)):
        step = size / thermal[axis]
        begin = (visible[axis] - size) / 2 + offset[axis]  # edges of pixels, not their centres
        matrix[axis, axis], matrix[axis, 2] = step, begin + (step - 1) / 2
    return Alignment(matrix, visible, "factory" if not notices else "assumed", notices)


def _common_share(
    alignment: Alignment, thermal: tuple[int, int], visible: tuple[int, int]
) -> float:
    share = 1.0
    for axis in (0, 1):
        step = alignment.matrix[axis, axis]
        begin = alignment.matrix[axis, 2] - step / 2
        end = begin + step * thermal[axis]
        inside = min(end, visible[axis] - 0.5) - max(begin, -0.5)
        share *= max(0.0, inside / (end - begin))
    return share
