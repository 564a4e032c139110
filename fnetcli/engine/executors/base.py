"""What the engine asks of an executor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fnetcli.models.base import Fusion, Wanted

LARGEST_FEATURE = float(np.finfo(np.float16).max)  # 65504; what lies beyond is taken for it
BUILDING = "compiling the network's inner loop for this processor: once, some seconds"
Values = NDArray[np.floating[Any]]
Into = Mapping[str, NDArray[np.float16]]  # features to fill, by name
NOWHERE: Into = {}


class Inner(NamedTuple):
    """The rows and columns of a tile that are kept."""

    rows: slice
    columns: slice


class Executor(Protocol):
    """What runs a network on images that fit into memory."""

    @property
    def name(self) -> str:
        """A word for it."""

    @property
    def margin(self) -> int | None:
        """Pixels around a tile that can change it, by rounding too; None: all of the image."""

    @property
    def grain(self) -> tuple[int, int]:
        """Rows and columns that tiles should start at a multiple of."""

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
        """Return the peak working memory of `run`, roughly."""


@runtime_checkable
class SceneExecutor(Executor, Protocol):
    """Runs tiles with what it has seen of the whole image: seamless, nearly what the whole gives.

    It takes one pair at a time.
    """

    @property
    def difference(self) -> str:
        """Why the result differs from that of the whole image, for a notice."""

    def prepare(self, x: Values, y: Values) -> None:
        """See all of a pair, (1, H, W), before its tiles are run. Raise MemoryError."""


@runtime_checkable
class CutsItself(Executor, Protocol):
    """An executor that takes images of any size and cuts them by itself: it knows better how."""

    def limit(self, budget: int, tile: int | None) -> None:
        """Hear how many bytes `run` may take, and the side of tiles where it was given (0: none).

        The smallest tiles may take more.
        """


def as_features(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Return features as float16."""
    limited: NDArray[np.float16] = np.clip(values, -LARGEST_FEATURE, LARGEST_FEATURE).astype(
        np.float16
    )
    return limited
