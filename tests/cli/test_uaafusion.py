"""UAAFusion through the command line, with small random weights."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

from fnetcli.checkpoints.loading import save_weights
from fnetcli.formats.labels import read_labels
from fnetcli.models.torch_arrays import at_rest
from fnetcli.models.uaafusion import UAAFUSION
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from tests.cli.command import error_line, fnet
from tests.drawn_pictures import smooth_noise, write, write_pairs
from tests.drawn_volumes import AXIAL, affine, phantom, write_nifti
from tests.reports.test_inspect_page import Written

CLASSES = ("unlabelled", "road", "person")
CONFIG = UAAFusionConfig(
    stages=3, channels=4, classes=3, path_steps=2, segmentation="small", class_names=CLASSES
)
MAPS = {
    *("weight_ir", "weight_vis", "stage_1", "stage_2", "stage_3"),
    *("attention_1", "attention_2", "segmentation"),
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    path = tmp_path / "uaa.safetensors"
    save_weights(path, at_rest(UAAFUSION, CONFIG, UAAFusion(CONFIG)), {"trained": {"pairs": 3}})
    return path


def fuse(*arguments: object) -> str:
    result = fnet("fuse", *arguments)
    assert result.exit_code == 0, result.output
    return result.stderr


def folders(out: Path) -> set[str]:
    return {path.name for path in out.iterdir() if path.is_dir()}


class TestFuse:
    def test_a_pair_writes_its_maps(self, tmp_path: Path, weights: Path) -> None:
        write_pairs(tmp_path, 1)
        pair = (
            "--vis",
            tmp_path / "vis/0.png",
            "--ir",
            tmp_path / "ir/0.png",
            "--weights",
            weights,
        )
        fuse(*pair, "-o", tmp_path / "a")
        assert folders(tmp_path / "a") == {"fused", *MAPS}
        fuse(*pair, "-o", tmp_path / "b", "--maps", "float", "--features")
        found = {name: tifffile.imread(tmp_path / "b" / name / "0.tif") for name in MAPS}
        np.testing.assert_allclose(found["weight_ir"] + found["weight_vis"], 1, atol=1e-6)
        for name, image in found.items():
            assert image.shape == (24, 32)
            top = 2 if name == "segmentation" else 1
            assert 0 <= image.min() <= image.max() <= top, name
        with np.load(tmp_path / "b/features/0.npz") as features:
            assert {name: one.shape for name, one in features.items()} == {
                "memory_long": (4, 24, 32),
                "memory_short": (4, 24, 32),
            }
        segmentation = tmp_path / "a/segmentation/0.png"
        with PIL.Image.open(segmentation) as picture:
            assert picture.mode == "P"
        labels = read_labels(segmentation).pixels[0, ..., 0]
        np.testing.assert_array_equal(labels, found["segmentation"])

    def test_the_segmentation_is_a_label_for_training(self, tmp_path: Path, weights: Path) -> None:
        write_pairs(tmp_path, 1)
        fuse("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", weights,
             "-o", tmp_path / "o")  # fmt: skip
        recipe = tmp_path / "r.toml"
        recipe.write_text(
            'model = "uaafusion"\nema = 0.1\n[classes]\nnames = ["road", "person"]\n'
            '[network]\nsegmentation = "small"\nchannels = 4\nstages = 1\n'
            "[stage_1]\niterations = 1\ncrop = 16\nbatch = 1\n[stage_2]\niterations = 0\n"
        )
        result = fnet(
            *("train", recipe, "--vis", tmp_path / "vis", "--ir", tmp_path / "ir"),
            *("--labels", tmp_path / "o/segmentation", "-o", tmp_path / "run"),
        )
        assert result.exit_code == 0, result.output

    def test_a_folder_and_again(self, tmp_path: Path, weights: Path) -> None:
        write_pairs(tmp_path, 2)
        write(tmp_path / "vis/0.png", smooth_noise(24, 31, 1, 3))
        write(tmp_path / "ir/0.png", smooth_noise(24, 31, 2))
        again = ("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", weights,
                 "-o", tmp_path / "o", "--report")  # fmt: skip
        assert "2 fused" in fuse(*again)
        assert "0 fused, 2 skipped" in fuse(*again)
        page = (tmp_path / "o/index.html").read_text()
        for words in ("weight ir", "attention 1", "segmentation"):
            assert words in page

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2)])
    def test_tiny_pictures(self, tmp_path: Path, weights: Path, shape: tuple[int, int]) -> None:
        write(tmp_path / "v.png", smooth_noise(*shape, 1, 3))
        write(tmp_path / "i.png", smooth_noise(*shape, 2))
        fuse("--vis", tmp_path / "v.png", "--ir", tmp_path / "i.png", "--weights", weights,
             "-o", tmp_path / "o.png")  # fmt: skip
        assert iio.imread(tmp_path / "o.png").shape[:2] == shape

    def test_gain_is_refused(self, tmp_path: Path, weights: Path) -> None:
        write_pairs(tmp_path, 1)
        result = fnet("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights",
                      weights, "-o", tmp_path / "o", "--gain", "weight_ir=2")  # fmt: skip
        assert result.exit_code == 2
        assert "not a sum of parts" in error_line(result.stderr)
        assert not (tmp_path / "o").exists()

    def test_maps_none(self, tmp_path: Path, weights: Path) -> None:
        write_pairs(tmp_path, 1)
        fuse("--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", weights,
             "-o", tmp_path / "o", "--maps", "none")  # fmt: skip
        assert folders(tmp_path / "o") == {"fused"}

    def test_a_volume(self, tmp_path: Path, weights: Path) -> None:
        matrix = affine(AXIAL)
        ct = write_nifti(tmp_path / "ct.nii.gz", phantom(), matrix)
        mri = write_nifti(tmp_path / "mri.nii.gz", phantom(seed=1), matrix)
        fuse("--ct", ct, "--mri", mri, "--weights", weights, "-o", tmp_path / "o")
        names = {name.replace("_ir", "_mri").replace("_vis", "_ct") for name in MAPS}
        assert names <= folders(tmp_path / "o")
        (path,) = (tmp_path / "o/segmentation").glob("*.nii.gz")
        values = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(values, np.rint(values))

    def test_eval(self, tmp_path: Path, weights: Path) -> None:
        write_pairs(tmp_path, 1, 40, 48)
        result = fnet("eval", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights",
                      weights, "--baselines", "--metrics", "MI,SSIM")  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "uaa" in result.stdout


class TestLargePictures:
    """Tiles leave no seams; what S decides comes from a reduced image."""

    SIDE = 64

    @pytest.fixture
    def pair(self, tmp_path: Path, weights: Path) -> tuple[object, ...]:
        write(tmp_path / "v.png", smooth_noise(150, 170, 1, 3))
        write(tmp_path / "i.png", smooth_noise(150, 170, 2))
        return ("--vis", tmp_path / "v.png", "--ir", tmp_path / "i.png", "--weights", weights,
                "--gray", "--depth", "float", "--maps", "float")  # fmt: skip

    def test_tiles_give_what_the_whole_image_gives(
        self, tmp_path: Path, pair: tuple[object, ...]
    ) -> None:
        """Within `guide_pixels` nothing is reduced, so that tiles change nothing but rounding."""
        assert "reduced" not in fuse(*pair, "-o", tmp_path / "whole.tif")
        said = fuse(*pair, "-o", tmp_path / "tiles.tif", "--tile", self.SIDE)
        assert "blended" not in said
        assert "differs" not in said
        whole, tiled = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("whole", "tiles"))
        np.testing.assert_allclose(tiled, whole, atol=2e-5)
        for name in ("stage_3", "weight_ir", "attention_2"):
            whole, tiled = (
                tifffile.imread(tmp_path / f"{run}-maps" / f"{name}.tif")
                for run in ("whole", "tiles")
            )
            np.testing.assert_allclose(tiled, whole, atol=1e-3, err_msg=name)

    def test_a_large_picture_has_no_seams(
        self, tmp_path: Path, pair: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(UAAFusionConfig, "guide_pixels", 60 * 60)
        monkeypatch.setattr("fnetcli.engine.memory.MOST", 12 << 20)  # of tiles of 64 pixels
        said = fuse(*pair, "-o", tmp_path / "tiles.tif")
        assert said.count("weights, attention and segmentation are those of the image reduced") == 1
        assert "170x150: " in said
        assert "--tile 0" in said
        monkeypatch.undo()
        monkeypatch.setattr(UAAFusionConfig, "guide_pixels", 60 * 60)
        assert "reduced" in fuse(*pair, "-o", tmp_path / "one.tif")
        tiled, one = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("tiles", "one"))
        np.testing.assert_allclose(tiled, one, atol=2e-5)  # a step across a border: 1/255 at most
        assert "reduced" not in fuse(*pair, "-o", tmp_path / "whole.tif", "--tile", "0")
        whole = tifffile.imread(tmp_path / "whole.tif")
        assert np.abs(tiled - whole).max() > 1e-4  # so the guide was another
        segmentation = tifffile.imread(tmp_path / "tiles-maps" / "segmentation.tif")
        assert set(np.unique(segmentation)) <= {0, 1, 2}

    def test_little_memory(self, tmp_path: Path, pair: tuple[object, ...]) -> None:
        """What does not fit is made smaller, and said."""
        messages = fuse(*pair, "-o", tmp_path / "o.tif", "--max-memory", "12M")
        assert "those of the image reduced to" in messages
        whole = tifffile.imread(tmp_path / "o.tif")
        assert whole.shape == (150, 170)


class TestInspect:
    @pytest.fixture
    def images(self, tmp_path: Path) -> tuple[object, ...]:
        write(tmp_path / "v.png", smooth_noise(20, 30, 1, 3))
        write(tmp_path / "i.png", smooth_noise(20, 30, 2))
        return ("--vis", tmp_path / "v.png", "--ir", tmp_path / "i.png")

    @pytest.mark.usefixtures("without_plots")
    def test_a_pair(self, tmp_path: Path, weights: Path, images: tuple[object, ...]) -> None:
        out = tmp_path / "o"
        result = fnet(
            "inspect", *images, "--weights", weights, "-o", out, "--json", tmp_path / "n.json"
        )
        assert result.exit_code == 0, result.output
        assert {path.name for path in out.iterdir()} == {
            *("weights.png", "attention.png", "stages.png", "segmentation.png", "features.png"),
            *("differences.png", "histograms.png", "features.npz", "report.html"),
            *("feature_memory_long.png", "feature_memory_short.png"),
        }
        numbers = json.loads((tmp_path / "n.json").read_text())
        with np.load(out / "features.npz") as found:
            arrays = dict(found)
        segmentation, weight = arrays["segmentation"], arrays["weight_first"]
        assert numbers["classes"].keys() <= {*CLASSES}
        for name, of in numbers["classes"].items():
            mask = segmentation == CLASSES.index(name)
            assert of["share"] == pytest.approx(mask.mean())
            assert of["weight_ir"] == pytest.approx(weight[mask].mean(), rel=1e-4)
            assert of["weight_ir"] + of["weight_vis"] == pytest.approx(1)
        assert sum(of["share"] for of in numbers["classes"].values()) == pytest.approx(1)
        change = arrays["stage_2"] - arrays["stage_1"]
        assert numbers["stages"]["stage_2"]["change"] == pytest.approx(
            np.sqrt((change.astype(np.float64) ** 2).mean()), rel=1e-4
        )
        assert "classes: share of the pixels" in result.stdout
        assert "stages: root mean square" in result.stdout

    def test_the_page(self, tmp_path: Path, weights: Path, images: tuple[object, ...]) -> None:
        result = fnet("inspect", *images, "--weights", weights, "-o", tmp_path / "o")
        assert result.exit_code == 0, result.output
        page = Written(tmp_path / "o/report.html")
        assert {"weight_ir", "weight_vis", "stage_3", "attention_2", "segmentation"} <= page.data[
            "maps"
        ].keys()
        for words in ("Weights, attention, stages and classes", "Memory", "1 road, 2 person"):
            assert words in page.text
        assert "Mixing desk" not in page.text

    def test_weights(self, tmp_path: Path, weights: Path) -> None:
        out = tmp_path / "o"
        result = fnet("inspect", weights, "-o", out, "--json", tmp_path / "f.json")
        assert result.exit_code == 0, result.output
        assert {path.name for path in out.iterdir()} == {"steps.png"}
        facts = json.loads((tmp_path / "f.json").read_text())
        assert facts["alpha"] == [0.5] * 3
        assert facts["config"]["class_names"] == [*CLASSES]
        assert "segmentation" in facts["parameters"]
        assert "alpha_k" in result.stdout

    def test_iterations_are_refused(
        self, tmp_path: Path, weights: Path, images: tuple[object, ...]
    ) -> None:
        result = fnet(
            *("inspect", *images, "--weights", weights, "--iterations", "-o", tmp_path / "o")
        )
        assert result.exit_code == 2
        assert "'uaafusion'" in error_line(result.stderr)
