"""The compiled path gives what models/fnet/network.py gives."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import EngineOptions
from fnetcli.engine.executors.base import Inner, as_features
from fnetcli.engine.executors.fnet import native
from fnetcli.engine.executors.fnet.building import NoLibraryError
from fnetcli.engine.executors.fnet.native import Native, load_library
from fnetcli.models.base import Wanted
from fnetcli.models.fnet.blocks import blocks_of
from fnetcli.models.fnet.config import FNetConfig, Momentum, Threshold
from fnetcli.models.fnet.network import Codes, FNet, Parts
from tests.engine.pictures import example_pair
from tests.models.fnet.test_network import MOMENTA, THRESHOLDS
from tests.networks import at_work, engine_of, plainly, resting


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        return load_library()
    except NoLibraryError as error:
        pytest.skip(f"no compiled path here: {error}")


def random_pair(height: int, width: int, count: int = 1) -> tuple[Tensor, Tensor]:
    x, y = torch.rand(2, count, 1, height, width, generator=torch.Generator().manual_seed(1))
    return x, y


def compiled(network: FNet, library: ctypes.CDLL) -> Native:
    return Native(blocks_of(resting(network)), library)


def separate(executor: Native, x: Tensor, y: Tensor) -> tuple[Parts, Codes]:
    """Return what it makes of images (N, 1, H, W), codes in the network's type.

    That is what `run` hands out, whose codes are float16, but for an inner part.
    """
    first, second = (image[:, 0].numpy() for image in (x, y))
    parts, codes = executor._separate(first, second, with_codes=True)
    rows, columns = slice(1, x.shape[2]), slice(0, max(1, x.shape[3] - 2))
    found = executor.run(first, second, Inner(rows, columns), Wanted(features=True))
    assert found.whole is None
    assert not found.maps
    for name, part in parts.items():
        assert np.array_equal(found.parts[name], part[:, rows, columns], equal_nan=True)
    for name, code in codes.items():
        wanted = as_features(code[:, :, rows, columns])
        assert np.array_equal(found.features[name], wanted, equal_nan=True)
    return (
        Parts(**{name: torch.from_numpy(part)[:, None] for name, part in parts.items()}),
        Codes(**{name: torch.from_numpy(code) for name, code in codes.items()}),
    )


def only_parts(executor: Native, x: Tensor, y: Tensor) -> Parts:
    """Return what it makes of images where nobody wants codes."""
    parts, codes = executor._separate(x[:, 0].numpy(), y[:, 0].numpy(), with_codes=False)
    assert not codes
    return Parts(**{name: torch.from_numpy(part)[:, None] for name, part in parts.items()})


def assert_exact(network: FNet, library: ctypes.CDLL, x: Tensor, y: Tensor) -> None:
    """In float64, where even a threshold that jumps finds the same side."""
    network, x, y = network.double(), x.double(), y.double()
    parts, codes = separate(compiled(network, library), x, y)
    expected = plainly(network, x, y)
    for fast, slow in zip((*parts, *codes), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("threshold", "momentum", "iterations", "is_shared"),
    list(itertools.product(THRESHOLDS, MOMENTA, [3, 4, 5], [False, True])),
)
def test_every_configuration(
    library: ctypes.CDLL,
    threshold: Threshold,
    momentum: Momentum,
    iterations: int,
    is_shared: bool,
) -> None:
    torch.manual_seed(3)
    config = FNetConfig(4, 5, iterations, threshold, momentum=momentum, shared_kernels=is_shared)
    assert_exact(FNet(config), library, *random_pair(9, 70))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9, 11, 13])
@pytest.mark.parametrize("atoms", [1, 16, 19])
def test_every_kernel_size_and_count_of_atoms(
    library: ctypes.CDLL, kernel_size: int, atoms: int
) -> None:
    torch.manual_seed(4)
    network = FNet(FNetConfig(atoms, kernel_size, 2))
    assert_exact(network, library, *random_pair(14, 66))


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 65), (3, 64), (65, 1), (4, 63), (7, 128), (37, 131)]
)
def test_every_size(library: ctypes.CDLL, height: int, width: int) -> None:
    torch.manual_seed(5)
    network = FNet(FNetConfig(5, 9, 2))
    assert_exact(network, library, *random_pair(height, width, count=2))


def without_analysis(network: FNet, atoms: slice) -> FNet:
    """Make some atoms dead, as pruning does."""
    with torch.no_grad():
        for block in (network.encode_u, network.encode_v, network.encode_z):
            for k in range(network.config.iterations + 1):
                block.iteration(k).encode.weight[atoms] = 0
                for age in range(min(k, 2)):
                    block.iteration(k).residual(age).analysis.weight[atoms] = 0
    return network


@pytest.mark.parametrize("atoms", [slice(None, None, 2), slice(4), slice(None)])
def test_dead_atoms(library: ctypes.CDLL, atoms: slice) -> None:
    torch.manual_seed(7)
    network = without_analysis(FNet(FNetConfig(5, 9, 2)), atoms)
    assert_exact(network, library, *random_pair(9, 70))


def test_some_kernels_far_smaller_than_others(library: ctypes.CDLL) -> None:
    torch.manual_seed(7)
    network = FNet(FNetConfig(5, 9, 2))
    with torch.no_grad():
        network.encode_u.iteration(0).encode.weight[::2] *= 1e-9
        network.encode_z.iteration(0).encode.weight[1] *= 1e-5
    assert_exact(network, library, *random_pair(9, 70))


def test_natural_images_with_the_shipped_weights(library: ctypes.CDLL) -> None:
    network = at_work(load_weights().network)
    x, y = example_pair(120, 200)
    parts, codes = separate(compiled(network, library), x, y)
    wanted_parts, wanted_codes = plainly(network, x, y)
    assert (parts.fused - wanted_parts.fused).abs().max() < 1e-4
    for fast, slow in zip(parts, wanted_parts, strict=True):
        assert (fast - slow).abs().max() < 1e-4
    for code, wanted in zip(codes, wanted_codes, strict=True):
        difference = (code - wanted).abs()
        assert (difference < 1e-4).float().mean() > 0.999
        assert difference.max() < 1e-2


def test_black_borders_are_exactly_black_and_their_edges_as_good_as_float32_can_be(
    library: ctypes.CDLL,
) -> None:
    """Around black areas everything is tiny, and the threshold turns signs into steps."""
    network = at_work(load_weights().network)
    x, y = example_pair(125, 200)
    for image in (x, y):
        image[..., :100] = 0
        image[..., 40:, :] = 0
    parts = only_parts(compiled(network, library), x, y)
    wanted, _ = plainly(network, x, y)
    exact = only_parts(compiled(network.double(), library), x.double(), y.double())
    assert not parts.fused[..., : 100 - 80].any()
    assert not parts.fused[..., 40 + 80 :, :].any()
    own, plain = (float((one.fused - exact.fused).abs().max()) for one in (parts, wanted))
    assert own < max(1e-4, 2 * plain)


def faint_noise(factor: float) -> tuple[Tensor, Tensor]:
    x, y = random_pair(60, 100)
    return x * factor, y * factor


@pytest.mark.parametrize("factor", [1e-3, 1e-4, 1e-6, 1e-8])
def test_faint_images_are_as_good_as_float32_can_be(library: ctypes.CDLL, factor: float) -> None:
    """Their values are all near 0, where the threshold jumps."""
    network, (x, y) = at_work(load_weights().network), faint_noise(factor)
    parts = only_parts(compiled(network, library), x, y)
    wanted, _ = plainly(network, x, y)
    exact = only_parts(compiled(network.double(), library), x.double(), y.double())
    own, plain = (float((one.fused - exact.fused).abs().max()) for one in (parts, wanted))
    assert own < max(1e-4, plain)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_images(library: ctypes.CDLL, level: float) -> None:
    network = at_work(load_weights().network)
    x, y = torch.full((1, 1, 20, 30), level), torch.zeros(1, 1, 20, 30)
    parts, codes = separate(compiled(network, library), x, y)
    wanted, wanted_codes = plainly(network, x, y)
    assert (parts.fused - wanted.fused).abs().max() < 1e-4
    assert not codes.v.any()
    assert not wanted_codes.v.any()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_threads_and_company_change_no_bit(library: ctypes.CDLL) -> None:
    torch.manual_seed(6)
    network = compiled(FNet(FNetConfig(20, 9, 3)), library)
    x, y = random_pair(50, 150, count=3)
    torch.set_num_threads(1)
    alone = [separate(network, x[i : i + 1], y[i : i + 1]) for i in range(3)]
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        for _ in range(2):
            parts, codes = separate(network, x, y)
            for i, (one_parts, one_codes) in enumerate(alone):
                assert all(torch.equal(a[i], b[0]) for a, b in zip(parts, one_parts, strict=True))
                assert all(torch.equal(a[i], b[0]) for a, b in zip(codes, one_codes, strict=True))


def test_weights_that_are_not_finite_show(library: ctypes.CDLL) -> None:
    network = FNet(FNetConfig(4, 3, 1))
    with torch.no_grad():
        network.reconstruct_z.weight[0, 0, 0, 0] = np.nan
    parts = only_parts(compiled(network, library), *random_pair(8, 8))
    assert parts.common.isnan().any()


@pytest.mark.parametrize("threshold", ["sigmoidal", "soft"])
def test_pixels_that_are_not_finite_show(library: ctypes.CDLL, threshold: Threshold) -> None:
    torch.manual_seed(8)
    network = FNet(FNetConfig(4, 3, 1, threshold))
    x, y = random_pair(12, 70)
    x[0, 0, 3, 30] = np.nan
    parts, codes = separate(compiled(network, library), x, y)
    assert parts.unique_first.isnan().any()
    assert codes.u[..., 3, 30].isnan().all()


@pytest.mark.parametrize("gamma", [1e30, 1e300])
def test_a_threshold_steeper_than_numbers_can_say(library: ctypes.CDLL, gamma: float) -> None:
    torch.manual_seed(0)
    network = FNet(FNetConfig(16, 5, 3, gamma=gamma))
    x, y = random_pair(20, 70)
    parts = only_parts(compiled(network, library), x, y)
    wanted, _ = plainly(network, x, y)
    for fast, slow in zip(parts, wanted, strict=True):
        assert fast.isfinite().all()
        assert ((fast - slow).abs() < 1e-4).float().mean() > 0.99


def test_parameters_of_other_types_are_left_to_torch(library: ctypes.CDLL) -> None:
    network = FNet(FNetConfig(4, 3, 1)).half()  # of bfloat16 there are no arrays
    with pytest.raises(NoLibraryError, match=r"^not for float16$"):
        compiled(network, library)
    assert engine_of(network).path.startswith("torch")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
def test_tiles_change_no_bit(kernel_size: int) -> None:
    torch.manual_seed(9)
    network = FNet(FNetConfig(3, kernel_size, 1))
    x, y = (image[:, 0].numpy() for image in random_pair(150, 211))
    x[:, :, 40:90] = 0
    whole = engine_of(network, EngineOptions(tile=0)).run(x, y)
    for tile in (64, 100):
        tiled = engine_of(network, EngineOptions(tile=tile)).run(x, y)
        assert [*whole.parts] == [*tiled.parts] == ["unique_first", "unique_second", "common"]
        for name, part in whole.parts.items():
            assert np.array_equal(part, tiled.parts[name])


def test_it_stops_when_told(library: ctypes.CDLL) -> None:
    engine = compiled(FNet(FNetConfig(4, 3, 1)), library)
    x, _ = random_pair(64, 64)
    maps = torch.empty(2, 64, 64)
    stream = native._Stream(ctypes.pointer(engine._u.struct), x.data_ptr(), maps.data_ptr(), None)
    cancel = ctypes.c_int32(1)
    assert library.fnet_float(ctypes.pointer(stream), 1, 64, 64, 2, ctypes.byref(cancel)) == 2


class Interrupts:
    """Interrupts the main thread, from any thread, and counts how often that was heard."""

    def __init__(self) -> None:
        self.heard = 0

    def send(self) -> None:
        os.kill(os.getpid(), signal.SIGALRM)

    def hear(self, *_: object) -> None:
        self.heard += 1
        raise KeyboardInterrupt


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Give what interrupts this thread."""
    if not hasattr(signal, "SIGALRM"):
        pytest.skip("no such signals here")
    given = Interrupts()
    before = signal.signal(signal.SIGALRM, given.hear)
    yield given
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_is_heard_while_it_works(library: ctypes.CDLL, interrupts: Interrupts) -> None:
    engine = Native(blocks_of(load_weights().network), library)
    call, codes = engine._call, []

    def interrupted(*arguments: object) -> int:
        interrupts.send()
        codes.append(call(*arguments))
        return int(codes[-1])

    engine._call = interrupted  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        only_parts(engine, *random_pair(300, 300))
    assert len(codes) == 1  # it has returned before


def test_nothing_returns_before_the_library_does_however_often_it_is_interrupted(
    library: ctypes.CDLL, interrupts: Interrupts
) -> None:
    """It writes to memory that would be freed."""
    engine = compiled(FNet(FNetConfig(4, 3, 1)), library)
    ended = []

    def slow_to_stop(*arguments: object) -> int:
        cancel = ctypes.cast(arguments[-1], ctypes.POINTER(ctypes.c_int32))  # type: ignore[arg-type]
        for count in range(5):
            interrupts.send()
            while interrupts.heard <= count:
                time.sleep(0.001)
        while not cancel.contents.value:
            time.sleep(0.001)
        ended.append(True)
        return 2

    engine._call = slow_to_stop  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        only_parts(engine, *random_pair(8, 8))
    assert ended


OUT_OF_MEMORY_AT_EACH_PLACE = r"""
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
static std::atomic<long> left{-1};
void* operator new(std::size_t size) {
    if (left >= 0 && left.fetch_sub(1) == 0) throw std::bad_alloc();
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#include "native.cpp"
static float zeros[1 << 16], maps[64 * 64];
int main() {
    FnetStage stage{};
    stage.outputs = 1;
    stage.analysis = stage.synthesis = stage.analysis_direct = stage.synthesis_direct = zeros;
    stage.analysis_norms = stage.synthesis_norms = zeros;
    const FnetBlock block{1, 16, 16, 3, 1, 0, 0.1, 100, &stage};
    const FnetStream stream{&block, zeros, maps, nullptr};
    int failed = 0, worked = 0;
    for (long place = 0; worked < 9 && place < 1000; place++) {
        left = place;
        const int result = fnet_float(&stream, 1, 64, 64, 4, nullptr);
        left = -1;
        if (result > 1) return 3;
        (result ? failed : worked)++;
    }
    std::printf("%d %d", failed, worked);
}
"""


@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler here")
def test_memory_that_runs_out_anywhere_ends_nothing_but_the_call(tmp_path: Path) -> None:
    program = tmp_path / "program"
    source = tmp_path / "program.cpp"
    source.write_text(OUT_OF_MEMORY_AT_EACH_PLACE)
    folder = str(Path(native.__file__).parent)
    command = ["c++", "-std=c++20", "-O1", "-w", "-pthread", "-I", folder, str(source)]
    subprocess.run([*command, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=60)
    failed, worked = map(int, done.stdout.split())
    assert failed > 10
    assert worked == 9
