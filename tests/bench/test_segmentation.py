"""The table of classes learned from each kind of image, on two tiny scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.segmentation import main
from tests.drawn_pictures import write, write_pairs


def test_a_row_for_each_kind_of_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "test"):
        write_pairs(tmp_path / name, 2)
        label = np.ones((24, 32), np.uint8)
        label[:, 16:] = 2
        for i in range(2):
            write(tmp_path / name / "label" / f"{i}.png", label)
    main(
        [
            *(str(tmp_path / "train"), str(tmp_path / "test"), "--weights", "fnet"),
            *("--classes", "left", "right", "third", "--steps", "2"),
        ]
    )
    title, head, _, *rows = capsys.readouterr().out.splitlines()
    assert "drawn scenes: 2 to train on, 2 to test" in title
    assert head == "| images | left | right | third | mIoU |"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["visible alone", "infrared alone", "average", "fnet"]
    for row in cells:
        known = [float(cell) for cell in row[1:3]]
        assert row[3] in {"n/a", "0.000"}
        values = known + ([0.0] if row[3] != "n/a" else [])
        assert float(row[4]) == pytest.approx(np.mean(values), abs=1e-3)
