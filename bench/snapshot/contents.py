"""Whether two files say the same: by bytes, or by what they hold where times and paths differ."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import tifffile
from numpy.typing import NDArray

DIFFERENCE, WORDING, PAGE = "difference", "wording", "page"
PAGES = (".html",)
ROOT = "SNAPSHOT"  # in place of the folder that a snapshot was made in
MOST = 12  # differences that are told of one file
LONGEST = 100  # characters of a value that is shown

# Other in every run, or with every version: times, memory, the command line.
VOLATILE = frozenset(
    {
        *("command", "made", "started", "updated", "seconds", "network_seconds"),
        *("version", "versions", "runs", "idle_bytes", "peak_bytes", "device_bytes"),
    }
)
# Sentences for people.
SENTENCES = frozenset({"notices", "said", "warnings", "error", "errors", "problems", "how"})
PROGRESS = re.compile(r"^\d+/\d+ .*(left|each|/s).*$\n?", re.MULTILINE)
TIMES = re.compile(r"\d+(\.\d+)? s\b")
# DICOM: a version; sentences; and UIDs, which are computed of the sentences too.
DICOM_VOLATILE = frozenset({"SoftwareVersions", "ImplementationVersionName"})
DICOM_SENTENCES = frozenset({"DerivationDescription", "SeriesDescription"})


@dataclass(frozen=True)
class Finding:
    """One difference, and whether it counts: DIFFERENCE does, WORDING and PAGE are told."""

    kind: str
    text: str


@dataclass(frozen=True)
class Place:
    """Where files lie, and the folder in which they were made."""

    folder: Path
    root: str

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        return (self.folder / name).read_bytes()

    def text(self, content: bytes) -> str:
        """Return text without the folder it was made in."""
        return content.decode("utf-8", "replace").replace(self.root, ROOT)


def compare_files(name: str, old: Place, new: Place, *, is_help: bool = False) -> list[Finding]:
    """Return what differs between two files of a name."""
    left, right = old.read(name), new.read(name)
    if left == right:
        return []
    compare = _COMPARE.get(Path(name).suffix, _compare_bytes)
    if is_help and name.endswith(".stdout"):
        compare = _compare_sentences
    found = list(compare(name, (left, right), (old, new)))
    more = len(found) - MOST
    return found[:MOST] + ([Finding(DIFFERENCE, f"and {more} more")] if more > 0 else [])


Contents = tuple[bytes, bytes]
Places = tuple[Place, Place]
Compare = Callable[[str, Contents, Places], Iterator[Finding]]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


# --- texts ----------------------------------------------------------------------------------------


def _compare_lines(left: str, right: str, kind: str) -> Iterator[Finding]:
    for number, (one, other) in enumerate(
        zip_longest(left.splitlines(), right.splitlines(), fillvalue="(no line)"), 1
    ):
        if one != other:
            yield Finding(kind, f"line {number}: {_short(one)} became {_short(other)}")
    if left != right and left.splitlines() == right.splitlines():
        yield Finding(kind, "other ends of lines")


def _compare_text(_: str, contents: Contents, places: Places) -> Iterator[Finding]:
    left, right = (place.text(one) for place, one in zip(places, contents, strict=True))
    yield from _compare_lines(left, right, DIFFERENCE)


def _compare_sentences(_: str, contents: Contents, places: Places) -> Iterator[Finding]:
    """Compare what is said to people, but for how far and how fast it went."""
    left, right = (
        TIMES.sub("N s", PROGRESS.sub("", place.text(one)))
        for place, one in zip(places, contents, strict=True)
    )
    yield from _compare_lines(left, right, WORDING)


def _compare_stdout(name: str, contents: Contents, places: Places) -> Iterator[Finding]:
    """Take JSON for JSON, all else for lines."""
    is_json = all(one.lstrip().startswith(b"{") for one in contents)
    yield from (_compare_json if is_json else _compare_text)(name, contents, places)


# --- JSON -----------------------------------------------------------------------------------------


def compare_values(left: Any, right: Any, at: str = "") -> Iterator[Finding]:
    """Compare what JSON holds: keys, types and values, but not what is volatile."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            where = f"{at}.{key}" if at else key
            if key not in left or key not in right:
                change = "new" if key in right else "gone"
                yield Finding(DIFFERENCE, f"{where}: {change}")
            elif key in SENTENCES and left[key] != right[key]:
                change = f"{where}: {_short(left[key])} became {_short(right[key])}"
                yield Finding(WORDING, change)
            elif not _is_volatile(key, left[key]):
                yield from compare_values(left[key], right[key], where)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from compare_values(one, other, f"{at}[{number}]")
    elif type(left) is not type(right) or repr(left) != repr(right):  # NaN is NaN here
        yield Finding(DIFFERENCE, f"{at or 'value'}: {_short(left)} became {_short(right)}")


def _is_volatile(key: str, value: object) -> bool:
    """Whether a value may differ; the version of a format, a whole number, may not."""
    return key in VOLATILE and not (key == "version" and isinstance(value, int))


def _compare_json(_: str, contents: Contents, places: Places) -> Iterator[Finding]:
    try:
        left, right = (
            json.loads(place.text(one)) for place, one in zip(places, contents, strict=True)
        )
    except ValueError:
        yield Finding(DIFFERENCE, "not JSON")
        return
    yield from compare_values(left, right)


def _compare_json_lines(_: str, contents: Contents, places: Places) -> Iterator[Finding]:
    try:
        left, right = (
            [json.loads(line) for line in place.text(one).splitlines()]
            for place, one in zip(places, contents, strict=True)
        )
    except ValueError:
        yield Finding(DIFFERENCE, "not JSON lines")
        return
    if len(left) != len(right):
        yield Finding(DIFFERENCE, f"{len(left)} lines became {len(right)}")
    for number, (one, other) in enumerate(zip(left, right, strict=False), 1):
        yield from compare_values(one, other, f"line {number}")


# --- arrays and tensors ---------------------------------------------------------------------------


def _compare_arrays(left: NDArray[Any], right: NDArray[Any], at: str) -> Iterator[Finding]:
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        change = f"{left.dtype} {left.shape} became {right.dtype} {right.shape}"
        yield Finding(DIFFERENCE, f"{at}: {change}")
    elif left.tobytes() != right.tobytes():
        yield Finding(DIFFERENCE, f"{at}: {_distance(left, right)}")


def _distance(left: NDArray[Any], right: NDArray[Any]) -> str:
    """Say how far apart two arrays of one shape are."""
    if left.dtype.names or left.dtype.kind not in "biuf":
        return "other values"
    one, other = left.astype(np.float64), right.astype(np.float64)
    is_other = (one != other) & ~(np.isnan(one) & np.isnan(other))
    if not is_other.any():
        return "equal numbers, other bits"
    most = np.abs(one - other)[is_other].max()
    return f"{is_other.sum()} of {is_other.size} numbers differ, by at most {most:.6g}"


def _compare_npz(_: str, contents: Contents, __: Places) -> Iterator[Finding]:
    left, right = (np.load(io.BytesIO(one), allow_pickle=False) for one in contents)
    for name in sorted({*left.files} ^ {*right.files}):
        yield Finding(DIFFERENCE, f"{name}: {'new' if name in right.files else 'gone'}")
    for name in sorted({*left.files} & {*right.files}):
        yield from _compare_arrays(left[name], right[name], name)


def _compare_safetensors(_: str, contents: Contents, __: Places) -> Iterator[Finding]:
    """Compare header and tensors byte by byte, metadata as the JSON that it is."""
    headers: list[dict[str, Any]] = []
    bodies = []
    for content in contents:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        metadata = header.pop("__metadata__", {})
        headers.append({"tensors": header, "metadata": dict(map(_parsed, metadata.items()))})
        bodies.append(np.frombuffer(content[8 + size :], np.uint8))
    yield from compare_values(headers[0], headers[1])
    if headers[0]["tensors"] == headers[1]["tensors"]:
        for name, facts in headers[0]["tensors"].items():
            first, last = facts["data_offsets"]
            one, other = (body[first:last] for body in bodies)
            if facts["dtype"] == "F32":
                one, other = one.view(np.float32), other.view(np.float32)
            yield from _compare_arrays(one, other, name)


def _parsed(item: tuple[str, str]) -> tuple[str, Any]:
    with contextlib.suppress(ValueError):
        return item[0], json.loads(item[1])
    return item


def _compare_state(_: str, contents: Contents, places: Places) -> Iterator[Finding]:
    """Compare what training goes on from, tensor by tensor."""
    import torch  # noqa: PLC0415  seconds, and most snapshots are equal

    left, right = (
        torch.load(io.BytesIO(one), map_location="cpu", weights_only=True) for one in contents
    )
    yield from compare_values(_plain(left, places[0]), _plain(right, places[1]))


def _plain(value: Any, place: Place) -> Any:
    """Return tensors as texts that are equal where the tensors are, and no folder in texts."""
    if isinstance(value, dict):
        return {str(key): _plain(one, place) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, place) for one in value]
    if isinstance(value, str):
        return value.replace(place.root, ROOT)
    if hasattr(value, "numpy"):
        array = value.detach().numpy()
        return f"{array.dtype} {array.shape} {array.tobytes().hex()}"
    return value


# --- pictures and volumes -------------------------------------------------------------------------


def _compare_bytes(name: str, contents: Contents, _: Places) -> Iterator[Finding]:
    hint = "other bytes"
    with contextlib.suppress(Exception):  # a hint only, for a file that differs anyway
        left, right = (_decoded(name, one) for one in contents)
        found = list(_compare_arrays(left, right, "pixels"))
        hint = found[0].text if found else "same pixels, other bytes"
    yield Finding(DIFFERENCE, hint)


def _decoded(name: str, content: bytes) -> NDArray[Any]:
    if name.endswith((".tif", ".tiff")):
        return np.asarray(tifffile.imread(io.BytesIO(content)))
    if name.endswith(".nii.gz"):
        import gzip  # noqa: PLC0415

        image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
        return np.asarray(image.dataobj)
    with PIL.Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def _compare_dicom(_: str, contents: Contents, __: Places) -> Iterator[Finding]:
    """Compare element by element; nothing that `fnet` writes there is random or a date of today."""
    left, right = (_elements(pydicom.dcmread(io.BytesIO(one), force=True)) for one in contents)
    changed = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
    names = {key: key.rsplit(".", 1)[-1] for key in changed}
    is_worded = any(name in DICOM_SENTENCES for name in names.values())
    for key in sorted(changed):
        if names[key] in DICOM_VOLATILE:
            continue
        is_made = all("2.25." in str(side.get(key)) for side in (left, right))
        kind = WORDING if names[key] in DICOM_SENTENCES or (is_worded and is_made) else DIFFERENCE
        change = f"{_short(left.get(key))} became {_short(right.get(key))}"
        yield Finding(kind, f"{key}: {change}")
    if not changed:
        yield Finding(DIFFERENCE, "same elements, other bytes")


def _elements(header: pydicom.Dataset, at: str = "") -> dict[str, str]:
    """Return all elements, those of sequences and of the file's head too, as texts."""
    found: dict[str, str] = {}
    meta = getattr(header, "file_meta", None)
    if meta is not None:
        found |= _elements(meta, "meta.")
    for element in header:
        name = f"{at}{element.keyword or element.tag}"
        if element.VR == "SQ":
            for number, one in enumerate(element.value):
                found |= _elements(one, f"{name}[{number}].")
        elif isinstance(element.value, bytes):
            found[name] = f"{element.VR} {element.value.hex()}"
        else:
            found[name] = f"{element.VR} {element.value}"
    return found


# --- pages ----------------------------------------------------------------------------------------


class _Structure(HTMLParser):
    """The tags of a page in order, with their ids and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = (f"{key}={value}" for key, value in attrs if key in {"id", "class"})
        self.tags.append(" ".join((tag, *sorted(named))))


def _compare_pages(_: str, contents: Contents, places: Places) -> Iterator[Finding]:
    tags = []
    for place, content in zip(places, contents, strict=True):
        parser = _Structure()
        parser.feed(place.text(content))
        tags.append(parser.tags)
    if tags[0] != tags[1]:
        pairs = zip_longest(*tags, fillvalue="(end)")
        number = next(i for i, (one, other) in enumerate(pairs) if one != other)
        one, other = (([*side, "(end)"])[min(number, len(side))] for side in tags)
        change = f"{len(tags[0])} tags became {len(tags[1])}; number {number + 1}: {one} {other}"
        yield Finding(PAGE, change)


_COMPARE: dict[str, Compare] = {
    ".json": _compare_json,
    ".jsonl": _compare_json_lines,
    ".npz": _compare_npz,
    ".safetensors": _compare_safetensors,
    ".pt": _compare_state,
    ".dcm": _compare_dicom,
    ".stdout": _compare_stdout,
    ".stderr": _compare_sentences,
    **dict.fromkeys((".csv", ".md", ".tex", ".toml", ".txt"), _compare_text),
    **dict.fromkeys(PAGES, _compare_pages),
}
