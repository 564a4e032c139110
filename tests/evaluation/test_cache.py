"""The cache of scores: beside other programs, and where its file is not what it should be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fnetcli.evaluation import cache
from fnetcli.evaluation.cache import MAX_LOCKED, Known, ScoreCache

ROW = Known({"MI": 1.5}, {"MS-SSIM": "too small"}, ["vis: said"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "scores.sqlite"


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def scores(path: Path, troubles: list[str], monkeypatch: pytest.MonkeyPatch) -> ScoreCache:
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.001)
    return ScoreCache(path, troubles.append)


def test_others_see_a_row_at_once(path: Path, scores: ScoreCache, troubles: list[str]) -> None:
    other = ScoreCache(path, troubles.append)
    scores.put("a", ROW)
    other.put("b", ROW)
    assert (other.get("a"), scores.get("b")) == (ROW, ROW)
    assert troubles == []


def test_a_lock_is_waited_out(path: Path, scores: ScoreCache, troubles: list[str]) -> None:
    scores.put("a", ROW)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    scores.put("b", ROW)
    assert scores.get("a") == Known()
    holder.execute("COMMIT")
    assert (scores.get("a"), scores.get("b")) == (ROW, Known())
    assert troubles == []


def test_a_lock_for_ever_is_said_once(path: Path, scores: ScoreCache, troubles: list[str]) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    for i in range(2 * MAX_LOCKED):
        scores.put(str(i), ROW)
    (text,) = troubles
    assert "database is locked" in text
    assert "remove" not in text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '[{"MI": ' + "[" * 100_000,
        '[{"MI": 1' + "0" * 400 + "}, {}, []]",
        '[{"MI": NaN}, {}, []]',
        '[{"MI": "1.5x"}, {}, []]',
        "[{}, {}]",
        "{}",
        "3",
        None,
        b"\xff\xff",
    ],
)  # fmt: skip
def test_a_row_that_is_none_holds_nothing(
    path: Path, scores: ScoreCache, troubles: list[str], text: str | bytes | None
) -> None:
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("INSERT INTO scores VALUES ('a', ?)", (text,))
    assert scores.get("a") == Known()
    scores.put("a", ROW)
    assert scores.get("a") == ROW
    assert troubles == []


def test_a_file_of_another_kind_stays_as_it_is(path: Path, troubles: list[str]) -> None:
    path.parent.mkdir()
    path.write_bytes(b"somebody else's" * 1000)
    scores = ScoreCache(path, troubles.append)
    scores.put("a", ROW)
    assert scores.get("a") == Known()
    (text,) = troubles
    assert text.startswith(f"{path}: scores cannot be stored there (file is not a database)")
    assert text.endswith("remove that file")
    assert path.read_bytes() == b"somebody else's" * 1000
