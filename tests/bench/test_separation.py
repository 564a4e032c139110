"""The table of separation, on two tiny scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.separation import main, measure
from tests.cli.command import tiny_weights
from tests.drawn_pictures import write_pairs


def test_a_table_of_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, 2)
    weights = str(tiny_weights(tmp_path))
    main([str(tmp_path), "--weights", weights])
    title, head, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert title == f"{weights}, 2 pairs"
    assert head == "| | ir | vis |"
    cells = {row.split("|")[1].strip(): row.split("|")[2:4] for row in rows}
    scores = [one.score for one in measure(tmp_path, weights, ("ir", "vis"))]
    assert None not in scores
    assert float(cells["separation"][0]) == pytest.approx(np.mean(scores), abs=1e-3)  # type: ignore[arg-type]
    for cell in cells["with its source"]:
        assert -1 <= float(cell) <= 1


def test_one_pair_is_not_one_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, 1)
    weights = str(tiny_weights(tmp_path))
    main([str(tmp_path), "--weights", weights])
    assert capsys.readouterr().out.startswith(f"{weights}, 1 pair\n")
