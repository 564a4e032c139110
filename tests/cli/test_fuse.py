"""`fnet fuse` through its door: files on disk in, files, lines and exit codes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.engine import Engine, Fusion, Maps
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write, write_pairs
from tests.networks import at_work, resting

ORDERS = [  # what the network takes first, what second
    *(("ir", "vis"), ("nir", "vis"), ("mri", "ct"), ("mri", "pet"), ("mri", "spect")),
    *(("ct", "pet"), ("ct", "spect")),
]
SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return (
        write(tmp_path / "in" / "a.png", smooth_noise(20, 30, 1, 3)),
        write(tmp_path / "in" / "b.png", smooth_noise(20, 30, 2)),
    )


def one_error_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]


class TestOnePair:
    def test_writes_fused_and_maps(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        out = tmp_path / "out"
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "-o", out, "--weights", weights)
        assert result.exit_code == 0, result.output
        assert result.stdout.split() == [str(out / "fused" / "a.png")]
        assert "1 fused, 0 skipped, 0 failed, 0 unpaired" in result.stderr
        assert iio.imread(out / "fused" / "a.png").shape == (20, 30, 3)
        for name in ("unique_vis", "unique_ir", "common"):
            assert iio.imread(out / name / "a.png").shape == (20, 30)
        names = sorted(path.name for path in out.rglob("*") if path.is_file())
        assert names == ["a.png", "a.png", "a.png", "a.png", "manifest.jsonl", "run.json"]

    def test_named_output_file(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        out = tmp_path / "new folder" / "ergebnis ä.png"
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "-o", out, "--weights", weights)
        assert result.exit_code == 0, result.output
        maps = out.with_name("ergebnis ä-maps")
        assert sorted(path.name for path in maps.iterdir()) == [
            "common.png",
            "unique_ir.png",
            "unique_vis.png",
        ]

    def test_float_maps_sum_to_the_fused_luminance(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        out = tmp_path / "out"
        arguments = ["--vis", pair[0], "--ir", pair[1], "-o", out, "--weights", weights]
        assert fnet("fuse", *arguments, "--maps", "float", "--gray").exit_code == 0
        parts = [
            tifffile.imread(out / name / "a.tif") for name in ("unique_vis", "unique_ir", "common")
        ]
        assert {part.dtype for part in parts} == {np.dtype(np.float32)}
        grey = np.rint(np.clip(sum(parts), 0, 1) * 255)
        fused = iio.imread(out / "fused" / "a.png")
        assert fused.ndim == 2
        assert np.abs(fused - grey).max() <= 1

    def test_no_maps_and_features(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        out = tmp_path / "out"
        arguments = ["--vis", pair[0], "--ir", pair[1], "-o", out, "--weights", weights]
        result = fnet("fuse", *arguments, "--maps", "none", "--features")
        assert result.exit_code == 0, result.output
        assert "features: about 0 MB for a pair of 30x20, 1 pair" in result.stderr
        assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["features", "fused"]
        with np.load(out / "features" / "a.npz", allow_pickle=False) as codes:
            assert sorted(codes) == ["u", "v", "z"]
            assert codes["u"].shape == (4, 20, 30)
            assert codes["u"].dtype == np.float16

    def test_colour_is_that_of_the_visible_image(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        out = tmp_path / "out"
        arguments = ["--vis", pair[0], "--ir", pair[1], "-o", out, "--weights", weights]
        assert fnet("fuse", *arguments).exit_code == 0
        fused, vis = (iio.imread(path).astype(float) for path in (out / "fused" / "a.png", pair[0]))
        is_inside = ((fused > 0) & (fused < 255)).all(axis=-1)
        for a, b in ((0, 1), (2, 1)):
            moved = (fused[..., a] - fused[..., b]) - (vis[..., a] - vis[..., b])
            assert np.abs(moved[is_inside]).max(initial=0) <= 1

    def test_alpha_grey_and_palette(self, tmp_path: Path, weights: Path) -> None:
        picture = smooth_noise(12, 14, 3, 3)
        alpha = np.full((12, 14, 1), 200, np.uint8)
        rgba = write(tmp_path / "rgba.png", np.concatenate((picture, alpha), axis=-1))
        grey_as_rgb = write(tmp_path / "grey.png", np.repeat(picture[..., :1], 3, axis=-1))
        thermal = write(tmp_path / "t.png", smooth_noise(12, 14, 4, 3))
        out = tmp_path / "out"
        arguments = ["-o", out, "--weights", weights, "--ir", thermal]
        result = fnet("fuse", *arguments, "--vis", rgba)
        assert result.exit_code == 0
        assert "the ir picture has colours" in result.stderr
        fused = iio.imread(out / "fused" / "rgba.png")
        assert fused.shape == (12, 14, 4)
        assert (fused[..., 3] == 200).all()
        assert fnet("fuse", *arguments, "--vis", grey_as_rgb).exit_code == 0
        assert iio.imread(out / "fused" / "grey.png").ndim == 2

    @pytest.mark.parametrize(("first", "second"), ORDERS)
    def test_every_allowed_pair(
        self,
        tmp_path: Path,
        pair: tuple[Path, Path],
        weights: Path,
        first: str,
        second: str,
    ) -> None:
        out = tmp_path / "out"
        images = {first: pair[1], second: pair[0]}
        arguments = [text for name, path in images.items() for text in (f"--{name}", path)]
        arguments += ["-o", out, "--weights", weights, "--maps", "float"]
        assert fnet("fuse", *arguments).exit_code == 0
        network = at_work(load_weights(weights).network)
        x = torch.from_numpy(iio.imread(pair[1]) / 255).float()[None, None]
        expected = network.reconstruct_u(network.encode_u(x))[0, 0].numpy()
        written = tifffile.imread(out / f"unique_{first}" / "a.tif")
        np.testing.assert_allclose(written, expected, atol=1e-5)
        assert (out / f"unique_{first}").is_dir()
        assert (out / f"unique_{second}").is_dir()
        is_colored = iio.imread(out / "fused" / "a.png").ndim == 3
        assert is_colored == (second in ("vis", "pet", "spect"))


class TestFolders:
    def test_pairs_by_stem_of_mixed_formats_and_sizes(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        write(vis / "big.jpg", smooth_noise(40, 50, 7, 3))
        write(ir / "big.bmp", smooth_noise(40, 50, 8))
        write(vis / "alone.png", smooth_noise(9, 9, 9))
        (vis / "notes.txt").write_text("not an image")
        out = tmp_path / "out"
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert result.exit_code == 0, result.output
        names = ["0.png", "1.png", "big.png"]
        assert [Path(line).name for line in result.stdout.splitlines()] == names
        assert sorted(path.name for path in (out / "common").iterdir()) == names
        assert "1 file without a partner: " in result.stderr
        assert "alone.png" in result.stderr
        assert "3 fused, 0 skipped, 0 failed, 1 unpaired" in result.stderr

    def test_a_failing_pair_does_not_stop_the_rest(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 4)
        (vis / "0.png").write_bytes((vis / "0.png").read_bytes()[:200])
        (ir / "1.png").write_bytes(b"")
        (ir / "2.png").write_text("this is not a picture")
        out = tmp_path / "out"
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert result.exit_code == 1
        assert [path.name for path in (out / "fused").iterdir()] == ["3.png"]
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert [str(vis / "0.png") in errors[0], str(ir / "1.png") in errors[1]] == [True, True]
        assert str(ir / "2.png") in errors[2]
        assert "1 fused, 0 skipped, 3 failed, 0 unpaired" in result.stderr
        assert not list(out.rglob(".*"))

    def test_mislabelled_image_is_recognised_by_content(
        self, tmp_path: Path, weights: Path
    ) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        jpeg = write(tmp_path / "x.jpg", smooth_noise(24, 32, 5, 3))
        jpeg.replace(vis / "0.png")
        result = fnet(
            "fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights
        )
        assert result.exit_code == 0, result.output

    def test_same_stem_twice_is_an_error(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        write(vis / "0.jpg", smooth_noise(24, 32, 5, 3))
        result = fnet("fuse", "--vis", vis, "--ir", ir, "--weights", weights)
        assert result.exit_code == 2
        line = one_error_line(result.stderr)
        assert "0.jpg" in line
        assert "0.png" in line

    def test_long_and_odd_names(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        names = ["x" * 245, "a\udce9 ü", "-o", "a  b"]
        for folder in (vis, ir):
            picture = (folder / "0.png").read_bytes()
            for name in names:
                (folder / f"{name}.png").write_bytes(picture)
        out = tmp_path / "out"
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert result.exit_code == 0, result.stderr
        assert sorted(path.stem for path in (out / "fused").iterdir()) == sorted([*names, "0"])

    def test_quiet_says_nothing(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        out = tmp_path / "out"
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "-q")
        assert (result.exit_code, result.output) == (0, "")
        assert (out / "fused" / "0.png").is_file()


class TestSizes:
    def test_unequal_sizes_are_named(self, tmp_path: Path, weights: Path) -> None:
        vis = write(tmp_path / "a.png", smooth_noise(20, 30, 1, 3))
        ir = write(tmp_path / "b.png", smooth_noise(10, 15, 2))
        arguments = ["--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        result = fnet("fuse", *arguments)
        assert result.exit_code == 1
        line = one_error_line(result.stderr)
        for text in (str(vis), str(ir), "vis is 30x20", "ir is 15x10", "--resize"):
            assert text in line
        for kept, shape in (("vis", (20, 30, 3)), ("ir", (10, 15, 3))):
            assert fnet("fuse", *arguments, "--resize", kept).exit_code == 0
            assert iio.imread(tmp_path / "out" / "fused" / "a.png").shape == shape
            assert iio.imread(tmp_path / "out" / "common" / "a.png").shape == shape[:2]

    def test_other_shapes_are_never_stretched(self, tmp_path: Path, weights: Path) -> None:
        vis = write(tmp_path / "a.png", smooth_noise(20, 30, 1, 3))
        ir = write(tmp_path / "b.png", smooth_noise(20, 32, 2))
        result = fnet("fuse", "--vis", vis, "--ir", ir, "--resize", "vis", "--weights", weights)
        assert result.exit_code == 1
        assert "more than 2 %" in one_error_line(result.stderr)

    def test_one_pixel(self, tmp_path: Path, weights: Path) -> None:
        vis = write(tmp_path / "a.png", np.array([[[9, 80, 200]]], np.uint8))
        ir = write(tmp_path / "b.png", np.array([[90]], np.uint8))
        result = fnet(
            "fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "o.png", "--weights", weights
        )
        assert result.exit_code == 0, result.output
        assert iio.imread(tmp_path / "o.png").shape == (1, 1, 3)


class TestWrongUse:
    @pytest.mark.parametrize("names", [["vis"], ["vis", "ir", "nir"], ["vis", "ct"], ["ir", "nir"]])
    def test_forbidden_choices_list_the_allowed(self, tmp_path: Path, names: list[str]) -> None:
        path = write(tmp_path / "a.png", smooth_noise(8, 8, 1))
        arguments = [text for name in names for text in (f"--{name}", path)]
        result = fnet("fuse", *arguments)
        assert result.exit_code == 2
        line = one_error_line(result.stderr)
        assert all(f"--{name}" in line for name in names)
        for allowed in ("vis+ir", "vis+nir", "ct+mri", "pet+mri", "spect+mri", "pet+ct"):
            assert allowed in line

    def test_missing_paths(self, tmp_path: Path, pair: tuple[Path, Path], weights: Path) -> None:
        missing = tmp_path / "none.png"
        for arguments in (
            ["--vis", missing, "--ir", pair[1]],
            ["--vis", pair[0], "--ir", missing],
        ):
            result = fnet("fuse", *arguments, "--weights", weights)
            assert result.exit_code == 2
            assert str(missing) in one_error_line(result.stderr)
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "--weights", missing)
        assert result.exit_code == 2
        assert str(missing) in one_error_line(result.stderr)

    def test_folder_with_file(self, pair: tuple[Path, Path]) -> None:
        result = fnet("fuse", "--vis", pair[0].parent, "--ir", pair[1])
        assert result.exit_code == 2
        assert "two files or two folders" in one_error_line(result.stderr)

    @pytest.mark.parametrize("is_empty", [True, False])
    def test_nothing_to_fuse(self, tmp_path: Path, is_empty: bool) -> None:
        for name in ("vis", "ir"):
            (tmp_path / name).mkdir()
            if not is_empty:
                write(tmp_path / name / f"{name}.png", smooth_noise(8, 8, 1))
        result = fnet("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir")
        assert result.exit_code == 1
        assert "nothing to do" in one_error_line(result.stderr)
        assert result.stdout == ""

    def test_output_that_cannot_be(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        arguments = ["fuse", "--vis", pair[0], "--ir", pair[1], "--weights", weights, "-o"]
        (tmp_path / "file").write_text("x")
        below = f"{tmp_path / 'file'} is a file, not a folder; choose another path"
        for out, message in (
            (tmp_path / "file", "is a file"),
            (tmp_path / "file" / "sub", below),
            (tmp_path / "file" / "a.png", below),
            (tmp_path / "x.bmp", "PNG, TIFF, JPEG or WebP"),
            (pair[0], "is an input"),
        ):
            result = fnet(*arguments, out)
            assert result.exit_code == 2, out
            assert message in one_error_line(result.stderr)
        result = fnet(*arguments, "/proc/fnet-out")
        assert result.exit_code in {1, 2}  # root may try
        assert "cannot be written" in one_error_line(result.stderr)
        assert iio.imread(pair[0]).shape == (20, 30, 3)

    def test_file_name_for_folders(self, tmp_path: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "x.png")
        assert result.exit_code == 2
        assert "give a folder" in one_error_line(result.stderr)

    @pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99", "cpu:1", "cpu:", "cuda:²"])
    def test_devices(self, pair: tuple[Path, Path], device: str) -> None:
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "--device", device)
        assert result.exit_code == 2
        assert device in one_error_line(result.stderr)

    def test_over_long_paths(self, pair: tuple[Path, Path], weights: Path) -> None:
        out = ["-o", "x" * 300]
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], *out, "--weights", weights)
        assert result.exit_code == 2
        assert "File name too long" in one_error_line(result.stderr)
        result = fnet("fuse", "--vis", "x" * 300, "--ir", pair[1], "--weights", weights)
        assert result.exit_code == 2
        assert "no such file" in one_error_line(result.stderr)

    def test_resize_names_a_given_modality(self, pair: tuple[Path, Path]) -> None:
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "--resize", "mri")
        assert result.exit_code == 2
        assert "ir or vis" in one_error_line(result.stderr)

    def test_unknown_option_and_command(self) -> None:
        assert fnet("fuse", "--visible", "x").exit_code == 2
        assert fnet("melt").exit_code == 2

    def test_weights_with_odd_dynamics_are_said(
        self, tmp_path: Path, pair: tuple[Path, Path]
    ) -> None:
        network = FNet(FNetConfig(atoms=4, kernel_size=3, iterations=2))
        torch.nn.init.constant_(network.encode_v.w_theta, 0.5)
        torch.nn.init.constant_(network.encode_z.w_rho, -0.5)
        save_weights(tmp_path / "odd.safetensors", resting(network), {})
        result = fnet(
            *("fuse", "--vis", pair[0], "--ir", pair[1], "-o", tmp_path / "out"),
            *("--weights", tmp_path / "odd.safetensors"),
        )
        assert result.exit_code == 0
        assert "odd.safetensors: thresholds of block v do not fall with k" in result.stderr
        assert "odd.safetensors: momentum of block z does not rise with k" in result.stderr
        assert "block u" not in result.stderr

    @pytest.mark.parametrize("content", [b"", b"junk" * 99, b"\x80\x04cos\nsystem\n(S'ls'\ntR."])
    def test_wrong_weights(self, tmp_path: Path, pair: tuple[Path, Path], content: bytes) -> None:
        path = tmp_path / "w.pth"
        path.write_bytes(content)
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "--weights", path)
        assert result.exit_code == 1
        assert str(path) in one_error_line(result.stderr)

    def test_truncated_weights(
        self, tmp_path: Path, pair: tuple[Path, Path], weights: Path
    ) -> None:
        path = tmp_path / "w.safetensors"
        path.write_bytes(weights.read_bytes()[:-99])
        result = fnet("fuse", "--vis", pair[0], "--ir", pair[1], "--weights", path)
        assert result.exit_code == 1
        assert "damaged" in one_error_line(result.stderr)


class TestProcess:
    def test_help_is_quick_and_needs_no_torch(self) -> None:
        program = (
            "import sys; from fnetcli.cli.app import app\n"
            "heavy = {'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        subprocess.run([sys.executable, "-c", program], check=True)
        help_text = fnet("fuse", "--help").stdout
        for option in ("--vis", "--spect", "--weights", "--resize", "--maps", "--device"):
            assert option in help_text
        assert fnet("--version").stdout.startswith("fnet 0.")

    def test_interrupted_before_anything_is_written(self) -> None:
        program = (
            "import os, signal\n"
            "from fnetcli.cli.console import leaving_at_once\n"
            "with leaving_at_once():\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"
            "print('went on')"
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (130, "")
        assert one_error_line(done.stderr) == "error: interrupted; nothing was written"

    def test_real_process_with_the_shipped_weights(
        self, tmp_path: Path, pair: tuple[Path, Path]
    ) -> None:
        vis, ir = map(str, pair)
        command = [sys.executable, "-m", "fnetcli", "fuse", "--vis", vis, "--ir", ir]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{Path('fnet-out') / 'fused' / 'a.png'}\n"
        assert (tmp_path / "fnet-out" / "common" / "a.png").is_file()
        command[-1] = str(tmp_path / "none.png")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stdout == ""

    def test_interrupt_ends_with_130(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vis, ir = write_pairs(tmp_path, 3)
        calls = []
        run = Engine.run

        def interrupted(self: Engine, *args: Any, **kwargs: Any) -> Fusion[Maps]:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return run(self, *args, **kwargs)

        monkeypatch.setattr(Engine, "run", interrupted)
        out = tmp_path / "out"
        arguments = ["fuse", "--vis", vis, "--ir", ir, "--weights", weights, "-o", out]
        result = fnet(*arguments)
        assert result.exit_code == 130
        assert "interrupted" in one_error_line(result.stderr)
        assert "1 fused, 0 skipped, 0 failed, 0 unpaired, 2 left" in result.stderr
        assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
        assert [path.name for path in (out / "fused").iterdir()] == ["0.png"]
        monkeypatch.undo()
        assert "2 fused, 1 skipped, 0 failed, 0 unpaired;" in fnet(*arguments).stderr

    def test_unexpected_errors_are_one_line_unless_debug(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vis, ir = write_pairs(tmp_path, 1)

        def broken(*_: object, **__: object) -> Fusion[Maps]:
            raise RuntimeError("a bug")

        monkeypatch.setattr(Engine, "run", broken)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "--weights", weights, "-o", tmp_path / "o"]
        result = fnet(*arguments)
        assert result.exit_code == 1
        assert "0: unexpected RuntimeError (a bug)" in one_error_line(result.stderr)
        result = fnet(*arguments, "--debug")
        assert result.exit_code == 1
        assert "Traceback" in result.stderr


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data here")
def test_published_layout_fuses_a_real_pair(tmp_path: Path) -> None:
    pictures = SHARED / "data" / "medical" / "pet_mri" / "val"
    pet = min((pictures / "pet").iterdir())
    result = fnet(
        *("fuse", "--pet", pet, "--mri", pictures / "mri" / pet.name, "-o", tmp_path),
        *("--weights", SHARED / "reference" / "fnet_authors_layout.pth"),
    )
    assert result.exit_code == 0, result.output
    assert iio.imread(tmp_path / "fused" / pet.name).shape == (256, 256, 3)
