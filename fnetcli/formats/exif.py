"""When a picture was taken, as its EXIF data tell."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import PIL.Image

from fnetcli.formats.base import open_image
from fnetcli.formats.codecs import silence
from fnetcli.formats.pillow import our_rules

EXIF_DIRECTORY, ORIGINAL, FRACTION = 0x8769, 0x9003, 0x9291  # EXIF 2.3, 4.6.5
MOMENT = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)
SECOND = 1_000_000_000  # nanoseconds


def taken_at(path: Path) -> int | None:
    """Return the time at which a picture was taken, in nanoseconds, by its camera's clock.

    None where the file does not tell, or cannot be read.
    """
    try:
        with silence, our_rules, open_image(path) as file, PIL.Image.open(file) as picture:
            known = picture.getexif().get_ifd(EXIF_DIRECTORY)
        found = MOMENT.match(str(known.get(ORIGINAL, "")))
        if found is None:
            return None
        moment = datetime(*map(int, found.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except Exception:  # noqa: BLE001 - readers of untrusted files raise anything
        return None
    digits = str(known.get(FRACTION, "")).strip().rstrip("\0")
    fraction = int(digits[:9].ljust(9, "0")) if digits.isascii() and digits.isdecimal() else 0
    return int(moment.timestamp()) * SECOND + fraction
