"""`fnet inspect` as a user runs it: a pair, weights, an image; files, lines and exit codes out."""

from __future__ import annotations

import contextlib
import errno
import html
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from safetensors.numpy import save as safetensors_bytes
from scipy import ndimage
from typer.testing import Result

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.checkpoints.shipped import default_weights_path
from fnetcli.cli.console import Console
from fnetcli.engine import Engine, Fusion, Maps
from fnetcli.files.output_folder import OutputFolder
from fnetcli.inspection.base import FEATURES_FILE, PAGE_FILE
from fnetcli.inspection.fnet.inspector import FNetInspector
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from fnetcli.reports.figures import Figure
from tests.checkpoints.test_loading import published
from tests.cli.command import fnet, leave_plots_out, tiny_weights
from tests.cli.test_batch import errors
from tests.cli.test_fuse import ORDERS, SHARED
from tests.drawn_pictures import Picture, smooth_noise, write, write_pairs
from tests.drawn_volumes import AXIAL, PATIENT, affine, load_nifti, write_nifti, write_series
from tests.networks import at_work, resting

ATOMS, LAST = 4, 2  # of the tiny network: atoms, and its iteration K
HEIGHT, WIDTH = 20, 30
FILES = [
    *("code_u.png", "code_v.png", "code_z.png", "features.npz", "features.png", "histograms.png"),
    *("parts.png", "report.html", "residuals.png", "schedules.png"),
]
PAIR_FILES = (FEATURES_FILE, PAGE_FILE, *FNetInspector.pair_pictures)
WEIGHTS_FILES = FNetInspector.weights_pictures
LIGHT_VOLUME = (5, 14, 12)
PLACE = affine(AXIAL, (3.0, 2.0, 2.0), (20.0, 30.0, -600.0))

Arrays = dict[str, NDArray[Any]]
Contents = dict[str, bytes]


@pytest.fixture(scope="module", autouse=True)
def plain_engine() -> Iterator[None]:
    """Do without compiling, which takes longer than these networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FNET_NATIVE", "0")
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny weights and a pair, a colour picture and a grey one."""
    folder = tmp_path_factory.mktemp("home")
    tiny_weights(folder)
    write(folder / "in" / "a.png", smooth_noise(HEIGHT, WIDTH, 1, 3))
    write(folder / "in" / "b.png", smooth_noise(HEIGHT, WIDTH, 2))
    return folder


@dataclass(frozen=True)
class Inspected:
    """What one call said and wrote."""

    result: Result
    out: Path
    record: dict[str, Any]

    @property
    def arrays(self) -> Arrays:
        with np.load(self.out / "features.npz", allow_pickle=False) as found:
            return dict(found)


@pytest.fixture(scope="module")
def whole(home: Path) -> Inspected:
    """A pair with everything, plots too."""
    out = home / "everything"
    result = fnet("inspect", *pair_of(home), "-o", out, "--json", home / "numbers.json")
    assert result.exit_code == 0, result.output
    return Inspected(result, out, json.loads((home / "numbers.json").read_text()))


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots out, which are not what a test is about."""
    leave_plots_out(monkeypatch)


def pair_of(home: Path) -> list[object]:
    images = ["--vis", home / "in" / "a.png", "--ir", home / "in" / "b.png"]
    return [*images, "--weights", home / "tiny.safetensors"]


def inspected(out: Path, *arguments: object) -> Inspected:
    path = out.with_suffix(".json")
    result = fnet("inspect", *arguments, "-o", out, "--json", path)
    assert result.exit_code == 0, result.output
    return Inspected(result, out, json.loads(path.read_text()))


def as_the_page_says(found: Inspected, *more: str) -> Path:
    """Run the command of the mixing desk in another folder; return its results."""
    page = (found.out / "report.html").read_text(encoding="utf-8")
    (code,) = re.findall(r'<code id="command">(.*?)</code>', page)
    program, *words = shlex.split(html.unescape(code))
    folder = found.out.parent / "elsewhere"
    folder.mkdir()
    with contextlib.chdir(folder):
        done = fnet(*words, *more)
    assert (program, done.exit_code) == ("fnet", 0), done.output
    return folder / "fnet-out"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> Contents:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def odd_weights(home: Path, path: Path, change: Callable[[FNet], object]) -> Path:
    """Write the tiny weights with a change."""
    network = at_work(load_weights(home / "tiny.safetensors").network)
    change(network)
    save_weights(path, resting(network), {})
    return path


def refused(code: int, *arguments: object) -> str:
    """Return the one line of a call that failed as it should, and wrote no result."""
    result = fnet("inspect", *arguments)
    assert result.exit_code == code, result.output
    (line,) = errors(result.stderr)
    assert "; " in line
    assert result.stdout == ""
    return line.removeprefix("error: ")


def tiff(path: Path, pixels: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def texture(height: int, width: int) -> NDArray[np.float64]:
    noise = np.random.default_rng(0).normal(size=(height, width))
    blobs = [sigma * ndimage.gaussian_filter(noise, sigma) for sigma in (1.5, 3, 6)]
    return np.asarray(np.sum(blobs, axis=0), np.float64)


def levels(values: NDArray[np.float64]) -> Picture:
    low, high = values.min(), values.max()
    return np.asarray(np.rint(255 * (values - low) / (high - low)), np.uint8)


# --- a pair ---------------------------------------------------------------------------------------


class TestPair:
    def test_files_are_named_with_their_scale(self, whole: Inspected) -> None:
        assert names(whole.out) == FILES == sorted(PAIR_FILES)
        lines = whole.result.stdout.splitlines()
        listed = [line.partition(": ") for line in lines if line.startswith(str(whole.out))]
        assert sorted(Path(path).name for path, _, _ in listed) == FILES
        assert all(scale for _, _, scale in listed)
        (parts,) = (scale for path, _, scale in listed if path.endswith("parts.png"))
        black, _, white = parts.split(", ")
        assert float(black.removeprefix("black ")) == -float(white.removeprefix("white ")) < 0
        for name in FILES:
            if name.endswith(".png"):
                assert iio.imread(whole.out / name).shape[2] in (3, 4)

    def test_features_are_what_fuse_separates(self, whole: Inspected, home: Path) -> None:
        fused = fnet(
            *("fuse", *pair_of(home), "-o", home / "fused", "--maps", "float", "--features")
        )
        assert fused.exit_code == 0, fused.output
        arrays = whole.arrays
        for mine, theirs in {
            "unique_first": "unique_ir",
            "unique_second": "unique_vis",
            "common": "common",
        }.items():
            assert np.array_equal(arrays[mine], tifffile.imread(home / "fused" / theirs / "a.tif"))
        with np.load(home / "fused" / "features" / "a.npz") as codes:
            for letter in "uvz":
                assert arrays[letter].dtype == np.float16
                np.testing.assert_allclose(
                    arrays[letter].astype(float), codes[letter].astype(float), atol=1e-3
                )

    def test_the_features_file_holds_what_the_docs_say(self, whole: Inspected) -> None:
        maps = ["unique_first", "unique_second", "common", "p1", "p2"]
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(maps, (HEIGHT, WIDTH))
        for letter in "uvz":
            shapes[letter] = (ATOMS, HEIGHT, WIDTH)
            shapes[f"{letter}_energy"] = (ATOMS,)
            shapes[f"{letter}_energy_map"] = (HEIGHT, WIDTH)
            shapes[f"{letter}_theta"] = (LAST + 1,)
            shapes[f"{letter}_rho"] = (LAST,)
        arrays = whole.arrays
        assert {name: array.shape for name, array in arrays.items()} == shapes
        for name, array in arrays.items():
            assert array.dtype == (np.float16 if name in "uvz" else np.float32)

    def test_residuals_are_what_the_codes_leave(self, whole: Inspected, home: Path) -> None:
        network = at_work(load_weights(home / "tiny.safetensors").network)
        arrays = whole.arrays
        luminance = iio.imread(home / "in" / "b.png").astype(np.float32) / 255
        code = torch.from_numpy(arrays["u"].astype(np.float32))[None]
        explained = network.explain_u(code)[0, 0].numpy()
        np.testing.assert_allclose(arrays["p1"], luminance - explained, atol=0.02)

    def test_numbers(self, whole: Inspected) -> None:
        record, arrays = whole.record, whole.arrays
        assert record["pair"] == "a"
        assert record["modalities"] == ["ir", "vis"]
        assert record["size"] == [HEIGHT, WIDTH]
        parts = [arrays[name] for name in ("unique_first", "unique_second", "common")]
        energies = [float(np.square(part.astype(float)).sum()) for part in parts]
        for name, energy in zip(("unique_ir", "unique_vis", "common"), energies, strict=True):
            found = record["parts"][name]
            assert found["energy_share"] == pytest.approx(energy / sum(energies))
        ir = iio.imread(whole.out.parent / "in" / "b.png").astype(float)
        expected = np.corrcoef(parts[0].ravel(), ir.ravel())[0, 1]
        assert record["parts"]["unique_ir"]["correlation_with_ir"] == pytest.approx(expected)
        clipped = np.mean((sum(parts) < 0) | (sum(parts) > 1))
        assert record["clipped"] == pytest.approx(clipped, abs=2 / parts[0].size)
        maps = [arrays[f"{letter}_energy_map"].ravel() for letter in "uv"]
        assert record["unique_energy_correlation"] == pytest.approx(
            np.corrcoef(maps[0], maps[1])[0, 1]
        )
        separation = record["separation"]
        for name in ("ir", "vis"):
            own = record["parts"][f"unique_{name}"][f"correlation_with_{name}"]
            assert separation[name]["correlation_with_source"] == pytest.approx(own, abs=1e-5)
        assert separation["common_energy"] == pytest.approx(energies[2] / sum(energies))
        strengths = [
            np.hypot(*(ndimage.sobel(one, i, mode="nearest") for i in (0, 1))).sum()
            for one in parts
        ]
        assert separation["common_edges"] == pytest.approx(strengths[2] / sum(strengths), rel=1e-4)
        for letter in "uvz":
            code, values = record["codes"][letter], arrays[letter].astype(float)
            theta = float(arrays[f"{letter}_theta"][-1])
            assert code["nearly_zero_after"] == pytest.approx(np.mean(np.abs(values) < theta / 100))
            assert code["energy_per_atom"] == pytest.approx(np.square(values).sum(axis=(1, 2)))
            assert code["thresholds_fall"] is True
            assert code["momentum_rises"] is True
        assert record["sources"]["vis"]["highest"] <= 1
        assert record["weights"]["sha256"] == load_weights(pair_weights(whole)).sha256
        assert set(record["misalignment"]) >= {"rows", "columns", "confidence", "is_large"}

    def test_tables_fit_a_terminal(self, whole: Inspected) -> None:
        tables = whole.result.stdout.split(f"{whole.out}{os.sep}")[0]
        assert max(map(len, tables.splitlines())) <= 80
        for words in ("sources: ", "parts: ", "codes: ", "u: unique to ir", "v: unique to vis"):
            assert words in tables
        shown = f"{100 * whole.record['parts']['common']['energy_share']:.1f} %"
        assert shown in next(line for line in tables.splitlines() if line.startswith("common"))
        assert "fused pixels clipped: " in tables

    @pytest.mark.parametrize("columns", [20, 40, 60, 200])
    def test_no_number_is_cut_in_a_narrow_terminal(
        self,
        tmp_path: Path,
        home: Path,
        whole: Inspected,
        monkeypatch: pytest.MonkeyPatch,
        columns: int,
    ) -> None:
        monkeypatch.setattr(Console, "is_terminal", True)
        monkeypatch.setenv("COLUMNS", str(columns))
        shown = fnet("inspect", *pair_of(home), "-o", tmp_path / "o").stdout
        tables = shown.split("fused pixels clipped")[0]
        for line in whole.result.stdout.split("fused pixels clipped")[0].splitlines():
            for number in line.split():
                assert number in tables
        rows = [line for line in tables.splitlines() if line.startswith(("u: ", "common", "ir"))]
        assert max(map(len, rows)) <= max(columns, 30)

    def test_what_is_good_to_know_goes_to_stderr(self, whole: Inspected) -> None:
        for words in (
            f"a: {WIDTH}x{HEIGHT}, weights tiny.safetensors, device cpu; features.npz takes 0 MB",
            f"vis: {WIDTH}x{HEIGHT}, 0 to 255 become black to white",
            "cannot tell how far vis is displaced from ir",
        ):
            assert words in whole.result.stderr
        assert "warning" not in whole.result.stderr

    def test_the_page_and_its_command(self, whole: Inspected, home: Path) -> None:
        page = (whole.out / "report.html").read_text(encoding="utf-8")
        images = f"--vis {home / 'in' / 'a.png'} --ir {home / 'in' / 'b.png'}"
        assert f"fnet fuse {images} --weights {home / 'tiny.safetensors'}" in page
        assert "0 to 255 become black to white" in page

    def test_json_on_stdout_is_all_there(self, tmp_path: Path, home: Path) -> None:
        result = fnet("inspect", *pair_of(home), "-o", tmp_path / "o", "--json", "-", "--no-codes")
        assert result.exit_code == 0, result.output
        assert set(json.loads(result.stdout)["parts"]) == {"unique_ir", "unique_vis", "common"}
        assert names(tmp_path / "o") == FILES
        with np.load(tmp_path / "o" / "features.npz") as arrays:
            assert not {"u", "v", "z"} & set(arrays)
            assert "u_energy_map" in arrays

    def test_quiet_and_verbose(self, tmp_path: Path, home: Path) -> None:
        quiet = fnet("inspect", *pair_of(home), "-o", tmp_path / "o", "-q")
        assert (quiet.exit_code, quiet.output) == (0, "")
        verbose = fnet("inspect", *pair_of(home), "-o", tmp_path / "o", "-v")
        assert "network: torch (the compiled path" in verbose.stderr

    def test_every_iteration(self, tmp_path: Path, home: Path) -> None:
        found = inspected(tmp_path / "o", *pair_of(home), "--iterations")
        arrays = found.arrays
        without = inspected(tmp_path / "w", *pair_of(home), "--iterations", "--no-codes").arrays
        assert arrays.keys() - without.keys() == {"u", "v", "z"}
        for letter in "uvz":
            for k in range(LAST + 1):
                for when in ("before", "after"):
                    assert arrays[f"{letter}_{k}_{when}"].shape == (ATOMS, HEIGHT, WIDTH)
            assert np.array_equal(arrays[letter], arrays[f"{letter}_{LAST}_after"])
        assert len(found.record["codes"]["u"]["theta"]) == LAST + 1

    def test_codes_too_large_for_memory(
        self, tmp_path: Path, home: Path, whole: Inspected, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", 0)
        found = inspected(tmp_path / "o", *pair_of(home))
        for name, array in whole.arrays.items():
            assert np.array_equal(found.arrays[name], array)
        assert names(tmp_path / "o") == FILES

    def test_the_same_twice(self, tmp_path: Path, home: Path) -> None:
        out = tmp_path / "o"
        inspected(out, *pair_of(home))
        first = (out / "features.npz").read_bytes()
        (out / ".fnet-1-0badcafe.tmp").write_text("of a run that was killed")
        inspected(out, *pair_of(home))
        assert names(out) == FILES
        assert (out / "features.npz").read_bytes() == first

    def test_a_rerun_that_fails_leaves_everything_as_it_was(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "o"
        inspected(out, *pair_of(home))
        (out / "mine.txt").write_text("not of fnet")
        before = contents(out)
        swapped = [*pair_of(home), "--invert", "ir", "-o", out]
        for error, code in ((KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "No space"), 1)):

            def fail(*_: object, error: BaseException = error) -> None:
                raise error

            drawing = ("figures.draw_norms", "figures.draw_channels")
            for step in (*drawing, "inspection_files.write_inspect_page"):
                with monkeypatch.context() as patch:
                    patch.setattr(f"fnetcli.reports.{step}", fail)
                    refused(code, *swapped)
                assert contents(out) == before
        assert fnet("inspect", *swapped).exit_code == 0
        after = contents(out)
        assert after.keys() == before.keys()
        assert after["features.npz"] != before["features.npz"]
        assert after["mine.txt"] == before["mine.txt"]

    def test_an_old_page_never_stands_beside_new_numbers(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "o"
        inspected(out, *pair_of(home))
        replace, moved = Path.replace, []

        def interrupted(path: Path, target: Path) -> Path:
            if Path(target).parent == out:
                moved.append(Path(target).name)
                if len(moved) == 3:
                    raise KeyboardInterrupt
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", interrupted)
            refused(130, *pair_of(home), "-o", out)
        assert "report.html" not in moved
        assert names(out) == [name for name in FILES if name != "report.html"]
        inspected(out, *pair_of(home))
        assert names(out) == FILES

    def test_default_folder(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert fnet("inspect", *pair_of(home)).exit_code == 0
        assert names(tmp_path / "fnet-inspect") == FILES


def pair_weights(found: Inspected) -> Path:
    return found.out.parent / "tiny.safetensors"


class TestWhatIsFused:
    """The network sees what it sees in `fnet fuse`, whatever the files hold."""

    def parts(self, tmp_path: Path, *arguments: object) -> tuple[Inspected, list[Picture]]:
        done = fnet("fuse", *arguments, "-o", tmp_path / "fused", "--maps", "float")
        assert done.exit_code == 0, done.output
        found = inspected(tmp_path / "o", *arguments)
        first, second = found.record["modalities"]
        folders = (f"unique_{first}", f"unique_{second}", "common")
        maps = [next((tmp_path / "fused" / name).iterdir()) for name in folders]
        return found, [tifffile.imread(path) for path in maps]

    def assert_same(self, found: Inspected, maps: list[Picture]) -> None:
        for name, part in zip(("unique_first", "unique_second", "common"), maps, strict=True):
            assert np.array_equal(found.arrays[name], part)

    @pytest.mark.parametrize(("first", "second"), [ORDERS[1], ORDERS[3], ORDERS[6]])
    def test_modality_pairs(self, tmp_path: Path, home: Path, first: str, second: str) -> None:
        images = [f"--{second}", home / "in" / "a.png", f"--{first}", home / "in" / "b.png"]
        found, maps = self.parts(tmp_path, *images, "--weights", home / "tiny.safetensors")
        self.assert_same(found, maps)
        assert found.record["modalities"] == [first, second]
        assert f"u: unique to {first}" in found.result.stdout
        assert list(found.record["sources"]) == [first, second]

    def test_depths_and_options(self, tmp_path: Path, home: Path) -> None:
        random = np.random.default_rng(0)
        vis = tiff(tmp_path / "vis.tif", random.integers(0, 3900, (16, 20), np.uint16))
        thermal = random.normal(29500, 300, (32, 40)).astype(np.float32)
        thermal[:3] = np.nan
        ir = tiff(tmp_path / "ir.tif", thermal)
        arguments = ["--vis", vis, "--ir", ir, "--resize", "vis", "--invert", "ir"]
        arguments += ["--stretch", "ir=1,99", "--weights", home / "tiny.safetensors"]
        found, maps = self.parts(tmp_path, *arguments)
        inside = np.isfinite(maps[0])
        for name, part in zip(("unique_first", "unique_second", "common"), maps, strict=True):
            assert np.array_equal(found.arrays[name][inside], part[inside])
        assert found.record["size"] == [16, 20]
        stderr = found.result.stderr
        assert "vis: 16-bit files, but no value above 4095: taken as 12 bits" in stderr
        assert "vis: 20x16, 0 to 4095 become black to white" in stderr
        assert "become white to black" in stderr
        assert "warning: ir: 120 pixels (9.4 %) are NaN" in stderr
        page = (found.out / "report.html").read_text(encoding="utf-8")
        assert "--stretch ir=1,99 --invert ir --resize vis" in page
        out = as_the_page_says(found, "--gain", "common=0.5")
        (name,) = names(out / "fused")
        assert (out / "fused" / name).read_bytes() != (
            tmp_path / "fused" / "fused" / name
        ).read_bytes()
        assert any("NaN" in text for text in found.record["notices"])

    def test_colour_of_thermal_pictures_is_warned_of(self, tmp_path: Path, home: Path) -> None:
        images = ["--vis", home / "in" / "b.png", "--ir", home / "in" / "a.png"]
        found = inspected(tmp_path / "o", *images, "--weights", home / "tiny.safetensors")
        assert "warning: the ir picture has colours" in found.result.stderr

    def test_folders_of_one_pair(self, tmp_path: Path, home: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        weights = home / "tiny.safetensors"
        found = inspected(tmp_path / "o", "--vis", vis, "--ir", ir, "--weights", weights)
        assert found.record["pair"] == "0"

    @pytest.mark.skipif(not SHARED.is_dir(), reason="shared data are not here")
    def test_a_medical_pair(self, tmp_path: Path, home: Path) -> None:
        folder = SHARED / "data" / "medical" / "pet_mri" / "val"
        name = min(path.name for path in (folder / "pet").iterdir())
        images = ["--pet", folder / "pet" / name, "--mri", folder / "mri" / name]
        found, maps = self.parts(tmp_path, *images, "--weights", home / "tiny.safetensors")
        self.assert_same(found, maps)
        assert found.record["sources"]["mri"]["constant"] > 0.1  # the air around the head


class TestMisalignment:
    @pytest.mark.parametrize("shift", [0, 7])
    def test_a_large_shift_is_warned_of(self, tmp_path: Path, home: Path, shift: int) -> None:
        scene = texture(150, 170)
        vis = write(tmp_path / "vis.png", levels(scene[10:-10, 10:-10]))
        moved = scene[10 - shift : 140 - shift, 10 + shift : 160 + shift]
        ir = write(tmp_path / "ir.png", 255 - levels(moved))
        arguments = ["--vis", vis, "--ir", ir, "--weights", home / "tiny.safetensors"]
        found = inspected(tmp_path / "o", *arguments)
        record = found.record["misalignment"]
        assert record["is_known"] is True
        assert record["is_large"] is bool(shift)
        assert record["rows"] == pytest.approx(-shift, abs=0.3)
        assert record["columns"] == pytest.approx(shift, abs=0.3)
        words = "warning: the images are not aligned: vis lies 7.0 px higher and 7.0 px"
        assert (words in found.result.stderr) == bool(shift)
        assert ("vis lies 0.0 px" in found.result.stderr) == (not shift)


# --- volumes --------------------------------------------------------------------------------------


def body(seed: int) -> NDArray[np.int16]:
    """Return a body in air, in numbers that may be HU."""
    pixels = np.full(LIGHT_VOLUME, -1000, np.int16)
    inner = tuple(slice(size // 5, size - size // 5) for size in LIGHT_VOLUME)
    noise = np.random.default_rng(seed).integers(-100, 300, LIGHT_VOLUME, np.int16)
    pixels[inner] = noise[inner]
    return pixels


@pytest.fixture(scope="module")
def study(home: Path) -> Path:
    """A patient's CT as DICOM, and an MRI as DICOM and NIfTI."""
    mri = np.asarray(np.clip(body(1) + 120, 0, None), np.int16)
    write_series(home / "P1" / "CT", body(0), PLACE, "CT", SeriesDescription="Zzyzx series")
    write_series(home / "P1" / "MR", mri, PLACE, "MR")
    write_nifti(home / "P1" / "scan.nii.gz", mri, PLACE)
    return home / "P1"


def nothing_of_the_patient(*texts: str) -> bool:
    told = [*PATIENT.values(), "Zzyzx", "1.2.826.0.1.3680043"]
    return not any(word.casefold() in text.casefold() for text in texts for word in told)


class TestVolumes:
    def volumes(self, study: Path, mri: str = "MR") -> list[object]:
        images = ["--ct", study / "CT", "--mri", study / mri]
        return [*images, "--weights", study.parent / "tiny.safetensors"]

    @pytest.mark.parametrize("mri", ["MR", "scan.nii.gz"])
    def test_a_slice_as_fuse_has_it(self, tmp_path: Path, study: Path, mri: str) -> None:
        done = fnet("fuse", *self.volumes(study, mri), "-o", tmp_path / "fused")
        assert done.exit_code == 0, done.output
        name = "P1" if mri == "MR" else "scan"
        found = inspected(tmp_path / "o", *self.volumes(study, mri), "--slice", 2)
        assert found.record["pair"] == f"{name}, slice 2 of 5"
        for mine, theirs in {"unique_first": "unique_mri", "common": "common"}.items():
            whole = load_nifti(tmp_path / "fused" / theirs / f"{name}.nii.gz").get_fdata()
            np.testing.assert_allclose(found.arrays[mine], whole.transpose(2, 1, 0)[1], atol=1e-5)
        assert "CT window soft: -160 to 240 HU" in found.result.stderr
        assert "warning" not in found.result.stderr
        assert any("soft" in text for text in found.record["said"])
        assert nothing_of_the_patient(
            found.result.output,
            (found.out / "report.html").read_text(encoding="utf-8"),
            found.out.with_suffix(".json").read_text(),
        )

    def test_the_middle_slice_along_another_axis(self, tmp_path: Path, study: Path) -> None:
        options = ["--axis", "coronal", "--window", "ct=bone", "--range", "mri=0,400"]
        options += ["--denoise", "ct=median", "--spacing", "uneven=refuse", "--max-pixels", "9"]
        found = inspected(tmp_path / "o", *self.volumes(study), *options)
        assert found.record["pair"] == "P1, slice 8 of 14"
        assert found.record["size"] == [5, 12]
        page = (found.out / "report.html").read_text(encoding="utf-8")
        assert "--max-pixels 9 --range mri=0,400 --spacing uneven=refuse --window ct=bone" in page
        assert "--denoise ct=median --axis coronal" in page
        whole = load_nifti(as_the_page_says(found) / "common" / "P1.nii.gz").get_fdata()
        coronal = whole.transpose(2, 1, 0)[::-1, 7]  # head first
        np.testing.assert_allclose(found.arrays["common"], coronal, atol=1e-5)

    def test_where_one_has_no_data(self, tmp_path: Path, study: Path) -> None:
        short = write_series(tmp_path / "short", body(0)[:2], PLACE, "CT")
        volumes = ["--ct", short, "--mri", study / "MR", "--slice", "4"]
        weights = study.parent / "tiny.safetensors"
        found = inspected(tmp_path / "o", *volumes, "--weights", weights)
        assert "warning: the ct covers 40 % of the mri's grid" in found.result.stderr
        assert "warning: ct: no data in 100.0 % of this slice; it is est" in found.result.stderr

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (["--slice", "6"], "--slice 6: there are only 5; give a smaller number"),
            (["--bits", "ct=12"], "--bits: applies only to pictures"),
            (["--resize", "ct"], "--resize: applies only to pictures"),
            (["--page", "2"], "--page: applies only to pictures"),
            (["--window", "ct=fog"], "not a window"),
        ],
    )
    def test_options_that_do_not_fit(
        self, tmp_path: Path, study: Path, option: list[str], message: str
    ) -> None:
        out = tmp_path / "o"
        assert message in refused(2, *self.volumes(study), *option, "-o", out)
        assert not out.exists()

    def test_several_cases(self, tmp_path: Path) -> None:
        for side in ("ct", "mri"):
            for name in ("x.nii", "y.nii"):
                write_nifti(tmp_path / side / name, body(0), PLACE)
        arguments = ["--ct", tmp_path / "ct", "--mri", tmp_path / "mri", "-o", tmp_path / "o"]
        result = fnet("inspect", *arguments)
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        assert "2 pairs: only one can be inspected at a time; give two files or volumes" in line

    def test_results_do_not_go_among_inputs(self, study: Path) -> None:
        for out in (study / "CT", study / "CT" / "results"):
            line = refused(2, *self.volumes(study), "-o", out)
            assert line == f"-o {out}: lies in an input folder; choose a folder outside"
        line = refused(2, *self.volumes(study), "--json", study / "CT" / "IM0000")
        assert "is in an input folder" in line


# --- weights --------------------------------------------------------------------------------------


def facts(stdout: str) -> dict[str, str]:
    """Return lines by their names; what is folded is one text."""
    found: dict[str, str] = {}
    name = ""
    for line in stdout.splitlines():
        name = line[:14].strip() or name
        found[name] = f"{found.get(name, '')} {line[15:]}".strip()
    return found


def safetensors_with(home: Path, **metadata: str) -> bytes:
    """Return the tiny weights with other metadata, as another program might write them."""
    network = load_weights(home / "tiny.safetensors").network
    config = json.dumps(asdict(network.config))
    return safetensors_bytes(dict(network.arrays), {"config": config, **metadata})


def interrupted_after_one(save: Callable[..., None]) -> Callable[..., None]:
    calls = []

    def interrupted(*arguments: object) -> None:
        calls.append(1)
        if len(calls) % 2 == 0:
            raise KeyboardInterrupt
        save(*arguments)

    return interrupted


class TestWeights:
    def test_ours(self, home: Path) -> None:
        result = fnet("inspect", home / "tiny.safetensors")
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        assert max(map(len, result.stdout.splitlines())) <= 80
        loaded = load_weights(home / "tiny.safetensors")
        printed = facts(result.stdout)
        assert printed["name"] == "tiny.safetensors"
        assert printed["layout"] == "fnet"
        assert printed["sha256"] == loaded.sha256
        assert printed["network"].startswith("atoms 4, kernel_size 3, iterations 2, ")
        assert printed["parameters"].startswith(f"{loaded.network.parameter_count:,}: encode_u ")
        assert printed["reach"] == f"{loaded.network.config.reach} pixels"
        assert printed["multiply-adds"] == f"{loaded.network.config.multiply_adds:,} per pixel"
        assert printed["runs here"].startswith("torch (the compiled path")
        theta = at_work(loaded.network).encode_u.theta(0).item()
        assert printed["theta_k of u"].split()[0] == f"{theta:.4f}"
        assert len(printed["rho_k of z"].split()) == LAST

    def test_the_default_and_its_metadata(self) -> None:
        result = fnet("inspect")
        assert result.exit_code == 0, result.output
        printed = facts(result.stdout)
        assert printed["name"] == "fnet.safetensors"
        assert "stage_2: iterations " in printed["recipe"]
        assert "pairs" in printed["trained"]
        assert "MI " in printed["scores"]
        assert "training_list_sha256" in printed["also says"]
        assert max(map(len, result.stdout.splitlines())) <= 80

    def test_the_published_layout(self, tmp_path: Path, home: Path) -> None:
        network = load_weights(home / "tiny.safetensors").network
        torch.save({"params": published(network)}, tmp_path / "FNet.pth")
        result = fnet("inspect", tmp_path / "FNet.pth", "--json", tmp_path / "facts.json")
        assert result.exit_code == 0, result.output
        assert facts(result.stdout)["layout"] == "published"
        assert "scores" not in facts(result.stdout)
        record = json.loads((tmp_path / "facts.json").read_text())
        assert record["config"]["atoms"] == ATOMS
        assert sum(record["parameters"].values()) == record["parameter_count"]
        ours = fnet("inspect", home / "tiny.safetensors", "--json", "-")
        theirs = {**record, "name": "", "layout": "", "sha256": "", "other_metadata": {}}
        assert {**json.loads(ours.stdout), **dict.fromkeys(["name", "layout", "sha256"], "")} | {
            "other_metadata": {}
        } == theirs

    def test_dictionaries(self, tmp_path: Path, home: Path) -> None:
        result = fnet("inspect", "--weights", home / "tiny.safetensors", "-o", tmp_path / "o")
        assert result.exit_code == 0, result.output
        roles = [f"{role}_{letter}.png" for role in ("analysis", "synthesis") for letter in "uvz"]
        assert names(tmp_path / "o") == sorted([*roles, "schedules.png"])
        for name in names(tmp_path / "o"):
            assert iio.imread(tmp_path / "o" / name).ndim == 3
            assert f"{tmp_path / 'o' / name}: " in result.stdout

    def test_what_metadata_say_cannot_command_a_terminal(self, tmp_path: Path, home: Path) -> None:
        network = load_weights(home / "tiny.safetensors").network
        metadata = {"trained": "\x1b[2Jgone\r", "scores": {"\x07": {"a\nb": [1, {"c": 2}]}}}
        save_weights(tmp_path / "odd.safetensors", network, metadata)
        result = fnet("inspect", tmp_path / "odd.safetensors")
        assert result.exit_code == 0, result.output
        assert all(sign.isprintable() or sign == "\n" for sign in result.stdout)
        assert "[2Jgone" in result.stdout

    @pytest.mark.skipif(os.name == "nt", reason="no such names there")
    def test_nor_can_names(self, tmp_path: Path, home: Path) -> None:
        for path in (home / "tiny.safetensors", home / "in" / "a.png"):
            odd = tmp_path / f"\x1b[2J\n\udcff{path.name}"
            odd.write_bytes(path.read_bytes())
            result = fnet("inspect", odd)
            assert result.exit_code == 0, result.output
            assert all(sign.isprintable() or sign == "\n" for sign in result.stdout)
            assert f"\ufffd[2J\ufffd\ufffd{path.name}" in result.stdout

    def test_thresholds_that_rise_are_said(self, tmp_path: Path, home: Path) -> None:
        network = at_work(load_weights(home / "tiny.safetensors").network)
        network.encode_u.w_theta.copy_(-network.encode_u.w_theta)
        save_weights(tmp_path / "odd.safetensors", resting(network), {})
        result = fnet("inspect", tmp_path / "odd.safetensors")
        assert "thresholds of block u do not fall" in result.stderr
        assert fnet("inspect", tmp_path / "odd.safetensors", "-q").output == ""

    def test_a_single_momentum(self, tmp_path: Path, home: Path) -> None:
        torch.manual_seed(0)
        network = FNet(FNetConfig(atoms=3, kernel_size=3, iterations=1))
        save_weights(tmp_path / "short.safetensors", resting(network), {})
        result = fnet("inspect", tmp_path / "short.safetensors")
        assert (result.exit_code, result.stderr) == (0, "")
        images = pair_of(home)[:4]
        found = inspected(tmp_path / "o", *images, "--weights", tmp_path / "short.safetensors")
        assert "momentum" not in found.result.stderr
        assert found.record["codes"]["u"]["momentum_rises"] is None
        assert len(found.record["codes"]["u"]["rho"]) == 1
        (row,) = (line for line in found.result.stdout.splitlines() if line.startswith("u: "))
        assert row.split()[-2:] == ["yes", "-"]

    @pytest.mark.parametrize("kind", ["safetensors", "published", "legacy"])
    @pytest.mark.parametrize("name", ["FNET", "weights.bin", "weights.png"])
    def test_recognised_by_content(self, tmp_path: Path, home: Path, kind: str, name: str) -> None:
        network = load_weights(home / "tiny.safetensors").network
        if kind == "safetensors":
            save_weights(tmp_path / name, network, {})
        else:
            zipped = {"_use_new_zipfile_serialization": kind == "published"}
            torch.save(published(network), tmp_path / name, **zipped)
        result = fnet("inspect", tmp_path / name, "-o", tmp_path / "o")
        assert result.exit_code == 0, result.output
        assert facts(result.stdout)["name"] == name
        assert names(tmp_path / "o") == sorted(WEIGHTS_FILES)

    def test_long_metadata_are_shortened(self, tmp_path: Path, home: Path) -> None:
        network = load_weights(home / "tiny.safetensors").network
        metadata = {
            "trained": 10**6 * "A",
            "recipe": {str(i): {"x": 1} for i in range(5000)},
            "scores": list(range(10**5)),
            "note": {"\x1b[2J" * 1000: [1]},
        }
        path = tmp_path / "long.safetensors"
        save_weights(path, network, metadata)
        result = fnet("inspect", path, "--json", tmp_path / "facts.json")
        assert result.exit_code == 0, result.output
        assert len(result.stdout) < 6000
        assert " ".join(result.stdout.split()).count("--json has all") == 4
        record = json.loads((tmp_path / "facts.json").read_text())
        assert {key: record[key] for key in ("trained", "recipe", "scores")} == {
            key: metadata[key] for key in ("trained", "recipe", "scores")
        }

    def test_deep_metadata(self, tmp_path: Path, home: Path) -> None:
        content = safetensors_with(home, recipe=f"{100_000 * '['}{100_000 * ']'}", note=900 * "[")
        (tmp_path / "deep.safetensors").write_bytes(content)
        result = fnet("inspect", tmp_path / "deep.safetensors", "--json", "-")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["recipe"].startswith("[[[[")

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"alpha": 10**400}, "impossible network (int too large to convert to float)"),
            ({"atoms": 10**30}, "tensors missing, first "),
            ({"\x1b[2J": 1}, r"unexpected keyword argument '\x1b[2J'"),
        ],
    )
    def test_impossible_networks(
        self, tmp_path: Path, home: Path, config: dict[str, Any], message: str
    ) -> None:
        path = tmp_path / "odd.safetensors"
        path.write_bytes(safetensors_with(home, config=json.dumps({"kernel_size": 3, **config})))
        for arguments in ([path], [*pair_of(home)[:5], path, "-o", tmp_path / "o"]):
            line = refused(1, *arguments)
            assert line.startswith(f"{path}: ")
            assert message in line
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("theta", 3e38, "thresholds of block u are not finite numbers; "),
            ("rho", -300, "momenta of block u are not finite numbers; "),
        ],
    )
    def test_schedules_that_overflow(
        self, tmp_path: Path, home: Path, name: str, value: float, message: str
    ) -> None:
        def change(network: FNet) -> None:
            for letter in "wb":
                getattr(network.encode_u, f"{letter}_{name}").fill_(value)

        path = odd_weights(home, tmp_path / "odd.safetensors", change)
        for arguments in ([path], [*pair_of(home)[:5], path, "-o", tmp_path / "o"]):
            assert refused(1, *arguments).startswith(f"{path}: {message}")
        assert not (tmp_path / "o").exists()
        fused = fnet("fuse", *pair_of(home)[:5], path, "-o", tmp_path / "o")
        assert fused.exit_code == 1
        assert message in fused.stderr

    @pytest.mark.parametrize(("w", "b"), [(-300, -300), (1e38, 1e38), (-100, 0)])
    def test_extreme_thresholds(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, w: float, b: float
    ) -> None:
        monkeypatch.undo()  # with the plots

        def change(network: FNet) -> None:
            for letter in "uvz":
                block = getattr(network, f"encode_{letter}")
                block.w_theta.fill_(w)
                block.b_theta.fill_(b)

        path = odd_weights(home, tmp_path / "odd.safetensors", change)
        found = inspected(tmp_path / "o", *pair_of(home)[:5], path, "--iterations")
        assert names(found.out) == FILES
        assert fnet("inspect", path, "-o", tmp_path / "w").exit_code == 0

    def test_codes_beyond_float16(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()  # with the plots

        def change(network: FNet) -> None:
            network.encode_z.iteration(LAST).encode.weight.mul_(1e6)

        path = odd_weights(home, tmp_path / "odd.safetensors", change)
        found = inspected(tmp_path / "o", *pair_of(home)[:5], path)
        assert "warning: code z: " in found.result.stderr
        assert "beyond 65504, the largest number of float16" in found.result.stderr
        assert any("float16" in text for text in found.record["notices"])
        assert names(found.out) == FILES
        for array in found.arrays.values():
            assert np.isfinite(array).all()
        assert np.abs(found.arrays["z"]).max() == 65504
        assert np.abs(found.arrays["u"]).max() < 65504

    def test_a_result_that_is_not_finite_names_the_weights(
        self, tmp_path: Path, home: Path
    ) -> None:
        path = odd_weights(
            home,
            tmp_path / "odd.safetensors",
            lambda network: [kernel.mul_(1e25) for kernel in network.parameters()],
        )
        line = refused(1, *pair_of(home)[:5], path, "-o", tmp_path / "deep" / "o")
        words = "the network's result is not finite; check the weights"
        assert line == f"a, weights odd.safetensors: {words}"
        assert not (tmp_path / "deep").exists()

    def test_dictionaries_that_cannot_be_drawn_leave_those_that_were(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, weights = tmp_path / "o", home / "tiny.safetensors"
        assert fnet("inspect", weights, "-o", out).exit_code == 0
        before = contents(out)
        other = odd_weights(
            home, tmp_path / "odd.safetensors", lambda n: n.explain_u.weight.mul_(2)
        )

        with monkeypatch.context() as patch:
            patch.setattr(Figure, "save", interrupted_after_one(Figure.save))
            assert fnet("inspect", other, "-o", out).exit_code == 130
            assert fnet("inspect", other, "-o", tmp_path / "new").exit_code == 130
        assert contents(out) == before
        assert not (tmp_path / "new").exists()

    def test_another_run_holds_the_folder(self, tmp_path: Path, home: Path) -> None:
        with OutputFolder(tmp_path / "o"):
            result = fnet("inspect", home / "tiny.safetensors", "-o", tmp_path / "o")
        assert result.exit_code == 2
        assert "another fnet is writing there" in result.stderr
        (tmp_path / "o" / ".fnet-1-0badcafe.tmp").mkdir()
        assert fnet("inspect", home / "tiny.safetensors", "-o", tmp_path / "o").exit_code == 0
        assert names(tmp_path / "o") == sorted(WEIGHTS_FILES)

    def test_damaged(self, tmp_path: Path, home: Path) -> None:
        content = (home / "tiny.safetensors").read_bytes()
        (tmp_path / "half.safetensors").write_bytes(content[: len(content) // 2])
        assert "download it again" in refused(1, tmp_path / "half.safetensors")
        (tmp_path / "text.pth").write_text("not found\n" * 20)
        assert "not a weights file" in refused(1, tmp_path / "text.pth")
        assert "no such file" in refused(2, tmp_path / "none.pth")
        assert "no such file" in refused(2, "--weights", tmp_path / "none.pth")


# --- an image -------------------------------------------------------------------------------------


def looked_at(*arguments: object) -> dict[str, str]:
    result = fnet("inspect", *arguments)
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()[1:]) <= 80
    return facts(result.stdout)


class TestImage:
    def test_eight_bits(self, home: Path) -> None:
        printed = looked_at(home / "in" / "a.png")
        pixels = iio.imread(home / "in" / "a.png")
        assert printed["file"] == str(home / "in" / "a.png")
        assert (printed["format"], printed["size"]) == ("PNG", f"{WIDTH}x{HEIGHT} pixels")
        assert (printed["channels"], printed["numbers"]) == ("RGB", "uint8")
        assert printed["range"] == f"{pixels.min()} to {pixels.max()}, mean {pixels.mean():.6g}"
        assert printed["black to white"] == "as any modality: 0 to 255"

    def test_thermal_counts(self, tmp_path: Path) -> None:
        counts = np.random.default_rng(0).normal(29500, 300, (24, 30)).astype(np.uint16)
        path = tiff(tmp_path / "thermal.tif", counts)
        low, high = np.percentile(counts, (0.1, 99.9))
        assert looked_at(path)["black to white"] == (
            "as vis: 0 to 32767 (15 bits, since no number is higher; --bits vis=16 if they are "
            "not) "
            f"as any other: {low:.6g} to {high:.6g} (percentiles 0.1 and 99.9)"
        )
        record = json.loads(fnet("inspect", path, "--json", "-").stdout)
        assert (record["width"], record["height"], record["type"]) == (30, 24, "uint16")
        visible, other = record["scaling"]
        assert (visible["modalities"], visible["high"]) == (["vis"], 32767)
        assert other["modalities"] == ["ir", "nir", "ct", "mri", "mri2", "pet", "spect"]
        assert other["low"] == pytest.approx(low)
        assert record["numbers"]["percentiles"]["50"] == np.median(counts)

    def test_twelve_bits(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "v.tif", np.arange(4000, dtype=np.uint16).reshape(50, 80))
        assert "as vis: 0 to 4095 (12 bits, since no number is" in looked_at(path)["black to white"]

    def test_floats_with_holes(self, tmp_path: Path) -> None:
        celsius = np.random.default_rng(0).normal(20, 3, (20, 40)).astype(np.float32)
        celsius[:5] = np.nan
        celsius[6, 0] = np.inf
        path = tiff(tmp_path / "c.tif", celsius)
        printed = looked_at(path)
        assert printed["without data"] == "25.1 % of the pixels"
        assert printed["range"].startswith(f"{np.nanmin(celsius):.6g} to ")
        assert "as any modality: " in printed["black to white"]
        assert "filled from the neighbours" in printed["black to white"]
        assert json.loads(fnet("inspect", path, "--json", "-").stdout)["without_data"] == 201

    def test_nothing_but_holes(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "nan.tif", np.full((4, 5), np.nan, np.float32))
        printed = looked_at(path)
        assert printed["without data"] == "100.0 % of the pixels"
        assert "range" not in printed
        assert "no pixel holds data: it is taken as black" in printed["black to white"]

    def test_numbers_beyond_measure(self, tmp_path: Path) -> None:
        path = tiff(tmp_path / "huge.tif", np.full((4, 5), 1e300))
        words = "no pixel holds data (beyond 3e+38 there is none): it is taken as black"
        assert words in looked_at(path)["black to white"]

    def test_pages(self, tmp_path: Path) -> None:
        pages = np.stack([np.full((6, 8), 40 * i, np.uint8) for i in range(3)])
        path = tiff(tmp_path / "pages.tif", pages)
        assert "3 pages" in refused(1, path)
        printed = looked_at(path, "--page", "2")
        assert printed["pages"] == "3; --page chooses"
        assert printed["range"] == "40 to 40, mean 40"
        assert "--page" in refused(1, path, "--page", "4")
        assert looked_at(path, "--page", "vis=2") == printed
        for page in ("x=2", "0", "\u0662", "2.0"):
            result = fnet("inspect", path, "--page", page)
            assert result.exit_code == 2
            words = f"--page {page}: give a number from 1 to 1000000"
            assert errors(result.stderr) == [f"error: {words}"]
        assert "give it once" in refused(2, path, "--page", "1", "--page", "2")

    def test_transparency(self, tmp_path: Path) -> None:
        pixels = np.concatenate([smooth_noise(9, 9, 1, 3), np.full((9, 9, 1), 128, np.uint8)], -1)
        printed = looked_at(write(tmp_path / "a.png", pixels))
        assert printed["channels"] == "RGB, with transparency"

    def test_size_limit(self, home: Path) -> None:
        assert "megapixels" in refused(1, home / "in" / "a.png", "--max-pixels", "0.0001")

    def test_a_dicom_series(self, study: Path) -> None:
        result = fnet("inspect", study / "CT")
        printed = facts(result.stdout)
        assert (printed["format"], printed["size"]) == ("DICOM", "12x14 pixels, 5 slices")
        assert (printed["unit"], printed["voxels"]) == ("HU", "2 x 2 x 3 mm, slices are axial")
        assert printed["black to white"] == "CT window soft: -160 to 240 HU"
        record = fnet("inspect", study / "CT", "--json", "-")
        assert json.loads(record.stdout)["spacing_mm"] == [2, 2, 3]
        assert nothing_of_the_patient(result.output, record.output)
        one = fnet("inspect", study / "CT" / "IM0000", "-v")
        assert one.exit_code == 0, one.output
        assert nothing_of_the_patient(one.output)

    def test_a_nifti_volume(self, study: Path) -> None:
        printed = looked_at(study / "scan.nii.gz")
        assert (printed["format"], printed["unit"]) == ("NIfTI", "unknown")
        for words in ("CT percentiles", "MRI percentiles", "PET 0 to percentile", "SPECT 0 to"):
            assert words in printed["black to white"]

    def test_which_series_or_volume(self, tmp_path: Path) -> None:
        for number, kind in ((3, "CT"), (7, "MR")):
            write_series(
                tmp_path / "both" / kind,
                *(np.clip(body(0), 0, None), PLACE, kind),
                SeriesNumber=number,
                SeriesInstanceUID=f"1.2.3.{number}",
            )
        assert "holds 2 series; choose one with --series" in refused(1, tmp_path / "both")
        for choice in ("7", "mri=7"):
            printed = looked_at(tmp_path / "both", "--series", choice)
            assert printed["black to white"].startswith("MRI percentiles")
        four = np.stack([body(0), body(1)], axis=-1)
        path = write_nifti(tmp_path / "4d.nii", four, PLACE)
        assert "holds 2 volumes; choose one with --volume" in refused(1, path)
        assert looked_at(path, "--volume", "2")["size"] == "12x14 pixels, 5 slices"
        assert "--volume x: not a number" in refused(2, path, "--volume", "x")
        assert "give it once" in refused(2, path, "--volume", "1", "--volume", "2")


# --- bad input ------------------------------------------------------------------------------------


class TestBadInput:
    def test_missing(self, tmp_path: Path, home: Path) -> None:
        nowhere = tmp_path / "none.png"
        assert "no such file" in refused(2, nowhere)
        assert "no such file" in refused(2, "--vis", nowhere, "--ir", home / "in" / "b.png")
        assert "only --vis given" in refused(2, "--vis", home / "in" / "a.png")
        assert not (tmp_path / "fnet-inspect").exists()

    def test_a_file_and_a_pair(self, home: Path) -> None:
        line = refused(2, home / "in" / "a.png", *pair_of(home))
        assert line == f"{home / 'in' / 'a.png'} and --ir: a file and a pair; give only one of them"

    @pytest.mark.parametrize("is_pair", [True, False])
    def test_damaged_pictures(self, tmp_path: Path, home: Path, is_pair: bool) -> None:
        content = (home / "in" / "b.png").read_bytes()
        truncated, text = tmp_path / "half.png", tmp_path / "text.png"
        truncated.write_bytes(content[: len(content) // 2])
        text.write_text("not a picture\n" * 9)
        (tmp_path / "empty.png").touch()
        for path, message in (
            (truncated, "copy or export the file again"),
            (text, "not an image of a known format"),
            (tmp_path / "empty.png", "the file is empty"),
        ):
            arguments: list[object] = [path]
            if is_pair:
                arguments = ["--ir", path, "--vis", home / "in" / "a.png", "-o", tmp_path / "o"]
            line = refused(1, *arguments)
            assert line.startswith(f"{path}: ")
            assert message in line
        assert not (tmp_path / "o").exists()

    def test_a_folder_of_pictures(self, tmp_path: Path) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        assert "a folder, not an image; give a file in it" in refused(1, vis)
        line = refused(2, "--vis", vis, "--ir", ir)
        assert line == "2 pairs: only one can be inspected at a time; give two files"
        (tmp_path / "empty").mkdir()
        assert "nothing to do" in refused(1, "--vis", vis, "--ir", tmp_path / "empty")

    def test_different_sizes(self, tmp_path: Path, home: Path) -> None:
        other = write(tmp_path / "c.png", smooth_noise(24, 36, 3))
        line = refused(1, "--vis", home / "in" / "a.png", "--ir", other, "-o", tmp_path / "o")
        assert str(other) in line
        assert "--resize" in line

    def test_a_picture_and_a_volume(self, home: Path, study: Path) -> None:
        line = refused(2, "--ct", study / "CT", "--mri", home / "in" / "b.png")
        assert "give two of the same kind" in line

    def test_where_results_go(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "file").write_text("mine")
        line = refused(2, *pair_of(home), "-o", tmp_path / "file")
        assert line == f"-o {tmp_path / 'file'}: is a file; give a folder"
        assert "is a file" in refused(2, home / "tiny.safetensors", "-o", tmp_path / "file")
        assert "contains an input" in refused(2, *pair_of(home), "-o", home / "in")
        (tmp_path / "link").symlink_to(home / "in")
        assert "contains an input" in refused(2, *pair_of(home), "-o", tmp_path / "link")
        assert (tmp_path / "file").read_text() == "mine"

    def test_where_numbers_go(self, tmp_path: Path, home: Path) -> None:
        before = (home / "in" / "a.png").read_bytes()
        assert "is a folder" in refused(2, *pair_of(home), "--json", tmp_path)
        assert "is an input" in refused(2, *pair_of(home), "--json", home / "in" / "a.png")
        weights = home / "tiny.safetensors"
        assert "is an input" in refused(2, *pair_of(home), "--json", weights)
        assert "is an input" in refused(2, weights, "--json", weights)
        assert "is an input" in refused(2, home / "in" / "a.png", "--json", home / "in" / "a.png")
        assert (home / "in" / "a.png").read_bytes() == before

    def test_numbers_do_not_replace_the_weights_in_use(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = tmp_path / "fnet.safetensors"
        copy.write_bytes(default_weights_path().read_bytes())
        before = copy.read_bytes()
        monkeypatch.setattr("fnetcli.checkpoints.shipped.default_weights_path", lambda _: copy)
        (tmp_path / "link.json").hardlink_to(copy)
        for path in (copy, tmp_path / "link.json", tmp_path / "in" / ".." / copy.name):
            words = f"--json {path}: is an input; choose another name"
            assert refused(2, "--json", path) == words
            assert refused(2, *pair_of(home)[:4], "--json", path, "-o", tmp_path / "o") == words
        assert copy.read_bytes() == before
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize("name", [*PAIR_FILES, *WEIGHTS_FILES])
    def test_numbers_do_not_replace_a_result(
        self, tmp_path: Path, home: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "o"
        words = (
            f"--json {out / name}: is the name of another kind of file, but the result is JSON; "
            "end it in .json"
        )
        for subject in (pair_of(home), [home / "tiny.safetensors"]):
            assert refused(2, *subject, "-o", out, "--json", out / name) == words
        monkeypatch.chdir(tmp_path)
        line = refused(2, *pair_of(home), "--json", Path("fnet-inspect") / name)
        assert "is the name of another kind of file" in line
        assert list(tmp_path.iterdir()) == []

    def test_numbers_do_not_stand_where_the_folder_goes(self, tmp_path: Path, home: Path) -> None:
        for path in (tmp_path / "o", tmp_path):
            line = refused(2, *pair_of(home), "-o", tmp_path / "o" / "p", "--json", path)
            assert line == f"--json {path}: is a folder; name a file"

    def test_numbers_that_cannot_be_written(self, tmp_path: Path, home: Path) -> None:
        (tmp_path / "file").write_text("mine")
        path = tmp_path / "file" / "x.json"
        subjects = ([*pair_of(home), "-o", tmp_path / "o"], [home / "tiny.safetensors"])
        for subject in (*subjects, [home / "in" / "a.png"]):
            line = refused(2, *subject, "--json", path)
            words = f"{tmp_path / 'file'} is a file, not a folder; choose another path"
            assert line == f"--json {path}: {words}"
        out = tmp_path / "file" / "o"
        for subject in (pair_of(home), [home / "tiny.safetensors"]):
            assert refused(2, *subject, "-o", out) == f"-o {out}: {words}"
        assert names(tmp_path) == ["file"]

    def test_numbers_in_a_folder_that_may_not_be_written(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, *_: path != tmp_path)  # as if not root
        line = refused(2, home / "tiny.safetensors", "--json", tmp_path / "x.json")
        assert line.endswith(f"{tmp_path} cannot be written to; choose another path")

    @pytest.mark.skipif(os.name == "nt", reason="no named pipes")
    def test_numbers_go_into_a_pipe(self, tmp_path: Path, home: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            result = fnet("inspect", home / "tiny.safetensors", "--json", tmp_path / "pipe")
            assert result.exit_code == 0, result.output
            assert json.loads(os.read(reader, 1 << 20))["name"] == "tiny.safetensors"
        finally:
            os.close(reader)

    @pytest.mark.parametrize("name", ["report.html", "features.npz", "schedules.png"])
    def test_a_folder_where_a_result_goes(self, tmp_path: Path, home: Path, name: str) -> None:
        (tmp_path / "o" / name).mkdir(parents=True)
        line = refused(2, *pair_of(home), "-o", tmp_path / "o")
        place = tmp_path / "o" / name
        assert (
            line
            == f"{place}: is a folder, but a result has this name; move it or choose another -o"
        )
        assert names(tmp_path / "o") == [name]

    def test_results_do_not_replace_the_weights(self, tmp_path: Path, home: Path) -> None:
        weights = tmp_path / "schedules.png"
        weights.write_bytes((home / "tiny.safetensors").read_bytes())
        for subject in (["--weights", weights], [*pair_of(home)[:5], weights]):
            assert f"{weights}: is an input" in refused(2, *subject, "-o", tmp_path)
        assert names(tmp_path) == ["schedules.png"]

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (["--slice", "1"], "--slice: applies only to volumes"),
            (["--window", "ct=soft"], "--window: "),
            (["--invert", "ct"], "--invert ct: not one of the two images"),
            (["--resize", "ct"], "--resize ct: not one of the two images"),
            (["--tile", "-3"], "--tile"),
            (["--device", "abacus"], "abacus"),
        ],
    )
    def test_options_of_a_pair(
        self, tmp_path: Path, home: Path, option: list[str], message: str
    ) -> None:
        assert message in refused(2, *pair_of(home), *option, "-o", tmp_path / "o")
        assert not (tmp_path / "o").exists()

    def test_options_that_mean_nothing_here(self, tmp_path: Path, home: Path) -> None:
        image, weights = home / "in" / "a.png", home / "tiny.safetensors"
        for option in (["-o", tmp_path], ["--weights", weights], ["--bits", "vis=12"]):
            assert "but an image is inspected; leave it out" in refused(2, image, *option)
        for option in (["--weights", weights], ["--slice", "1"], ["--page", "1"], ["--no-codes"]):
            line = refused(2, weights, *option)
            assert line.startswith(str(option[0]))
            assert "but a weights file is inspected" in line
        assert "--series: applies only to volumes" in refused(2, image, "--series", "1")

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
    def test_full_disk_and_no_permission(
        self,
        tmp_path: Path,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
    ) -> None:
        def refuse(file: Any, **_: object) -> None:
            file.write(b"half")
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(np, "savez", refuse)
        line = refused(1, *pair_of(home), "-o", tmp_path / "o")
        place = tmp_path / "o" / "features.npz"
        assert line.startswith(f"{place}: cannot be written ({os.strerror(number)})")
        assert not (tmp_path / "o").exists()

    def test_no_room_for_codes(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", 0)
        monkeypatch.setattr("fnetcli.files.scratch._take_space", full)
        line = refused(1, *pair_of(home), "-o", tmp_path / "o")
        assert "No space left on device" in line
        assert not (tmp_path / "o").exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_stdout_is_full(self, home: Path) -> None:
        image = str(home / "in" / "a.png")
        command = [sys.executable, "-m", "fnetcli", "inspect", image, "--json", "-"]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        (line,) = errors(done.stderr)
        assert "standard output: cannot be written" in line

    def test_another_run_holds_the_folder(self, tmp_path: Path, home: Path) -> None:
        with OutputFolder(tmp_path / "o"):
            line = refused(2, *pair_of(home), "-o", tmp_path / "o")
        assert "another fnet is writing there" in line


class TestInterrupted:
    def test_while_the_network_runs(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, run = [], Engine.run

        def interrupted(self: Engine, *args: Any, **kwargs: Any) -> Fusion[Maps]:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return run(self, *args, **kwargs)

        monkeypatch.setattr(Engine, "run", interrupted)
        assert "interrupted" in refused(130, *pair_of(home), "-o", tmp_path / "o")
        assert not (tmp_path / "o").exists()

    def test_while_files_are_written(
        self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(file: Any, **_: object) -> None:
            file.write(b"half")
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(np, "savez", interrupted)
            assert "interrupted" in refused(130, *pair_of(home), "-o", tmp_path / "o")
        assert not (tmp_path / "o").exists()
        assert fnet("inspect", *pair_of(home), "-o", tmp_path / "o").exit_code == 0
        assert names(tmp_path / "o") == FILES


def test_help_says_what_there_is() -> None:
    told = fnet("inspect", "--help").stdout
    for option in ("--vis", "--codes", "--iterations", "--slice", "--json", "--window"):
        assert option in told
