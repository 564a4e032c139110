"""Boxes of COCO's JSON and of Pascal VOC's XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fnetcli.errors import ReadError
from fnetcli.formats.boxes import Box, read_boxes

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "night/a.png"}, {"id": 8, "file_name": "b.jpg"}],
    "categories": [{"id": 1, "name": "person"}],
    "annotations": [
        {"image_id": 7, "category_id": 1, "bbox": [3, 4, 10, 20]},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1},
    ],
}
VOC = """<annotation><!-- by hand --><object><name>person</name><bndbox><xmin>4</xmin>
<ymin>5</ymin><xmax>13</xmax><ymax>24</ymax></bndbox></object></annotation>"""


def test_both_forms_agree(tmp_path: Path) -> None:
    """Pascal VOC counts from 1, and its last pixel is inside."""
    (tmp_path / "c.json").write_text(json.dumps(COCO))
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "a.xml").write_text(VOC)
    (tmp_path / "voc" / "b.xml").write_text("<annotation/>")
    expected = {"a": [Box("person", 3, 4, 13, 24)], "b": []}
    assert read_boxes(tmp_path / "c.json") == expected
    assert read_boxes(tmp_path / "voc") == expected


def changed(key: str, value: Any) -> str:
    return json.dumps({**COCO, "annotations": [{**COCO["annotations"][0], key: value}]})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "[]", "not COCO's JSON"),
        ("x.json", "{", "not COCO's JSON"),
        ("x.json", '{"images": [], "categories": []}', "KeyError: 'annotations'"),
        ("x.json", changed("image_id", 9), "not COCO's JSON"),
        ("x.json", changed("bbox", [1, 2, 3]), "not COCO's JSON"),
        ("x.json", changed("bbox", [1, 2, 0, 3]), "an empty or impossible box of person"),
        ("x.json", changed("bbox", [1, 2, float("inf"), 3]), "an empty or impossible box"),
        ("v/x.xml", "<a>", "not Pascal VOC's XML"),
        ("v/x.xml", "<a><object><name>car</name></object></a>", "without name or bndbox"),
        ("v/x.xml", VOC.replace("13", "2"), "an empty or impossible box of person"),
        ("v/x.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "XML with a document type"),
        ("v/x.txt", "", "holds no XML files"),
    ],
)
def test_damage(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(ReadError) as caught:
        read_boxes(path.parent if name.startswith("v/") else path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError):
        read_boxes(tmp_path / "none.json")
