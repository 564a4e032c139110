"""Several volumes in one series: time points, echoes, b-values, phases (PS3.3, C.7.6.16 and C.8).

Slices at one position differ in something that their headers say. The first attributes of the
table that tell all of them apart split the series, if most of the volumes that follow have a slice
at every position; so what differs from slice to slice does not split it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from pydicom import Dataset

from fnetcli.formats.base import ContentError
from fnetcli.formats.dicom.attributes import items, macro, number, numbers, text, texts
from fnetcli.formats.dicom.geometry import OTHER_VECTORS, SAME_DIRECTION, SAME_PLACE, Placed

Value = float | str | tuple[float, ...]
BY_ORDER = "the order of its images"
MAX_SHOWN = 8  # volumes in a listing
# Where makers keep the b-value of classic files: group, creator, element.
PRIVATE_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x2001, "Philips Imaging DD 001", 0x03),
    (0x0043, "GEMS_PARM_01", 0x39),
)
GE_OFFSET = 10**9  # that GE adds to b-values


class Numbered(Placed, Protocol):
    """A slice with its place among the frames of its file."""

    @property
    def number(self) -> int:
        """The number of its frame, counted from 1."""


@dataclass(frozen=True)
class Attribute:
    """Something in which the volumes of a series may differ.

    `is_ordered` values may be a little different in every slice, such as times: then their order at
    each position counts.
    """

    name: str
    value: Callable[[Dataset, int], Value | None]
    unit: str = ""
    is_ordered: bool = False
    is_relative: bool = False  # shown as a difference to the first volume

    def of(self, frame: Numbered) -> Value | None:
        """Return the value of a slice, or None if its header has none that can be read."""
        try:
            return self.value(frame.header, frame.number)
        except (ContentError, ValueError):
            return None


@dataclass(frozen=True)
class Several:
    """The volumes of a series: the indices of their slices, and the values that tell them apart.

    `names` are those of what differs, `labels` the values of each volume, as text. `missing` counts
    the positions where a volume has no slice.
    """

    members: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    missing: tuple[int, ...]

    @property
    def is_by_order(self) -> bool:
        """Whether no attribute tells the volumes apart."""
        return self.names[-1] == BY_ORDER

    @property
    def words(self) -> str:
        """How many there are, and in what they differ."""
        if self.is_by_order:
            return f"{len(self.members)} volumes that only {BY_ORDER} tells apart"
        shown = [f"{i}: {', '.join(words)}" for i, words in enumerate(self.labels[:MAX_SHOWN], 1)]
        more = len(self.labels) - MAX_SHOWN
        shown += [f"and {more} more"] if more > 0 else []
        names = " and ".join(self.names)
        return f"{len(self.members)} volumes that differ in {names} ({', '.join(shown)})"

    def title(self, index: int) -> str:
        """Return what a volume is called: "volume 2 of 3, echo time 4.6 ms"."""
        values = [] if self.is_by_order else zip(self.names, self.labels[index], strict=True)
        words = [f"{name} {value}" for name, value in values]
        return ", ".join([f"volume {index + 1} of {len(self.members)}", *words])


def find_volumes(frames: Sequence[Numbered]) -> Several | None:
    """Split slices into volumes; None if there is one, or if nothing tells several apart."""
    places = _places(frames)
    if places is None or len({*places}) == len(places):
        return None
    keys: list[tuple[Value | None, ...]] = [()] * len(frames)
    used: list[Attribute] = []
    for attribute in ATTRIBUTES:
        values = [attribute.of(frame) for frame in frames]
        for found in _splits(attribute, values, keys, places):
            longer = [(*key, value) for key, value in zip(keys, found, strict=True)]
            if _divides(keys, longer, places):
                keys, used = longer, [*used, attribute]
                break
        if len({*zip(keys, places, strict=True)}) == len(frames):
            return _several(keys, used, frames, places)
    return None


def _places(frames: Sequence[Numbered]) -> list[int] | None:
    """Return the number of each slice's position along the normal; None if they have none."""
    known = [frame.place for frame in frames if frame.place is not None]
    if len(known) < len(frames) or len(frames) < 2:
        return None
    directions = np.array([[*place.along, *place.down] for place in known])
    if (np.abs(directions - directions[0]) > SAME_DIRECTION).any():
        return None
    heights = np.array([place.position @ known[0].normal for place in known])
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    widest = gaps.max()
    usual = gaps[gaps > SAME_PLACE * widest].min() if widest > 0 else 1.0
    steps = np.concatenate([[0], np.cumsum(gaps > SAME_PLACE * usual)])
    found = np.empty(len(frames), int)
    found[order] = steps
    return [int(one) for one in found]


def _splits(
    attribute: Attribute,
    values: list[Value | None],
    keys: Sequence[tuple[Value | None, ...]],
    places: Sequence[int],
) -> list[list[Value | None]]:
    """Return the ways in which an attribute may split: by its value, then by its order."""
    if not attribute.is_ordered or None in values:
        return [values]
    together: dict[tuple[Hashable, int], list[int]] = defaultdict(list)
    for i, (key, place) in enumerate(zip(keys, places, strict=True)):
        together[key, place].append(i)
    ranks: list[Value | None] = [None] * len(values)
    for some in together.values():
        ordered = sorted({values[i] for i in some})  # type: ignore[type-var]
        if len(ordered) < len(some):
            return [values]
        for i in some:
            ranks[i] = float(ordered.index(values[i]))
    counts: dict[Hashable, set[int]] = defaultdict(set)
    for (group, _), some in together.items():
        counts[group].add(len(some))
    are_even = all(len(one) == 1 for one in counts.values())
    return [values, ranks] if are_even else [values]


def _divides(old: Sequence[Hashable], new: Sequence[Hashable], places: Sequence[int]) -> bool:
    """Whether there are more groups than before, most of whose slices are in complete ones."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for key, place in zip(new, places, strict=True):
        groups[key].append(place)
    if len(groups) == len({*old}):
        return False
    count = len({*places})
    complete = sum(len(some) for some in groups.values() if len({*some}) == count)
    return 2 * complete > len(places)


def _several(
    keys: Sequence[tuple[Value | None, ...]],
    used: Sequence[Attribute],
    frames: Sequence[Numbered],
    places: Sequence[int],
) -> Several:
    groups: dict[tuple[Value | None, ...], list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        groups[key].append(i)
    order = sorted(groups, key=lambda key: [_sortable(value) for value in key])
    members = tuple(tuple(groups[key]) for key in order)
    count = len({*places})
    columns = [_labels(one, [[frames[i] for i in some] for some in members]) for one in used]
    return Several(
        members,
        tuple(attribute.name for attribute in used),
        tuple(zip(*columns, strict=True)),
        tuple(count - len(some) for some in members),
    )


def _sortable(value: Value | None) -> tuple[int, float, str, tuple[float, ...]]:
    if value is None:
        return (0, 0.0, "", ())
    if isinstance(value, str):
        return (2, 0.0, value, ())
    if isinstance(value, tuple):
        return (3, 0.0, "", value)
    return (1, value, "", ())


def _labels(attribute: Attribute, volumes: Sequence[Sequence[Numbered]]) -> list[str]:
    """Return what each volume is called by its first value; times of day only as differences."""
    values = [min(map(attribute.of, frames), key=_sortable) for frames in volumes]
    start = values[0] if attribute.is_relative and isinstance(values[0], float) else 0.0
    return [_shown(value, start, attribute.unit) for value in values]


def _shown(value: Value | None, start: float, unit: str) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"[{' '.join(f'{one:.3g}' for one in value)}]"
    return value if isinstance(value, str) else f"{value - start:.6g} {unit}".strip()


# --- what may differ ------------------------------------------------------------------------------


def _of(
    keyword: str, sequence: str = "", enhanced: str = ""
) -> Callable[[Dataset, int], float | None]:
    """Return a reader of a number: in the header, or under another name in a frame's group."""

    def value(header: Dataset, frame: int) -> float | None:
        if sequence and (group := macro(header, frame, sequence)) is not header:
            found = number(group, enhanced or keyword)
            if found is not None:
                return found
        return number(header, keyword)

    return value


def _kind(header: Dataset, frame: int) -> str | None:
    """Return what kind of image it is: magnitude or phase, water or fat, a map of diffusion."""
    for keyword in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence"):
        group = macro(header, frame, keyword)
        if group is not header:
            words = texts(group, "FrameType")[2:]
            return " ".join([*words, text(group, "ComplexImageComponent")]).strip()
    return " ".join(texts(header, "ImageType")[2:])


def _b_value(header: Dataset, frame: int) -> float | None:
    group = macro(header, frame, "MRDiffusionSequence")
    found = number(group, "DiffusionBValue")
    if found is not None or group is not header:
        return found
    for place, creator, element in PRIVATE_B_VALUES:
        try:
            value = header.private_block(place, creator)[element].value
            first = value if isinstance(value, str | int | float) else value[0]
            return float(first) % GE_OFFSET
        except (KeyError, ValueError, TypeError, IndexError):
            continue
    return None


def _direction(header: Dataset, frame: int) -> tuple[float, ...] | None:
    group = macro(header, frame, "MRDiffusionSequence")
    inner = items(group, "DiffusionGradientDirectionSequence")
    found = numbers(inner[0] if inner else header, "DiffusionGradientOrientation", 3)
    return None if found is None else tuple(float(one) for one in found)


def _time(header: Dataset, frame: int) -> float | None:
    """Return when it was acquired, in seconds."""
    group = macro(header, frame, "FrameContentSequence")
    whole = text(group, "FrameAcquisitionDateTime") or text(group, "AcquisitionDateTime")
    if not whole:
        time = text(header, "AcquisitionTime")
        whole = (text(header, "AcquisitionDate") or "20000101") + time if time else ""
    digits, _, fraction = whole.partition(".")
    if len(digits) < 14 or not digits[:14].isdecimal():
        return None
    start = datetime.strptime(digits[:14], "%Y%m%d%H%M%S")
    part = "".join(letter for letter in fraction[:6] if letter.isdecimal())
    return (start - datetime(2000, 1, 1)).total_seconds() + float(f"0.{part or 0}")


def _vector(keyword: str) -> Callable[[Dataset, int], float | None]:
    """Return a reader of a vector of nuclear medicine, which has a number for every frame."""

    def value(header: Dataset, frame: int) -> float | None:
        count = int(number(header, "NumberOfFrames") or 1)
        found = numbers(header, keyword, count) if keyword in header else None
        return None if found is None else float(found[frame - 1])

    return value


def _order(header: Dataset, frame: int) -> float | None:
    found = number(header, "InstanceNumber")
    return (0.0 if found is None else found * (1 << 20)) + frame


def _words(keyword: str) -> str:
    """Return the name of a vector in words: "time slot"."""
    plain = keyword.removesuffix("Vector")
    return "".join(f" {one.lower()}" if one.isupper() else one for one in plain).strip()


_CARDIAC, _BREATH = "CardiacSynchronizationSequence", "RespiratorySynchronizationSequence"
_TEMPORAL = "TemporalPositionIndex"
ATTRIBUTES = (
    Attribute("kind of image", _kind),
    *(Attribute(_words(keyword), _vector(keyword)) for keyword in OTHER_VECTORS),
    Attribute("echo time", _of("EchoTime", "MREchoSequence", "EffectiveEchoTime"), "ms"),
    Attribute("inversion time", _of("InversionTime", "MRModifierSequence", "InversionTimes"), "ms"),
    Attribute("flip angle", _of("FlipAngle", "MRTimingAndRelatedParametersSequence"), "degrees"),
    Attribute("tube voltage", _of("KVP"), "kV"),
    Attribute("b-value", _b_value, "s/mm2"),
    Attribute("gradient direction", _direction),
    Attribute("cardiac phase", _of("NominalPercentageOfCardiacPhase", _CARDIAC), "%"),
    Attribute("respiratory phase", _of("NominalPercentageOfRespiratoryPhase", _BREATH), "%"),
    Attribute("time point", _of("TemporalPositionIdentifier", "FrameContentSequence", _TEMPORAL)),
    Attribute("trigger time", _of("TriggerTime"), "ms", is_ordered=True),
    Attribute("frame time", _of("FrameReferenceTime"), "ms", is_ordered=True),
    Attribute("acquisition", _of("AcquisitionNumber")),
    Attribute("acquisition time", _time, "s", is_ordered=True, is_relative=True),
    Attribute(BY_ORDER, _order, is_ordered=True),
)
