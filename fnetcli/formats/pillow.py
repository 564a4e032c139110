"""Pictures of Pillow as arrays; and its settings, which apply to the whole process.

We change them while we read, and restore them afterwards.
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
    """Return the mode to read a picture in, "L" or "RGB"; raise ContentError if it is not 8-bit.

    Pillow opens more modes than it preserves: pixels that would change are refused.
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
    for top in range(0, height, rows):  # so that memory does not hold a large picture three times
        band = picture.crop((0, top, width, min(top + rows, height))).convert(target)
        planes[top : top + rows] = np.asarray(band).reshape(band.height, width, -1)
    if not has_alpha:
        return planes, None
    return planes[..., : len(mode)], planes[..., -1].astype(np.float32) / np.float32(255)


def exif_orientation(picture: PIL.Image.Image) -> int:
    """Return the orientation in the EXIF data; upright if they are damaged."""
    try:
        return known_orientation(picture.getexif().get(ORIENTATION_TAG, UPRIGHT))
    except Exception:  # noqa: BLE001 - metadata that no one can read must not cost us the pixels
        return UPRIGHT


class _OurRules:
    """Disable Pillow's warnings and size limit while any thread is inside.

    Damaged metadata does not concern the user, and `base.require_size` checks sizes. The first
    thread changes the settings and the last one restores them: threads that decode at the same
    time do not undo each other's settings.
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
