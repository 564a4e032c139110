"""The site loads nothing from elsewhere, and the check of that finds what would."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS
from tests.paths import ROOT

CHECK: dict[str, Any] = runpy.run_path(str(DOCS / "check_site.py"))


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://x.org/a.js"></script>',
        "<script async src=//x.org/a.js></script>",
        '<img alt="a" src="http://x.org/a.png">',
        '<link rel="stylesheet" href="https://x.org/a.css">',
        '<link href="https://x.org" rel="preconnect" crossorigin>',
    ],
)
def test_what_a_page_would_load_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.html").write_text(f"<html>{text}</html>")
    (found,) = CHECK["loaded"](tmp_path)
    assert "a.html: " in found
    assert "x.org" in found


def test_links_and_own_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="https://x.org">x</a><img src="../a.png">')
    (tmp_path / "a.css").write_text("@import 'b.css'; a { background: url(data:image/png;x) }")
    assert CHECK["loaded"](tmp_path) == []
    (tmp_path / "a.css").write_text("@font-face { src: url('https://x.org/a.woff') }")
    assert CHECK["loaded"](tmp_path) == ["a.css: https://x.org/a.woff"]


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs refuses others, but not everybody builds the site."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("nav:\n", 2)[-1]
    for page in DOCS.rglob("*.md"):
        assert str(page.relative_to(DOCS)) in navigation, f"{page.name}: add it to mkdocs.yml"


def test_every_extra_for_users_is_described() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {*project["optional-dependencies"]} - {"browser", "check", "docs", "release", "test"}
    table = (DOCS / "install.md").read_text(encoding="utf-8").split("## Extras")[1]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == extras
