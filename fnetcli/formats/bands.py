"""Which bands of a file are the image that is asked for, and whether one is transparency."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.base import ContentError
from fnetcli.imaging.image import Pixels
from fnetcli.text import number_of

NAMES = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
MAX_SHOWN = 12  # bands that an error names
LONGEST_NAME = 40  # characters
# GDAL's own description of bands, in its XML.
ITEM = re.compile(r"<Item([^>]{0,400})>([^<]{0,400})</Item>")
SAMPLE, ROLE = re.compile(r'sample="(\d{1,5})"'), re.compile(r'role="(\w+)"')
# Transparency is nearly everywhere full or none; a picture is nearly everywhere in between.
MIN_LEVELS = 16
MIN_BETWEEN, MIN_BETWEEN_ON_EARTH = 0.5, 0.05  # shares of the pixels
SAMPLES = 1 << 20  # pixels that are looked at
INFRARED = ("nir", "infrared", "infra-red", "thermal", "lwir", "swir", "ir")


def band_indices(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return which bands are meant, from 0 on; `names` are of all bands, "" where there is none.

    Raise ContentError for a band that is not there.
    """
    known = [name.casefold() for name in names]
    indices = []
    for name in wanted:
        is_number = name.isascii() and name.isdecimal()
        if is_number and 1 <= int(name[:6]) <= len(names):
            indices.append(int(name) - 1)
        elif not is_number and known.count(name.casefold()) == 1:
            indices.append(known.index(name.casefold()))
        else:
            what = f"no band {name}" if is_number else f"no band called {name!r}"
            raise ContentError(f"has {what}, but {list_bands(names)}", "correct --band")
    return indices


def list_bands(names: Sequence[str]) -> str:
    """Return how many bands there are, and their descriptions."""
    count = number_of(len(names), "band")
    described = [f"{i} {name}" for i, name in enumerate(names, 1) if name]
    if not described:
        return count
    more = ", ..." * (len(described) > MAX_SHOWN)
    return f"{count} ({', '.join(described[:MAX_SHOWN])}{more})"


def pick(planes: NDArray[Any], wanted: Sequence[str]) -> NDArray[Any]:
    """Return the bands that are asked for of (H, W, 1-4): grey or colour, and alpha."""
    return planes[..., band_indices(wanted, NAMES[planes.shape[2]])]


def with_alpha(pixels: NDArray[np.uint8], alpha: Pixels | None) -> NDArray[np.uint8]:
    """Return 8-bit pixels (H, W, C) with their alpha (H, W) as one more band."""
    if alpha is None:
        return pixels
    band = np.rint(alpha * np.float32(255)).astype(np.uint8)
    return np.concatenate([pixels, band[..., None]], axis=2)


def described_bands(xml: str, count: int) -> list[str]:
    """Return the descriptions of bands in GDAL's XML; "" where there is none."""
    names, kinds = [""] * count, [""] * count
    for attributes, text in ITEM.findall(xml):
        sample, role = SAMPLE.search(attributes), ROLE.search(attributes)
        if sample is None or role is None or int(sample[1]) >= count:
            continue
        plain = " ".join(html.unescape(html.unescape(text)).split())[:LONGEST_NAME]
        words = "".join(letter for letter in plain if letter.isprintable())
        if role[1] == "description":
            names[int(sample[1])] = words
        elif role[1] == "colorinterp" and words not in {"Undefined", "Gray"}:
            kinds[int(sample[1])] = words.lower()
    return [name or kind for name, kind in zip(names, kinds, strict=True)]


def is_infrared(name: str) -> bool:
    """Whether a description says that a band is no transparency."""
    return any(word in INFRARED for word in re.split(r"[^a-z-]+", name.lower()))


def doubt_alpha(alpha: Pixels, band: int, *, is_georeferenced: bool) -> str | None:
    """Return a notice where what is called transparency looks like a picture.

    `band` is its number, from 1 on.
    """
    flat = alpha.ravel()
    sample = flat[:: max(1, flat.size // SAMPLES)]
    between = float(np.count_nonzero((sample > 0) & (sample < 1))) / sample.size
    if between < (MIN_BETWEEN_ON_EARTH if is_georeferenced else MIN_BETWEEN):
        return None
    levels = len(np.unique(sample))
    if levels < MIN_LEVELS:
        return None
    return (
        f"its band {band} is called transparency, but looks like a picture ({levels} levels, "
        f"{between:.0%} of the pixels neither opaque nor transparent): it is not used; if it is an "
        f"image of its own, name it with --band MODALITY={band}"
    )
