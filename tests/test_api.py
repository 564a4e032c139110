"""The Python API gives what the command line writes."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from fnetcli import ScalingOptions, fuse, load_network, read_image
from fnetcli.errors import PairError, ReadError, UsageError
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write


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
    assert "1 pixels" in " ".join(fuse(network, vis=vis, ir=holed).notices)


def test_wrong_calls_are_named(tmp_path: Path) -> None:
    network, grey = load_network(tiny_weights(tmp_path)), np.zeros((4, 4), np.uint8)
    with pytest.raises(UsageError, match="sonar: no modality"):
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
