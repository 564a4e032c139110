"""Series and files that hold several volumes: a case for each, and one window for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fnetcli.errors import ImageError, ReadError, UsageError
from fnetcli.formats.volumes import VolumeOptions, read_volume, volume_state
from fnetcli.imaging.image import Image
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.interruption import require_wanted
from fnetcli.volumes.windows import Window, joined, window_of

MIN_DIGITS = 4  # of a volume's number in the name of its case
MAX_WINDOWS = 16  # that are remembered

Readings = tuple[VolumeOptions, VolumeOptions]

_windows: dict[object, Window] = {}
_lock = threading.Lock()  # volumes are read in several threads


# --- cases ----------------------------------------------------------------------------------------


def each_volume(
    pairing: Pairing,
    readings: Readings,
    modalities: tuple[str, str],
    on_step: Callable[[], None] = lambda: None,
) -> Pairing:
    """Return a pairing with a case "<case>/0001" and so on for every volume of a case.

    Both sides have the same number of volumes, or one has a single one, which goes with all of the
    other; a volume that is chosen by its number is a single one. A case that cannot be read stays
    as it is. Raise UsageError for other numbers.
    """
    cases = list[Case]()
    for case in pairing.cases:
        counts = _counts(case, readings)
        if 1 not in counts and counts[0] != counts[1]:
            (one, other), (first, second) = counts, modalities
            raise UsageError(
                f"{case.files}: {one} volumes of {first} and {other} of {second} do not make "
                f"pairs; choose one with --volume {first}=N or --volume {second}=N"
            )
        cases += _cases(case, counts)
        on_step()
    return replace(pairing, cases=cases)


def _counts(case: Case, readings: Readings) -> tuple[int, int]:
    """Return how many volumes there are to choose from on each side."""
    first, second = (
        1 if reading.volume is not None else _count(path, reading)
        for path, reading in zip((case.first, case.second), readings, strict=True)
    )
    return first, second


def _count(path: Path, reading: VolumeOptions) -> int:
    require_wanted()
    try:
        return read_volume(path, replace(reading, volume=1)).volumes
    except ReadError:
        return 1  # it is reported when its turn comes


def _cases(case: Case, counts: tuple[int, int]) -> list[Case]:
    count = max(counts)
    if count == 1:
        return [case]
    digits = max(MIN_DIGITS, len(str(count)))
    first, second = counts
    return [
        replace(
            case,
            name=f"{case.name}/{number:0{digits}}",
            volumes=(number if first > 1 else None, number if second > 1 else None),
        )
        for number in range(1, count + 1)
    ]


# --- windows --------------------------------------------------------------------------------------


def window_of_all(
    path: Path, reading: VolumeOptions, image: Image, modality: str, choice: str | None
) -> Window:
    """Return one window for all volumes of a series or file, so that they can be compared.

    `image` is one of them. A window that does not depend on a volume's numbers is that of all;
    percentiles reach from the lowest to the highest of all volumes. Raise ImageError.
    """
    found = window_of(image, modality, choice)
    if not found.is_measured:
        return found
    key = (volume_state(path), replace(reading, volume=None), modality, choice)
    with _lock:
        if key not in _windows:
            if len(_windows) >= MAX_WINDOWS:
                _windows.clear()
            _windows[key] = _joined(path, reading, image.volumes, modality, choice) or found
        return _windows[key]


def _joined(
    path: Path, reading: VolumeOptions, count: int, modality: str, choice: str | None
) -> Window | None:
    windows = list[Window]()
    for number in range(1, count + 1):
        require_wanted()
        try:
            image = read_volume(path, replace(reading, volume=number))
            windows.append(window_of(image, modality, choice))
        except ImageError:
            continue  # it is reported when its turn comes
    return joined(windows) if windows else None
