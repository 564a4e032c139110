"""Tables on the terminal: numbers are never cut, names never lost."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from fnetcli.evaluation.statistics import BEST, SECOND
from fnetcli.reports.tables import GAP, SHORTEST, Cell, Row, counted, duration, terminal_tables
from fnetcli.text import printable

CELLS = (Cell("12"), Cell("0.1234", BEST), Cell("5678.9", SECOND), Cell("-0.5 (n=3)"), Cell("-"))
NAMES = ("method", "n", "MI \u2191", "MSE \u2193", "SCD \u2191", "MS-SSIM \u2191")


def printed(width: int | None, *methods: str) -> list[list[str]]:
    """Return the lines of every part."""
    rows = iter([Row(method, CELLS) for method in methods])
    tables = terminal_tables(NAMES, rows, width=width, is_styled=False)
    parts = []
    for table in tables:
        file = io.StringIO()
        Console(file=file, width=1000).print(table)
        parts.append([line.rstrip() for line in file.getvalue().splitlines()])
    return parts


def test_all_in_one_where_nobody_folds() -> None:
    ((heads, row),) = printed(None, "a name " * 30)
    assert heads.split()[0] == "method"
    assert row.startswith("a name " * 29)
    assert row.split()[-6:] == ["12", "0.1234*", "5678.9+", "-0.5", "(n=3)", "-"]


def test_parts_begin_with_the_methods() -> None:
    parts = printed(25, "average", "FNet")
    assert len(parts) == 4
    for heads, *rows in parts:
        assert heads.startswith("method ")
        assert [row.split()[0] for row in rows] == ["average", "FNet"]


def test_a_name_is_wrapped_only_where_no_number_fits_beside_it() -> None:
    name = "m" * 28
    assert all(len(part) == 2 for part in printed(28 + GAP + 10, name))
    assert all(len(part) == 3 for part in printed(28 + GAP + 9, name))


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=3), st.integers(1, 120))
def test_every_number_and_every_letter_is_there(methods: list[str], width: int) -> None:
    parts = printed(width, *methods)
    text = "\n".join(line for part in parts for line in part)
    for number in ("0.1234*", "5678.9+", "-0.5 (n=3)"):
        assert text.count(number) == len(methods)
    widest = max(len(cell.text) for cell in CELLS)
    limit = max(width, SHORTEST + GAP + widest)
    assert all(cell_len(line) <= limit for part in parts for line in part)


@pytest.mark.parametrize("letter", ["\n", "\x1b", "\x85", "\u2028", "\u202e", "\ud800"])
def test_what_a_terminal_would_obey_is_replaced(letter: str) -> None:
    assert printable(f"a{letter}b") == "a\ufffdb"
    assert len(printed(None, f"a{letter}b")[0]) == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.37e-6, "2.37 \u00b5s"),
        (0.00099996, "1 ms"),
        (0.0715, "71.5 ms"),
        (0.99996, "1 s"),
        (4.231, "4.23 s"),
        (599.0, "599 s"),
        (1234.0, "20.6 min"),
        (1e6, "16,667 min"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (998, "998"), (999_900, "1 M"), (128_994_508_800, "129 G"), (10**16, "10,000 T")],
)
def test_large_numbers_are_never_powers_of_ten(count: int, text: str) -> None:
    assert counted(count) == text
