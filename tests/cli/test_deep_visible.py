"""Visible pictures of more than 8 bits are as bright as the same ones of 8 bits, or it is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray

from fnetcli.text import number_of
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import records
from tests.cli.test_depth import read
from tests.drawn_pictures import smooth_noise, write

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

Numbers = NDArray[Any]
HEIGHT, WIDTH = 48, 64
DARK = "so all come out dark"


def picture(white: float, seed: int = 6, channels: int = 3) -> NDArray[np.uint16]:
    """Return colours that a picture of 8 bits has, up to `white`."""
    unit = smooth_noise(HEIGHT, WIDTH, seed, channels).astype(np.float64)
    levels: NDArray[np.uint16] = np.rint(unit / unit.max() * white).astype(np.uint16)
    return levels


def with_bright(pixels: Numbers, count: int, value: int = 65_535) -> Numbers:
    """Return the picture with a few scattered pixels that are stuck."""
    bright = pixels.copy()
    places = np.random.default_rng(1).choice(HEIGHT * WIDTH, count, replace=False)
    bright.reshape(HEIGHT * WIDTH, -1)[places] = value
    return bright


class Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = tiny_weights(folder)

    def fuse(self, *pictures: Numbers, options: tuple[str, ...] = ()) -> tuple[list[Any], str]:
        """Fuse visible pictures, a folder of them; return the records, and what was said."""
        vis, ir, out = (self.folder / name for name in ("vis", "ir", "out"))
        vis.mkdir()
        for i, pixels in enumerate(pictures):
            color = "rgb" if pixels.ndim == 3 else "minisblack"
            tifffile.imwrite(vis / f"{i}.tif", pixels, photometric=color, metadata=None)
            write(ir / f"{i}.png", smooth_noise(HEIGHT, WIDTH, i))
        return self.run(vis, ir, out, *options)

    def run(self, vis: Path, ir: Path, out: Path, *options: str) -> tuple[list[Any], str]:
        arguments = ("--vis", vis, "--ir", ir, "-o", out, "--weights", self.weights, *options)
        result = fnet("fuse", *arguments)
        assert result.exit_code == 0, result.output
        return records(out), result.stderr


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def whites(found: list[Any]) -> list[float]:
    return [one["ranges"]["vis"]["high"] for one in found]


class TestBits:
    @pytest.mark.parametrize("bits", range(8, 17))
    def test_in_use(self, bits: int, runs: Runs) -> None:
        found, said = runs.fuse(picture(2**bits - 1))
        assert whites(found) == [2**bits - 1]
        assert (f"taken as {bits} bits (--bits vis=16 if they are not)" in said) == (bits < 16)
        assert DARK not in said

    @pytest.mark.parametrize(("white", "bits"), [(16_000, 14), (10_000, 14), (700, 10), (5000, 13)])
    def test_as_bright_as_with_8_bits(self, white: int, bits: int, runs: Runs) -> None:
        """The highest number is rarely that of the bits."""
        (one,), _ = runs.fuse(picture(white))
        deep = read(runs.folder / "out" / "fused" / "0.png") / 65_535
        assert one["ranges"]["vis"]["high"] == 2**bits - 1
        eight = write(runs.folder / "0.png", np.rint(picture(255)).astype(np.uint8))
        out = runs.folder / "eight"
        runs.run(eight, runs.folder / "ir" / "0.png", out)
        plain = read(out / "fused" / "0.png") / 255
        assert deep.mean() > 0.6 * plain.mean()

    @pytest.mark.parametrize("count", [1])
    @pytest.mark.parametrize("bits", [10, 12, 14])
    def test_one_bright_pixel_decides_nothing(self, count: int, bits: int, runs: Runs) -> None:
        pictures = [picture(2**bits - 1, seed) for seed in range(3)]
        pictures[1] = with_bright(pictures[1], count)
        found, said = runs.fuse(*pictures)
        assert whites(found) == [2**bits - 1] * 3
        words = f"only {number_of(count, 'pixel')} above {2**bits - 1}, taken as white"
        assert words in said

    def test_one_in_each_picture_decides_nothing_either(self, runs: Runs) -> None:
        found, said = runs.fuse(*(with_bright(picture(4095, seed), 1) for seed in range(3)))
        assert whites(found) == [4095] * 3
        assert "only 3 pixels above 4095" in said

    def test_stuck_ones_of_one_number_decide_nothing(self, runs: Runs) -> None:
        """Many of them are no data, as in thermal pictures."""
        found, said = runs.fuse(with_bright(picture(4095), 40))
        assert whites(found) == [4095]
        assert "vis: 40 pixels (1.3 %) hold 65535, far from all others" in said

    def test_a_bright_area_does(self, runs: Runs) -> None:
        pixels = picture(4095)
        pixels[10:20, 10:30] = 60_000 + picture(900)[10:20, 10:30]
        found, said = runs.fuse(pixels)
        assert whites(found) == [65_535]
        assert "taken as" not in said

    def test_black_stays_black(self, runs: Runs) -> None:
        pixels = picture(60_000)
        pixels[pixels < 20_000] = 20_000
        pixels[:10] = 0
        found, said = runs.fuse(pixels)
        assert found[0]["ranges"]["vis"]["invalid"] == 0
        assert "warning" not in said


class TestDark:
    def test_a_few_bright_places_make_all_dark(self, runs: Runs) -> None:
        """Reflectance times 10000, with clouds or glints in it."""
        pixels = np.minimum(picture(3000), 3000)
        pixels[:3, :5] = picture(16_000)[:3, :5] // 2 + 8000
        found, said = runs.fuse(pixels)
        assert whites(found)[0] >= 16_383
        assert DARK in said
        for option in ("--bits vis=N", "--range vis=LO,HI", "--stretch vis=0.1,99.9"):
            assert option in said

    @pytest.mark.parametrize(
        "options",
        [
            ("--bits", "vis=12"),
            ("--range", "vis=0,3000"),
            ("--stretch", "vis=0.1,99"),
        ],
    )
    def test_what_it_names_helps(self, options: tuple[str, ...], runs: Runs) -> None:
        pixels = picture(3000)
        pixels[:3, :5] = picture(16_000)[:3, :5] // 2 + 8000
        found, said = runs.fuse(pixels, options=options)
        assert whites(found)[0] < 4100
        assert "warning" not in said

    def test_one_bright_picture_in_a_folder_is_enough(self, runs: Runs) -> None:
        found, said = runs.fuse(picture(9000), picture(60_000))
        assert whites(found) == [65_535] * 2
        assert DARK not in said

    @pytest.mark.usefixtures("without_plots")
    def test_inspect_tells_the_same(self, runs: Runs) -> None:
        pixels = picture(3000)
        pixels[:3, :5] = picture(16_000)[:3, :5] // 2 + 8000
        path = runs.folder / "a.tif"
        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None)
        fnet("inspect", path, "--json", runs.folder / "facts.json")
        (vis, _) = json.loads((runs.folder / "facts.json").read_text())["scaling"]
        assert any(DARK in notice for notice in vis["notices"])
        pair = ("--vis", path, "--ir", write(runs.folder / "b.png", smooth_noise(48, 64, 1)))
        result = fnet("inspect", *pair, "--weights", runs.weights, "-o", runs.folder / "pair")
        assert DARK in result.stderr
        result = fnet("eval", *pair, "--baselines", "--metrics", "EN", "--no-cache")
        assert DARK in result.stderr


class TestReflectance:
    def geotiff(self, folder: Path, pixels: Numbers, **tags: Any) -> Path:
        """Write with GDAL, which other programs' files are written with."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "0.tif"
        bands = np.moveaxis(pixels, -1, 0)
        with rasterio.open(
            *(path, "w", "GTiff"),
            width=pixels.shape[1],
            height=pixels.shape[0],
            count=len(bands),
            dtype=pixels.dtype,
            photometric="rgb",
        ) as file:
            file.write(bands)
            if "scales" in tags:
                file.scales = tags["scales"]
            if "offsets" in tags:
                file.offsets = tags["offsets"]
            if "items" in tags:
                file.update_tags(**tags["items"])
        return path

    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            ({"scales": [1e-4] * 3}, (0, 10_000)),
            ({"scales": [1e-4] * 3, "offsets": [-0.1] * 3}, (1000, 11_000)),
            ({"scales": [2e-5] * 3}, (0, 50_000)),
            ({"items": {"BOA_QUANTIFICATION_VALUE": "10000"}}, (0, 10_000)),
            ({"items": {"REFLECTANCE_SCALE": "32768"}}, (0, 32_768)),
        ],
    )
    def test_by_its_scale(
        self, tags: dict[str, Any], expected: tuple[float, float], runs: Runs
    ) -> None:
        vis = self.geotiff(runs.folder / "vis", picture(7000), **tags)
        ir = write(runs.folder / "ir" / "0.png", smooth_noise(HEIGHT, WIDTH, 1))
        found, said = runs.run(vis.parent, ir.parent, runs.folder / "out")
        used = found[0]["ranges"]["vis"]
        assert (used["low"], used["high"]) == pytest.approx(expected)
        assert "taken as" not in said
        result = fnet("inspect", vis)
        assert "reflectance 0 to 1, as the file's scale says" in " ".join(result.stdout.split())

    @pytest.mark.parametrize(
        "tags",
        [
            {"scales": [0.01] * 3},  # kelvins
            {"scales": [1e-4, 1e-4, 2e-4]},
            {"scales": [1e-9] * 3},
            {"scales": [1e-4] * 3, "offsets": [-300.0] * 3},
            {"items": {"BOA_QUANTIFICATION_VALUE": "0"}},
            {"items": {"BOA_QUANTIFICATION_VALUE": "many"}},
            {"items": {"REFLECTANCE_SCALE": "nan"}},
        ],
    )
    def test_another_scale_says_nothing(self, tags: dict[str, Any], runs: Runs) -> None:
        vis = self.geotiff(runs.folder / "vis", picture(7000), **tags)
        ir = write(runs.folder / "ir" / "0.png", smooth_noise(HEIGHT, WIDTH, 1))
        found, _ = runs.run(vis.parent, ir.parent, runs.folder / "out")
        assert whites(found) == [8191]

    def test_the_user_knows_better(self, runs: Runs) -> None:
        vis = self.geotiff(runs.folder / "vis", picture(7000), scales=[1e-4] * 3)
        ir = write(runs.folder / "ir" / "0.png", smooth_noise(HEIGHT, WIDTH, 1))
        found, _ = runs.run(vis.parent, ir.parent, runs.folder / "out", "--bits", "vis=13")
        assert whites(found) == [8191]

    def test_dark_reflectance_is_said(self, runs: Runs) -> None:
        vis = self.geotiff(runs.folder / "vis", picture(1500), scales=[1e-4] * 3)
        ir = write(runs.folder / "ir" / "0.png", smooth_noise(HEIGHT, WIDTH, 1))
        _, said = runs.run(vis.parent, ir.parent, runs.folder / "out")
        assert DARK in said
