"""A contact sheet of a run: OUT/index.html, one self-contained page that works offline."""

from __future__ import annotations

import base64
import io
import math
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fnetcli.errors import ImageError, PairError
from fnetcli.files.durable import atomic_write
from fnetcli.formats import ReadOptions, probe_image, read_image
from fnetcli.imaging.image import Image, Stored
from fnetcli.imaging.intensity import (
    Scaled,
    Scaling,
    ScalingOptions,
    preview,
    to_stored,
    to_unit,
    valid_pixels,
)
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.modalities import BY_NAME
from fnetcli.pictures.fuse import FuseOptions
from fnetcli.pictures.outputs import map_names, paths_in_folder
from fnetcli.pictures.place import as_they_are, recorded_transform
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.pictures.sources import scale_again
from fnetcli.pictures.warp import onto_reference
from fnetcli.reports.page import template
from fnetcli.reports.registered import checkerboard, flicker, picture_of, residual_arrows
from fnetcli.runs.manifest import DONE, FAILED, MANIFEST_FILE, RUN_FILE, Record

PAGE_FILE = "index.html"
MAX_CASES = 300  # shown; of more, an even sample
MAX_LISTED = 300  # failures, and files without a partner
PLACING = ("before", "after", "flicker", "residuals")  # pictures of a placed pair
LONGEST_SIDE = 240  # of a thumbnail, in pixels
JPEG_QUALITY = 80
LARGE = 32_000_000  # pixels; larger pictures are held in memory one at a time
SHORT_SHA = 12  # digits that suffice to identify weights


ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Thumbnail:
    """A small picture as a data URI, or the reason why it is missing."""

    label: str
    data: str = ""
    width: int = 0
    height: int = 0
    link: str | None = None  # to the file that it shows
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """The description of an input."""

    label: str
    path: str
    size: str
    scale: str  # the stored numbers that became black and white


@dataclass(frozen=True)
class Row:
    """One case of the sheet."""

    name: str
    seconds: str
    sources: list[Source]
    notices: list[str]
    thumbnails: list[Thumbnail]
    said: list[str]  # good to know

    @property
    def size(self) -> str:
        """The size of both inputs if they have the same, else both sizes."""
        return " + ".join(dict.fromkeys(source.size for source in self.sources if source.size))


def write_contact_sheet(
    pairing: Pairing,
    options: FuseOptions,
    out: Path,
    records: list[Record],
    summary: Record,
    *,
    workers: int = 2,
    on_step: Callable[[], None] = lambda: None,
    max_cases: int = MAX_CASES,
) -> Path:
    """Write OUT/index.html of a run into a folder and return its path.

    `records` are those of the run's cases, in order, `summary` is the content of run.json. Pictures
    are read again, in threads; one that cannot be read leaves a gap with the reason in it. Raise
    OutputError or WriteError if the page cannot be written.
    """
    cases = {case.name: case for case in pairing.cases}
    done = [one for one in records if one["status"] == DONE and one["case"] in cases]
    painter = _Painter(options, out)
    rows = []
    with ThreadPoolExecutor(workers) as pool:
        shown = sample(done, max_cases)
        for row in pool.map(painter.row, [cases[one["case"]] for one in shown], shown):
            rows.append(row)
            on_step()
    failures = [(one["case"], _error(one)) for one in records if one["status"] == FAILED]
    page = template("contact_sheet.html").generate(
        title=_title(options),
        columns=_labels(options),
        rows=rows,
        case_count=len(done),
        totals=_totals(summary),
        facts=_facts(summary),
        failures=failures[:MAX_LISTED],
        failure_count=len(failures),
        unpaired=[(path, "") for path in summary["unpaired"][:MAX_LISTED]],
        unpaired_count=len(summary["unpaired"]),
        has_maps=bool(map_names(options.modalities, options.products, options.output)),
        has_placing=options.prepare.place.is_active,
        manifest=MANIFEST_FILE,
        run_file=RUN_FILE,
    )
    path = out / PAGE_FILE
    atomic_write(path, lambda file: _write_all(file, page))
    return path


def sample(items: list[ItemT], most: int) -> list[ItemT]:
    """Return at most `most` items, evenly spaced and in order, including the first and last."""
    if len(items) <= most:
        return items
    steps = max(most - 1, 1)
    return [items[i * (len(items) - 1) // steps] for i in range(most)]


# --- pictures -------------------------------------------------------------------------------------


class _Painter:
    """Draws the thumbnails of one case after the other; may be used in threads."""

    def __init__(self, options: FuseOptions, out: Path) -> None:
        self.options, self.out = options, out
        self._large_one = threading.Lock()
        # A result may be as large as the larger limit of the two inputs allows.
        limit = max(one.pixel_limit for one in options.prepare.reading)
        self._reading = ReadOptions(pixel_limit=limit)

    def row(self, case: Case, record: Record) -> Row:
        """Return the row of a finished case."""
        return Row(
            name=case.name,
            seconds=_seconds(record),
            sources=_described(self.options.prepare, record),
            notices=[str(text) for text in record.get("notices") or []],
            thumbnails=[
                *self._sources(case, record),
                *self._results(case),
                *self._placing(case, record),
            ],
            said=[str(text) for text in record.get("said") or []],
        )

    def _sources(self, case: Case, record: Record) -> Iterator[Thumbnail]:
        """Draw both inputs as the network saw them, in colour if they have it."""
        options = self.options.prepare
        for modality, path, reading, chosen in zip(
            options.modalities,
            (case.first, case.second),
            options.reading,
            options.scaling,
            strict=True,
        ):
            label, limits = _name(modality), _limits(record, modality)
            if limits is None:
                yield Thumbnail(label, problem="its range is not recorded")
                continue
            scaling = Scaling(limits, is_inverted=chosen.is_inverted)
            draw = partial(_as_scaled, modality=modality, options=chosen, scaling=scaling)
            yield self._draw(label, path, case.reading(reading), draw)

    def _results(self, case: Case) -> Iterator[Thumbnail]:
        """Draw the fused picture and its parts, if they were written."""
        options = self.options
        found = paths_in_folder(
            case, self.out, options.modalities, options.products, options.output
        )
        paths = [(found.fused, _as_stored), *((path, _as_map) for path in found.maps.values())]
        for label, (path, draw) in zip(_labels(options)[2:], paths, strict=False):
            yield self._draw(label, path, self._reading, draw)

    def _placing(self, case: Case, record: Record) -> Iterator[Thumbnail]:
        """Draw how both inputs are aligned, before and after they were placed."""
        if not self.options.prepare.place.is_active:
            return
        placed = record.get("alignment")
        labels = PLACING
        try:
            if not isinstance(placed, dict):
                raise PairError("the images were not placed by a transform")
            with self._large_one:
                yield from _drawn_placing(case, self.options.prepare, record, placed)
        except (ImageError, KeyError, TypeError, ValueError) as error:
            why = str(error) if isinstance(error, ImageError) else "it is not recorded"
            yield from (Thumbnail(label, problem=why) for label in labels)
        except MemoryError:
            yield from (
                Thumbnail(label, problem="needs more memory than is free") for label in labels
            )

    def _draw(
        self,
        label: str,
        path: Path,
        reading: ReadOptions,
        draw: Callable[[Image], NDArray[np.uint8]],
    ) -> Thumbnail:
        try:
            header = probe_image(path, reading)
            is_large = header.height * header.width > LARGE
            with self._large_one if is_large else nullcontext():
                picture = shrink(draw(read_image(path, reading)))
        except ImageError as error:
            return Thumbnail(label, problem=str(error).removeprefix(f"{path}: "))
        except MemoryError:
            return Thumbnail(label, problem="needs more memory than is free")
        data = _data_uri(picture)
        return Thumbnail(label, data, *picture.size, link=relative_url(path, self.out))


def _drawn_placing(
    case: Case, options: PrepareOptions, record: Record, placed: Record
) -> list[Thumbnail]:
    """Return checkerboards before and after, a flicker view, and residuals, by the record."""
    known = {name: _limits(record, name) for name in options.modalities}
    first, second = (
        scale_again(
            read_image(path, case.reading(reading)),
            name,
            scaling,
            Scaling(known[name] or (0.0, 255.0), is_inverted=scaling.is_inverted),
        )
        for path, name, reading, scaling in zip(
            (case.first, case.second),
            options.modalities,
            options.reading,
            options.scaling,
            strict=True,
        )
    )
    is_first = placed["to"] == options.modalities[0]
    reference, moving = (first, second) if is_first else (second, first)
    warped = onto_reference(
        reference, moving, recorded_transform(placed), placed["view"], str(placed["to"])
    )
    before = as_they_are(reference, moving, warped.window)
    pairs = [[shrink(_levels(one)) for one in pair] for pair in (before, warped.pair)]
    boards = [checkerboard(*(np.asarray(one) for one in pair)) for pair in pairs]
    frames = [picture_of(np.asarray(one)) for one in pairs[1]]
    shrunk = frames[0].width / warped.window[2]
    left, top, _, _ = warped.window
    rows = [
        ((x - left) * shrunk, (y - top) * shrunk, right * shrunk, down * shrunk, agrees)
        for x, y, right, down, agrees in (placed.get("registration") or {}).get("residuals", [])
    ]
    arrows = residual_arrows(np.asarray(frames[0]), rows)
    moving_picture = base64.b64encode(flicker(frames[0], frames[1], "WEBP")).decode()
    data = [*map(_data_uri, boards), f"data:image/webp;base64,{moving_picture}", _data_uri(arrows)]
    return [
        Thumbnail(label, one, *frames[0].size) for label, one in zip(PLACING, data, strict=True)
    ]


def _levels(scaled: Scaled) -> NDArray[np.uint8]:
    return to_stored(scaled.in_full().image.pixels[0])


def _as_scaled(
    image: Image, modality: str, options: ScalingOptions, scaling: Scaling
) -> NDArray[np.uint8]:
    """Return an input as the network saw it, in colour if it has it."""
    return to_stored(scale_again(image, modality, options, scaling).in_full().image.pixels[0])


def _as_seen(image: Image, scaling: Scaling) -> NDArray[np.uint8]:
    return to_stored(to_unit(image, scaling).image.pixels[0])


def _as_stored(image: Image) -> NDArray[np.uint8]:
    """Return a result on the scale of its type, black where it has no data."""
    kind = image.pixels.dtype
    white = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
    whole = replace(image, pixels=_without_holes(image), nodata=None)
    return _as_seen(whole, Scaling((0.0, white)))


def _as_map(image: Image) -> NDArray[np.uint8]:
    """Return a signed map, or the preview of one, as a preview; no data is zero."""
    if image.pixels.dtype.kind != "f":
        return _as_stored(image)
    return preview(_without_holes(image)[0].astype(np.float32, copy=False))


def _without_holes(image: Image) -> Stored:
    valid = valid_pixels(image)
    if valid is None:
        return image.pixels
    return np.where(valid[..., None], image.pixels, image.pixels.dtype.type(0))


def shrink(levels: NDArray[np.uint8]) -> PIL.Image.Image:
    """Return (H, W, 1 or 3) as a picture reduced to thumbnail size; small ones do not change."""
    picture = PIL.Image.fromarray(
        np.ascontiguousarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    )
    ratio = LONGEST_SIDE / max(picture.size)
    if ratio >= 1:
        return picture
    width, height = (max(1, round(side * ratio)) for side in picture.size)
    return picture.resize((width, height), PIL.Image.Resampling.BOX)  # the mean over the area


def _data_uri(picture: PIL.Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getbuffer()).decode()}"


def relative_url(path: Path, folder: Path) -> str | None:
    """Return the address of a file relative to a folder; None if there is none."""
    try:
        steps = PurePath(os.path.relpath(path, folder)).as_posix()
        return quote(os.fsencode(steps))
    except ValueError:  # another drive, or a name that no file can have
        return None


# --- words ----------------------------------------------------------------------------------------


def _name(modality: str) -> str:
    return BY_NAME[modality].title


def _labels(options: FuseOptions) -> list[str]:
    """Return the names of a case's pictures, in their order."""
    labels = {f"unique_{name}": f"unique to {_name(name)}" for name in options.modalities}
    labels["common"] = "common to both"
    maps = map_names(options.modalities, options.products, options.output)
    return [
        *map(_name, options.modalities),
        "fused",
        *(labels.get(name, name.replace("_", " ")) for name in maps),
        *(PLACING if options.prepare.place.is_active else ()),
    ]


def _title(options: FuseOptions) -> str:
    first, second = map(_name, options.modalities)
    return f"{second} + {first}"


def _error(record: Record) -> str:
    """Return the error without the case's name, which is shown beside it."""
    return str(record.get("error", "")).removeprefix(f"{record['case']}: ")


def _described(options: PrepareOptions, record: Record) -> list[Source]:
    return [
        Source(
            label=_name(modality),
            path=str(record["inputs"][modality].get("path", "")),
            size=str(record["inputs"][modality].get("size", "")),
            scale=_scale(_limits(record, modality), is_inverted=chosen.is_inverted),
        )
        for modality, chosen in zip(options.modalities, options.scaling, strict=True)
    ]


def _scale(limits: tuple[float, float] | None, *, is_inverted: bool) -> str:
    if limits is None:
        return ""
    return f"[{limits[0]:g}, {limits[1]:g}]{' inverted' if is_inverted else ''}"


def _seconds(record: Record) -> str:
    value = record.get("seconds")
    return f"{value:.2f} s" if isinstance(value, int | float) else ""


def _limits(record: Record, modality: str) -> tuple[float, float] | None:
    """Return the range that was used; None if an edited manifest lacks it."""
    try:
        used = record["ranges"][modality]
        low, high = float(used["low"]), float(used["high"])
    except (KeyError, TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _totals(summary: Record) -> list[tuple[str, int]]:
    totals = summary["totals"]
    shown = [
        ("fused", totals["done"]),
        ("skipped", totals["skipped"]),
        ("failed", totals["failed"]),
        ("unpaired", totals["unpaired"]),
    ]
    return shown + ([("left", totals["left"])] if totals.get("left") else [])


def _facts(summary: Record) -> list[tuple[str, str]]:
    """Return the facts about the whole run, as terms and texts, without empty ones."""
    weights, versions = summary.get("weights"), summary["versions"]
    facts = [
        ("command", shlex.join(summary["command"])),
        (
            "weights",
            f"{weights['name']}, sha256 {weights['sha256'][:SHORT_SHA]}" if weights else "",
        ),
        ("method", summary.get("method", "")),
        ("date", _date(summary["started"])),
        ("took", f"{summary['seconds']:,.1f} s"),
        ("device", summary["device"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("ended", "" if summary["status"] == "finished" else summary["status"]),
    ]
    return [(term, text) for term, text in facts if text]


def _date(iso: str) -> str:
    return iso.replace("T", " ").replace("+00:00", " UTC")


# --- the page -------------------------------------------------------------------------------------


def _write_all(file: BinaryIO, page: Iterator[str]) -> None:
    file.writelines(piece.encode() for piece in page)
