"""False-colour thermal pictures: the hottest is bright, or a warning says that it may not be."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import matplotlib as mpl
import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

from fnetcli.imaging.palettes import CHOICES
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import records
from tests.drawn_pictures import smooth_noise, write

Levels = NDArray[np.uint8]
HEIGHT, WIDTH = 96, 128
PERSON = np.s_[40:70, 60:75]
Stops = list[tuple[int, int, int]]

# Drawn by others: maps of matplotlib and OpenCV, and stops as cameras' manuals show them.
DRAWN: dict[str, tuple[str, str | Stops]] = {
    "jet": ("jet", "jet"),
    "inferno": ("inferno", "inferno"),
    "magma": ("magma", "magma"),
    "plasma": ("plasma", "plasma"),
    "viridis": ("viridis", "viridis"),
    "turbo": ("turbo", "turbo"),
    "hot": ("hot", "hot"),
    "rainbow of matplotlib": ("rainbow", "rainbow"),
    "rainbow from blue to red": (
        "rainbow",
        [(0, 0, 120), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)],
    ),
    "iron of FLIR": (
        "iron",
        [
            *((0, 28, 40), (72, 11, 141), (143, 17, 161), (193, 46, 127), (224, 87, 69)),
            *((241, 136, 21), (244, 182, 13), (238, 219, 78), (225, 239, 239)),
        ],
    ),
    "iron from black to white": (
        "iron",
        [(0, 0, 0), (64, 0, 128), (190, 0, 100), (255, 128, 0), (255, 220, 0), (255, 255, 255)],
    ),
}


def temperatures() -> Levels:
    """Return surroundings below 90 of 255, and a person who is hottest."""
    scene: Levels = np.rint(smooth_noise(HEIGHT, WIDTH, 3) * 0.35).astype(np.uint8)
    scene[PERSON] = 235 + smooth_noise(30, 15, 4) // 13
    return scene


def colored(levels: NDArray[np.uint8], palette: str | Stops) -> Levels:
    unit = np.linspace(0, 1, 256)
    if isinstance(palette, str):
        table = 255 * mpl.colormaps[palette](unit)[:, :3]
    else:
        steps = np.linspace(0, 1, len(palette))
        table = np.stack([np.interp(unit, steps, one) for one in zip(*palette, strict=True)], -1)
    colors: Levels = np.rint(table).astype(np.uint8)[levels]
    return colors


def luminance(rgb: Levels) -> NDArray[np.float64]:
    weights = np.array([0.299, 0.587, 0.114])
    grey: NDArray[np.float64] = rgb @ weights
    return grey


class Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = tiny_weights(folder)
        self.vis = write(folder / "vis.png", smooth_noise(HEIGHT, WIDTH, 9, 3))
        self.count = 0

    def fuse(self, ir: Path, *options: str) -> tuple[NDArray[np.float64], dict[str, Any], str]:
        self.count += 1
        out = self.folder / f"out{self.count}"
        arguments = ("--vis", self.vis, "--ir", ir, "-o", out, "--weights", self.weights)
        result = fnet("fuse", *arguments, *options)
        assert result.exit_code == 0, result.output
        (record,) = records(out)
        return iio.imread(result.stdout.strip()).astype(float), record, result.stderr

    def save(self, rgb: Levels, name: str) -> Path:
        path = self.folder / name
        PIL.Image.fromarray(rgb).save(path, quality=90)  # of JPEG
        return path


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    """The fused picture of the same temperatures in grey."""
    runs = Runs(tmp_path_factory.mktemp("grey"))
    return runs.fuse(write(runs.folder / "grey.png", temperatures()))[0]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("drawn", DRAWN)
def test_known_palettes_are_undone(
    drawn: str, suffix: str, runs: Runs, expected: NDArray[np.float64]
) -> None:
    name, palette = DRAWN[drawn]
    ir = runs.save(colored(temperatures(), palette), f"ir.{suffix}")
    for choice in ("auto", name):
        fused, record, said = runs.fuse(ir, "--palette", f"ir={choice}")
        found = record["ranges"]["ir"]["palette"]
        assert found["name"] == name
        assert found["error"] < (8 if suffix == "png" else 20)
        assert f"ir: the palette {name} is undone" in said
        assert f"on average {found['error']:g} of 255 levels away" in said
        assert "warning" not in said
        assert np.abs(fused - expected).mean() < (6 if suffix == "png" else 12)
        assert record["options"]["scaling"]["ir"]["corrections"]["palette"] == choice
        assert record["ranges"]["ir"]["high"] == 255


def test_jet_is_dark_where_it_is_hot_and_that_is_said(runs: Runs) -> None:
    rgb = colored(temperatures(), "jet")
    assert luminance(rgb)[PERSON].mean() < luminance(colored(np.array([90], np.uint8), "jet"))[0]
    _, record, said = runs.fuse(runs.save(rgb, "jet.jpg"))
    assert "hot may come out dark; --palette ir=auto undoes a known palette" in said
    assert "palette" not in record["ranges"]["ir"]
    _, _, said = runs.fuse(runs.save(rgb, "jet.jpg"), "--palette", "ir=none")
    assert "hot may come out dark" in said


@pytest.mark.parametrize("kind", ["a photograph", "another order", "noise"])
def test_colours_of_no_known_palette_stay(kind: str, runs: Runs) -> None:
    rgb = {
        "a photograph": smooth_noise(HEIGHT, WIDTH, 8, 3),
        "another order": colored(temperatures(), [(0, 255, 0), (255, 0, 255), (0, 120, 120)]),
        "noise": np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
    }[kind]
    ir = runs.save(rgb, "ir.png")
    plain, _, _ = runs.fuse(ir)
    fused, record, said = runs.fuse(ir, "--palette", "ir=auto")
    assert "its colours fit no known palette" in said
    assert "--palette ir=NAME chooses one" in said
    assert "palette" not in record["ranges"]["ir"]
    np.testing.assert_array_equal(fused, plain)
    _, record, said = runs.fuse(ir, "--palette", "ir=jet")
    assert record["ranges"]["ir"]["palette"]["name"] == "jet"
    assert "it may be another one; --palette ir=auto finds the nearest" in said


@pytest.mark.parametrize("stored", ["grey", "grey as colour", "a warm grey"])
def test_grey_pictures_have_no_palette(stored: str, runs: Runs) -> None:
    levels = temperatures()
    pixels = levels if stored == "grey" else np.stack([levels] * 3, -1)
    if stored == "a warm grey":
        pixels[..., 0] = np.minimum(pixels[..., 0].astype(int) + 2, 255)
    ir = runs.save(pixels, "ir.png")
    plain, _, _ = runs.fuse(ir)
    fused, record, said = runs.fuse(ir, "--palette", "ir=auto")
    np.testing.assert_array_equal(fused, plain)
    assert "palette" not in record["ranges"]["ir"]
    assert "palette" not in said


def test_16_bit_colours(runs: Runs) -> None:
    deep = colored(temperatures(), "inferno").astype(np.uint16) * 257
    path = runs.folder / "ir.tif"
    tifffile.imwrite(path, deep, photometric="rgb", metadata=None)
    fused, record, _ = runs.fuse(path, "--palette", "ir=auto")
    expected, _, _ = runs.fuse(write(runs.folder / "grey.png", temperatures()))
    assert record["ranges"]["ir"]["palette"]["name"] == "inferno"
    assert np.abs(fused - expected).mean() < 6


def test_text_drawn_over_it_is_said(runs: Runs) -> None:
    rgb = colored(temperatures(), "jet")
    rgb[4:10, 4:60] = 255
    _, _, said = runs.fuse(runs.save(rgb, "ir.png"), "--palette", "ir=jet")
    assert "2.7 % of the pixels are grey, and not of the palette jet (text, a logo?)" in said


def test_other_modalities(runs: Runs) -> None:
    ir = runs.save(colored(temperatures(), "jet"), "nir.png")
    out = runs.folder / "nir"
    given = ("--vis", runs.vis, "--nir", ir, "-o", out, "--weights", runs.weights)
    result = fnet("fuse", *given, "--palette", "nir=auto")
    assert "nir: the palette jet is undone" in result.stderr


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ir=sepia", f"--palette ir=sepia: unknown; use one of {', '.join(CHOICES)}"),
        ("jet", "--palette jet: give --palette ir=VALUE or --palette vis=VALUE"),
        ("nir=jet", "--palette nir=jet: give"),
        ("ir=", "--palette ir=: give"),
        ("vis=jet", "--palette vis=jet: the colours of vis are kept; leave it out"),
    ],
)
def test_what_makes_no_sense(value: str, words: str, runs: Runs) -> None:
    ir = runs.save(colored(temperatures(), "jet"), "ir.png")
    result = fnet("fuse", "--vis", runs.vis, "--ir", ir, "--palette", value)
    assert result.exit_code == 2
    assert words in result.stderr


class TestInspect:
    def test_an_image_that_may_be_thermal(self, runs: Runs) -> None:
        ir = runs.save(colored(temperatures(), "jet"), "ir.jpg")
        result = fnet("inspect", ir, "--json", runs.folder / "facts.json")
        words = "its colours lie on the palette jet: if it is thermal"
        assert words in result.stderr
        facts = json.loads((runs.folder / "facts.json").read_text())
        assert any(words in notice for notice in facts["notices"])

    def test_a_photograph_is_none(self, runs: Runs) -> None:
        assert "palette" not in fnet("inspect", runs.vis).output

    @pytest.mark.usefixtures("without_plots")
    def test_a_pair(self, runs: Runs) -> None:
        ir = runs.save(colored(temperatures(), "jet"), "ir.jpg")
        pair = ("--vis", runs.vis, "--ir", ir, "--weights", runs.weights)
        result = fnet("inspect", *pair, "-o", runs.folder / "plain")
        assert "hot may come out dark" in result.stderr
        out = runs.folder / "undone"
        result = fnet("inspect", *pair, "-o", out, "--palette", "ir=auto")
        assert "ir: the palette jet is undone" in result.stderr
        assert "--palette ir=auto" in (out / "report.html").read_text()

    def test_not_an_image(self, runs: Runs) -> None:
        result = fnet("inspect", runs.vis, "--palette", "ir=auto")
        assert result.exit_code == 2
        assert (
            "--palette: applies only to a pair, but an image is inspected; leave it out"
            in result.stderr
        )


def test_the_contact_sheet_shows_it_undone(runs: Runs) -> None:
    ir = runs.save(colored(temperatures(), "jet"), "ir.png")
    runs.fuse(ir, "--palette", "ir=auto", "--report")
    page = (runs.folder / "out1" / "index.html").read_text()
    pictures = [
        np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"))
        for code in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    ]
    assert np.abs(pictures[0].astype(int) - temperatures()[..., None]).mean() < 6


# --- radiometric files ----------------------------------------------------------------------------


def radiometric(runs: Runs, *segments: tuple[int, bytes], maker: str | None = None) -> Path:
    """Write a rendered JPEG with application segments in front."""
    stream = io.BytesIO()
    picture = PIL.Image.fromarray(colored(temperatures(), "inferno"))
    exif = PIL.Image.Exif()
    if maker is not None:
        exif[0x010F] = maker
    picture.save(stream, "JPEG", exif=exif)
    plain = stream.getvalue()
    inserted = b"".join(
        bytes([0xFF, 0xE0 + number]) + (len(body) + 2).to_bytes(2, "big") + body
        for number, body in segments
    )
    path = runs.folder / "thermal.jpg"
    path.write_bytes(plain[:2] + inserted + plain[2:])
    return path


COUNTS = (2900 + np.arange(HEIGHT * WIDTH) % 300).astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("segments", "maker", "name"),
    [
        ([(3, COUNTS)], "DJI", "DJI R-JPEG"),
        ([(3, COUNTS[:9000]), (3, COUNTS[9000:])], "DJI", "DJI R-JPEG"),
        ([(3, COUNTS)], None, "raw counts"),
        ([(3, COUNTS)], "Autel Robotics", "raw counts"),
        ([(2, b"\1\0\0\0IJPEG\0" + bytes(60))], None, "InfiRay"),
    ],
)
def test_numbers_that_are_not_read_are_said(
    segments: list[tuple[int, bytes]], maker: str | None, name: str, runs: Runs
) -> None:
    path = radiometric(runs, *segments, maker=maker)
    library = "need DJI's own library and " if name == "DJI R-JPEG" else ""
    words = (
        f"it holds radiometric thermal data ({name}), which {library}are not read: the rendered "
        "picture is used"
    )
    _, _, said = runs.fuse(path, "--palette", "ir=auto")
    assert words in said
    assert words in fnet("inspect", path).stderr


@pytest.mark.parametrize(
    "segments",
    [
        [],
        [(3, b"Meta\0\0" + bytes(20_000))],
        [(3, b"_JPSJPS_" + bytes(20_000))],
        [(3, bytes(500))],
        [(2, b"MPF\0" + bytes(60))],
        [(11, bytes(30_000))],
    ],
)
def test_other_segments_are_not(segments: list[tuple[int, bytes]], runs: Runs) -> None:
    path = radiometric(runs, *segments, maker="DJI")
    _, _, said = runs.fuse(path)
    assert "radiometric" not in said
