"""Print how much faster other models run than as their authors write them: part of `make bench`.

    python -m bench.models [--sizes 256x256 640x480] [--repeats 3]

Both run alternately on the same pair with the same threads, with random weights of the published
size; a line gives medians, their ratio and the largest difference of the fused luminance. FNet has
`bench.forward`.
"""

from __future__ import annotations

import argparse

import torch

from bench.forward import medians
from bench.plain_cddfuse import fuse_cddfuse_plainly
from fnetcli.engine import Engine
from fnetcli.models.cddfuse import CDDFUSE
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.network import CDDFuse
from fnetcli.models.torch_arrays import at_rest


def compare_cddfuse(width: int, height: int, repeats: int) -> None:
    """Print one line for CDDFuse."""
    torch.manual_seed(0)
    config = CDDFuseConfig()
    network = at_rest(CDDFUSE, config, CDDFuse(config).requires_grad_(False))
    state = network.at_work().state_dict()
    engine = Engine(network)
    x, y = torch.rand(2, 1, 1, height, width)
    first, second = x[0].numpy(), y[0].numpy()

    @torch.inference_mode()
    def fuse_plainly(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return fuse_cddfuse_plainly(x, y, y, state, config)

    plain, ours = medians([lambda: fuse_plainly(x, y), lambda: engine.run(first, second)], repeats)
    expected = fuse_plainly(x[..., :64, :64], y[..., :64, :64])[0].numpy()
    found = engine.run(first[:, :64, :64], second[:, :64, :64]).fused
    print(
        f"cddfuse {width}x{height}, {torch.get_num_threads()} threads: plain {plain:.2f} s, "
        f"engine {ours:.2f} s, ratio {plain / ours:.1f}; largest difference "
        f"{abs(expected - found).max():.1e}",
        flush=True,
    )


def main() -> None:
    """Compare at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["256x256", "640x480"], help="WIDTHxHEIGHT")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        compare_cddfuse(width, height, arguments.repeats)


if __name__ == "__main__":
    main()
