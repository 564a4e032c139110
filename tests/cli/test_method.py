"""`fnet fuse --method`: baselines through the same grids, colours and formats as a network."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pydicom
import pytest
import tifffile

from fnetcli.baselines import BY_NAME, Baseline, Unit, blend_average, blend_laplacian
from fnetcli.cli.options.network import BASELINES
from fnetcli.imaging import color
from fnetcli.runs.baseline import BaselineSource
from tests.cli.command import error_line, fnet, tiny_weights
from tests.cli.test_batch import records
from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import AXIAL, affine, load_nifti, write_nifti, write_series

PLACE = affine(AXIAL, (3.0, 2.0, 2.0), (20.0, 30.0, -600.0))


@pytest.fixture
def pair(tmp_path: Path) -> list[object]:
    vis = write(tmp_path / "in" / "vis.png", smooth_noise(40, 50, 1))
    ir = write(tmp_path / "in" / "ir.png", smooth_noise(40, 50, 2))
    return ["--vis", vis, "--ir", ir]


def unit(path: object) -> Unit:
    """Return a picture as the network sees it, (1, H, W[, 3])."""
    pixels = iio.imread(str(path))
    return (pixels / np.float64(np.iinfo(pixels.dtype).max)).astype(np.float32)[None]


def read(pair: list[object]) -> tuple[Unit, Unit]:
    """Return both luminances, in the network's order."""
    return unit(pair[3]), unit(pair[1])


@pytest.mark.parametrize("name", ["average", "maximum", "laplacian"])
def test_blend_is_the_rule_without_rounding(name: str) -> None:
    one: Baseline = BY_NAME[name]
    first, second = smooth_noise(70, 45, 3), smooth_noise(70, 45, 4)
    first_unit, second_unit = ((image[None] / 255).astype(np.float32) for image in (first, second))
    exact = np.float32(255) * one.blend(first_unit, second_unit)[0]
    assert exact.dtype == np.float32
    assert np.abs(exact - one.rule(first, second)).max() < (0.51 if name != "maximum" else 1e-3)


def test_the_option_knows_all_baselines() -> None:
    assert tuple(BY_NAME) == BASELINES


class TestPictures:
    def test_average_is_the_mean(self, tmp_path: Path, pair: list[object]) -> None:
        out = tmp_path / "out"
        result = fnet("fuse", *pair, "-o", out, "--method", "average", "--depth", "float")
        assert result.exit_code == 0, result.output
        assert "1 pair, method average" in result.stderr
        assert "weights" not in result.stderr
        fused = tifffile.imread(out / "fused" / "vis.tif")
        np.testing.assert_allclose(fused, blend_average(*read(pair))[0], atol=1e-6)
        assert [one.name for one in out.iterdir() if one.is_dir()] == ["fused"]  # no parts
        record = records(out)[0]
        assert record["method"] == "average"
        assert "weights" not in record

    def test_max_is_short_for_maximum(self, tmp_path: Path, pair: list[object]) -> None:
        for given in ("max", "maximum"):
            result = fnet("fuse", *pair, "-o", tmp_path / given, "--method", given)
            assert result.exit_code == 0, result.output
            fused = iio.imread(tmp_path / given / "fused" / "vis.png")
            expected = np.rint(255 * np.maximum(*read(pair)))[0]
            np.testing.assert_array_equal(fused, expected)
            assert records(tmp_path / given)[0]["method"] == "maximum"

    def test_laplacian_of_16_bits_is_not_rounded_to_8(self, tmp_path: Path) -> None:
        vis = tmp_path / "vis.png"
        iio.imwrite(vis, smooth_noise(40, 50, 1).astype(np.uint16) * 200 + 77)
        ir = write(tmp_path / "in" / "ir.png", smooth_noise(40, 50, 2))
        given = ("--vis", vis, "--ir", ir, "--method", "laplacian", "-o", tmp_path / "out")
        result = fnet("fuse", *given, "--range", "vis=0,65535")
        assert result.exit_code == 0, result.output
        fused = iio.imread(tmp_path / "out" / "fused" / "vis.png")
        assert fused.dtype == np.uint16
        assert np.abs(fused - 65535 * blend_laplacian(unit(ir), unit(vis))[0]).max() < 1

    def test_colour_is_kept(self, tmp_path: Path) -> None:
        colored = np.stack([smooth_noise(40, 50, seed) for seed in (1, 2, 3)], axis=-1)
        vis = write(tmp_path / "in" / "vis.png", colored)
        ir = write(tmp_path / "in" / "ir.png", smooth_noise(40, 50, 4))
        given = ("--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--depth", "float")
        assert fnet("fuse", *given, "--method", "average").exit_code == 0
        fused = tifffile.imread(tmp_path / "out" / "fused" / "vis.tif")
        mean = (color.luminance(unit(vis)) + unit(ir)[..., None]) / np.float32(2)
        expected = np.clip(color.with_luminance(unit(vis), mean)[0], 0, 1)
        np.testing.assert_allclose(fused, expected, atol=1e-5)

    def test_another_method_is_another_result(self, tmp_path: Path, pair: list[object]) -> None:
        out = ("-o", tmp_path / "out")
        runs = [
            (("--method", "max"), "1 fused, 0 skipped"),
            (("--method", "maximum"), "0 fused, 1 skipped"),
            (("--method", "laplacian"), "1 fused, 0 skipped"),
            (("--weights", tiny_weights(tmp_path)), "1 fused, 0 skipped"),
            (("--method", "network", "--weights", tmp_path / "tiny.safetensors"), "0 fused, 1 s"),
        ]
        for options, words in runs:
            result = fnet("fuse", *pair, *out, *options)
            assert words in result.stderr, result.output

    def test_the_report_names_it(self, tmp_path: Path, pair: list[object]) -> None:
        given = ("-o", tmp_path / "out", "--method", "laplacian", "--report")
        assert fnet("fuse", *pair, *given).exit_code == 0
        page = (tmp_path / "out" / "index.html").read_text()
        assert "laplacian" in page
        assert "sha256" not in page.split("<main")[0].split("weights")[-1]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("best",), "--method best: unknown; use network, average, max or laplacian"),
            (("",), "--method: an empty value"),
            (("max", "--weights", "fnet"), "--weights and --method max: there is no network"),
            (("max", "--device", "cuda"), "--device cuda and --method max"),
            (("max", "--precision", "bf16"), "--precision and --method max"),
            (("max", "--tile", "64"), "--tile and --method max"),
            (("max", "--max-memory", "1G"), "--max-memory and --method max"),
            (("max", "--maps", "float"), "--maps float: the baseline maximum has no parts"),
            (("average", "--features"), "--features: the baseline average has no features"),
            (("average", "--gain", "common=1"), "--gain: the baseline average's fused image"),
        ],
    )
    def test_what_does_not_fit(
        self, tmp_path: Path, pair: list[object], options: tuple[str, ...], words: str
    ) -> None:
        result = fnet("fuse", *pair, "-o", tmp_path / "out", "--method", *options)
        assert result.exit_code == 2, result.output
        assert words in error_line(result.stderr)
        assert not (tmp_path / "out").exists()

    def test_it_travels(self) -> None:
        source = pickle.loads(pickle.dumps(BaselineSource("laplacian")))  # noqa: S301 - our own
        assert source.on("cuda:0").with_content().load_for_others().record() == {
            "method": "laplacian"
        }


class TestVolumes:
    @pytest.fixture
    def study(self, tmp_path: Path) -> list[object]:
        rng = np.random.default_rng(3)
        ct = rng.integers(-160, 240, (5, 14, 12)).astype(np.int16)
        pet = rng.integers(0, 10, (5, 14, 12)).astype(np.int16)
        return [
            write_series(tmp_path / "P1" / "CT", ct, PLACE, "CT"),
            write_series(tmp_path / "P1" / "PT", pet, PLACE, "PT", Units="GML"),
        ]

    def test_the_mean_on_the_references_grid(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        ct = rng.integers(-160, 240, (5, 14, 12)).astype(np.int16)
        mri = rng.integers(0, 1000, (5, 14, 12)).astype(np.int16)
        out = tmp_path / "out"
        result = fnet(
            *("fuse", "--ct", write_nifti(tmp_path / "ct.nii", ct, PLACE), "-o", out),
            *("--mri", write_nifti(tmp_path / "mr.nii", mri, PLACE), "--name", "A"),
            *("--range", "ct=-160,240", "--range", "mri=0,1000", "--method", "average"),
        )
        assert result.exit_code == 0, result.output
        fused = load_nifti(out / "fused" / "A.nii.gz").get_fdata().transpose(2, 1, 0)
        expected = ((ct + 160) / 400 + mri / 1000) / 2
        np.testing.assert_allclose(fused, expected, atol=1e-6)  # not rounded to grey levels
        assert sorted(one.name for one in out.iterdir() if one.is_dir()) == ["fused", "preview"]

    def test_dicom_and_colour_say_what_fused(self, tmp_path: Path, study: list[object]) -> None:
        ct, pet = study
        given = ("fuse", "--ct", ct, "--pet", pet, "-o", tmp_path / "out", "--to", "dicom")
        for method, words in (
            (("--method", "max"), "fused by the baseline maximum, which is not trained"),
            (("--weights", tiny_weights(tmp_path)), "(fnet, weights tiny.safetensors)"),
        ):
            result = fnet(*given, *method)
            assert result.exit_code == 0, result.output
            for folder in ("fused", "fused_color"):
                header = pydicom.dcmread(tmp_path / "out" / folder / "P1" / "0001.dcm")
                assert words in header.DerivationDescription
                assert ("not trained" in header.DerivationDescription) is (method[0] == "--method")


def test_films_too(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("vis", "ir"):
        for i in range(3):
            write(tmp_path / name / f"{i}.png", smooth_noise(48, 64, i + len(name)))
    given = ("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "out.mkv")
    result = fnet("fuse", *given, "--method", "max", "--frame-rate", "5", "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["method"] == "maximum"
