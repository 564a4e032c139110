"""Attributes of DICOM headers as plain values: None if absent, a ContentError if impossible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from fnetcli.formats.base import COPY_AGAIN, ContentError

LONGEST_TEXT = 60  # characters shown to users
MAX_TEXT, MAX_VALUES = 4096, 64  # characters, and values that are examined per frame


def numbers(header: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    """Return `count` finite numbers, or None if the attribute is absent or empty."""
    value = _value(header, keyword)
    if value is None:
        return None
    listed: Any = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(listed) != count:
        raise _nonsense(keyword)
    try:
        found = np.array([float(one) for one in listed])
    except (TypeError, ValueError):
        raise _nonsense(keyword) from None
    if not np.isfinite(found).all():
        raise _nonsense(keyword)
    return found


def number(header: Dataset, keyword: str) -> float | None:
    """Return one finite number, or None."""
    found = numbers(header, keyword, 1)
    return None if found is None else float(found[0])


def whole(header: Dataset, keyword: str) -> int | None:
    """Return one whole number, or None."""
    found = number(header, keyword)
    if found is None:
        return None
    if not found.is_integer():
        raise _nonsense(keyword)
    return int(found)


def text(header: Dataset, keyword: str) -> str:
    """Return an attribute as text without unprintable characters; "" if it is absent."""
    try:
        value = _value(header, keyword)
    except ContentError:
        return ""
    return printable("" if value is None else str(value)[:MAX_TEXT])


def printable(words: str) -> str:
    """Return one printable line: foreign text may hold control characters."""
    plain = "".join(letter if letter.isprintable() else " " for letter in words)
    return " ".join(plain.split())


def short(words: str) -> str:
    """Return a text cut to fit into a line."""
    return words if len(words) <= LONGEST_TEXT else f"{words[: LONGEST_TEXT - 3]}..."


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Return all values of an attribute in capital letters."""
    try:
        value = _value(header, keyword)
    except ContentError:
        return ()
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(
        printable(str(one)[:MAX_TEXT]).upper() for one in listed[:MAX_VALUES] if one is not None
    )


def items(header: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence; none if it is absent."""
    value = _value(header, keyword)
    if value is None:
        return ()
    if not isinstance(value, DicomSequence):  # which holds nothing but data sets
        raise _nonsense(keyword)
    return value


def macro(header: Dataset, frame: int, keyword: str) -> Dataset:
    """Return the data set with the attributes of a functional group for a frame, counted from 1.

    It is the frame's own item, else the item shared by all frames, else the header itself, where
    single-frame files have them (DICOM PS3.3, C.7.6.16).
    """
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    own = per_frame[frame - 1 : frame]
    for groups in (*own, *items(header, "SharedFunctionalGroupsSequence")[:1]):
        if found := items(groups, keyword):
            return found[0]
    return header


def _value(header: Dataset, keyword: str) -> object:
    try:
        value: object = header.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom turns bytes into values here, and fails in any way
        raise _nonsense(keyword) from None
    if value is None or (isinstance(value, str | bytes | Sequence) and len(value) == 0):
        return None
    return value


def _nonsense(keyword: str) -> ContentError:
    return ContentError(f"not a readable DICOM file (its {keyword} makes no sense)", COPY_AGAIN)
