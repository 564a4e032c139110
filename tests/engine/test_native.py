"""The compiled path gives what models/fnet.py gives."""

from __future__ import annotations

import ctypes
import itertools
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from fnetcli.checkpoint import load_weights
from fnetcli.engine import native
from fnetcli.engine.library import NoLibraryError
from fnetcli.engine.native import Native, load_library
from fnetcli.models.fnet import Codes, FNet, FNetConfig, Momentum, Parts, Threshold
from tests.engine.pictures import example_pair
from tests.models.test_fnet import MOMENTA, THRESHOLDS


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        return load_library()
    except NoLibraryError as error:
        pytest.skip(f"no compiled path here: {error}")


def random_pair(height: int, width: int, count: int = 1) -> tuple[Tensor, Tensor]:
    x, y = torch.rand(2, count, 1, height, width, generator=torch.Generator().manual_seed(1))
    return x, y


def plainly(network: FNet, x: Tensor, y: Tensor) -> tuple[Parts, Codes]:
    with torch.inference_mode():
        codes = network.separate(x, y)
        return network.combine(codes), codes


def assert_exact(network: FNet, library: ctypes.CDLL, x: Tensor, y: Tensor) -> None:
    """In float64, where even a threshold that jumps finds the same side."""
    network, x, y = network.double(), x.double(), y.double()
    parts, codes = Native(network, library).run(x, y, with_codes=True)
    expected = plainly(network, x, y)
    assert codes is not None
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


def test_natural_images_with_the_shipped_weights(library: ctypes.CDLL) -> None:
    network = load_weights().network
    x, y = example_pair(120, 200)
    parts, codes = Native(network, library).run(x, y, with_codes=True)
    wanted_parts, wanted_codes = plainly(network, x, y)
    assert codes is not None
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
    network = load_weights().network
    x, y = example_pair(125, 200)
    for image in (x, y):
        image[..., :100] = 0
        image[..., 40:, :] = 0
    parts, _ = Native(network, library).run(x, y, with_codes=False)
    wanted, _ = plainly(network, x, y)
    in_float64 = Native(load_weights().network.double(), library)
    exact, _ = in_float64.run(x.double(), y.double(), with_codes=False)
    assert not parts.fused[..., : 100 - 80].any()
    assert not parts.fused[..., 40 + 80 :, :].any()
    own, plain = (float((one.fused - exact.fused).abs().max()) for one in (parts, wanted))
    assert own < max(1e-4, 2 * plain)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_images(library: ctypes.CDLL, level: float) -> None:
    network = load_weights().network
    x, y = torch.full((1, 1, 20, 30), level), torch.zeros(1, 1, 20, 30)
    parts, codes = Native(network, library).run(x, y, with_codes=True)
    wanted, wanted_codes = plainly(network, x, y)
    assert codes is not None
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
    network = Native(FNet(FNetConfig(20, 9, 3)), library)
    x, y = random_pair(50, 150, count=3)
    torch.set_num_threads(1)
    alone = [network.run(x[i : i + 1], y[i : i + 1], with_codes=True) for i in range(3)]
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        for _ in range(2):
            parts, codes = network.run(x, y, with_codes=True)
            assert codes is not None
            for i, (one_parts, one_codes) in enumerate(alone):
                assert one_codes is not None
                assert all(torch.equal(a[i], b[0]) for a, b in zip(parts, one_parts, strict=True))
                assert all(torch.equal(a[i], b[0]) for a, b in zip(codes, one_codes, strict=True))


def test_weights_that_are_not_finite_show(library: ctypes.CDLL) -> None:
    network = FNet(FNetConfig(4, 3, 1))
    with torch.no_grad():
        network.reconstruct_z.weight[0, 0, 0, 0] = np.nan
    parts, _ = Native(network, library).run(*random_pair(8, 8), with_codes=False)
    assert parts.common.isnan().any()


def test_it_stops_when_told(library: ctypes.CDLL) -> None:
    engine = Native(FNet(FNetConfig(4, 3, 1)), library)
    x, _ = random_pair(64, 64)
    maps = torch.empty(2, 64, 64)
    stream = native._Stream(ctypes.pointer(engine._u.struct), x.data_ptr(), maps.data_ptr(), None)
    cancel = ctypes.c_int32(1)
    assert library.fnet_float(ctypes.pointer(stream), 1, 64, 64, 2, ctypes.byref(cancel)) == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_interrupt_is_heard_while_it_works(library: ctypes.CDLL) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    engine = Native(load_weights().network, library)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.run(*random_pair(1500, 1500), with_codes=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
