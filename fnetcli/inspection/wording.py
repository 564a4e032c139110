"""Format numbers for a terminal and for figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fnetcli.modalities import shown_name

NONE = "-"


def value(number: float | None) -> str:
    """Return three decimals; a dash for none."""
    return NONE if number is None else decimals(number, 3)


def decimals(number: float, digits: int) -> str:
    """Return a number with `digits` decimals, a very large one with four digits."""
    return f"{number:.{digits}f}" if abs(number) < 1e6 else f"{number:.4g}"


def amount(number: float) -> str:
    """Return a number of any size: with four digits, or as a whole number."""
    return f"{number:,.4g}" if number < 1000 else f"{number:,.0f}"


def share(part: float | None) -> str:
    """Return a percentage; a small one that is not zero does not look like zero."""
    if part is None:
        return NONE
    of_hundred = 100 * part
    if 0 < of_hundred < 0.01:
        return "< 0.01 %"
    return f"{of_hundred:.{2 if 0 < of_hundred < 1 else 1}f} %"


def percent(of_hundred: float) -> str:
    """Return a percentage for the label of a figure."""
    if 0 < of_hundred < 0.01:
        return "< 0.01 %"
    return f"{of_hundred:.{2 if of_hundred < 1 else 1}f} %"


def yes_no(is_so: bool | None) -> str:
    """Return yes or no; a dash if unknown."""
    return NONE if is_so is None else "yes" if is_so else "no"


def label_of(name: str) -> str:
    """Return the label of a part, map or feature: `base_first` is "base of {first}"."""
    for place in ("first", "second"):
        if name.endswith(f"_{place}"):
            return f"{name.removesuffix(f'_{place}').replace('_', ' ')} of {{{place}}}"
    return name.replace("_", " ")


def with_modalities(label: str, names: tuple[str, str]) -> str:
    """Insert modalities, or their names, into a label."""
    first, second = names
    return label.format(first=first, second=second)


def by_modality(record: Mapping[str, Any], modalities: tuple[str, str]) -> dict[str, Any]:
    """Return a record whose keys have modalities in place of `first` and `second`."""
    names = dict(zip(("first", "second"), modalities, strict=True))
    return {names.get(key, shown_name(key, modalities)): one for key, one in record.items()}


def not_aligned(words: str) -> str:
    """Return the warning about images that are not aligned."""
    return f"the images are not aligned: {words}; align them first"
