"""False-colour pictures back to one number a pixel: the place of a colour along a known palette.

Of a thermal picture in colours only the order of its palette says what is hot. Luminance does not:
in jet the hottest place is a dark red.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fnetcli.imaging import color
from fnetcli.imaging.image import Mask, Stored, bands

AUTO, NONE = "auto", "none"
LEVELS = 256  # of a palette, and of the grey picture that it becomes
# Levels of 255: a picture whose colours lie further away, in the mean, is of another palette. JPEG
# moves colours, too.
MAX_DISTANCE = 20.0
FAR = 60.0  # levels; a grey pixel that lies further away is text or a logo, drawn over the picture
GREY = 24  # levels between the channels of such a pixel, at most
MIN_CHROMA = 0.02  # share of pixels that have colour, in a palette's picture
SAMPLES = 1 << 14  # pixels that tell the palette
COLORS = 1 << 24  # of 8 bits
CHUNK = 1 << 14  # colours that are compared at once

# Colours at equal steps from cold to hot, 0..255, linear in between. Iron is what FLIR's cameras
# store in their files, at 17 of its 224 colours.
IRON = (
    *((0, 31, 37), (29, 17, 103), (72, 11, 141), (110, 10, 160), (143, 17, 161), (171, 29, 149)),
    *((193, 46, 127), (210, 65, 98), (224, 87, 69), (234, 111, 41), (241, 136, 21), (244, 158, 9)),
    *((244, 182, 13), (243, 202, 34), (238, 219, 78), (232, 231, 148), (225, 239, 239)),
)
BLACK_TO_WHITE = ((0, 0, 0), (64, 0, 128), (192, 0, 96), (255, 128, 0), (255, 224, 0), (255,) * 3)
# Rainbows of cameras: from dark blue to red, without and with white at the end.
BLUE_TO_RED = ((0, 0, 128), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0))
BLUE_TO_WHITE = (*BLUE_TO_RED, (255, 255, 255))

Stops = tuple[tuple[int, ...], ...]
# Several programs mean different colours by one name; the nearest counts. A text is a colour map of
# matplotlib, "_r" at its end turns it round.
PALETTES: dict[str, tuple[str | Stops, ...]] = {
    "jet": ("jet",),
    "iron": (IRON, BLACK_TO_WHITE, "CMRmap", "gnuplot"),
    "rainbow": (
        *(color.EVEN_STOPS["rainbow"], BLUE_TO_RED, BLUE_TO_WHITE),
        *("rainbow", "gist_rainbow_r", "nipy_spectral"),
    ),
    "inferno": ("inferno",),
    "magma": ("magma",),
    "plasma": ("plasma",),
    "viridis": ("viridis",),
    "turbo": ("turbo",),
    "hot": ("hot", color.EVEN_STOPS["hot-iron"]),
}
CHOICES = (AUTO, *PALETTES, NONE)


@dataclass(frozen=True)
class Fit:
    """How well the colours of a picture lie on a palette; distances are in levels of 255."""

    name: str
    variant: int
    distance: float  # mean over the pixels
    drawn_over: float  # share of pixels that are grey and further away than FAR

    @property
    def is_good(self) -> bool:
        """Whether the picture was drawn with this palette."""
        return self.distance <= MAX_DISTANCE


def find_palette(rgb: Stored, name: str = AUTO) -> Fit:
    """Return the palette on which the colours (H, W, 3), 0..255, lie best; `name` leaves one."""
    pixels = rgb.reshape(-1, 3)
    some = pixels[:: max(1, len(pixels) // SAMPLES)]
    names = PALETTES if name == AUTO else (name,)
    return min(
        (
            _fit(one, variant, _nearest(some, one, variant)[1], _are_grey(some))
            for one in names
            for variant in range(len(PALETTES[one]))
        ),
        key=lambda fit: fit.distance,
    )


def undo(rgb: Stored, fit: Fit) -> tuple[NDArray[np.uint8], Fit]:
    """Return where colours (H, W, 3), 0..255, lie on a palette, (H, W, 1) from 0 to 255.

    And how well all of them lie there.
    """
    height, width = rgb.shape[:2]
    is_there = np.zeros(COLORS, bool)
    for band in bands((height, width)):
        is_there[_codes(rgb[band])] = True
    known = np.flatnonzero(is_there)
    colors = np.stack([known >> 16, known >> 8 & 255, known & 255], axis=-1)
    places, distances = _nearest(colors, fit.name, fit.variant)
    index = np.zeros(COLORS, np.uint32)
    index[known] = np.arange(len(known))
    grey = np.empty((height, width, 1), np.uint8)
    counts = np.zeros(len(known), np.int64)
    for band in bands((height, width)):
        found = index[_codes(rgb[band])]
        grey[band, :, 0] = places[found]
        counts += np.bincount(found.ravel(), minlength=len(known))
    return grey, _fit(fit.name, fit.variant, distances, _are_grey(colors), counts)


def _codes(rgb: Stored) -> NDArray[np.uint32]:
    """Return each colour as one number."""
    codes = rgb[..., 0].astype(np.uint32)
    for channel in (1, 2):
        codes <<= 8
        codes |= rgb[..., channel]
    return codes


def has_colors(rgb: Stored) -> bool:
    """Whether (H, W, 3), 0..255, is no grey picture stored as colour."""
    spread = rgb.max(axis=-1).astype(np.int16) - rgb.min(axis=-1)
    return bool(np.mean(spread > 2 * color.GRAY_TOLERANCE) >= MIN_CHROMA)


def _fit(
    name: str,
    variant: int,
    distances: NDArray[np.float32],
    are_grey: Mask,
    counts: NDArray[np.int64] | None = None,
) -> Fit:
    """Return how well colours lie on a palette, of which there are `counts`, or one each."""
    drawn_over = np.average(are_grey & (distances > FAR), weights=counts)
    return Fit(name, variant, float(np.average(distances, weights=counts)), float(drawn_over))


def _are_grey(colors: Stored) -> Mask:
    spread: Mask = colors.max(axis=-1).astype(np.int64) - colors.min(axis=-1) <= GREY
    return spread


def _nearest(
    colors: Stored, name: str, variant: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the nearest level of a palette to each colour (N, 3), and how far it is away."""
    table = _table(name, variant)
    lengths = np.square(table).sum(axis=1)
    places = np.empty(len(colors), np.uint8)
    distances = np.empty(len(colors), np.float32)
    for start in range(0, len(colors), CHUNK):
        some = colors[start : start + CHUNK].astype(np.float32)
        squares = lengths - 2 * some @ table.T  # and the colour's own square, the same for all
        nearest = squares.argmin(axis=1)
        places[start : start + CHUNK] = nearest
        distances[start : start + CHUNK] = np.linalg.norm(some - table[nearest], axis=1)
    return places, distances


@cache
def _table(name: str, variant: int) -> NDArray[np.float32]:
    """Return a palette's colours, (LEVELS, 3) in 0..255."""
    source = PALETTES[name][variant]
    unit = np.linspace(0, 1, LEVELS)
    if isinstance(source, str):
        from matplotlib import colormaps  # slow to import

        return (255 * colormaps[source](unit)[:, :3]).astype(np.float32)
    stops = np.array(source, float)
    steps = np.linspace(0, 1, len(stops))
    channels = [np.interp(unit, steps, stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)
