"""Parsing of option values: numbers, ranges, sizes, one value per modality."""

from __future__ import annotations

import math
import re

from fnetcli.errors import UsageError

BOTH = ""  # key of a value for both modalities
DECIMAL = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def per_modality(
    option: str,
    values: list[str] | None,
    modalities: tuple[str, str],
    *,
    has_default: bool = False,
) -> dict[str, str]:
    """Parse values such as ``vis=12``; return them by modality.

    With `has_default`, a value without a modality applies to both; its key is BOTH. Raise
    UsageError for a modality that is not fused, and for a second value of a modality.
    """
    found: dict[str, str] = {}
    for text in values or []:
        name, mark, value = text.partition("=")
        if has_default and not mark:
            name, value = BOTH, text
        elif name not in modalities or not value:
            raise UsageError(
                f"{option} {text}: give {option} {modalities[0]}=VALUE or "
                f"{option} {modalities[1]}=VALUE" + f" or {option} VALUE" * has_default
            )
        if name in found:
            raise UsageError(f"{option} {text}: given twice; leave one out")
        found[name] = value
    return found


def whole_number(option: str, text: str | None, largest: int, modality: str = BOTH) -> int | None:
    """Parse a whole number from 1 to `largest`. Raise UsageError."""
    if text is None:
        return None
    is_whole = text.isascii() and text.isdecimal() and len(text) <= len(str(largest))
    if not is_whole or not 1 <= int(text) <= largest:
        raise UsageError(f"{_given(option, text, modality)}: give a number from 1 to {largest}")
    return int(text)


def _given(option: str, text: str, modality: str) -> str:
    """Return an option as it was written: --range 0,1 or --range ir=0,1."""
    return f"{option} {modality}={text}" if modality else f"{option} {text}"


def band_names(option: str, text: str | None) -> tuple[str, ...]:
    """Read ``4`` or ``1,2,3``, numbers or descriptions of bands; nothing where none are given."""
    if text is None:
        return ()
    names = tuple(" ".join(part.split()) for part in text.split(","))
    if len(names) not in {1, 3} or not all(names):
        raise UsageError(f"{option} {text}: give one band (grey), or three (red, green, blue)")
    return names


def percentiles(text: str, modality: str = BOTH) -> tuple[float, float] | None:
    """Parse percentiles, minmax or none. Raise UsageError."""
    if text == "none":
        return None
    found = (0.0, 100.0) if text == "minmax" else limits("--stretch", text, modality)
    if found is None or found[0] < 0 or found[1] > 100:
        given = _given("--stretch", text, modality)
        raise UsageError(f"{given}: give percentiles from 0 to 100, minmax or none")
    return found


def numbers_per_modality(
    option: str, values: list[str] | None, modalities: tuple[str, str]
) -> dict[str, tuple[float, ...]]:
    """Read ``ir=0``, also several times, and ``ir=none``, which is no number at all.

    Raise UsageError for a modality that is not fused, and for what is no finite number.
    """
    found: dict[str, tuple[float, ...]] = {}
    for text in values or []:
        name, _, value = text.partition("=")
        if name not in modalities or not value:
            raise UsageError(
                f"{option} {text}: give {option} {modalities[0]}=VALUE or "
                f"{option} {modalities[1]}=VALUE, or none in place of the value"
            )
        try:
            numbers = () if value == "none" else (float(value),)
        except ValueError:
            numbers = (math.nan,)
        if not all(map(math.isfinite, numbers)):
            raise UsageError(f"{option} {text}: give a number, or none; NaN is never data")
        if name in found and not (numbers and found[name]):
            raise UsageError(f"{option} {text}: none and a number for {name}; leave one out")
        found[name] = (*found.get(name, ()), *numbers)
    return found


def limits(option: str, text: str | None, modality: str = BOTH) -> tuple[float, float] | None:
    """Parse ``LO,HI``. Raise UsageError."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        given = _given(option, text, modality)
        raise UsageError(f"{given}: give two numbers, the lower first, as LO,HI")
    return low, high


def limits_of_temperature(text: str | None, modality: str) -> tuple[float, float] | None:
    """Parse ``LO,HIC``, degrees Celsius; None for a range without the C. Raise UsageError."""
    if text is None or not text.endswith("C"):
        return None
    return limits("--range", text.removesuffix("C").rstrip("°"), modality)


def byte_count(option: str, text: str) -> int:
    """Parse a size such as 500M or 2G into bytes. Raise UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip(), re.IGNORECASE)
    count = float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " ") if found else 0
    if not 1 <= count < math.inf:
        raise UsageError(f"{option} {text}: not a size; write it like 500M or 2G")
    return int(count)
