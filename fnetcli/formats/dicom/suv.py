"""Convert PET activity to standardised uptake values by body weight (SUVbw, g/ml).

The rules are those of the Quantitative Imaging Biomarkers Alliance ("Standardized Uptake Value,
vendor-neutral pseudo-code", robust version): units GML are SUV already; BQML need the patient's
weight, the dose, its half-life, the time of injection and the time that decay is corrected to; CNTS
are Philips' counts with factors in private attributes. If anything is missing, values are not
changed, and a notice names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset

from fnetcli.formats.base import ContentError
from fnetcli.formats.dicom.attributes import items, number, text, texts

SUV, ACTIVITY, COUNTS = "SUVbw", "Bq/ml", "counts"
MIN_DOSE = 1e5  # Bq; no dose is lower: some files hold MBq
MAX_HALF_LIVES = 10
DAY = timedelta(days=1)
PHILIPS, PHILIPS_SUV, PHILIPS_ACTIVITY = 0x7053, 0x00, 0x09  # group, elements of its block
PHILIPS_CREATOR = "Philips PET Private Group"
GE_GROUP, GE_SCAN_TIME, GE_CREATOR = 0x0009, 0x0D, "GEMS_PETD_01"


@dataclass(frozen=True)
class Uptake:
    """The factor for the rescaled values of each slice, and their unit after it."""

    unit: str | None
    factors: tuple[float, ...]
    notices: tuple[str, ...] = ()


class _MissingError(Exception):
    """A value is missing that SUV needs; the text names it."""


def find_uptake(headers: Sequence[Dataset]) -> Uptake:
    """Return how to convert slices with these headers to SUVbw, as far as possible."""
    plain = (1.0,) * len(headers)
    kinds = {text(header, "Units").upper() for header in headers}
    if len(kinds) > 1:
        raise ContentError("its slices have different units", "export it again")
    units = kinds.pop()
    if units == "GML":
        return _ready(headers, plain)
    if units == "BQML":
        return _from_activity(headers, plain)
    if units == "CNTS":
        return _from_counts(headers, plain)
    if units == "PROPCNTS":
        return Uptake(COUNTS, plain, ("its values are in proportion to counts, not SUV",))
    return Uptake(None, plain, ("the unit of its values is unknown: they are not SUV",))


def _ready(headers: Sequence[Dataset], plain: tuple[float, ...]) -> Uptake:
    kinds = {text(header, "SUVType").upper() for header in headers} - {"", "BW"}
    if not kinds:
        return Uptake(SUV, plain)
    by = "body surface" if kinds == {"BSA"} else "lean body mass"
    return Uptake(None, plain, (f"its values are SUV by {by}, not by body weight",))


def _from_activity(headers: Sequence[Dataset], activity: tuple[float, ...]) -> Uptake:
    """Return factors for SUV; `activity` are those for Bq/ml."""
    try:
        factor, notices = _suv_per_activity(headers)
    except (_MissingError, ContentError) as missing:
        words = str(missing) if isinstance(missing, _MissingError) else "its header is damaged"
        return Uptake(ACTIVITY, activity, (f"no SUV can be computed ({words}): values are Bq/ml",))
    return Uptake(SUV, tuple(one * factor for one in activity), notices)


def _from_counts(headers: Sequence[Dataset], plain: tuple[float, ...]) -> Uptake:
    ready = [_philips(header, PHILIPS_SUV) for header in headers]
    if all(ready):
        return Uptake(SUV, tuple(one or 1.0 for one in ready))
    activity = [_philips(header, PHILIPS_ACTIVITY) for header in headers]
    if all(activity):
        return _from_activity(headers, tuple(one or 1.0 for one in activity))
    return Uptake(
        COUNTS, plain, ("its values are counts without the vendor's factor: no SUV is computed",)
    )


def _philips(header: Dataset, element: int) -> float | None:
    found = _private(header, PHILIPS, PHILIPS_CREATOR, element)
    try:
        value = float(found.strip("\0 "))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _private(header: Dataset, group: int, creator: str, element: int) -> str:
    """Return a private attribute as text, found by its creator or its usual position; or ""."""
    try:
        block = header.private_block(group, creator)
        found = block[element].value if element in block else ""
    except KeyError:
        usual = header.get((group, 0x1000 + element))
        found = "" if usual is None else usual.value
    if isinstance(found, bytes):
        return found.decode("ascii", "replace")
    return "" if found is None else str(found)


def _suv_per_activity(headers: Sequence[Dataset]) -> tuple[float, tuple[str, ...]]:
    """Return g/ml per Bq/ml; raise _MissingError."""
    header = headers[0]
    correction = text(header, "DecayCorrection").upper()
    if correction not in {"START", "ADMIN"}:
        raise _MissingError("decay is not corrected to a known time")
    corrected = texts(header, "CorrectedImage")
    for mark, words in (("DECY", "decay"), ("ATTN", "attenuation")):
        if corrected and mark not in corrected:
            raise _MissingError(f"it is not corrected for {words}")
    weight = number(header, "PatientWeight")
    if not weight or weight < 0:
        raise _MissingError("the patient's weight is missing")
    given = items(header, "RadiopharmaceuticalInformationSequence")
    if len(given) != 1:
        raise _MissingError("the injection is missing" if not given else "several injections")
    dose = number(given[0], "RadionuclideTotalDose")
    if not dose or dose < MIN_DOSE:
        raise _MissingError("the dose is missing" if not dose else "the dose is not in Bq")
    if correction == "ADMIN":
        return 1000 * weight / dose, ()
    half_life = number(given[0], "RadionuclideHalfLife")
    if not half_life or half_life < 0:
        raise _MissingError("the half-life is missing")
    elapsed, notices = _elapsed(headers, given[0], half_life)
    return 1000 * weight / (dose * 2 ** (-elapsed / half_life)), notices


def _elapsed(
    headers: Sequence[Dataset], given: Dataset, half_life: float
) -> tuple[float, tuple[str, ...]]:
    """Return the seconds from the injection to the start of the scan."""
    scan = _scan_time(headers)
    if scan is None:
        raise _MissingError("the time of the scan is missing")
    most = MAX_HALF_LIVES * half_life
    start = _stamp(text(given, "RadiopharmaceuticalStartDateTime"))
    if start is not None and 0 <= (scan - start).total_seconds() <= most:
        return (scan - start).total_seconds(), ()
    # If dates were removed or shifted, the time of day is still right, perhaps before midnight.
    clock = text(given, "RadiopharmaceuticalStartTime")
    begun = _stamp(f"{scan:%Y%m%d}{clock}") if clock else start
    if begun is None:
        raise _MissingError("the time of the injection is missing")
    begun = datetime.combine(scan.date(), begun.time())
    if begun > scan:
        begun -= DAY
    elapsed = (scan - begun).total_seconds()
    if elapsed > most:
        raise _MissingError("the time of the injection contradicts that of the scan")
    if start is None:
        return elapsed, ()
    return elapsed, ("the date of its injection is not that of the scan: only the time is used",)


def _scan_time(headers: Sequence[Dataset]) -> datetime | None:
    """Return the time that decay is corrected to: the start of the scan.

    That of the series, unless an image was acquired before it: then the series was created later.
    """
    series = _moment(headers[0], "SeriesDate", "SeriesTime")
    acquired = [
        found
        for header in headers
        if (found := _moment(header, "AcquisitionDate", "AcquisitionTime")) is not None
    ]
    earliest = min(acquired, default=None)
    if series is not None and (earliest is None or series <= earliest):
        return series
    return _stamp(_private(headers[0], GE_GROUP, GE_CREATOR, GE_SCAN_TIME)) or earliest


def _moment(header: Dataset, date: str, clock: str) -> datetime | None:
    day, time = text(header, date) or text(header, "SeriesDate"), text(header, clock)
    return _stamp(f"{day}{time}") if day and time else None


def _stamp(words: str) -> datetime | None:
    """Return a DICOM date and time (PS3.5, 6.2: DT; without time zone), or None."""
    digits = re.match(
        r"(\d{8})(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?", re.sub(r"[-:]", "", words[:26])
    )
    if digits is None:
        return None
    day, hour, minute, second, fraction = digits.groups()
    try:
        whole = datetime.strptime(  # local time
            f"{day}{hour}{minute or '00'}{second or '00'}", "%Y%m%d%H%M%S"
        )
    except ValueError:
        return None
    return whole + timedelta(seconds=float(fraction or 0))
