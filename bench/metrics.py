"""Print how fast the six metrics of the paper are: part of `make bench`.

    python -m bench.metrics [--size 576x768] [--repeats 5] [--each]

Against `bench.slow_metrics`, the usual formulation, on a made pair and its maximum; both in this
process, the fastest of the repeats each (the slow ones twice only). Exit code 1 where a value
differs by more than 1e-6.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.slow_metrics import score_slowly
from fnetcli.metrics import METRICS, score

Grey = NDArray[np.uint8]
T = TypeVar("T")
SLOW_REPEATS = 2


def make_pair(height: int, width: int) -> tuple[Grey, Grey]:
    """Return two (H, W) images with smooth parts, edges and noise, over the full range."""
    random = np.random.default_rng(0)

    def image(sigma: float) -> Grey:
        smooth = ndimage.gaussian_filter(random.standard_normal((height, width)), sigma)
        steps = ndimage.gaussian_filter(random.standard_normal((height, width)), 20) > 0
        mixed = smooth / smooth.std() + 3 * steps + random.normal(0, 0.05, (height, width))
        low, high = mixed.min(), mixed.max()
        grey: Grey = np.rint((mixed - low) / (high - low) * 255).astype(np.uint8)
        return grey

    return image(2), image(5)


def _fastest(function: Callable[[], T], repeats: int) -> tuple[T, float]:
    """Return the result and the fewest seconds."""
    fewest = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        fewest = min(fewest, time.perf_counter() - start)
    return result, fewest


def main() -> None:
    """Time both, compare the values, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="576x768", help="height x width")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--each", action="store_true", help="time every metric alone too")
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    first, second = make_pair(height, width)
    fused = np.maximum(first, second)
    doubles = [image.astype(np.float64) for image in (first, second, fused)]

    scores, seconds = _fastest(lambda: score(first, second, fused), arguments.repeats)
    expected, slow_seconds = _fastest(lambda: score_slowly(*doubles), SLOW_REPEATS)
    difference = max(abs(scores[name] - expected[name]) for name in expected)
    print(f"six metrics of a {height}x{width} pair: {seconds * 1e3:.0f} ms")
    print(f"the usual formulation: {slow_seconds * 1e3:.0f} ms, {slow_seconds / seconds:.1f} times")
    print(f"largest difference of a value: {difference:.1e}")
    if arguments.each:
        for metric in METRICS:
            _, alone = _fastest(lambda m=metric: m.function(first, second, fused), 3)  # type: ignore[misc]
            print(f"  {metric.name:8} {alone * 1e3:7.1f} ms")
    if not difference <= 1e-6:
        sys.exit(f"values differ by {difference:.1e}, more than 1e-6")


if __name__ == "__main__":
    main()
