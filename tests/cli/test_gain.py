"""`fnet fuse --gain`: scaling the parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fnetcli import fuse, load_network
from fnetcli.cli.options.results import GivenResults
from fnetcli.errors import UsageError
from fnetcli.products import Products
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors, records
from tests.drawn_pictures import smooth_noise, write


@pytest.fixture
def pair(tmp_path: Path) -> list[object]:
    vis = write(tmp_path / "in" / "vis.png", smooth_noise(20, 30, 1))
    ir = write(tmp_path / "in" / "ir.png", smooth_noise(20, 30, 2))
    return ["--vis", vis, "--ir", ir, "--weights", tiny_weights(tmp_path)]


def test_the_fused_picture_is_the_weighted_sum(tmp_path: Path, pair: list[object]) -> None:
    options = ["--maps", "float", "--depth", "float"]
    gains = ["--gain", "unique_ir=1.3", "--gain", "common=0.8"]
    result = fnet("fuse", *pair, "-o", tmp_path / "out", *options, *gains)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    parts = {
        name: tifffile.imread(out / name / "vis.tif")
        for name in ("unique_ir", "unique_vis", "common")
    }
    mixed = 1.3 * parts["unique_ir"] + parts["unique_vis"] + 0.8 * parts["common"]
    fused = tifffile.imread(out / "fused" / "vis.tif")
    assert np.abs(fused - np.clip(mixed, 0, 1)).max() < 1e-6
    assert records(out)[0]["options"]["gains"] == [1.3, 1, 0.8]


def test_gains_of_one_change_nothing(tmp_path: Path, pair: list[object]) -> None:
    plain = fnet("fuse", *pair, "-o", tmp_path / "out")
    ones = ["--gain", "unique_ir=1", "--gain", "unique_vis=1.0", "--gain", "common=1"]
    again = fnet("fuse", *pair, "-o", tmp_path / "out", *ones)
    assert (plain.exit_code, again.exit_code) == (0, 0)
    assert "0 fused, 1 skipped" in again.stderr  # it knows that nothing would change
    other = tmp_path / "other"
    fnet("fuse", *pair, "-o", other, *ones)
    for path in (tmp_path / "out").rglob("*.png"):
        assert path.read_bytes() == (other / path.relative_to(tmp_path / "out")).read_bytes()
    assert "gains" not in json.dumps(records(other))


def test_other_gains_are_another_result(tmp_path: Path, pair: list[object]) -> None:
    fnet("fuse", *pair, "-o", tmp_path / "out")
    result = fnet("fuse", *pair, "-o", tmp_path / "out", "--gain", "common=0.5")
    assert "1 fused, 0 skipped" in result.stderr


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        ("unique_nir=1", ": give PART=NUMBER, with PART one of unique_ir, unique_vis"),
        ("common", "--gain common: give a number from 0 to 10"),
        ("common=nan", "give a number from 0 to 10"),
        ("common=-1", "give a number from 0 to 10"),
        ("common=11", "give a number from 0 to 10"),
        ("common=1_0", "give a number from 0 to 10"),
        ("common=\u0663", "give a number from 0 to 10"),
        ("common= 2", "give a number from 0 to 10"),
        ("common=0x1", "give a number from 0 to 10"),
    ],
)
def test_mistakes(pair: list[object], gain: str, message: str) -> None:
    result = fnet("fuse", *pair, "--gain", gain)
    assert result.exit_code == 2
    assert message in errors(result.stderr)[0]


@pytest.mark.parametrize(("text", "gain"), [("1.50", 1.5), (".5", 0.5), ("2.", 2), ("5E-1", 0.5)])
def test_numbers_as_people_write_them(text: str, gain: float) -> None:
    products = Products(parts=("unique_first", "unique_second", "common"))
    given = GivenResults(gain=[f"unique_ir={text}"])
    assert given.gains(products, ("ir", "vis")) == {"unique_first": gain}


def test_given_twice(pair: list[object]) -> None:
    result = fnet("fuse", *pair, "--gain", "common=1", "--gain", "common=2")
    assert "given twice" in errors(result.stderr)[0]


def test_python(pair: list[object]) -> None:
    network = load_network(str(pair[5]), device="cpu")
    vis, ir = str(pair[1]), str(pair[3])
    fused = fuse(network, gains={"unique_ir": 0, "unique_vis": 0}, vis=vis, ir=ir)
    common = np.clip(fused.parts["common"], 0, 1)
    assert np.array_equal(fused.image.pixels[..., 0], common)
    with pytest.raises(UsageError, match="gain of unique_ct: not one of the parts"):
        fuse(network, gains={"unique_ct": 0}, vis=vis, ir=ir)
