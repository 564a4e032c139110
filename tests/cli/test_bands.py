"""Two sensors in one file: which bands are which image."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray

from fnetcli.formats import read_image
from tests.cli.command import fnet, tiny_weights
from tests.cli.test_batch import errors, records
from tests.drawn_pictures import smooth_noise, write

HEIGHT, WIDTH = 24, 32
VIS, IR = smooth_noise(HEIGHT, WIDTH, 1, 3), smooth_noise(HEIGHT, WIDTH, 2)
FOUR = np.dstack([VIS, IR])
BGRN = ["blue", "green", "red", "nir"]
BANDS = ["--band", "vis=1,2,3", "--band", "ir=4"]


@pytest.fixture
def common(tmp_path: Path) -> list[Any]:
    return ["--weights", tiny_weights(tmp_path), "--maps", "none"]


def both(path: Path, modality: str = "ir") -> list[object]:
    return ["--vis", path, f"--{modality}", path]


def fused(out: Path, *arguments: object) -> NDArray[Any]:
    result = fnet("fuse", *arguments, "-o", out)
    assert result.exit_code == 0, result.stderr
    (path,) = result.stdout.splitlines()
    return np.asarray(read_image(Path(path)).pixels)


def apart(root: Path, vis: NDArray[Any], ir: NDArray[Any], modality: str = "ir") -> list[object]:
    """Write both images as files of their own."""
    root.mkdir()
    tifffile.imwrite(root / "v.tif", vis, photometric="rgb" if vis.ndim == 3 else "minisblack")
    tifffile.imwrite(root / "i.tif", ir, photometric="minisblack")
    return ["--vis", root / "v.tif", f"--{modality}", root / "i.tif"]


def by_gdal(path: Path, values: NDArray[Any], names: list[str], **options: Any) -> Path:
    height, width, count = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=values.dtype,
        crs="EPSG:32633", transform=rasterio.Affine(2, 0, 0, 0, -2, 0), **options,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(values, 2, 0))
        for i, name in enumerate(names, 1):
            file.set_band_description(i, name)
    return path


class TestOneFile:
    def test_thermal_in_the_transparency_of_a_png(self, tmp_path: Path, common: list[Any]) -> None:
        """As MFNet has it: the same result as with both in files of their own."""
        path = write(tmp_path / "00001D.png", FOUR)
        found = fused(tmp_path / "a", *both(path), *BANDS, *common)
        expected = fused(tmp_path / "b", *apart(tmp_path / "x", VIS, IR), *common)
        np.testing.assert_array_equal(found, expected)
        assert records(tmp_path / "a")[0]["options"]["bands"] == [["4"], ["1", "2", "3"]]

    @pytest.mark.parametrize("extra", ["unassalpha", "unspecified", "assocalpha"])
    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_near_infrared_in_a_tiff(
        self, extra: str, dtype: str, tmp_path: Path, common: list[Any]
    ) -> None:
        values = FOUR.astype(dtype) * (11 if dtype == "uint16" else 1)
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, values, photometric="rgb", extrasamples=[extra])
        options = ["--band", "vis=1,2,3", "--band", "nir=4"]
        found = fused(tmp_path / "a", *both(path, "nir"), *options, *common)
        parts = apart(tmp_path / "x", values[..., :3], values[..., 3], "nir")
        np.testing.assert_array_equal(found, fused(tmp_path / "b", *parts, *common))

    def test_seven_bands_by_description(self, tmp_path: Path, common: list[Any]) -> None:
        names = ["Coastal", "Blue", "Green", "Red", "Red Edge", "NIR", "a & <b>"]
        values = smooth_noise(HEIGHT, WIDTH, 5, 7).astype(np.uint16) * 9
        path = by_gdal(tmp_path / "a.tif", values, names)
        options = ["--band", "vis=red,green,blue", "--band", "nir=nir"]
        found = fused(tmp_path / "a", *both(path, "nir"), *options, *common)
        numbers = ["--band", "vis=4,3,2", "--band", "nir=6"]
        by_number = fused(tmp_path / "b", *both(path, "nir"), *numbers, *common)
        np.testing.assert_array_equal(found, by_number)
        parts = apart(tmp_path / "x", values[..., [3, 2, 1]], values[..., 5], "nir")
        np.testing.assert_array_equal(found, fused(tmp_path / "c", *parts, *common))

    @pytest.mark.parametrize("interleave", ["pixel", "band"])
    def test_tiles_and_planes(self, interleave: str, tmp_path: Path, common: list[Any]) -> None:
        options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": interleave}
        path = by_gdal(tmp_path / "a.tif", FOUR, [], compress="deflate", **options)
        found = fused(tmp_path / "a", *both(path), *BANDS, *common)
        expected = fused(tmp_path / "b", *apart(tmp_path / "x", VIS, IR), *common)
        np.testing.assert_array_equal(found, expected)

    def test_pages_and_bands_together(self, tmp_path: Path, common: list[Any]) -> None:
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as writer:
            writer.write(VIS, photometric="rgb", metadata=None)
            writer.write(
                np.dstack([IR // 2, IR]),
                photometric="minisblack",
                planarconfig="contig",
                metadata=None,
            )
        options = ["--page", "vis=1", "--page", "ir=2", "--band", "ir=2"]
        found = fused(tmp_path / "a", *both(path), *options, *common)
        expected = fused(tmp_path / "b", *apart(tmp_path / "x", VIS, IR), *common)
        np.testing.assert_array_equal(found, expected)

    def test_pages_alone(self, tmp_path: Path, common: list[Any]) -> None:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.stack([VIS[..., 0], IR]), photometric="minisblack")
        found = fused(tmp_path / "a", *both(path), "--page", "vis=1", "--page", "ir=2", *common)
        expected = fused(tmp_path / "b", *apart(tmp_path / "x", VIS[..., 0], IR), *common)
        np.testing.assert_array_equal(found, expected)

    def test_a_band_of_one_file_and_another_file(self, tmp_path: Path, common: list[Any]) -> None:
        path, other = write(tmp_path / "a.png", FOUR), write(tmp_path / "b.png", IR[::-1].copy())
        found = fused(tmp_path / "a", "--vis", path, "--ir", other, "--band", "vis=1,2,3", *common)
        parts = apart(tmp_path / "x", VIS, IR[::-1])
        np.testing.assert_array_equal(found, fused(tmp_path / "b", *parts, *common))


class TestFolders:
    def test_every_file_holds_both(self, tmp_path: Path, common: list[Any]) -> None:
        for i in range(3):
            write(tmp_path / "in" / f"{i}.png", np.roll(FOUR, i, 0))
        arguments = [*both(tmp_path / "in"), *BANDS, *common, "-o", tmp_path / "out"]
        result = fnet("fuse", *arguments)
        assert result.exit_code == 0, result.stderr
        assert "3 fused, 0 skipped, 0 failed, 0 unpaired" in result.stderr
        assert "transparency" not in result.stderr
        assert "0 fused, 3 skipped" in fnet("fuse", *arguments).stderr
        other = [*both(tmp_path / "in"), "--band", "vis=3,2,1", "--band", "ir=4", *common]
        assert "3 fused" in fnet("fuse", *other, "-o", tmp_path / "out").stderr  # made anew

    def test_a_list(self, tmp_path: Path, common: list[Any]) -> None:
        write(tmp_path / "a.png", FOUR)
        (tmp_path / "l.csv").write_text("vis,ir\na.png,a.png\n")
        found = fused(tmp_path / "a", "--pairs", tmp_path / "l.csv", *BANDS, *common)
        expected = fused(tmp_path / "b", *apart(tmp_path / "x", VIS, IR), *common)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.usefixtures("without_plots")
    def test_eval_and_inspect(self, tmp_path: Path, common: list[Any]) -> None:
        path = write(tmp_path / "in" / "a.png", FOUR)
        write(tmp_path / "f" / "a.png", VIS)
        options = ["--fused", tmp_path / "f", "--metrics", "MI", "--no-cache"]
        result = fnet("eval", *both(tmp_path / "in"), *BANDS, *options, "--json", "-")
        parts = apart(tmp_path / "x", VIS, IR)
        shutil.copy(tmp_path / "f" / "a.png", tmp_path / "v.png")
        other = fnet("eval", *parts, "--fused", tmp_path / "v.png", *options[2:], "--json", "-")
        assert result.exit_code == other.exit_code == 0, result.output
        scores = [text.split('"MI"')[-1].split("}")[0] for text in (result.stdout, other.stdout)]
        assert scores[0] == scores[1]
        inspected = fnet(
            "inspect", *both(path), *BANDS, *common[:2], "-o", tmp_path / "i", "--no-codes"
        )
        assert inspected.exit_code == 0, inspected.output
        assert "--band vis=1,2,3" in (tmp_path / "i" / "report.html").read_text()
        facts = fnet("inspect", path, "--band", "4")
        assert facts.exit_code == 0
        assert "grey" in facts.stdout


class TestSaid:
    def test_one_file_for_both_sides(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", FOUR)
        (tmp_path / "link.png").symlink_to(path)
        for other in (path, tmp_path / "link.png", tmp_path / "." / "a.png"):
            result = fnet("fuse", "--vis", path, "--ir", other, "-o", tmp_path / "out")
            assert result.exit_code == 2
            (line,) = errors(result.stderr)
            assert "both sides are the same file, which would be fused with itself" in line
            assert "--band vis=1,2,3 --band ir=4" in line
        for options in (["--band", "vis=1,2,3"], ["--band", "vis=4", "--band", "ir=4"]):
            result = fnet("fuse", *both(path), *options, "-o", tmp_path / "out")
            assert "the same file" in errors(result.stderr)[0]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("ir=1,2", "--band 1,2: give one band (grey), or three"),
            ("ir=1,,2", "--band 1,,2: give one band"),
            ("ir=", "give --band ir=VALUE or --band vis=VALUE"),
            ("4", "give --band ir=VALUE"),
        ],
    )
    def test_mistakes(self, text: str, said: str, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", FOUR)
        result = fnet("fuse", *both(path), "--band", "vis=1,2,3", "--band", text)
        assert result.exit_code == 2
        assert said in errors(result.stderr)[0]

    @pytest.mark.parametrize(
        ("band", "said"),
        [
            ("5", "has no band 5, but 4 bands (1 red, 2 green, 3 blue, 4 alpha); correct --band"),
            ("0", "has no band 0, but 4 bands"),
            ("99999999999", "has no band 99999999999, but 4 bands"),
            ("nir", "has no band called 'nir', but 4 bands"),
        ],
    )
    def test_bands_that_are_not_there(
        self, band: str, said: str, tmp_path: Path, common: list[Any]
    ) -> None:
        path = write(tmp_path / "a.png", FOUR)
        options = ["--band", "vis=1,2,3", "--band", f"ir={band}", "-o", tmp_path / "out"]
        result = fnet("fuse", *both(path), *options, *common)
        assert result.exit_code == 1
        assert f"{path}: {said}" in errors(result.stderr)[0]

    def test_transparency_that_is_a_picture_is_not_trusted(
        self, tmp_path: Path, common: list[Any]
    ) -> None:
        path, other = write(tmp_path / "a.png", FOUR), write(tmp_path / "b.png", IR)
        result = fnet("fuse", "--vis", path, "--ir", other, "-o", tmp_path / "o.png", *common)
        assert result.exit_code == 0
        assert "its band 4 is called transparency, but looks like a picture" in result.stderr
        assert "--band MODALITY=4" in result.stderr
        assert iio.imread(tmp_path / "o.png").shape == (HEIGHT, WIDTH, 3)

    def test_what_nobody_can_see_is_told(self, tmp_path: Path, common: list[Any]) -> None:
        path = write(tmp_path / "a.png", np.dstack([VIS, np.zeros_like(VIS[..., 0])]))
        other, words = write(tmp_path / "b.png", IR), "it is fully transparent (alpha is 0 every"
        given = ("--vis", path, "--ir", other)
        assert f"a: vis: {words}" in fnet("fuse", *given, "-o", tmp_path / "o", *common).stderr
        fused = tmp_path / "o" / "fused" / "a.png"
        scored = fnet("eval", *given, "--fused", fused, "--metrics", "MI", "--no-cache")
        assert f"vis: {words}" in scored.stderr
        assert f"fused: {words}" in scored.stderr

    @pytest.mark.parametrize("kind", ["mask", "soft edges", "constant", "few levels"])
    def test_transparency_is_trusted(self, kind: str, tmp_path: Path, common: list[Any]) -> None:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        distance = np.hypot(y - HEIGHT / 2, x - WIDTH / 2)
        alpha = {
            "mask": np.where(distance < 9, 255, 0),
            "soft edges": np.clip((10 - distance) * 90, 0, 255),
            "constant": np.full((HEIGHT, WIDTH), 200),
            "few levels": x // 4 * 30,
        }[kind].astype(np.uint8)
        path = write(tmp_path / "a.png", np.dstack([VIS, alpha]))
        other = write(tmp_path / "b.png", IR)
        result = fnet("fuse", "--vis", path, "--ir", other, "-o", tmp_path / "o.png", *common)
        assert "transparency" not in result.stderr
        np.testing.assert_array_equal(iio.imread(tmp_path / "o.png")[..., 3], alpha)

    def test_a_geotiff_whose_transparency_is_near_infrared(
        self, tmp_path: Path, common: list[Any]
    ) -> None:
        """Half of it is black, as over water: only a map's transparency is that plain."""
        values = FOUR.copy()
        values[:12, :, 3] = 0
        path = by_gdal(tmp_path / "a.tif", values, [], photometric="RGB", alpha="YES")
        other = by_gdal(tmp_path / "b.tif", IR[..., None], [])
        named = by_gdal(
            tmp_path / "c.tif", np.dstack([VIS, np.full_like(IR, 255)]),
            ["r", "g", "b", "NIR"], photometric="RGB", alpha="YES",
        )  # fmt: skip
        for vis, said in ((path, "looks like a picture"), (named, "4 NIR): the first three")):
            arguments = ["--vis", vis, "--ir", other, "-o", tmp_path / "o.tif", *common]
            result = fnet("fuse", *arguments)
            assert result.exit_code == 0, result.stderr
            assert said in result.stderr
            assert tifffile.imread(tmp_path / "o.tif").shape == (HEIGHT, WIDTH, 3)

    def test_too_many_bands_name_the_option(self, tmp_path: Path, common: list[Any]) -> None:
        path = by_gdal(tmp_path / "a.tif", FOUR, BGRN, photometric="MINISBLACK")
        other = write(tmp_path / "b.png", IR)
        result = fnet("fuse", "--vis", path, "--ir", other, "-o", tmp_path / "o", *common)
        assert result.exit_code == 1
        line = errors(result.stderr)[0]
        assert "has 4 bands (1 blue, 2 green, 3 red, 4 nir), neither grey nor RGB" in line
        assert "--band MODALITY=1,2,3" in line

    def test_weights_have_no_bands(self) -> None:
        result = fnet("inspect", "--band", "4")
        assert result.exit_code == 2
        assert "--band: applies only to a pair or an image" in errors(result.stderr)[0]


@pytest.mark.usefixtures("eager")
class TestTraining:
    def test_pairs_of_one_folder(self, tmp_path: Path) -> None:
        for i in range(2):
            write(tmp_path / "in" / "d" / f"{i}_all.png", np.roll(FOUR, i, 0))
        (tmp_path / "r.toml").write_text(
            "ema = 0.1\n[network]\natoms = 2\niterations = 1\nkernel_size = 3\n"
            "[inverse]\natoms = 2\niterations = 1\nkernel_size = 3\n"
            "[stage_1]\niterations = 0\n[stage_2]\niterations = 1\nbatch = 1\ncrop = 16\n"
        )
        arguments = [
            tmp_path / "r.toml", *both(tmp_path / "in"), *BANDS,
            "--match", "vis=d/{}_all", "--match", "ir=d/{}_all", "--validation", tmp_path / "in",
            "-o", tmp_path / "run", "--device", "cpu",
        ]  # fmt: skip
        result = fnet("train", *arguments)
        assert result.exit_code == 0, result.output
        assert "2 pairs" in result.stderr
        kept = (tmp_path / "run" / "recipe.toml").read_text()
        assert 'ir = "d/{}_all"' in kept
        assert 'vis = "1,2,3"' in kept
