"""Pillow's pictures as arrays; and its settings, which are the whole process's.

We change them while we read, then give them back.
"""

from __future__ import annotations

import threading
import warnings
from types import TracebackType

import numpy as np
import PIL.Image

from fnetcli.formats.base import ContentError
from fnetcli.formats.upright import ORIENTATION_TAG, UPRIGHT, known_orientation
from fnetcli.imaging.image import Pixels, Stored

GRAY_MODES = frozenset({"1", "L", "LA", "La"})
COLOR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"})
BAND_PIXELS = 1 << 22
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def color_mode(picture: PIL.Image.Image) -> str:
    """Return "L" or "RGB", as which a picture is read; raise ContentError for what has not 8 bits.

    Pillow opens more than it can keep: whatever would not come out as stored is refused.
    """
    if picture.mode not in GRAY_MODES | COLOR_MODES:
        raise ContentError(
            f"pixels of type {picture.mode} are not supported", "convert it to 8-bit RGB or grey"
        )
    return "L" if picture.mode in GRAY_MODES else "RGB"


def to_planes(picture: PIL.Image.Image) -> tuple[Stored, Pixels | None]:
    """Return pixels (H, W, 1 or 3) uint8 and alpha (H, W) in [0, 1], or None, of a picture."""
    mode = color_mode(picture)
    has_alpha = picture.mode in ALPHA_MODES or "transparency" in picture.info
    target = f"{mode}A" if has_alpha else mode
    height, width = picture.height, picture.width
    planes = np.empty((height, width, len(target)), np.uint8)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):  # a large picture is not in memory three times
        band = picture.crop((0, top, width, min(top + rows, height))).convert(target)
        planes[top : top + rows] = np.asarray(band).reshape(band.height, width, -1)
    if not has_alpha:
        return planes, None
    return planes[..., : len(mode)], planes[..., -1].astype(np.float32) / np.float32(255)


def exif_orientation(picture: PIL.Image.Image) -> int:
    """Return how EXIF data say that a picture has to be turned; upright where they are broken."""
    try:
        return known_orientation(picture.getexif().get(ORIENTATION_TAG, UPRIGHT))
    except Exception:  # noqa: BLE001 - metadata that no one can read must not cost us the pixels
        return UPRIGHT


class _OurRules:
    """While any thread is inside, Pillow warns about nothing and has no size limit of its own.

    Broken metadata is no news for the user, and sizes are checked by `base.require_size`. The
    first thread in makes the settings and the last one out takes them back: threads that decode
    side by side do not undo each other's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._quiet = warnings.catch_warnings()
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._quiet, self._limit = warnings.catch_warnings(), PIL.Image.MAX_IMAGE_PIXELS
                self._quiet.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
                PIL.Image.MAX_IMAGE_PIXELS = None
            self._users += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                PIL.Image.MAX_IMAGE_PIXELS = self._limit
                self._quiet.__exit__(None, None, None)


our_rules = _OurRules()
