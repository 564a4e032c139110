"""Boxes of objects in images: COCO's JSON, or a folder of Pascal VOC's XML files.

LLVIP and M3FD come with XML files, one per image; many tools export COCO's JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from fnetcli.errors import ReadError
from fnetcli.files.guarded import FileKind, read_text

COCO = FileKind(
    "a file of boxes", 1 << 30, "give COCO's JSON or a folder of XML files", ReadError, ReadError
)
VOC = FileKind("a file of boxes", 1 << 22, "give Pascal VOC's XML", ReadError, ReadError)


@dataclass(frozen=True)
class Box:
    """An object of a class: left, top, right and bottom in pixels, right and bottom outside."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Return the boxes of each image, by its name without suffix. Raise ReadError."""
    return _read_voc(path) if path.is_dir() else _read_coco(path)


def _read_coco(path: Path) -> dict[str, list[Box]]:
    try:
        content = json.loads(read_text(path, COCO))
        kinds = {one["id"]: str(one["name"]) for one in content["categories"]}
        names = {one["id"]: Path(str(one["file_name"])).stem for one in content["images"]}
        found: dict[str, list[Box]] = {name: [] for name in names.values()}
        for one in content["annotations"]:
            if one.get("iscrowd"):
                continue
            left, top, width, height = map(float, one["bbox"])
            box = Box(kinds[one["category_id"]], left, top, left + width, top + height)
            found[names[one["image_id"]]].append(_checked(path, box))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ReadError(
            f"{path}: not COCO's JSON of boxes ({_said(error)}); it needs images, categories and "
            "annotations with bbox"
        ) from None
    return found


def _read_voc(folder: Path) -> dict[str, list[Box]]:
    found = {path.stem: _read_xml(path) for path in sorted(folder.glob("*.xml"))}
    if not found:
        raise ReadError(f"{folder}: holds no XML files of boxes; give Pascal VOC's annotations")
    return found


def _read_xml(path: Path) -> list[Box]:
    text = read_text(path, VOC)
    if "<!" in text.replace("<!--", ""):
        raise ReadError(f"{path}: XML with a document type, which annotations do not need")
    try:
        root = ET.fromstring(text)  # noqa: S314  it has no entities, see above
        return [_voc_box(path, one) for one in root.iter("object")]
    except (ET.ParseError, TypeError, ValueError) as error:
        raise ReadError(
            f"{path}: not Pascal VOC's XML ({_said(error)}); an object needs name and bndbox"
        ) from None


def _voc_box(path: Path, one: Any) -> Box:
    """Return a box; Pascal VOC counts pixels from 1, and its last ones are inside."""
    name = one.findtext("name")
    values = [one.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
    if not name or None in values:
        raise ValueError("an object without name or bndbox")
    left, top, right, bottom = map(float, values)
    return _checked(path, Box(name, left - 1, top - 1, right, bottom))


def _checked(path: Path, box: Box) -> Box:
    sides = (box.left, box.top, box.right, box.bottom)
    if not all(map(math.isfinite, sides)) or box.right <= box.left or box.bottom <= box.top:
        raise ReadError(f"{path}: an empty or impossible box of {box.kind}; correct it")
    return box


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:120].replace("\n", " ")
