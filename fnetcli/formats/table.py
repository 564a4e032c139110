"""Temperatures in text: one number a cell, as thermal cameras' programs export them.

Recognised by a row of numbers. Separators are semicolons, tabs, commas or spaces; decimals have a
point or, unless commas separate, a comma. Rows of words before the numbers are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.bands import band_indices
from fnetcli.formats.base import (
    HEAD_BYTES,
    ContentError,
    Format,
    Header,
    ReadOptions,
    require_length,
    require_room,
    require_size,
)
from fnetcli.formats.upright import UPRIGHT, new_image
from fnetcli.imaging.image import Image
from fnetcli.text import number_of

SEPARATORS = (";", "\t", ",", " ")
MAX_HEADER_ROWS = 1000
MAX_CELL_BYTES = 40
MIN_CELLS = 2  # of a row of numbers, and rows of a table
MIN_INDEX = 3  # numbers 0, 1, 2, ... that are no temperatures
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?", re.ASCII)
NOTHING = frozenset({"", "nan", "-nan", "inf", "-inf", "-", "--", "n/a", "na", "null"})
MINUS = str.maketrans("\N{MINUS SIGN}", "-")
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f]")
PICTURE = re.compile(rb"P[1-7Ff]\s")  # numbers in text, too, but after a header: PNM
SAVE_AGAIN = "export it with one number a cell, in rows of equal length"

Floats = NDArray[np.float64]


def read(file: BinaryIO, options: ReadOptions) -> Image:
    """Read a table as float32; cells without a number are no data."""
    require_length(file, options, MAX_CELL_BYTES, "table")
    values, notices = _parse(_decode(file.read()), options)
    if options.bands:
        band_indices(options.bands, [""])
    pixels = values.astype(np.float32)[..., None]
    if options.bands:
        pixels = pixels[..., [0] * len(options.bands)]
    return new_image(pixels, None, UPRIGHT, notices=tuple(notices))


def probe(file: BinaryIO, options: ReadOptions) -> Header:
    """Tell what `read` would give; only the whole text tells."""
    image = read(file, options)
    _, height, width, channels = image.pixels.shape
    return Header("CSV", height, width, channels, image.stored_type)


def _decode(content: bytes) -> str:
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


def _starts(head: bytes) -> bool:
    """Whether a file begins with text that has a row of numbers in it."""
    text = _decode(head[: len(head) // 2 * 2])
    if PICTURE.match(head) is not None:
        return False
    if CONTROLS.search(text) or not text:
        return False
    lines = re.split(r"\r\n|\n|\r", text)
    if len(head) >= HEAD_BYTES:  # the last cell may be cut off
        lines[-1] = re.sub(r"[^;,\t ]*\Z", "", lines[-1])
    return any(_count_numbers(line, sign) >= MIN_CELLS for line in lines for sign in SEPARATORS)


# --- rows -----------------------------------------------------------------------------------------


def _cells(line: str, sign: str) -> list[str]:
    cells = line.split() if sign == " " else [cell.strip(' "\t') for cell in line.split(sign)]
    return cells[:-1] if len(cells) > 1 and not cells[-1] else cells


def _is_number(cell: str, sign: str) -> bool:
    return NUMBER.fullmatch(cell) is not None and not (sign == "," and "," in cell)


def _count_numbers(line: str, sign: str) -> int:
    """Return how many numbers a row holds, if nothing else; a label may stand in front."""
    cells = _cells(line.translate(MINUS), sign)
    numbers = [_is_number(cell, sign) for cell in cells]
    others = [
        cell
        for cell, is_number in zip(cells[1:], numbers[1:], strict=True)
        if not (is_number or cell.lower() in NOTHING)
    ]
    return 0 if others else sum(numbers)


def _parse(text: str, options: ReadOptions) -> tuple[Floats, list[str]]:
    lines = re.split(r"\r\n|\n|\r", text.translate(MINUS))
    start, sign = _begin(lines)
    passed = f"{number_of(start, 'row')} of words before its numbers passed over"
    notices = [passed] * (start > 0)
    first = _cells(lines[start], sign)
    has_labels = not _is_number(first[0], sign) and first[0].lower() not in NOTHING
    width = len(first) - has_labels
    require_room(8 * width * (len(lines) - start))
    rows = list(_rows(lines, start, sign, has_labels=has_labels, width=width, options=options))
    if len(rows) < MIN_CELLS:
        raise ContentError("holds one row of numbers, not a picture", SAVE_AGAIN)
    values = np.stack(rows)
    values, words = _without_index(values)
    if has_labels:
        words.insert(0, "its first column holds words and is left out")
    require_size(values.shape[1], values.shape[0], options)
    return values, [*notices, *words]


def _begin(lines: Sequence[str]) -> tuple[int, str]:
    """Return the first row of numbers, and the sign between them."""
    for i, line in enumerate(lines[:MAX_HEADER_ROWS]):
        counts = {sign: _count_numbers(line, sign) for sign in SEPARATORS}
        sign = max(counts, key=lambda one: counts[one])
        if counts[sign] >= MIN_CELLS:
            return i, sign
    raise ContentError("not a table of numbers", SAVE_AGAIN)


def _rows(
    lines: Sequence[str],
    start: int,
    sign: str,
    *,
    has_labels: bool,
    width: int,
    options: ReadOptions,
) -> Iterator[Floats]:
    is_over = False
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip(f" \t{sign}"):
            is_over = True
            continue
        if is_over:
            raise ContentError(
                f"line {number} follows an empty one: more than one table", SAVE_AGAIN
            )
        cells = _cells(line, sign)[has_labels:]
        if len(cells) < width and sign != " ":
            cells += [""] * (line.count(sign) + 1 - has_labels - len(cells))  # empty at its end
        if len(cells) != width:
            raise ContentError(
                f"line {number} has {number_of(len(cells), 'cell')}, the first of its numbers "
                f"{width}",
                SAVE_AGAIN,
            )
        require_size(width, number - start, options)
        yield _values(cells, sign, number)


def _values(cells: Sequence[str], sign: str, number: int) -> Floats:
    plain = [cell.replace(",", ".") for cell in cells] if sign != "," else cells
    try:
        return np.array(plain, dtype=np.float64)
    except ValueError:
        pass
    for cell in cells:
        if not _is_number(cell, sign) and cell.lower() not in NOTHING:
            raise ContentError(f"line {number} holds {cell[:20]!r}, not a number", SAVE_AGAIN)
    return np.array([one if _is_number(one, "") else "nan" for one in plain], dtype=np.float64)


def _without_index(values: Floats) -> tuple[Floats, list[str]]:
    """Leave out a first row or column that only counts, as spreadsheets and pandas write it."""
    words = []
    if _counts(values[0, 1:]) and (np.isnan(values[0, 0]) or _counts(values[0])):
        values = values[1:]
        words.append("its first row only counts its columns and is left out")
    if len(values) and values.shape[1] > MIN_CELLS and _counts(values[:, 0]):
        values = values[:, 1:]
        words.append("its first column only counts its rows and is left out")
    return values, words


def _counts(values: Floats) -> bool:
    """Whether numbers are 0, 1, 2, ... or 1, 2, 3, ..."""
    if len(values) < MIN_INDEX or values[0] not in {0, 1}:
        return False
    return bool((values == values[0] + np.arange(len(values))).all())


CSV = Format("CSV", (".csv",), _starts, read, probe)
