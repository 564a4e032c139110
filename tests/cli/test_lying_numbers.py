"""Numbers that no sensor measured, and ranges that do not fit: what `fnet` makes of them, and says.

Every picture is the same street with a warm person in it, who has to stay as bright as without the
trouble.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fnetcli.training.data import read_luminance
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import records
from tests.cli.test_train import RECIPE
from tests.drawn_pictures import smooth_noise, write

Numbers = NDArray[Any]
HEIGHT, WIDTH = 96, 128
LOW, HIGH = 29_000, 30_900  # of the scene
PERSON = np.s_[40:70, 60:75]
RANDOM_SEED = 7


def street() -> Numbers:
    """Return counts: surroundings from LOW to 29500, a person at HIGH."""
    scene = LOW + smooth_noise(HEIGHT, WIDTH, 3).astype(np.float64) / 255 * 500
    scene[PERSON] = HIGH - 40 + smooth_noise(30, 15, 4) / 255 * 40
    counts: Numbers = np.rint(scene)
    return counts


def scattered(share: float) -> NDArray[np.bool_]:
    return np.random.default_rng(RANDOM_SEED).random((HEIGHT, WIDTH)) < share


def bordered(width: int) -> NDArray[np.bool_]:
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[width:-width, width:-width] = False
    return mask


def turned(corner: int = 30) -> NDArray[np.bool_]:
    """Return the corners that a picture turned by 45 degrees leaves empty."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    across, down = np.minimum(columns, WIDTH - 1 - columns), np.minimum(rows, HEIGHT - 1 - rows)
    mask: NDArray[np.bool_] = across + down < corner
    return mask


def with_number(value: float, where: NDArray[np.bool_], kind: str = "uint16") -> Numbers:
    scene = street().astype(kind)
    scene[where] = value
    return scene


def with_telemetry(
    count: int, *, at_top: bool = False, share: float = 0.3, most: int = 60_000
) -> Numbers:
    """Return the street with rows of words, then zeros, in the place of its last or first rows."""
    scene = street().astype(np.uint16)
    rows = np.zeros((count, WIDTH), np.uint16)
    words = int(share * WIDTH)
    rows[0, :words] = np.random.default_rng(RANDOM_SEED).integers(0, most, words)
    scene[slice(0, count) if at_top else slice(HEIGHT - count, None)] = rows
    return scene


class Runs:
    """Fuses pictures with the same visible one, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = tiny_weights(folder)
        self.vis = write(folder / "vis" / "a.png", smooth_noise(HEIGHT, WIDTH, 9, 3))

    def tiff(self, pixels: Numbers, name: str = "ir.tif", **options: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        color = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=color, metadata=None, **options)
        return path

    def fuse(self, ir: Path, *options: object) -> tuple[Numbers, dict[str, Any], str]:
        """Return the fused picture, its record, and what was said."""
        out = self.folder / f"out{len(list(self.folder.iterdir()))}"
        arguments = ["--vis", self.vis, "--ir", ir, "-o", out, "--weights", self.weights]
        result = fnet("fuse", *arguments, *options)
        assert result.exit_code == 0, result.output
        (record,) = records(out)
        return iio.imread(result.stdout.strip()).astype(float), record, result.stderr


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def used(record: dict[str, Any]) -> tuple[float, float]:
    return record["ranges"]["ir"]["low"], record["ranges"]["ir"]["high"]


# --- no data that no file declares ----------------------------------------------------------------

NO_DATA: dict[str, tuple[Callable[[], Numbers], float]] = {
    "dead pixels at 0": (lambda: with_number(0, scattered(0.02)), 0),
    "many dead pixels": (lambda: with_number(0, scattered(0.08)), 0),
    "a few dead pixels": (lambda: with_number(0, scattered(0.001)), 0),
    "stuck pixels at the top": (lambda: with_number(65_535, scattered(0.02)), 65_535),
    "stuck pixels of 14 bits": (lambda: with_number(16_383, scattered(0.02)), 16_383),
    "a dead column": (lambda: with_number(0, np.arange(WIDTH) == np.full((HEIGHT, 1), 50)), 0),
    "a border of -9999": (lambda: with_number(-9999, bordered(6), "float32"), -9999),
    "a border of -32768": (lambda: with_number(-32_768, bordered(6), "int32"), -32_768),
    "a border of 65535": (lambda: with_number(65_535, bordered(4)), 65_535),
    "a border of 0": (lambda: with_number(0, bordered(12)), 0),
    "corners of -32767": (lambda: with_number(-32_767, turned(), "int32"), -32_767),
    "corners of 65535": (lambda: with_number(65_535, turned()), 65_535),
    "a hole of 0": (lambda: with_number(0, _hole()), 0),
    "1e20 in floats": (lambda: with_number(1e20, _hole(), "float32"), float(np.float32(1e20))),
    "whole rows of 65535": (lambda: with_number(65_535, _last_rows(3)), 65_535),
    "dead pixels in degrees": (lambda: _celsius(-273.15), float(np.float32(-273.15))),
}


def _hole() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:30, 20:50] = True
    return mask


def _last_rows(count: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[-count:] = True
    return mask


def _celsius(mark: float) -> Numbers:
    degrees = (street() / 100 - 273.15).astype(np.float32)
    degrees[scattered(0.02)] = mark
    return degrees


@pytest.mark.parametrize("name", NO_DATA)
def test_numbers_from_no_sensor_are_no_data(name: str, runs: Runs) -> None:
    draw, mark = NO_DATA[name]
    pixels = draw()
    clean = street() / 100 - 273.15 if "degrees" in name else street()
    fused, record, said = runs.fuse(runs.tiff(pixels.astype(pixels.dtype)))
    expected, clean_record, nothing = runs.fuse(runs.tiff(clean.astype(pixels.dtype), "clean.tif"))
    assert "warning" not in nothing
    is_mark = pixels == np.asarray(mark, pixels.dtype)
    assert record["ranges"]["ir"]["nodata"] == [mark]
    assert record["ranges"]["ir"]["invalid"] == np.count_nonzero(is_mark)
    span = np.ptp(used(clean_record))
    np.testing.assert_allclose(used(record), used(clean_record), atol=0.02 * span)
    far = ~is_mark
    assert np.abs(fused - expected)[far].mean() < 4  # levels of 255
    count = np.count_nonzero(is_mark)
    share = f"{100 * is_mark.mean():.1f} %" if is_mark.mean() >= 0.001 else "under 0.1 %"
    assert f"ir: {count} pixels ({share}) hold {mark:g}, far from all others" in said
    assert "--nodata ir=none if they are data" in said
    is_scattered = any(word in name for word in ("dead", "stuck"))
    assert ("--repair-dead ir" in said) == is_scattered


@pytest.mark.parametrize(
    ("count", "at_top", "share", "most"),
    [(3, False, 0.3, 60_000), (1, False, 0.9, 65_535), (2, True, 0.5, 16_383), (4, True, 0.6, 255)],
)
def test_telemetry_is_no_scene(
    count: int, at_top: bool, share: float, most: int, runs: Runs
) -> None:
    pixels = with_telemetry(count, at_top=at_top, share=share, most=most)
    fused, record, said = runs.fuse(runs.tiff(pixels))
    expected, clean_record, _ = runs.fuse(runs.tiff(street().astype(np.uint16), "clean.tif"))
    rows = f"the {'first' if at_top else 'last'} {count} rows hold no scene"
    assert rows in said
    assert f"{count * WIDTH} pixels ({100 * count / HEIGHT:.1f} %)" in said
    assert "--nodata ir=none" in said
    assert record["ranges"]["ir"]["telemetry_rows"] == count
    assert used(record) == pytest.approx(used(clean_record), abs=10)
    inner = np.s_[8:-8]
    assert np.abs(fused - expected)[inner].mean() < 1


def test_telemetry_and_dead_pixels_at_once(runs: Runs) -> None:
    pixels = with_telemetry(3)
    pixels[:-3][scattered(0.02)[:-3]] = 0
    pixels[:-3][np.roll(scattered(0.01), 5, axis=1)[:-3]] = 65_535
    _, record, said = runs.fuse(runs.tiff(pixels))
    assert used(record) == pytest.approx((LOW, HIGH), abs=60)
    assert sorted(record["ranges"]["ir"]["nodata"]) == [0, 65_535]
    assert "the last 3 rows" in said


# --- what only looks like it ----------------------------------------------------------------------


def _disc(radius: float, row: int = 30, column: int = 40) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask: NDArray[np.bool_] = np.hypot(rows - row, columns - column) < radius
    return mask


def _glowing() -> Numbers:
    """A flame that is too much for the sensor, with its glow around it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    glow = 60_000 * np.exp(-((np.hypot(rows - 30, columns - 40) / 14) ** 2))
    counts: Numbers = np.minimum(street() + glow, 65_535).astype(np.uint16)
    return counts


REAL: dict[str, Callable[[], Numbers]] = {
    "a saturated disc": lambda: with_number(65_535, _disc(12)),
    "a saturated disc at the border": lambda: with_number(65_535, _disc(14, 4, 4)),
    "a saturated sky": lambda: with_number(65_535, np.mgrid[:HEIGHT, :WIDTH][0] < 40),
    "a saturated lamp of 14 bits": lambda: with_number(16_383 * 2, _disc(5)),
    "a flame with its glow": _glowing,
    "one hot pixel": lambda: with_number(
        65_535, np.arange(HEIGHT * WIDTH).reshape(HEIGHT, -1) == 9
    ),
    "a strip of cold sky": lambda: _cold_sky(4),
    "much cold sky": lambda: _cold_sky(40),
    "a black background": lambda: np.where(_disc(40, 48, 64), street(), 0).astype(np.uint16),
    "a picture of three numbers": lambda: np.choose(
        _disc(30).astype(int) + _disc(10), [0, 20_000, 30_000]
    ).astype(np.uint16),
}


def _cold_sky(rows: int) -> Numbers:
    scene = street()
    scene[:rows] = 20_000 + smooth_noise(rows, WIDTH, 5) / 255 * 100
    return scene.astype(np.uint16)


@pytest.mark.parametrize("name", REAL)
def test_what_a_sensor_saw_stays(name: str, runs: Runs) -> None:
    pixels = REAL[name]()
    _, record, said = runs.fuse(runs.tiff(pixels))
    assert record["ranges"]["ir"] == {
        "low": pytest.approx(np.percentile(pixels, 0.1)),
        "high": pytest.approx(np.percentile(pixels, 99.9)),
        "invalid": 0,
    }
    assert "no data" not in said.replace("no data (--nodata", "")


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_clean_picture_is_not_spoken_of(kind: str, runs: Runs) -> None:
    pixels = street() if kind == "uint16" else smooth_noise(HEIGHT, WIDTH, 2)
    _, record, said = runs.fuse(runs.tiff(pixels.astype(kind)))
    assert record["notices"] == []
    assert "warning" not in said


def test_medical_pictures_hold_true_zeros(runs: Runs) -> None:
    pixels = with_number(0, bordered(12))
    mri, ct = runs.tiff(pixels, "mri.tif"), runs.tiff(pixels, "ct.tif")
    out = runs.folder / "medical"
    result = fnet("fuse", "--mri", mri, "--ct", ct, "-o", out, "--weights", runs.weights)
    assert result.exit_code == 0
    (record,) = records(out)
    assert record["ranges"]["mri"]["invalid"] == 0


# --- the user decides -----------------------------------------------------------------------------


class TestNodata:
    def test_none_takes_all_numbers_for_data(self, runs: Runs) -> None:
        pixels = with_number(0, scattered(0.02))
        _, record, said = runs.fuse(runs.tiff(pixels), "--nodata", "ir=none")
        assert record["ranges"]["ir"] == {
            "low": 0,
            "high": pytest.approx(HIGH, abs=9),
            "invalid": 0,
        }
        assert record["options"]["scaling"]["ir"]["corrections"]["nodata"] == []
        assert "% of the range 0 to" in said

    def test_none_outweighs_the_file(self, runs: Runs) -> None:
        declared = (42113, 2, 6, "29100", True)
        ir = runs.tiff(street().astype(np.uint16), extratags=[declared])
        count = np.count_nonzero(street() == 29_100)
        assert runs.fuse(ir)[1]["ranges"]["ir"]["invalid"] == count > 0
        assert runs.fuse(ir, "--nodata", "ir=none")[1]["ranges"]["ir"]["invalid"] == 0

    @pytest.mark.parametrize(
        ("value", "kind", "area"),
        [
            ("65535", "uint16", _disc(12)),
            ("-1.5", "float32", _disc(12)),
            ("29100", "uint16", scattered(0.05)),
            ("1e3", "float64", bordered(3)),
        ],
    )
    def test_a_number_is_no_data(
        self, value: str, kind: str, area: NDArray[np.bool_], runs: Runs
    ) -> None:
        pixels = with_number(float(value), area, kind)
        lost = pixels == float(value)
        _, record, _ = runs.fuse(runs.tiff(pixels), "--nodata", f"ir={value}")
        assert record["ranges"]["ir"]["invalid"] == np.count_nonzero(lost)
        assert used(record) == pytest.approx(np.percentile(pixels[~lost], (0.1, 99.9)))
        assert record["options"]["scaling"]["ir"]["corrections"]["nodata"] == [float(value)]

    def test_several_numbers_of_both_images(self, runs: Runs) -> None:
        pixels = with_number(0, scattered(0.02))
        pixels[_disc(9)] = 65_535
        given = ("--nodata", "ir=0", "--nodata", "ir=65535", "--nodata", "vis=0")
        _, record, _ = runs.fuse(runs.tiff(pixels), *given)
        lost = (pixels == 0) | (pixels == 65_535)
        assert record["ranges"]["ir"]["invalid"] == np.count_nonzero(lost)
        assert record["options"]["scaling"]["vis"]["corrections"]["nodata"] == [0]

    def test_a_number_that_is_given_ends_the_search(self, runs: Runs) -> None:
        pixels = with_number(0, scattered(0.02))
        _, record, said = runs.fuse(runs.tiff(pixels), "--nodata", "ir=5")
        assert record["ranges"]["ir"]["invalid"] == 0
        assert "% of the range 0 to" in said

    def test_eight_bits_only_where_it_is_said(self, runs: Runs) -> None:
        pixels = np.clip(smooth_noise(HEIGHT, WIDTH, 3), 100, 140)
        pixels[scattered(0.02)] = 0
        ir = runs.tiff(pixels)
        assert runs.fuse(ir)[1]["ranges"]["ir"]["invalid"] == 0
        lost = runs.fuse(ir, "--nodata", "ir=0")[1]["ranges"]["ir"]["invalid"]
        assert lost == np.count_nonzero(pixels == 0)

    def test_results_mark_it(self, runs: Runs) -> None:
        ir = runs.tiff(with_number(-9999, bordered(6), "float32"))
        out = runs.folder / "fused.tif"
        given = ("--vis", runs.vis, "--ir", ir, "-o", out, "--weights", runs.weights)
        assert fnet("fuse", *given).exit_code == 0
        with tifffile.TiffFile(out) as file:
            page: Any = file.pages[0]
            assert page.tags[42113].value.strip("\0 ") == "0"
            marked = (page.asarray() == 0).all(-1)
        np.testing.assert_array_equal(marked, bordered(6))

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (["ir"], "--nodata ir: give --nodata ir=VALUE or --nodata vis=VALUE, or none"),
            (["5"], "--nodata 5: give"),
            (["nir=5"], "--nodata nir=5: give"),
            (["ir="], "--nodata ir=: give"),
            (["ir=x"], "--nodata ir=x: give a number, or none"),
            (["ir=nan"], "--nodata ir=nan: give a number, or none; NaN is never data"),
            (["ir=inf"], "--nodata ir=inf: give a number"),
            (["ir=none", "ir=3"], "--nodata ir=3: none and a number for ir; leave one out"),
            (["ir=3", "ir=none"], "--nodata ir=none: none and a number for ir; leave one out"),
        ],
    )
    def test_what_makes_no_sense(self, values: list[str], words: str, runs: Runs) -> None:
        options = [word for value in values for word in ("--nodata", value)]
        ir = runs.tiff(street().astype(np.uint16))
        result = fnet("fuse", "--vis", runs.vis, "--ir", ir, *options)
        assert result.exit_code == 2
        assert words in result.stderr

    @pytest.mark.parametrize(
        "option", [("--nodata", "ct=0"), ("--repair-dead", "ct"), ("--palette", "mri=jet")]
    )
    def test_pictures_only(self, option: tuple[str, str], tmp_path: Path) -> None:
        for name in ("ct", "mri"):
            (tmp_path / f"{name}.nii").write_bytes(bytes(400))
        given = ("--ct", tmp_path / "ct.nii", "--mri", tmp_path / "mri.nii", *option)
        result = fnet("fuse", *given, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert f"{option[0]}: applies only to pictures" in result.stderr


class TestDeadPixels:
    def test_they_become_what_is_around_them(self, runs: Runs) -> None:
        pixels = street().astype(np.uint16)
        random = np.random.default_rng(1)
        dead = scattered(0.01)
        pixels[dead] = random.integers(0, 65_535, np.count_nonzero(dead))  # no number repeats
        far = dead & (np.abs(pixels.astype(int) - street()) > 2000)
        plain, _, said = runs.fuse(runs.tiff(pixels))
        assert "--repair-dead ir" in said
        fused, record, said = runs.fuse(runs.tiff(pixels), "--repair-dead", "ir")
        expected, clean, _ = runs.fuse(runs.tiff(street().astype(np.uint16), "clean.tif"))
        repaired = record["ranges"]["ir"]["repaired"]
        assert np.count_nonzero(far) <= repaired <= np.count_nonzero(dead) + 2
        assert f"ir: {repaired} dead pixels are replaced by the median around" in said
        assert used(record) == pytest.approx(used(clean), abs=30)
        assert np.abs(fused - expected).mean() < 2 < np.abs(plain - expected).mean()
        assert record["options"]["scaling"]["ir"]["corrections"]["repairs_dead"] is True
        assert record["ranges"]["ir"]["invalid"] == 0

    @pytest.mark.parametrize("kind", ["uint16", "float32", "int32"])
    def test_marked_ones_are_repaired_too(self, kind: str, runs: Runs) -> None:
        pixels = with_number(0, scattered(0.02), kind)
        _, record, said = runs.fuse(runs.tiff(pixels), "--repair-dead", "ir")
        assert record["ranges"]["ir"]["invalid"] == 0
        assert record["ranges"]["ir"]["repaired"] == np.count_nonzero(pixels == 0)
        assert "repaired; --nodata ir=none if they are data" in said

    @pytest.mark.parametrize("name", ["nothing", "a saturated disc", "much cold sky"])
    def test_a_scene_stays(self, name: str, runs: Runs) -> None:
        pixels = street().astype(np.uint16) if name == "nothing" else REAL[name]()
        _, record, _ = runs.fuse(runs.tiff(pixels), "--repair-dead", "ir")
        assert record["ranges"]["ir"]["repaired"] <= 2

    def test_pixels_of_8_bits(self, runs: Runs) -> None:
        pixels = np.clip(smooth_noise(HEIGHT, WIDTH, 3), 100, 140)
        pixels[scattered(0.01)] = 255
        _, record, _ = runs.fuse(runs.tiff(pixels), "--repair-dead", "ir")
        assert record["ranges"]["ir"]["repaired"] == np.count_nonzero(pixels == 255)

    @pytest.mark.parametrize("value", ["nir", "ir=1", "all"])
    def test_of_no_image(self, value: str, runs: Runs) -> None:
        ir = runs.tiff(street().astype(np.uint16))
        result = fnet("fuse", "--vis", runs.vis, "--ir", ir, "--repair-dead", value)
        assert result.exit_code == 2
        assert f"--repair-dead {value}: not one of the two images; use ir or vis" in result.stderr


# --- ranges that do not fit -----------------------------------------------------------------------


class TestRange:
    @pytest.mark.parametrize(
        ("draw", "options"),
        [
            (lambda: with_number(29_000 - 20_000, _disc(12)), ()),  # an area of an unknown number
            (lambda: with_number(65_535, _disc(12)), ()),
            (street, ("--range", "ir=0,65535")),
            (street, ("--bits", "ir=16")),
            (street, ("--stretch", "none")),
            (lambda: with_number(9000, _disc(3)), ("--stretch", "minmax")),
        ],
    )
    def test_one_that_is_mostly_empty_is_said(
        self, draw: Callable[[], Numbers], options: tuple[str, ...], runs: Runs
    ) -> None:
        _, record, said = runs.fuse(runs.tiff(draw().astype(np.uint16)), *options)
        (found,) = re.findall(r"ir: (\d+) % of the range (\S+) to (\S+) hold almost no", said)
        assert int(found[0]) > 66
        assert [float(number) for number in found[1:]] == pytest.approx(used(record), rel=1e-3)
        (low, high) = re.findall(r"--range ir=(\S+?),(\S+) or --stretch ir=2,98", said)[0]
        assert (float(low), float(high)) == pytest.approx((LOW, HIGH), abs=120)
        assert "--nodata ir=VALUE" in said
        assert any("hold almost no pixels" in notice for notice in record["notices"])

    @pytest.mark.parametrize(
        ("draw", "options"),
        [
            (street, ()),
            (street, ("--range", "ir=28500,31500")),
            (lambda: np.maximum(_cold_sky(40), 27_000), ()),
            (lambda: np.full((HEIGHT, WIDTH), 9000), ()),
            (lambda: np.where(_disc(5), 9000, 12_000), ()),
        ],
    )
    def test_one_that_fits_is_not(
        self, draw: Callable[[], Numbers], options: tuple[str, ...], runs: Runs
    ) -> None:
        _, _, said = runs.fuse(runs.tiff(draw().astype(np.uint16)), *options)
        assert "hold almost no pixels" not in said

    def test_dark_pictures_of_8_bits_are_as_they_are(self, runs: Runs) -> None:
        _, _, said = runs.fuse(runs.tiff(smooth_noise(HEIGHT, WIDTH, 3) // 8))
        assert "warning" not in said


class TestFolder:
    def fuse(self, runs: Runs, *frames: Numbers, scope: str = "folder") -> tuple[str, list[Any]]:
        for i, frame in enumerate(frames):
            runs.tiff(frame, f"ir/{i}.tif")
            write(runs.folder / "vis" / f"{i}.png", smooth_noise(HEIGHT, WIDTH, i, 3))
        (runs.folder / "vis" / "a.png").unlink(missing_ok=True)
        out = runs.folder / scope
        folders = ("--vis", runs.folder / "vis", "--ir", runs.folder / "ir", "-o", out)
        result = fnet("fuse", *folders, "--weights", runs.weights, "--stretch-scope", scope)
        assert result.exit_code == 0, result.output
        return result.stderr, records(out)

    @staticmethod
    def deep(low: int, high: int, seed: int = 1) -> Numbers:
        unit = smooth_noise(HEIGHT, WIDTH, seed) / 255
        return (low + unit * (high - low)).astype(np.uint16)

    @pytest.mark.parametrize(
        "stray", [(41, 204), (55_000, 56_000), (0, 900)], ids=["8 bits", "16 bits", "10 bits"]
    )
    def test_a_frame_of_another_camera_is_named(self, stray: tuple[int, int], runs: Runs) -> None:
        one = self.deep(20_671, 21_434)
        said, _ = self.fuse(runs, one, self.deep(*stray), self.deep(20_700, 21_500, 2))
        words = f"{runs.folder / 'ir' / '1.tif'}: its range, "
        assert said.count("has nothing in common") == 1
        assert words in said
        assert "--stretch-scope image" in said

    def test_several_are_counted(self, runs: Runs) -> None:
        frames = [self.deep(20_000, 21_000, i) for i in range(6)]
        frames += [self.deep(100, 250, i) for i in range(5)]
        said, _ = self.fuse(runs, *frames)
        assert said.count("has nothing in common") == 3
        assert "ir: 2 more images have such a range" in said

    @pytest.mark.parametrize(
        "ranges",
        [
            [(20_000, 21_000), (20_400, 21_800), (21_500, 22_000)],
            [(20_000, 20_500), (20_700, 21_200), (21_400, 21_900)],  # a camera that warms up
            [(20_000, 21_000)],
            [(7000, 16_000), (7000, 7500), (15_000, 16_000)],
        ],
    )
    def test_a_sequence_is_not(self, ranges: list[tuple[int, int]], runs: Runs) -> None:
        said, _ = self.fuse(runs, *(self.deep(*one) for one in ranges))
        assert "warning" not in said

    def test_each_by_itself_looks_right(self, runs: Runs) -> None:
        frames = (self.deep(20_671, 21_434), self.deep(41, 204))
        said, found = self.fuse(runs, *frames, scope="image")
        assert "nothing in common" not in said
        assert found[1]["ranges"]["ir"]["high"] < 255

    def test_dead_pixels_do_not_decide_for_all(self, runs: Runs) -> None:
        dead = self.deep(20_671, 21_434)
        dead[scattered(0.02)] = 0
        said, found = self.fuse(runs, dead, self.deep(20_700, 21_500, 2))
        assert all(one["ranges"]["ir"]["low"] > 20_000 for one in found)
        assert "hold 0, far from all others" in said


# --- the other commands ---------------------------------------------------------------------------


class TestElsewhere:
    WORDS = "hold 0, far from all others"

    def test_inspect_an_image(self, runs: Runs) -> None:
        ir = runs.tiff(with_number(0, scattered(0.02)))
        result = fnet("inspect", ir, "--json", runs.folder / "facts.json")
        facts = json.loads((runs.folder / "facts.json").read_text())
        way = facts["scaling"][-1]
        assert way["low"] > LOW - 100
        assert any(self.WORDS in notice for notice in way["notices"])
        assert self.WORDS in " ".join(result.stdout.split())

    @pytest.mark.usefixtures("without_plots")
    def test_inspect_a_pair(self, runs: Runs) -> None:
        ir = runs.tiff(with_number(0, scattered(0.02)))
        given = ("--vis", runs.vis, "--ir", ir, "--weights", runs.weights)
        result = fnet("inspect", *given, "-o", runs.folder / "inspected")
        assert result.exit_code == 0, result.output
        assert self.WORDS in result.stderr
        result = fnet(
            *("inspect", *given, "-o", runs.folder / "repaired", "--repair-dead", "ir"),
            *("--nodata", "vis=none"),
        )
        assert "dead pixels are replaced" in result.stderr
        report = (runs.folder / "repaired" / "report.html").read_text()
        assert "--repair-dead ir" in report
        assert "--nodata vis=none" in report

    def test_eval_fuses_the_same(self, runs: Runs) -> None:
        ir = runs.tiff(with_number(0, scattered(0.02)))
        pair = ("--vis", runs.vis, "--ir", ir, "--metrics", "EN,SD", "--no-cache")
        scores = {}
        for name, options in (("plain", ()), ("none", ("--nodata", "ir=none"))):
            table = runs.folder / f"{name}.json"
            made = fnet("eval", *pair, "--weights", runs.weights, *options, "--json", table)
            assert made.exit_code == 0, made.output
            scores[name] = made.stderr + table.read_text()
        assert self.WORDS in scores["plain"]
        assert self.WORDS not in scores["none"]

    @pytest.mark.usefixtures("eager")
    def test_train_sees_the_same(self, runs: Runs) -> None:
        for i in range(2):
            runs.tiff(with_number(0, scattered(0.02)), f"train/ir/{i}.tif")
            write(runs.folder / "train" / "vis" / f"{i}.png", smooth_noise(HEIGHT, WIDTH, i))
        recipe = runs.folder / "recipe.toml"
        recipe.write_text(RECIPE.format(precision="fp32", optimizer="muon"))
        folders = ("--vis", runs.folder / "train/vis", "--ir", runs.folder / "train/ir")
        result = fnet("train", recipe, *folders, "-o", runs.folder / "run", "--device", "cpu")
        assert result.stderr.count(self.WORDS) == 2, result.stderr
        levels = read_luminance(runs.folder / "train" / "ir" / "0.tif", "ir")
        prepared = runs.fuse(runs.folder / "train" / "ir" / "0.tif")[1]["ranges"]["ir"]
        unit = (street() - prepared["low"]) / (prepared["high"] - prepared["low"])
        far = ~scattered(0.02)
        assert np.abs(levels - 255 * np.clip(unit, 0, 1))[far].max() <= 0.51

    def test_the_contact_sheet_shows_what_the_network_saw(self, runs: Runs) -> None:
        ir = runs.tiff(with_number(0, scattered(0.02)))
        _, record, _ = runs.fuse(ir, "--report")
        assert record["ranges"]["ir"]["low"] > LOW - 100
