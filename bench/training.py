"""Print how much faster a training step is than with the plain network: part of `make bench`.

    python -m bench.training [--crops 8] [--side 64]

Forward and backward of stage II's network: plain, shaped (as `fnet train` runs it), and both under
bfloat16 autocast where the processor multiplies bfloat16 faster than float32.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable

import torch

from bench.forward import medians
from fnetcli.models.fnet import shaped
from fnetcli.models.fnet.network import FNet


def has_bfloat16() -> bool:
    """Return whether a convolution in bfloat16 is faster than one in float32."""

    def convolve(dtype: torch.dtype) -> Callable[[], object]:
        x, kernels = torch.rand(1, 64, 32, 32).to(dtype), torch.rand(64, 64, 9, 9).to(dtype)
        return lambda: torch.nn.functional.conv2d(x, kernels)

    runs = [convolve(torch.float32), convolve(torch.bfloat16)]
    medians(runs, 1)
    wide, narrow = medians(runs, 3)
    return narrow < wide


def main() -> None:
    """Alternate the two or four and print ratios against the plain network in float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = FNet()
    x, y = torch.rand(2, arguments.crops, 1, arguments.side, arguments.side)
    with contextlib.suppress(Exception):  # without a compiler the step runs as it is
        shaped.compile_threshold()

    def step(fuse: Callable[[], torch.Tensor], *, is_bf16: bool) -> Callable[[], None]:
        def run() -> None:
            network.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
                fused = fuse()
            fused.float().square().mean().backward()

        return run

    def as_shaped() -> torch.Tensor:
        return shaped.separate_and_combine(network, x, y)[1].fused

    def plainly() -> torch.Tensor:
        fused: torch.Tensor = network(x, y).fused
        return fused

    forwards = {"plain": plainly, "shaped": as_shaped}
    names = [*forwards]
    if has_bfloat16():
        names += [f"{name} bf16" for name in forwards]
    else:
        print("no bfloat16 here that is faster than float32: left out")
    runs = [step(forwards[name.split()[0]], is_bf16="bf16" in name) for name in names]
    runs[1]()
    found = dict(zip(names, medians(runs, arguments.repeats), strict=True))
    print(f"{arguments.crops} crops of {arguments.side}x{arguments.side}, forward and backward:")
    for name, taken in found.items():
        print(f"    {name} {taken:.2f} s, ratio {found['plain'] / taken:.1f}")


if __name__ == "__main__":
    main()
