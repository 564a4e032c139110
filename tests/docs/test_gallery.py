"""The gallery's page is what its script writes, and shows what is there."""

from __future__ import annotations

import runpy
from typing import Any

from PIL import Image

from tests.paths import ROOT


def test_page_and_pictures() -> None:
    script: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "make_gallery.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"]()
    names = {one.name for one in (*script["ENTRIES"], *script["FAILURES"])}
    paths = sorted(script["PICTURES"].iterdir())
    assert {path.stem for path in paths} == names
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 250
    assert sum(path.stat().st_size for path in paths) < 1_000_000
