"""The Python API gives what the command line writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import imageio.v3 as iio
import nibabel as nib
import numpy as np
import pytest
import torch

import fnetcli
from fnetcli import (
    ClusterOptions,
    Progress,
    ScalingOptions,
    fuse,
    fuse_folder,
    fuse_many,
    fuse_volumes,
    load_baseline,
    load_network,
    read_image,
)
from fnetcli.errors import ClusterError, FnetError, PairError, ReadError, UsageError
from fnetcli.pictures.outputs import Depth
from fnetcli.products import Products
from fnetcli.runs.crew.options import CrewOptions
from fnetcli.runs.network import require_products
from tests import flir_files
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write, write_pairs


def test_arrays_paths_and_images_agree_with_the_command(tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path)
    vis, ir = smooth_noise(20, 30, 1, 3), smooth_noise(20, 30, 2)
    vis_path, ir_path = write(tmp_path / "a.png", vis), write(tmp_path / "b.png", ir)
    assert fnet(
        *("fuse", "--vis", vis_path, "--ir", ir_path, "-o", tmp_path / "o.png"),
        *("--weights", weights),
    ).exit_code == 0  # fmt: skip
    network = load_network(weights, device="cpu")
    for fused in (
        fuse(network, vis=vis, ir=ir),
        fuse(network, vis=vis_path, ir=str(ir_path)),
        fuse(network, ir=read_image(ir_path), vis=read_image(vis_path)),
    ):
        stored = np.rint(fused.image.pixels[0] * 255).astype(np.uint8)
        np.testing.assert_array_equal(stored, iio.imread(tmp_path / "o.png"))
        assert list(fused.parts) == ["unique_ir", "unique_vis", "common"]
        assert fused.features == {}
    codes = fuse(network, vis=vis, ir=ir, features=True).features
    assert codes["z"].shape == (1, 4, 20, 30)


def test_arrays_of_other_depths_are_scaled_as_files_are(tmp_path: Path) -> None:
    network = load_network(tiny_weights(tmp_path), device="cpu")
    vis, unit = smooth_noise(20, 30, 1, 3), smooth_noise(20, 30, 2) / np.float32(255)
    by_hand = fuse(network, vis=vis, ir=unit, scaling={"ir": ScalingOptions(limits=(0, 1))})
    plain = fuse(network, vis=vis, ir=np.rint(unit * 255).astype(np.uint8))
    np.testing.assert_allclose(by_hand.image.pixels, plain.image.pixels, atol=1e-5)
    counts = (29000 + 1000 * unit).astype(np.uint16)
    stretched = fuse(network, vis=vis, ir=counts.astype(">u2"))
    low, high = np.percentile(counts, (0.1, 99.9))
    assert stretched.ranges["ir"] == {"low": low, "high": high, "invalid": 0}
    holed = unit.copy()
    holed[3, 4] = np.nan
    assert "1 pixel (" in " ".join(fuse(network, vis=vis, ir=holed).notices)


def load(path: Path) -> Any:
    """Return what nibabel reads."""
    return nib.load(path)


def test_everything_is_listed() -> None:
    public = {name for name in dir(fnetcli) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(fnetcli, name), ModuleType)}
    assert public - modules == {*fnetcli.__all__} == {*fnetcli.HOMES}
    assert all(getattr(fnetcli, name) for name in fnetcli.__all__)


def test_tensors_have_their_channels_first(tmp_path: Path) -> None:
    network = load_network(tiny_weights(tmp_path), device="cpu")
    vis, ir = smooth_noise(20, 30, 1, 3), smooth_noise(20, 30, 2)
    expected = fuse(network, vis=vis, ir=ir).image.pixels
    tensors: dict[str, Any] = {
        "vis": torch.from_numpy(vis).permute(2, 0, 1),
        "ir": torch.from_numpy(ir),
    }
    for given in (tensors, tensors | {"ir": tensors["ir"][None]}):
        np.testing.assert_array_equal(fuse(network, **given).image.pixels, expected)
    halves = tensors["ir"].to(torch.bfloat16).requires_grad_()
    floats = halves.detach().float().numpy()
    np.testing.assert_array_equal(
        fuse(network, vis=vis, ir=halves).image.pixels,
        fuse(network, vis=vis, ir=floats).image.pixels,
    )
    with pytest.raises(PairError, match=r"20 channels; give 1 or 3"):
        fuse(network, vis=torch.from_numpy(vis), ir=ir)


def test_many_pairs(tmp_path: Path) -> None:
    """Lists, batches of arrays and of tensors give what each pair gives by itself."""
    network = load_network(tiny_weights(tmp_path), device="cpu")
    vis = [smooth_noise(20, 30, i, 3) for i in range(3)]
    ir = [smooth_noise(20, 30, i + 5) for i in range(3)]
    expected = [
        fuse(network, vis=x, ir=y, gray=True).image.pixels for x, y in zip(vis, ir, strict=True)
    ]
    tensor = torch.from_numpy(np.stack(vis)).permute(0, 3, 1, 2)
    first = write(tmp_path / "a.png", vis[0])
    batches: list[Any] = [vis, np.stack(vis), tensor, [first, vis[1], tensor[2]]]
    for given in batches:
        found = fuse_many(network, {"vis": given, "ir": np.stack(ir)}, gray=True)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.image.pixels, other)
    assert fuse_many(network, {"vis": [], "ir": []}) == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"vis": np.zeros((2, 8, 8)), "ir": np.zeros((3, 8, 8))}, "3 images of ir and 2 of vis"),
        ({"vis": np.zeros((8, 8)), "ir": np.zeros((3, 8, 8))}, "vis: an array"),
        ({"vis": torch.zeros(2, 8, 8), "ir": np.zeros((2, 8, 8))}, r"a batch is \(N, C, H, W\)"),
        ({"vis": "a.png", "ir": ["b.png"]}, "vis: one image; give a list, or use fuse"),
        ({"vis": [np.zeros((8, 8, 2))], "ir": [np.zeros((8, 8))]}, "pair 0: array"),
    ],
)
def test_batches_that_are_none(tmp_path: Path, images: dict[str, Any], message: str) -> None:
    network = load_network(tiny_weights(tmp_path), device="cpu")
    with pytest.raises(PairError, match=message):
        fuse_many(network, images)


def test_saved_as_the_command_writes_it(tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path)
    vis = write(tmp_path / "a.png", smooth_noise(20, 30, 1, 3))
    ir = write(tmp_path / "b.png", smooth_noise(20, 30, 2))
    fused = fuse(load_network(weights, device="cpu"), vis=vis, ir=ir)
    depths: list[tuple[str, Depth]] = [("o.png", "8"), ("o.tif", "float"), ("deep.png", "16")]
    for name, depth in depths:
        by_hand, path = tmp_path / name, tmp_path / "new" / name
        given = ("--vis", vis, "--ir", ir, "-o", by_hand, "--weights", weights, "--depth", depth)
        assert fnet("fuse", *given).exit_code == 0
        assert fused.save(path, depth) == path
        assert path.read_bytes() == by_hand.read_bytes()
    assert fused._repr_png_() == (tmp_path / "o.png").read_bytes()
    with pytest.raises(UsageError, match=r"x\.bmp: pictures are PNG, TIFF, JPEG or WebP"):
        fused.save(tmp_path / "x.bmp")
    with pytest.raises(UsageError, match="cannot hold it"):
        fused.save(tmp_path / "x.jpg", "float")


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, in order, in a folder beside the examples."""
    root = Path(__file__).parents[1]
    cells = json.loads((root / "docs" / "notebook.ipynb").read_text())["cells"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(root / "examples")
    names: dict[str, Any] = {}
    for cell in cells:
        assert cell["cell_type"] == "markdown" or not cell["outputs"]
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "notebook", "exec"), names)  # noqa: S102
    assert (tmp_path / "fused.png").is_file()


def test_wrong_calls_are_named(tmp_path: Path) -> None:
    network, grey = load_network(tiny_weights(tmp_path)), np.zeros((4, 4), np.uint8)
    with pytest.raises(UsageError, match="sonar: not a modality"):
        fuse(network, vis=grey, sonar=grey)
    with pytest.raises(UsageError, match="exactly two"):
        fuse(network, vis=grey)
    with pytest.raises(PairError, match="complex64"):
        fuse(network, vis=grey.astype(np.complex64), ir=grey)
    with pytest.raises(UsageError, match="scaling of nir"):
        fuse(network, vis=grey, ir=grey, scaling={"nir": ScalingOptions()})
    with pytest.raises(PairError, match="channels"):
        fuse(network, vis=np.zeros((4, 4, 2), np.uint8), ir=grey)
    with pytest.raises(PairError, match="sizes differ"):
        fuse(network, vis=np.zeros((4, 5), np.uint8), ir=grey)
    with pytest.raises(UsageError, match="use ir or vis"):
        fuse(network, vis=grey, ir=grey, resize="vsi")
    with pytest.raises(ReadError, match="none"):
        fuse(network, vis=tmp_path / "none.png", ir=grey)


class TestFolders:
    """A whole run from a script: what the command does, without printing."""

    def test_the_same_files_as_the_command(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_pairs(tmp_path, 3)
        write(tmp_path / "vis" / "alone.png", smooth_noise(8, 8, 1))
        weights = tiny_weights(tmp_path)
        command = fnet(
            *("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--weights", weights),
            *("-o", tmp_path / "command", "--gain", "unique_ir=1.5", "--device", "cpu"),
        )
        assert command.exit_code == 0, command.output
        capsys.readouterr()
        heard: list[Progress] = []
        images = {"vis": tmp_path / "vis", "ir": tmp_path / "ir"}
        report = fuse_folder(
            load_network(weights, device="cpu"),
            tmp_path / "script",
            images,
            gains={"unique_ir": 1.5},
            on_progress=heard.append,
        )
        assert capsys.readouterr() == ("", "")
        assert [*report.done] == ["0", "1", "2"]
        assert (report.skipped, report.failed, report.left) == ({}, {}, ())
        assert report.is_complete
        assert report.unpaired == (tmp_path / "vis" / "alone.png",)
        assert report.fused["1"] == tmp_path / "script" / "fused" / "1.png"
        for path in sorted((tmp_path / "command").rglob("*.png")):
            other = tmp_path / "script" / path.relative_to(tmp_path / "command")
            assert path.read_bytes() == other.read_bytes()
        lines = (tmp_path / "script" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [*report.done.values()]
        assert report.done["0"]["options"]["gains"] == [1.5, 1.0, 1.0]
        fused = [one for one in heard if one.stage == "fusing"]
        assert [(one.done, one.total, one.case) for one in fused] == [
            (1, 3, "0"),
            (2, 3, "1"),
            (3, 3, "2"),
        ]
        assert {one.stage for one in heard} == {"looking", "comparing", "fusing"}

    def test_what_is_done_is_skipped_and_what_fails_is_told(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 3)
        network = load_network(tiny_weights(tmp_path), device="cpu")
        images = {"vis": tmp_path / "vis", "ir": tmp_path / "ir"}
        first = fuse_folder(network, tmp_path / "out", images)
        (tmp_path / "ir" / "1.png").write_bytes(b"no picture")
        again = fuse_folder(network, tmp_path / "out", images, existing="skip")
        assert again.skipped == {name: first.done[name] for name in ("0", "2")}
        assert "not an image" in again.failed["1"]
        assert not again.is_complete
        assert again.summary["totals"]["failed"] == 1
        stopped = fuse_folder(
            network,
            tmp_path / "out",
            images,
            existing="overwrite",
            stops_at_failure=True,
            workers=1,
        )
        assert [*stopped.failed] == ["1"]
        assert stopped.left == ("2",)
        with pytest.raises(UsageError, match="exists; remove it"):
            fuse_folder(network, tmp_path / "out", images, existing="error")

    def test_pairs_by_hand_and_as_a_list(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 2)
        network = load_network(tiny_weights(tmp_path), device="cpu")
        rows: list[dict[str, str | Path]] = [
            {"vis": tmp_path / "vis" / "0.png", "ir": tmp_path / "ir" / "0.png", "case": "night"},
            {"vis": tmp_path / "vis" / "1.png", "ir": tmp_path / "ir" / "1.png"},
        ]
        by_hand = fuse_folder(network, tmp_path / "a", pairs=rows, maps="none")
        assert [*by_hand.done] == ["night", "1"]
        list_file = tmp_path / "pairs.csv"
        list_file.write_text("vis,ir,case\nvis/0.png,ir/0.png,night\n", encoding="utf-8")
        listed = fuse_folder(network, tmp_path / "b", pairs=list_file, maps="none")
        assert [*listed.done] == ["night"]
        for one in (by_hand, listed):
            assert [path.name for path in one.out.iterdir() if path.is_dir()] == ["fused"]
        fused = (by_hand.fused["night"], listed.fused["night"])
        assert fused[0].read_bytes() == fused[1].read_bytes()
        with pytest.raises(UsageError, match="pair 2: is called '0'"):
            fuse_folder(network, tmp_path / "c", pairs=[rows[0] | {"case": "0"}] * 2)
        with pytest.raises(UsageError, match=r"pair 1: .*0.png would be fused with itself"):
            fuse_folder(network, tmp_path / "c", pairs=[rows[0] | {"ir": rows[0]["vis"]}])
        with pytest.raises(UsageError, match="no pairs given"):
            fuse_folder(network, tmp_path / "c", pairs=[])

    def test_volumes(self, tmp_path: Path) -> None:
        grid = np.diag([1.0, 1, 1, 1])
        for name, seed in (("ct", 1), ("mri", 2)):
            voxels = np.stack([smooth_noise(12, 10, seed + i) for i in range(3)])
            (tmp_path / name).mkdir()
            image = nib.Nifti1Image(voxels.astype(np.float32), grid)
            image.header["xyzt_units"] = 2
            nib.save(image, tmp_path / name / "head.nii.gz")
        network = load_network(tiny_weights(tmp_path), device="cpu")
        images = {name: tmp_path / name for name in ("ct", "mri")}
        heard: list[Progress] = []
        report = fuse_volumes(
            network, tmp_path / "out", images, windows={"ct": "auto"}, on_progress=heard.append
        )
        (record,) = report.done.values()
        assert [*record["outputs"]] == ["common", "fused", "preview", "unique_ct", "unique_mri"]
        assert all(path.exists() for path in report.fused.values())
        assert heard[-1].done == heard[-1].total == 1
        again = fuse_volumes(network, tmp_path / "out", images, windows={"ct": "auto"})
        assert [*again.skipped] == [*report.done]
        with pytest.raises(UsageError, match="ir and vis: come as pictures only"):
            fuse_volumes(network, tmp_path / "no", {"vis": tmp_path, "ir": tmp_path})
        with pytest.raises(UsageError, match="--window ct=wide"):
            fuse_volumes(network, tmp_path / "no", images, windows={"ct": "wide"})

    def test_volumes_as_arrays(self, tmp_path: Path) -> None:
        """They give what the same numbers in files give, and need no network for what is done."""
        network = load_network(tiny_weights(tmp_path), device="cpu")
        affine = np.diag([-2.0, 1.5, 3, 1])
        voxels = {
            name: np.stack([smooth_noise(12, 10, seed + i) for i in range(3)], axis=-1)
            for name, seed in (("ct", 1), ("mri", 5))
        }
        for name, array in voxels.items():
            nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
        files = {name: tmp_path / f"{name}.nii.gz" for name in voxels}
        by_file = fuse_volumes(network, tmp_path / "a", files, windows={"ct": "auto"})
        arrays: Any = {name: (array, affine) for name, array in voxels.items()}
        tensors: Any = {"ct": arrays["ct"], "mri": (torch.from_numpy(voxels["mri"]), affine)}
        mixed: Any = {"ct": arrays["ct"], "mri": files["mri"]}
        expected = load(by_file.fused["ct"]).get_fdata()
        for number, given in enumerate((arrays, tensors, mixed)):
            report = fuse_volumes(
                network, tmp_path / f"b{number}", given, windows={"ct": "auto"}, name="mine"
            )
            found = load(report.fused["mine"])
            np.testing.assert_array_equal(found.get_fdata(), expected)
            np.testing.assert_array_equal(found.affine, affine)
        (record,) = report.done.values()
        assert record["inputs"]["ct"]["path"] == "ct.nii"
        again = fuse_volumes(network, tmp_path / "b2", mixed, windows={"ct": "auto"}, name="mine")
        assert [*again.skipped] == ["mine"]
        several: Any = arrays | {"mri": (np.stack([voxels["mri"]] * 2, axis=-1), affine)}
        report = fuse_volumes(network, tmp_path / "c", several, each_volume=True, maps="none")
        assert [*report.fused] == ["ct/0001", "ct/0002"]

    def test_volumes_that_are_paired(self, tmp_path: Path) -> None:
        """Lists, suffixes, patterns and BIDS, as for the command."""
        root, network = tmp_path / "in", load_network(tiny_weights(tmp_path), device="cpu")
        for number in (1, 2):
            for kind, folder in (("ct", "ct"), ("T1w", "anat")):
                path = root / f"sub-{number}" / folder / f"sub-{number}_{kind}.nii.gz"
                path.parent.mkdir(parents=True)
                voxels = np.stack([smooth_noise(12, 10, number + i) for i in range(3)], axis=-1)
                nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        images = {"ct": root, "mri": root}
        first = [root / f"sub-1/{place}.nii.gz" for place in ("ct/sub-1_ct", "anat/sub-1_T1w")]
        rows = [{"ct": first[0], "mri": first[1], "case": "A"}]
        common: Any = {"windows": {"ct": "auto"}, "maps": "none"}

        def fused(out: str, given: Any = None, **further: Any) -> list[str]:
            report = fuse_volumes(network, tmp_path / out, given, **(common | further))
            assert report.is_complete
            paths = report.fused.values()
            return [path.relative_to(tmp_path / out).as_posix() for path in paths]

        assert fused("a", pairs=rows) == ["fused/A.nii.gz"]
        match = {"ct": "{}/ct/*_ct", "mri": "{}/anat/*_T1w"}
        assert fused("b", images, match=match) == [f"fused/sub-{i}.nii.gz" for i in (1, 2)]
        folders = {"ct": root / "sub-1/ct", "mri": root / "sub-1/anat"}
        suffixes = {"ct": "_ct", "mri": "_T1w"}
        assert fused("c", folders, suffixes=suffixes) == ["fused/sub-1.nii.gz"]
        of_bids = fused("d", images, layout="bids", entities=suffixes)
        assert of_bids == [f"sub-{i}/anat/sub-{i}_desc-fused_T1w.nii.gz" for i in (1, 2)]
        mistakes: tuple[tuple[dict[str, Any], str], ...] = (
            ({"pairs": rows, "images": images}, "pairs: names the files"),
            ({"pairs": rows, "layout": "bids"}, "pairs: names the cases"),
            ({"pairs": [{"vis": "a", "ir": "b"}]}, "ir and vis: come as pictures only"),
            ({"images": images, "layout": "bids"}, "layout bids: takes entities of mri and ct"),
            ({"images": images, "entities": suffixes}, "entities: go with layout"),
            (
                {"images": images, "layout": "bids", "entities": suffixes, "each_volume": True},
                "each_volume and layout bids",
            ),
            ({"images": images, "regsiter": True}, "regsiter: no such argument"),
            ({"images": images, "match": {"pet": "{}"}}, "pet: not one of the two images"),
            ({}, "two"),
        )
        for given, message in mistakes:
            with pytest.raises(UsageError, match=message):
                fuse_volumes(network, tmp_path / "no", **given)

    def test_a_baseline_in_the_networks_place(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        images = {"vis": tmp_path / "vis", "ir": tmp_path / "ir"}
        baseline = load_baseline("max")
        (record,) = fuse_folder(baseline, tmp_path / "out", images).done.values()
        assert record["method"] == "maximum"
        given = ("--vis", images["vis"], "--ir", images["ir"], "--method", "max")
        assert fnet("fuse", *given, "-o", tmp_path / "by").exit_code == 0
        name = record["outputs"]["fused"]
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "by" / name).read_bytes()
        picture = fuse(baseline, vis=smooth_noise(8, 9, 1), ir=smooth_noise(8, 9, 2))
        assert picture.parts == {}
        voxels: Any = (np.stack([smooth_noise(12, 10, i) for i in range(3)], axis=-1), np.eye(4))
        report = fuse_volumes(
            *(baseline, tmp_path / "v", {"ct": voxels, "mri": voxels}),
            windows={"ct": "auto"},
            denoise={"ct": "median"},
        )
        (record,) = report.done.values()
        assert record["method"] == "maximum"
        assert record["options"]["denoise"] == [None, "median"]
        with pytest.raises(UsageError, match="best: no baseline; use average, max or laplacian"):
            load_baseline("best")
        with pytest.raises(UsageError, match="maps float: the baseline maximum has no parts"):
            fuse_folder(baseline, tmp_path / "no", images, maps="float")

    @pytest.mark.parametrize(
        ("volume", "message"),
        [
            (np.zeros((3, 4, 5)), r"mri: neither a path nor \(array, affine\)"),
            ((np.zeros((4, 5)), np.eye(4)), r"mri: an array of float64 \(4, 5\); give integers"),
            ((np.zeros((3, 4, 5), complex), np.eye(4)), "mri: an array of complex128"),
            ((np.zeros((3, 4, 5)), np.eye(3)), "mri: its affine is not a 4x4 matrix of finite"),
            ((np.zeros((3, 4, 5)), np.full((4, 4), np.nan)), "mri: its affine is not a 4x4 matrix"),
        ],
    )
    def test_no_volumes(self, tmp_path: Path, volume: Any, message: str) -> None:
        network = load_network(tiny_weights(tmp_path), device="cpu")
        images: Any = {"ct": (np.zeros((3, 4, 5)), np.eye(4)), "mri": volume}
        with pytest.raises(PairError, match=message):
            fuse_volumes(network, tmp_path / "out", images)

    @pytest.mark.parametrize(
        "name", ["layout", "interpolation", "axis", "below", "to", "maps", "existing"]
    )
    def test_no_such_choice_for_volumes(self, tmp_path: Path, name: str) -> None:
        network = load_network(tiny_weights(tmp_path), device="cpu")
        images = {"pet": tmp_path / "pet", "mri": tmp_path / "mri"}
        given: Any = {name: "other"}
        with pytest.raises(UsageError, match=f"{name}: 'other'; use one of "):
            fuse_volumes(network, tmp_path / "out", images, **given)

    def test_wrong_calls(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, 1)
        network = load_network(tiny_weights(tmp_path), device="cpu")
        images = {"vis": tmp_path / "vis", "ir": tmp_path / "ir"}
        with pytest.raises(UsageError, match="is in the input folder"):
            fuse_folder(network, tmp_path / "vis" / "out", images)
        with pytest.raises(UsageError, match="-o a\0b: holds a NUL character"):
            fuse_folder(network, "a\0b", images)
        with pytest.raises(UsageError, match="nir: not one of the two images"):
            fuse_folder(network, tmp_path / "out", images, suffixes={"nir": "_N"})
        with pytest.raises(UsageError, match="--depth float: a png file"):
            fuse_folder(network, tmp_path / "out", images, depth="float", format="png")
        unknown: tuple[tuple[dict[str, Any], str], ...] = (
            ({"recusrive": True}, "recusrive: no such argument; check its spelling"),
            ({"existing": "keep"}, "existing: 'keep'; use one of skip, overwrite, error"),
            ({"workers": 0}, "workers: 0; use at least 1"),
            ({"format": "gif"}, "format: 'gif'; use one of png, tiff, jpeg, webp"),
            ({"depth": "12"}, "depth: '12'; use one of auto, 8, 16, float"),
            ({"maps": "all"}, "maps: 'all'; use one of preview, float, none"),
            ({"stretch_scope": "run"}, "stretch_scope: 'run'; use one of image, folder"),
        )
        for given, message in unknown:
            with pytest.raises(UsageError, match=message):
                fuse_folder(network, tmp_path / "out", images, **given)
        (tmp_path / "none").mkdir()
        with pytest.raises(FnetError, match="nothing to do"):
            fuse_folder(network, tmp_path / "out", {**images, "ir": tmp_path / "none"})
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"maps": "preview"}, "--maps preview: this network has no parts or maps"),
        ({"maps": "none"}, "--maps none: this network has no parts or maps"),
        ({"has_gains": True}, "--gain: this network's fused image is not a sum of parts"),
        ({"features": True}, "--features: this network has no features"),
    ],
)
def test_what_a_network_does_not_make(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        require_products(Products(), **asked)
    full = Products(("a_first", "common"), ("weight_first",), {"base": 8})
    require_products(full, **asked)
    require_products(Products(), maps=None)


def test_what_was_scaled_is_not_scaled_again(tmp_path: Path) -> None:
    """A fused image of floats is in [0, 1], whatever its sources were."""
    network = load_network(tiny_weights(tmp_path), device="cpu")
    unit = smooth_noise(12, 16, 1) / np.float32(255)
    fused = fuse(network, vis=unit / 2, ir=unit)
    again = fuse(network, vis=fused.image, ir=unit)
    assert again.ranges["vis"] == {"low": 0, "high": 1, "invalid": 0}


class TestCluster:
    @pytest.fixture
    def images(self, tmp_path: Path) -> dict[str, Path]:
        write_pairs(tmp_path, 3)
        return {"vis": tmp_path / "vis", "ir": tmp_path / "ir"}

    @pytest.mark.slow
    def test_workers_write_what_this_process_writes(
        self, tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with Ray, but by a process of this machine, which starts faster."""
        (images["ir"] / "1.png").write_bytes(b"no picture")
        network = load_network(tiny_weights(tmp_path), device="cpu")
        one = fuse_folder(network, tmp_path / "one", images)
        asked: list[ClusterOptions] = []

        def crew(options: ClusterOptions) -> CrewOptions:
            asked.append(options)
            return CrewOptions(devices=("cpu",))

        monkeypatch.setattr("fnetcli.runs.report.CrewOptions", crew)
        two = fuse_folder(network, tmp_path / "two", images, cluster="ray")
        assert asked == [ClusterOptions("ray")]
        assert list(one.done) == list(two.done) == ["0", "2"]
        assert list(one.failed) == list(two.failed) == ["1"]
        assert two.done["0"]["worker"]["device"] == "cpu"
        for name in ("0", "2"):
            assert one.fused[name].read_bytes() == two.fused[name].read_bytes()

    @pytest.mark.long
    def test_a_list_of_pairs_over_ray(self, tmp_path: Path, images: dict[str, Path]) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import sys\n"
            "from fnetcli import ClusterOptions, fuse_folder, load_network\n"
            "vis, ir, weights, out = sys.argv[1:]\n"
            'pairs = [{"vis": f"{vis}/{i}.png", "ir": f"{ir}/{i}.png"} for i in (2, 0)]\n'
            "network = load_network(weights)\n"
            "for address in ('ray', ClusterOptions('ray', cpus=0.5)):\n"
            "    report = fuse_folder(network, out, pairs=pairs, cluster=address,\n"
            "                         existing='overwrite')\n"
            "    print(*report.done)\n"
        )
        found = subprocess.run(
            [sys.executable, program, *images.values(), tiny_weights(tmp_path), tmp_path / "out"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "RAY_worker_niceness": "0"},
        )
        assert found.stdout == "2 0\n2 0\n"  # as listed

    def test_what_is_wrong(self, tmp_path: Path, images: dict[str, Path]) -> None:
        weights = tiny_weights(tmp_path)
        network = load_network(weights, device="cpu")
        with pytest.raises(ClusterError, match=r"nothing answers at 127\.0\.0\.1:9"):
            fuse_folder(network, tmp_path / "out", images, cluster="ray://127.0.0.1:9")
        weights.write_bytes(weights.read_bytes() + b" ")
        with pytest.raises(UsageError, match="has changed since it was loaded; load it again"):
            fuse_folder(network, tmp_path / "out", images, cluster="ray")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"device": "mps"}, "--device mps: with --cluster, Ray chooses the device"),
            ({"cpus": 0.0}, "--cpus-per-worker 0: use at least 0.1"),
            ({"gpus": -1.0}, "--gpus-per-worker -1: Ray gives parts of one GPU"),
            ({"gpus": 1.0, "device": "cpu"}, "use no GPU; leave it out"),
        ],
    )
    def test_options_that_do_not_fit(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            ClusterOptions("ray", **options)


class TestThermalCameras:
    def test_both_images_of_a_file(self, tmp_path: Path) -> None:
        network = load_network(tiny_weights(tmp_path))
        path = tmp_path / "camera" / "IR_1.jpg"
        path.parent.mkdir()
        path.write_bytes(flir_files.flir_jpeg(flir_files.records()))
        report = fuse_folder(network, tmp_path / "out", flir=path.parent, maps="none")
        assert not report.failed
        (record,) = map(json.loads, (tmp_path / "out" / "manifest.jsonl").read_text().splitlines())
        assert record["alignment"]["source"] == "factory"
        with pytest.raises(UsageError, match="leave images"):
            fuse_folder(network, tmp_path / "o", {"vis": path, "ir": path}, flir=path)

    def test_thermal_numbers_are_read(self, tmp_path: Path) -> None:
        network = load_network(tiny_weights(tmp_path))
        path = tmp_path / "IR_1.jpg"
        path.write_bytes(flir_files.flir_jpeg(flir_files.records()))
        fused = fuse(network, vis=np.zeros((32, 24), np.uint8), ir=path)
        assert 38 < fused.ranges["ir"]["high"] < 41
