"""Kernels of a platform wheel: the best that the processor can run, and the same pictures."""

from __future__ import annotations

import ctypes
import os
import platform
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine.executors.base import Inner, Values
from fnetcli.engine.executors.fnet import building, kernels, native
from fnetcli.engine.executors.fnet.building import NoLibraryError, find_library
from fnetcli.engine.executors.fnet.kernels import FAMILIES, shipped_kernels
from fnetcli.engine.executors.fnet.native import Native, load_library
from fnetcli.models.base import Wanted
from fnetcli.models.fnet.blocks import blocks_of
from tests.models.fnet import slow
from tests.paths import EXAMPLE, ROOT

LEVELS = FAMILIES["x86_64"]
OLD = "fpu sse2 pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm"
NEW = f"{OLD} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
LATEST = f"{NEW} avx512f avx512bw avx512cd avx512dq avx512vl amx_tile"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the description of the processors of an installed wheel's machine."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    for name in [*LEVELS, *FAMILIES["aarch64"]]:
        (folder / f"{name}.so").touch()
    monkeypatch.setattr(kernels, "KERNELS", folder)
    monkeypatch.setattr(kernels, "PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return tmp_path / "cpuinfo"


def names() -> list[str]:
    return [path.stem for path in shipped_kernels()]


class TestChoice:
    @pytest.mark.parametrize(
        ("flags", "expected"), [(LATEST, [4, 3, 2]), (NEW, [3, 2]), (OLD, [2]), ("fpu sse2", [])]
    )
    def test_the_best_that_runs_is_first(
        self, machine: Path, flags: str, expected: list[int]
    ) -> None:
        machine.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nflags\t\t: {flags} ht\n")
        assert names() == [f"x86-64-v{level}" for level in expected]

    def test_all_processors_must_run_it(self, machine: Path) -> None:
        machine.write_text(f"flags\t: {LATEST}\n\nflags\t: {NEW}\n")
        assert names()[0] == "x86-64-v3"

    def test_arm(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        machine.write_text("processor\t: 0\nFeatures\t: fp asimd crc32\n")
        monkeypatch.setattr("platform.machine", lambda: "aarch64")
        assert names() == ["armv8-a"]

    def test_none(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert names() == []  # nothing says what the processor can do
        machine.write_text(f"flags\t: {LATEST}\n")
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        assert names() == []
        monkeypatch.undo()
        assert names() == []  # of a checkout

    def test_one_of_another_system_is_passed_over(
        self, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.write_text(f"flags\t: {OLD}\n")
        (machine.parent / "kernels" / "x86-64-v2.so").write_bytes(b"no library")
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(machine.parent))
        monkeypatch.setattr(building, "ZIG", "a_package_that_is_not_there")
        monkeypatch.setattr(building, "_own_folder", lambda: None)  # other tests may have filled it
        with pytest.raises(NoLibraryError, match="no C"):
            find_library()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the kernels as `make wheels` compiles them; TEST_KERNELS names a folder of them."""
    if given := os.environ.get("TEST_KERNELS"):
        return Path(given)
    if platform.machine() != "x86_64" or shutil.which("g++") is None:
        pytest.skip("kernels for x86-64 are compiled with g++, on x86-64")
    hook: dict[str, Any] = runpy.run_path(str(ROOT / "release" / "kernels_hook.py"))
    folder = tmp_path_factory.mktemp("kernels")
    for family in LEVELS:
        command = [*hook["_compiler"]("x86_64"), *kernels.FLAGS, *hook["_tuning"]("x86_64", family)]
        library = folder / f"{family}.so"
        subprocess.run([*command, str(kernels.SOURCE), "-o", str(library)], check=True)
    return folder


def parts_of(library: Path | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Values]:
    """Return the parts of the example pair by one library, or by the one built for this machine."""
    if library is not None:
        monkeypatch.setattr(native, "find_library", lambda _: ctypes.CDLL(str(library)))
    found = load_library()
    monkeypatch.undo()
    first, second = (_luminance(EXAMPLE / f"{name}.png") for name in ("ir", "vis"))
    executor = Native(blocks_of(load_weights().network), found)
    height, width = first.shape[1:]
    fused = executor.run(first, second, Inner(slice(0, height), slice(0, width)), Wanted())
    return dict(fused.parts)


def _luminance(path: Path) -> Values:
    picture = iio.imread(path).astype(np.float32)[::2, ::2] / 255
    return np.ascontiguousarray(picture.mean(axis=2) if picture.ndim == 3 else picture)[None]


@pytest.mark.long
class TestFamilies:
    def test_this_machines_family_has_the_bits_of_its_own_build(
        self, wheel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kernels, "KERNELS", wheel)
        best = shipped_kernels()[0]
        expected, found = parts_of(None, monkeypatch), parts_of(best, monkeypatch)
        for name, part in expected.items():
            np.testing.assert_array_equal(found[name], part)

    def test_families_agree_as_far_as_float32_goes(
        self, wheel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each is as near to float64 as the others: thresholds turn a rounding into a step."""
        monkeypatch.setattr(kernels, "KERNELS", wheel)
        first, second = (
            _luminance(EXAMPLE / f"{name}.png")[0].astype(np.float64) for name in ("ir", "vis")
        )
        exact = slow.fuse(first, second, load_weights().network.arrays)
        for path in shipped_kernels():
            for name, part in parts_of(path, monkeypatch).items():
                differences = np.abs(part[0] - exact[name])
                assert differences.max() < 3e-5
                assert (differences > 1e-5).mean() < 0.002

    def test_fused_multiplication_is_the_only_difference(
        self, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """v3 compiled without it has the bits of v2; with it, those of v4."""
        if "x86-64-v3" not in {path.stem for path in _runnable(wheel, monkeypatch)}:
            pytest.skip("this processor has no fused multiplication")
        hook: dict[str, Any] = runpy.run_path(str(ROOT / "release" / "kernels_hook.py"))
        tuning = [*hook["_tuning"]("x86_64", "x86-64-v3"), "-ffp-contract=off"]
        without = tmp_path / "without.so"
        command = [*hook["_compiler"]("x86_64"), *kernels.FLAGS, *tuning, str(kernels.SOURCE)]
        subprocess.run([*command, "-o", str(without)], check=True)
        expected = parts_of(wheel / "x86-64-v2.so", monkeypatch)
        for name, part in parts_of(without, monkeypatch).items():
            np.testing.assert_array_equal(part, expected[name])


def _runnable(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    with monkeypatch.context() as patched:
        patched.setattr(kernels, "KERNELS", wheel)
        return shipped_kernels()
