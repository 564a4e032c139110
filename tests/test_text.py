"""Messages that count say "1 file", not "1 files"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fnetcli
from fnetcli.text import number_of, per_second, verb_of, without_numbers

SOURCES = sorted(Path(fnetcli.__file__).parent.rglob("*.py"))
COUNTS = re.compile(
    r"\blen\(|\.sum\(\)|(^|[._])(count|counts|total|frames|more|missing|copies|lines|steps|times)$"
    r"| - (MAX|MOST|SHOWN)_"
)
PLURAL = re.compile(r" (?:[a-z-]+ )?[a-z]{2,}[a-rt-z]s\b")
# What follows a number and looks like a plural; and counts that are never 1 where they are printed.
NO_NOUNS = ("has", "of its", "of names")
SEVERAL = {
    "{len(self.members)} volumes",  # of a series that holds several
    "{len(files)} volumes",
    "{count} volumes",
    "{count} frames",  # not one picture
    "{count} pages",
    "{len(linear)} transforms",
    "{len(fits)} files",
    "{count} pairs",  # with a transform each
    "{len(found.pairing.cases)} pairs",
    "{len(names)} cases",  # more than can be shown
    "{len(weights)} networks",
    "{len(plan.data)} sets",
    "{len(values)} times",
    "{len(windows)} volumes",
    "{len(even)} even slices",
    "{len(tiling)} tiles",
    "{len(value)} values",
    "{len(heights)} slices",
    "{len(frames)} images",
    "{count} parts",
    "{count} voxels",  # within a radius
    "{self.frames} pairs",
    "{self._staff.count} workers",
    "{self.frames} frames",
    "{count} such cases",
    "{len(images)} series",
    "{count} numbers",  # of a matrix
    "{count} pixels",  # of whole rows
}


def countables(tree: ast.AST) -> Iterator[str]:
    """Yield every place of a count before a noun in the plural."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                expression, found = ast.unparse(value.value), PLURAL.match(str(text.value))
                if found and COUNTS.search(expression) and "number_of" not in expression:
                    yield f"{{{expression}}}{found[0]}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nouns_follow_their_numbers(path: Path) -> None:
    source = path.read_text()
    found = {
        one
        for one in countables(ast.parse(source))
        if one not in SEVERAL and not one.endswith(NO_NOUNS)
    }
    assert not found, "use fnetcli.text.number_of"
    if path.name != "text.py":
        assert not re.search(r"""["']s["'] (\*|if)""", source), "use fnetcli.text.number_of"


def test_the_search_finds_them() -> None:
    tree = ast.parse('''f"{len(paths)} files are read, {count} more pairs; {name} is"''')
    assert [*countables(tree)] == ["{len(paths)} files", "{count} more pairs"]


def test_numbers_with_nouns() -> None:
    assert [number_of(i, "pair") for i in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
    assert [number_of(i, "copy", "copies") for i in (1, 2)] == ["1 copy", "2 copies"]
    assert number_of(1234, "byte", form=",") == "1,234 bytes"
    assert [verb_of(i) for i in (1, 2)] == ["is", "are"]
    assert [per_second(rate) for rate in (1, 0.5, 25.0)] == [
        "1 frame per second",
        "0.5 frames per second",
        "25 frames per second",
    ]


def test_texts_that_differ_in_numbers_alone() -> None:
    said = "0: ir: {} NaN, infinite or nodata: filled from the neighbours"
    one, many = said.format("1 pixel (0.1 %) is"), said.format("12 pixels (1.5 %) are")
    assert without_numbers(one) == without_numbers(many)
    assert without_numbers(many) == f"N{said[1:].format('N pixels (N %) are')}"
    assert without_numbers("1 dead pixel is gone") == without_numbers("2 dead pixels are gone")
    assert without_numbers("1 file is left") != without_numbers("1 pixel is left")
