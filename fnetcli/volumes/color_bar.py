"""The colour bar of PET or SPECT: which colour stands for which number."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from fnetcli.imaging import color
from fnetcli.imaging.intensity import to_stored
from fnetcli.volumes.mix import VolumeMixOptions
from fnetcli.volumes.prepare import PreparedVolumes

HEIGHT = 12  # pixels of the colours, and of the numbers below them
GAP = 2
ROOM = 8  # pixels between the numbers at both ends, at least
INK = (255, 255, 255)


def color_bar(
    prepared: PreparedVolumes, mix: VolumeMixOptions, width: int
) -> NDArray[np.uint8] | None:
    """Return the colours with the numbers at their ends, uint8 (rows, width, 3), to put below.

    None if no colour map was used, or if `width` is too small for the numbers.
    """
    used = mix.colored(prepared)
    if used is None:
        return None
    index, name = used
    low, high = prepared.windows[index].limits
    start = f"{prepared.modalities[index]}: {low:g}"
    end = f"{high:g} {prepared.sources[index].unit or ''}".strip()
    words = PIL.Image.new("RGB", (width, HEIGHT))
    draw = PIL.ImageDraw.Draw(words)
    length = draw.textlength(end)
    if draw.textlength(start) + length + ROOM > width:
        return None
    draw.text((2, 0), start, INK)
    draw.text((width - 2 - length, 0), end, INK)
    ramp = np.linspace(0, 1, width, dtype=np.float32)
    if prepared.are_inverted[index]:
        ramp = ramp[::-1]
    colors = to_stored(color.colormap(name, np.tile(ramp, (HEIGHT, 1))), np.uint8)
    return np.vstack([np.zeros((GAP, width, 3), np.uint8), colors, np.asarray(words, np.uint8)])
