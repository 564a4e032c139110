"""The interface of executors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine.tiles import Tile
from fnetcli.models.base import Fusion, Wanted

SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
LEAST_PARTS = 1 / float(np.finfo(np.float16).smallest_subnormal)  # of 1
LARGEST_FEATURE = float(np.finfo(np.float16).max)  # 65504; larger values are clipped to it
BUILDING = (
    "compiling the network's inner loop for this processor, once: seconds, or minutes with Zig"
)
Values = NDArray[np.floating[Any]]
Into = Mapping[str, NDArray[np.float16]]  # features to fill, by name
NOWHERE: Into = {}


class Inner(NamedTuple):
    """The inner rows and columns of a tile, which are kept."""

    rows: slice
    columns: slice


class Executor(Protocol):
    """Runs a network on images that fit into memory."""

    @property
    def name(self) -> str:
        """A word for the executor."""

    @property
    def margin(self) -> int | None:
        """Pixels around a tile that can change it, if only by rounding; None: the whole image."""

    @property
    def grain(self) -> tuple[int, int]:
        """Tiles should start at multiples of these rows and columns."""

    @property
    def smaller(self) -> Executor | None:
        """What runs the network where images do not fit whole; None: this one, in tiles."""

    def run(
        self, x: Values, y: Values, inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Fusion[Values]:
        """Fuse luminances (N, H, W); return what lies inside.

        Images are (N, h, w), features (N, C, h, w) float16, limited to LARGEST_FEATURE. Features
        are returned, or written where `into` has room for what lies inside of them. Raise
        MemoryError.
        """

    def bytes_needed(self, count: int, height: int, width: int, wanted: Wanted) -> int:
        """Return roughly the peak working memory of `run`."""


@runtime_checkable
class SceneExecutor(Executor, Protocol):
    """Runs tiles with what it has seen of the whole image: seamless, nearly what the whole gives.

    It takes one pair at a time.
    """

    @property
    def difference(self) -> str:
        """Why the result differs from that of the whole image, for a notice; empty: it does not."""

    @property
    def remedy(self) -> str:
        """Which options avoid that."""

    def prepare(self, x: Values, y: Values, wanted: Wanted, budget: int) -> None:
        """See all of a pair, (1, H, W), before its tiles are run, in about `budget` bytes.

        Raise MemoryError.
        """

    def place(self, tile: Tile) -> None:
        """Hear where the tile lies that `run` gets next."""


def as_features(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Return features (N, C, h, w) as float16."""
    found = np.empty(values.shape, np.float16)
    for index in np.ndindex(values.shape[:2]):
        found[index] = _halves(values[index])
    return found


def _halves(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Round to float16, larger values to the largest, as `astype` does.

    NumPy takes twenty times as long for subnormal results, and features have little else: sigmoidal
    thresholds leave no zeros. Of subnormal numbers the bits are the multiple of the least one.
    """
    sizes = np.abs(values)
    is_small = sizes < SMALLEST_NORMAL
    found: NDArray[np.float16] = np.where(is_small, 0, values)
    found = np.clip(found, -LARGEST_FEATURE, LARGEST_FEATURE).astype(np.float16)
    bits = np.where(is_small, np.rint(np.fmin(sizes, SMALLEST_NORMAL) * LEAST_PARTS), 0)
    signs = np.where(is_small & np.signbit(values), np.uint16(1 << 15), np.uint16(0))
    found.view(np.uint16)[...] |= bits.astype(np.uint16) | signs
    return found
