"""`fnet fuse` and `fnet eval` with a model that is not FNet: no parts, the whole image matters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from fnetcli.models.base import ModelSpec
from fnetcli.models.cddfuse.network import CDDFuse
from tests import small_cddfuse, tiny_models
from tests.cli.command import fnet
from tests.drawn_pictures import smooth_noise, write, write_pairs
from tests.drawn_volumes import AXIAL, affine, phantom, write_nifti
from tests.tiny_models import BARE, TINY

HEIGHT, WIDTH = 24, 32


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_models.register(monkeypatch)


def fuse(*arguments: object) -> str:
    result = fnet("fuse", *arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


def refused(*arguments: object) -> str:
    result = fnet("fuse", *arguments)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    return line


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def by_hand(vis: Path, ir: Path) -> NDArray[np.float32]:
    """Return the fused luminance of the module itself."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    grey = iio.imread(vis).astype(np.float32) @ weights / 255
    x, y = (torch.from_numpy(one)[None, None] for one in (iio.imread(ir) / np.float32(255), grey))
    with torch.no_grad():
        found: torch.Tensor = tiny_models.random_network(TINY).at_work()(x, y).fused
    return found[0, 0].numpy()


class TestPictures:
    def test_a_pair_writes_the_models_own_maps(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        vis, ir = tmp_path / "vis" / "0.png", tmp_path / "ir" / "0.png"
        weights = tiny_models.save(tmp_path, TINY)
        pair = ["--vis", vis, "--ir", ir, "--weights", weights, "--gray"]
        fuse(*pair, "-o", tmp_path / "a")
        assert files(tmp_path / "a") == {
            *(f"{name}/0.png" for name in ("fused", "weight_ir", "weight_vis", "detail")),
            *("manifest.jsonl", "run.json"),
        }
        fused = iio.imread(tmp_path / "a" / "fused" / "0.png")
        assert np.abs(fused - 255 * np.clip(by_hand(vis, ir), 0, 1)).max() <= 0.51
        fuse(*pair, "-o", tmp_path / "b", "--maps", "float", "--features", "--depth", "float")
        weight_ir, weight_vis = (
            tifffile.imread(tmp_path / "b" / name / "0.tif") for name in ("weight_ir", "weight_vis")
        )
        np.testing.assert_allclose(weight_ir + weight_vis, 1, atol=1e-6)
        with np.load(tmp_path / "b" / "features" / "0.npz") as features:
            assert features["activity"].shape == (4, HEIGHT, WIDTH)

    def test_a_model_that_shows_nothing_writes_the_fused_picture_alone(
        self, tmp_path: Path
    ) -> None:
        write_pairs(tmp_path, 2)
        weights = tiny_models.save(tmp_path, BARE)
        fuse("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "o", "--weights",
             weights)  # fmt: skip
        assert files(tmp_path / "o") == {
            *("fused/0.png", "fused/1.png", "manifest.jsonl", "run.json"),
        }

    def test_a_folder_is_skipped_the_second_time(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 3)
        weights = tiny_models.save(tmp_path, TINY)
        again = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", weights,
                 "-o", tmp_path / "o"]  # fmt: skip
        assert "3 fused" in fuse(*again)
        assert "0 fused, 3 skipped" in fuse(*again)

    @pytest.mark.parametrize(
        ("spec", "options", "message"),
        [
            (BARE, ["--maps", "preview"], "--maps preview: this network has no parts or maps"),
            (BARE, ["--features"], "--features: this network has no features"),
            (BARE, ["--gain", "unique_ir=2"], "not a sum of parts"),
            (TINY, ["--gain", "weight_ir=2"], "not a sum of parts"),
        ],
    )
    def test_what_a_model_does_not_make_is_refused(
        self, tmp_path: Path, spec: ModelSpec[Any], options: list[str], message: str
    ) -> None:
        write_pairs(tmp_path, 1)
        weights = tiny_models.save(tmp_path, spec)
        line = refused("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", weights,
                       "-o", tmp_path / "o", *options)  # fmt: skip
        assert message in line
        assert not (tmp_path / "o").exists()

    def test_tiles_blend_and_are_announced(self, tmp_path: Path) -> None:
        write(tmp_path / "v.png", smooth_noise(150, 170, 1, 3))
        write(tmp_path / "i.png", smooth_noise(150, 170, 2))
        weights = tiny_models.save(tmp_path, TINY)
        pair = ["--vis", tmp_path / "v.png", "--ir", tmp_path / "i.png", "--weights", weights,
                "--gray", "--depth", "float", "--maps", "none"]  # fmt: skip
        assert "blended" not in fuse(*pair, "-o", tmp_path / "whole.tif")
        messages = fuse(*pair, "-o", tmp_path / "tiles.tif", "--tile", "64")
        assert messages.count("runs tile by tile (9 tiles, blended at their borders)") == 1
        whole, tiled = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("whole", "tiles"))
        assert 0 < np.abs(whole - tiled).max() < 0.1
        steps = np.abs(np.diff(tiled - whole, axis=1))
        borders = steps[:, 63:-1:64]
        assert borders.max() <= steps.max() + 1e-6  # no seam stands out
        assert np.abs(np.diff(tiled - whole, axis=0)).max() < 1 / 255 + steps.max()


def test_a_volume(tmp_path: Path) -> None:
    matrix = affine(AXIAL)
    ct = write_nifti(tmp_path / "ct.nii.gz", phantom(), matrix)
    mri = write_nifti(tmp_path / "mri.nii.gz", phantom(seed=1), matrix)
    weights = tiny_models.save(tmp_path, TINY)
    fuse("--ct", ct, "--mri", mri, "--weights", weights, "-o", tmp_path / "o")
    made = {path.parent.name for path in (tmp_path / "o").rglob("*.nii.gz")}
    assert made == {"fused", "weight_mri", "weight_ct", "detail"}
    (path,) = (tmp_path / "o" / "weight_mri").glob("*.nii.gz")
    weight = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    assert 0 <= weight.min() <= weight.max() <= 1


class TestCDDFuse:
    """A model that has features, no parts and no maps, and executors of its own."""

    def test_a_pair_writes_the_fused_picture_alone(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        vis, ir = tmp_path / "vis" / "0.png", tmp_path / "ir" / "0.png"
        weights = small_cddfuse.save(tmp_path)
        said = fuse("--vis", vis, "--ir", ir, "--weights", weights, "--gray", "-o", tmp_path / "o",
                    "-v")  # fmt: skip
        assert "network: torch, layer by layer, fp32" in said
        assert files(tmp_path / "o") == {"fused/0.png", "manifest.jsonl", "run.json"}
        weigh = np.array([0.299, 0.587, 0.114], np.float32)
        grey = iio.imread(vis).astype(np.float32) @ weigh / 255
        infrared = iio.imread(ir) / np.float32(255)
        x, y = (torch.from_numpy(one)[None, None] for one in (infrared, grey))
        expected = small_cddfuse.small_module()(x, y).fused[0, 0].numpy()
        fused = iio.imread(tmp_path / "o" / "fused" / "0.png")
        assert np.abs(fused - 255 * expected).max() <= 0.51

    def test_a_folder_with_features_is_skipped_the_second_time(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 3)
        again = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "o",
                 "--weights", small_cddfuse.save(tmp_path), "--features"]  # fmt: skip
        assert "3 fused" in fuse(*again)
        assert "0 fused, 3 skipped" in fuse(*again)
        with np.load(tmp_path / "o" / "features" / "2.npz") as features:
            assert sorted(features) == sorted(small_cddfuse.NAMES)
            for feature in features.values():
                assert feature.shape == (8, HEIGHT, WIDTH)
                assert feature.dtype == np.float16
                assert np.ptp(feature.astype(np.float32)) > 0

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--gain", "base_ir=2"], "--gain: this network's fused image is not a sum of parts"),
            (
                ["--maps", "preview"],
                "--maps preview: this network has no parts or maps; leave it out",
            ),
            (["--max-memory", "1M"], "--max-memory: the smallest tile of this network needs "),
        ],
    )
    def test_what_it_does_not_do_is_refused(
        self, tmp_path: Path, options: list[str], message: str
    ) -> None:
        write_pairs(tmp_path, 1)
        line = refused("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", tmp_path / "o",
                       "--weights", small_cddfuse.save(tmp_path), *options)  # fmt: skip
        assert message in line
        assert not (tmp_path / "o").exists()

    def test_tiles_have_no_seams_and_are_announced_once(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write(tmp_path / "v" / f"{name}.png", smooth_noise(150, 170, 1, 3))
            write(tmp_path / "i" / f"{name}.png", smooth_noise(150, 170, 2))
        folders = ["--vis", tmp_path / "v", "--ir", tmp_path / "i", "--gray", "--depth", "float",
                   "--weights", small_cddfuse.save(tmp_path)]  # fmt: skip
        assert "whole image" not in fuse(*folders, "-o", tmp_path / "whole", "--tile", "0")
        said = fuse(*folders, "-o", tmp_path / "tiles", "--tile", "64")
        assert said.count("the result differs from that of the whole image") == 1
        whole, tiled = (
            tifffile.imread(tmp_path / name / "fused" / "a.tif") for name in ("whole", "tiles")
        )
        assert 0 < np.abs(whole - tiled).max() < 0.1
        for axis in (0, 1):
            steps = np.moveaxis(np.abs(np.diff(tiled, axis=axis)), axis, 0)
            at_borders = np.arange(len(steps)) % 64 == 63
            assert steps[at_borders].max() <= steps[~at_borders].max() + 1 / 255

    def test_a_result_that_is_not_finite_names_the_weights(self, tmp_path: Path) -> None:
        def damage(module: CDDFuse) -> None:
            module.get_parameter("encoder.detail.0.rho.reduce.weight").fill_(1e38)

        write_pairs(tmp_path, 1)
        weights = small_cddfuse.save(tmp_path, damage)
        result = fnet("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o",
                      tmp_path / "o", "--weights", weights)  # fmt: skip
        assert result.exit_code == 1
        words = "weights small.safetensors: the network's result is not finite; check the weights"
        assert words in result.stderr

    def test_a_volume(self, tmp_path: Path) -> None:
        ct = write_nifti(tmp_path / "ct.nii.gz", phantom(), affine(AXIAL))
        mri = write_nifti(tmp_path / "mri.nii.gz", phantom(seed=1), affine(AXIAL))
        fuse("--ct", ct, "--mri", mri, "--weights", small_cddfuse.save(tmp_path), "-o",
             tmp_path / "o")  # fmt: skip
        (path,) = (tmp_path / "o").rglob("*.nii.gz")
        assert path.parent.name == "fused"
        fused = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
        assert np.isfinite(fused).all()
        assert np.ptp(fused) > 0


def test_eval(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2, 40, 48)
    tiny, bare = tiny_models.save(tmp_path, TINY), tiny_models.save(tmp_path, BARE)
    result = fnet("eval", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", tiny,
                  "--weights", bare, "--metrics", "MI,SSIM", "--json", tmp_path / "s.json",
                  "--cost", "16x16")  # fmt: skip
    assert "tiny" in result.stdout
    assert "bare" in result.stdout
    scores = json.loads((tmp_path / "s.json").read_text())
    assert {one["name"] for one in scores["methods"]} == {"tiny", "bare"}
