"""Group files by SeriesInstanceUID, and choose a series by UID, number or description."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from fnetcli.errors import ReadError
from fnetcli.formats.base import COPY_AGAIN, ContentError
from fnetcli.formats.border import reading
from fnetcli.formats.dicom.attributes import short, text, texts, whole
from fnetcli.formats.dicom.files import KIND, read_header
from fnetcli.text import number_of

KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
]
STORAGE = "1.2.840.10008.5.1.4.1.1."
DIRECTORY = "1.2.840.10008.1.3.10"
# Objects that are not images, although they hold pixels or may be beside images (PS3.4, B.5).
NO_IMAGES = {
    f"{STORAGE}66.4": "a segmentation",
    f"{STORAGE}66.5": "a surface segmentation",
    f"{STORAGE}66.7": "a label map",
    f"{STORAGE}66.8": "a height map",
    f"{STORAGE}481.1": "a radiotherapy image",
    f"{STORAGE}481.2": "a radiotherapy dose",
    f"{STORAGE}481.3": "a radiotherapy structure set",
    f"{STORAGE}481.5": "a radiotherapy plan",
}
NO_IMAGE_MODALITIES = {
    "SEG": "a segmentation",
    "RTSTRUCT": "a radiotherapy structure set",
    "RTDOSE": "a radiotherapy dose",
    "RTPLAN": "a radiotherapy plan",
    "RTIMAGE": "a radiotherapy image",
    "LABELMAP": "a label map",
    "REG": "a registration",
    "SR": "a report",
    "PR": "a presentation state",
    "KO": "a list of key objects",
    "ECG": "a curve",
    "DOC": "a document",
}
LOCALISER = "a localiser"
# Classes of which every instance is an image: if rows are missing, the file is cut off.
IMAGE_CLASSES = ("2", "2.1", "4", "4.1", "20", "128", "130", "7", "1", "1.1", "6.1")


class SeriesChoiceError(ReadError):
    """There are several series, but not exactly one was chosen.

    The text lists them with their descriptions, for the terminal; `brief` omits these, for
    manifests and reports.
    """

    def __init__(self, path: Path, problem: str, listing: str) -> None:
        super().__init__(f"{path}: {problem}; choose one with --series: {listing}")
        self.brief = f"{path}: {problem}; choose one with --series"


@dataclass(frozen=True)
class Series:
    """The files of one SeriesInstanceUID, and properties to choose it by."""

    uid: str
    number: int | None
    modality: str
    description: str
    files: tuple[Path, ...]
    slices: int
    size: str  # width x height
    refusal: str | None = None  # what it is, if not an image

    def line(self, *, with_uid: bool, volumes: str = "") -> str:
        """Describe it and its `volumes`, without anything that identifies the patient."""
        name = "without number" if self.number is None else str(self.number)
        words = [name, short(self.modality) or "?"]
        words += [f"'{short(self.description)}'"] if self.description else []
        slices = f"{number_of(self.slices, 'slice')} of {self.size}"
        words += [f"({slices}{', ' * bool(volumes)}{volumes})"]
        return " ".join([*words, *([self.uid] if with_uid else [])])


def find_series(files: Iterable[Path]) -> list[Series]:
    """Group files by series, in the order of their numbers; raise ReadError if one is damaged."""
    groups: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in files:
        header = read_header(path, KEYWORDS)
        with reading(path, KIND):
            if DIRECTORY in {text(header, "SOPClassUID"), _meta_class(header)}:
                continue
            _require_whole(header)
            groups.setdefault(text(header, "SeriesInstanceUID"), []).append((path, header))
    found = [_series(uid, members) for uid, members in groups.items()]
    return sorted(found, key=lambda one: (one.number is None, one.number or 0, one.uid))


def _meta_class(header: Dataset) -> str:
    meta = getattr(header, "file_meta", None)
    return "" if meta is None else text(meta, "MediaStorageSOPClassUID")


def _require_whole(header: Dataset) -> None:
    """Refuse a header that ends early: its slice would be missing silently."""
    name = text(header, "SOPClassUID").removeprefix(STORAGE)
    is_cut = name in IMAGE_CLASSES and (
        whole(header, "Rows") is None or whole(header, "Columns") is None
    )
    if is_cut:
        raise EOFError
    if not any(one in header for one in ("SeriesInstanceUID", "Rows")):
        raise ContentError("a DICOM file without series and size", COPY_AGAIN)


def _series(uid: str, members: Sequence[tuple[Path, Dataset]]) -> Series:
    header = members[0][1]
    shapes = {_size(one) for _, one in members}
    return Series(
        uid=uid,
        number=_number(header),
        modality=text(header, "Modality").upper(),
        description=text(header, "SeriesDescription"),
        files=tuple(path for path, _ in members),
        slices=sum(_frames(one) for _, one in members),
        size=shapes.pop() if len(shapes) == 1 else "several sizes",
        refusal=_refusal([one for _, one in members]),
    )


def _number(header: Dataset) -> int | None:
    try:
        return whole(header, "SeriesNumber")
    except ContentError:
        return None


def _frames(header: Dataset) -> int:
    try:
        return whole(header, "NumberOfFrames") or 1
    except ContentError:
        return 1


def _size(header: Dataset) -> str:
    return f"{text(header, 'Columns') or '?'}x{text(header, 'Rows') or '?'}"


def _refusal(headers: Sequence[Dataset]) -> str | None:
    """Return what a series is, if it is not an image that can be fused."""
    for header in headers:
        kind = NO_IMAGES.get(text(header, "SOPClassUID")) or NO_IMAGE_MODALITIES.get(
            text(header, "Modality").upper()
        )
        if kind is not None:
            return kind
    if all(text(header, "Rows") == "" for header in headers):
        return "an object without pixels"
    if all("LOCALIZER" in texts(header, "ImageType") for header in headers):
        return LOCALISER
    return None


Describe = Callable[[Series], str]  # returns words on the volumes of a series


def _alike(_: Series) -> str:
    return ""


def choose(
    path: Path,
    found: Sequence[Series],
    wanted: str | None,
    modality: str | None = None,
    describe: Describe = _alike,
) -> tuple[Series, str | None]:
    """Return the series to read, and a notice about ignored ones.

    `wanted` is a UID, a SeriesNumber, or a description (whole, or a part that only one has; in any
    case). Without it, the only series of a modality (as in DICOM) is chosen among several. Raise
    ReadError if it matches none or several; `describe` then tells of their volumes.
    """
    if not found:
        raise ReadError(f"{path}: contains no DICOM images; give another folder")
    if wanted is not None:
        return _wanted(path, found, wanted, describe), None
    images = [one for one in found if one.refusal is None]
    others = sorted({one.refusal for one in found if one.refusal is not None})
    if not images:
        raise ReadError(f"{path}: holds {' and '.join(others)}, but no images; give another folder")
    fitting = [one for one in images if modality is not None and one.modality == modality]
    if len(images) > 1 and len(fitting) == 1:
        chosen = fitting[0]  # its description may hold a name, and notices are recorded
        return chosen, (
            f"of {len(images)} series the only {modality} is used: number {chosen.number}, "
            f"{number_of(chosen.slices, 'slice')} of {chosen.size}"
        )
    if len(images) > 1:
        raise SeriesChoiceError(path, f"holds {len(images)} series", _listing(images, describe))
    return images[0], f"{' and '.join(others)} in the same folder was ignored" if others else None


def _wanted(path: Path, found: Sequence[Series], wanted: str, describe: Describe) -> Series:
    plain = " ".join(wanted.split()).casefold()
    tests = (
        [one for one in found if one.uid == wanted],
        [one for one in found if wanted.strip() == str(one.number)],
        [one for one in found if plain == one.description.casefold()],
        [one for one in found if plain and plain in one.description.casefold()],
    )
    fitting = next((some for some in tests if some), [])
    images = [one for one in fitting if one.refusal is None]
    if len(images) > 1:
        problem = f"{len(images)} series match {wanted!r}"
        raise SeriesChoiceError(path, problem, _listing(images, describe))
    if images:
        return images[0]
    if fitting:
        raise ReadError(f"{path}: series {wanted!r} is {fitting[0].refusal}; choose another one")
    raise SeriesChoiceError(path, f"no series matches {wanted!r}", _listing(found, describe))


def _listing(some: Sequence[Series], describe: Describe) -> str:
    """Return lines for users, with UIDs only if numbers do not distinguish the series."""
    numbers = [one.number for one in some]
    is_plain = None not in numbers and len({*numbers}) == len(numbers)
    return ", ".join(one.line(with_uid=not is_plain, volumes=describe(one)) for one in some)
