"""What the losses ask for, on a tiny scene."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.optimum import main
from tests.cli.command import tiny_weights
from tests.drawn_pictures import write_pairs


def test_the_minimum_has_a_lower_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, 1, 50, 60)
    weights = str(tiny_weights(tmp_path))
    balances = ("--balance", "20", "20", "15", "--balance", "60", "20", "30")
    main([str(tmp_path), "--weights", weights, *balances, "--steps", "12", "--side", "48"])
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert [table.splitlines()[0] for table in tables] == [
        "balance 20, 20, 15; 1 pair",
        "balance 60, 20, 30; 1 pair",
    ]
    for table in tables:
        head, _, of_network, of_minimum = table.splitlines()[1:]
        assert head.split(" | ")[1:] == [
            *("MI", "CE", "VIF", "Qabf", "Qcb", "SSIM"),
            *("loss of intensity", "loss of gradient", "loss of ssim", "all |"),
        ]
        last = [float(row.rstrip(" |").rpartition(" | ")[2]) for row in (of_network, of_minimum)]
        assert last[1] < last[0]
