"""Print how much faster the engine is than the plain network: part of `make bench`.

    python -m bench.forward [--sizes 256x256 640x480 1280x1024 4000x3000] [--repeats 3]
    python -m bench.forward --device cuda

Both run alternately on the same pair with the same threads; a line gives medians and their ratio.
The floor is what the same cores reach in a large convolution that suits them well: the share says
how much of that rate the network's 2 x 419,904 operations a pixel would need at the engine's speed.
Above 100 % means that the engine does less than these operations.

With `--device`, the engine runs on another device in each precision, copies included: a line gives
the median, that of the plain network there, and the largest difference from the CPU's result.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from bench.plain import fuse_plainly
from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Device, Engine, EngineOptions, Wanted, choose_device
from fnetcli.engine.executors.base import Inner
from fnetcli.engine.executors.fnet.bands import Bands
from fnetcli.engine.options import Precision
from fnetcli.models.base import Network
from fnetcli.models.fnet.blocks import blocks_of
from fnetcli.models.fnet.config import FNetConfig

OPERATIONS = 2 * 419_904  # a pixel: 81 x 64 multiply-adds in each of 81 pairs of a map and a code
LARGEST_PLAIN = 1_500_000  # pixels: above, the plain network wants more memory than machines have
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
FEW = 400_000  # pixels: above, one plain run is long enough to stand for several


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def medians(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Alternate the calls and return the median seconds of each."""
    times = [[seconds(run) for run in runs] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


@torch.inference_mode()
def floor() -> float:
    """Return the operations a second of a 64 -> 64 convolution in bands that stay in cache."""
    x = torch.rand(1, 64, 32, 640).contiguous(memory_format=torch.channels_last)
    kernels = torch.rand(64, 64, 9, 9).contiguous(memory_format=torch.channels_last)
    operations = 2 * 64 * 64 * 81 * 32 * 640

    def convolve() -> torch.Tensor:
        return F.conv2d(x, kernels, padding=4)

    convolve()
    return operations / min(seconds(convolve) for _ in range(3))


def compare(
    network: Network[FNetConfig], width: int, height: int, repeats: int, *, with_torch: bool
) -> None:
    """Print one line for each path of the engine."""
    engine = Engine(network)
    x, y = torch.rand(2, 1, 1, height, width)
    first, second = x[0].numpy(), y[0].numpy()
    runs: dict[str, Callable[[], object]] = {"engine": lambda: engine.run(first, second)}
    if with_torch:
        bands, whole = Bands(blocks_of(network), Device()), Inner(slice(None), slice(None))
        runs["torch path"] = lambda: bands.run(first, second, whole, Wanted())
    weights = network.at_work().state_dict()
    is_plain = width * height <= LARGEST_PLAIN
    if is_plain:
        runs["plain"] = lambda: fuse_plainly(weights, x, y)
        repeats = repeats if width * height <= FEW else 1
    runs["engine"]()
    rate = floor()
    found = dict(zip(runs, medians(list(runs.values()), repeats), strict=True))
    plain = found.pop("plain", None)
    for name, taken in found.items():
        share = OPERATIONS * width * height / taken / rate
        against = f"plain {plain:.2f} s, ratio {plain / taken:.1f}, " if plain else ""
        print(
            f"{width}x{height}, {torch.get_num_threads()} threads: {against}{name} {taken:.2f} s, "
            f"{share:.0%} of the floor ({rate / 1e9:.0f} GFLOP/s)",
            flush=True,
        )
    if is_plain:
        fused = engine.run(first, second).fused
        difference = abs(fuse_plainly(weights, x, y)[0].numpy() - fused).max()
        print(f"    largest difference of the fused luminance {difference:.1e}")


def compare_precisions(
    network: Network[FNetConfig], device: Device, size: str, repeats: int
) -> None:
    """Print one line for each precision on a device other than the CPU."""
    width, height = map(int, size.split("x"))
    x, y = torch.rand(2, 1, 1, height, width, generator=torch.Generator().manual_seed(0))
    first, second = x[0].numpy(), y[0].numpy()
    expected = Engine(network).run(first, second).fused
    is_plain = width * height <= LARGEST_PLAIN
    place = device.in_torch()
    weights = {name: one.to(place) for name, one in network.at_work().state_dict().items()}

    def plain() -> None:
        fuse_plainly(weights, x.to(place), y.to(place))[0].cpu()

    for precision in PRECISIONS:
        engine = Engine(network, device, EngineOptions(precision))
        if engine.precision != precision:
            continue
        run = partial(engine.run, first, second)
        difference = abs(run().fused - expected).max()
        run()  # libraries choose and load their kernels at first
        runs: list[Callable[[], object]] = [run]
        if is_plain and precision == "fp32":
            plain()
            runs.append(plain)
        taken, *others = (1000 * one for one in medians(runs, repeats))
        against = f"plain {others[0]:.1f} ms, " if others else ""
        print(
            f"{size}, {engine.path}, {precision}: {against}engine {taken:.1f} ms, "
            f"largest difference from the CPU's {difference:.1e}",
            flush=True,
        )


def compare_contents(network: Network[FNetConfig], repeats: int) -> None:
    """Print how much longer pictures take whose values lie near 0, where the threshold jumps."""
    engine = Engine(network)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 1, 256, 512, generator=generator).numpy()
    stars = (x > 0.9995).astype("float32")
    contents = {
        "usual": (x, y),
        "1e-4 as bright": (1e-4 * x, 1e-4 * y),
        "1e-6 as bright": (1e-6 * x, 1e-6 * y),
        "few stars in black": (stars, stars),
    }
    runs = [partial(engine.run, *pair) for pair in contents.values()]
    runs[0]()
    usual, *others = medians(runs, repeats)
    ratios = [
        f"{name} {taken / usual:.2f}" for name, taken in zip([*contents][1:], others, strict=True)
    ]
    print(f"512x256, by content, ratio to {usual:.2f} s of usual noise: {', '.join(ratios)}")


def main() -> None:
    """Compare at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = ["256x256", "640x480", "1280x1024", "4000x3000"]
    parser.add_argument("--sizes", nargs="+", default=sizes, help="WIDTHxHEIGHT")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cuda, cuda:N, mps: see above")
    parser.add_argument("--with-torch", action="store_true", help="the path without a compiler too")
    arguments = parser.parse_args()
    network = load_weights().network
    if arguments.device != "cpu":
        for size in arguments.sizes:
            compare_precisions(network, choose_device(arguments.device), size, arguments.repeats)
        return
    print(f"engine: {Engine(network, Device()).path}")
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        compare(network, width, height, arguments.repeats, with_torch=arguments.with_torch)
    compare_contents(network, arguments.repeats)


if __name__ == "__main__":
    main()
