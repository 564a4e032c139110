"""The data that an inspector of a model returns, for files, tables, JSON and the page.

Nothing here or in `reports/` knows a model. An inspector chooses what to show, and the words for
it; names and labels may hold `{first}` and `{second}`, which are replaced by the modalities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fnetcli.engine import Allocate, Engine, Fusion, Maps
from fnetcli.inspection.figures import FigureData

Map = NDArray[np.float32]  # (H, W)
Channels = NDArray[np.float16]  # (C, H, W)
Owner = Literal["first", "second", "common", "other"]  # whose colour something has on the page

FEATURES_FILE, PAGE_FILE = "features.npz", "report.html"


# --- a pair ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InspectOptions:
    """What to save completely in the file of numbers."""

    with_features: bool = False
    with_iterations: bool = False  # of a network that iterates


@dataclass(frozen=True)
class ShownMap:
    """A map (H, W) to show beside the sources and the fused picture.

    Parts sum to the fused luminance, so that they can be scaled. A map that is not signed is drawn
    from black, 0, to white.
    """

    label: str
    hint: str
    values: Map
    owner: Owner = "other"
    is_part: bool = False
    is_signed: bool = True


@dataclass(frozen=True)
class ShownFeature:
    """A tensor of C channels to show, channel by channel.

    `shape` is that of the tensor, (C, H, W); `thumbnails` (C, h, w) are smaller, `energies` (C,)
    sums of squares at full size. `kernels` (C, k, k), if any, are what one unit of a channel adds
    to the fused image. `symbol` is its short name in equations.
    """

    label: str
    thumbnails: NDArray[Any]
    shape: tuple[int, ...]
    energies: Sequence[float] | NDArray[np.float64] = ()
    kernels: Map | None = None
    owner: Owner = "other"
    symbol: str = ""


@dataclass(frozen=True)
class NumberTable:
    """Numbers as text, for a terminal: column heads, the first one above the names of rows."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Words:
    """The words for a model on the page.

    `reading` explains it, paragraph by paragraph; `channel` is the word for one channel of a
    feature, `channels` the heading of its section, with `channels_hint` below it.
    """

    maps: str
    fused: str
    reading: tuple[str, ...] = ()
    channel: str = "channel"
    channels: str = "Features"
    channels_hint: str = "Every channel has a map. Choose one to see it large."
    kernel_hint: str = ""


@dataclass(frozen=True)
class Findings:
    """All that an inspector found in a pair.

    Maps, features and figures are by name; the name of a part or map is its role
    (`modalities.shown_name`). `arrays` are the content of the file of numbers. `record` is the
    model's share of `--json`, `numbers` the same in words for the page: values, tables, and tables
    with equal columns. Tables and sentences are for the terminal. `plots` names the figures on the
    page, each with a caption. `notices` are warnings.
    """

    fusion: Fusion[Maps]  # of one pair, (1, H, W); as `fnet fuse` has it, to the bit
    maps: Mapping[str, ShownMap]
    features: Mapping[str, ShownFeature]
    arrays: Mapping[str, NDArray[Any]]
    record: Mapping[str, Any]
    numbers: Mapping[str, Any]
    tables: tuple[NumberTable, ...]
    sentences: tuple[str, ...]
    figures: Mapping[str, FigureData]
    plots: Mapping[str, str]
    words: Words
    notices: tuple[str, ...] = ()


# --- a weights file -------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightsFacts:
    """Everything that is known about a weights file; `record` returns it by field name.

    `parameters` are counts by groups, whose sum is `parameter_count`. `multiply_adds` is per pixel
    (None: not known), `reach` the largest distance in pixels at which an input changes a result
    (None: the whole image). `recipe`, `trained` (data and length of the training) and `scores` are
    as the metadata has them, or None; `other_metadata` is the rest.
    """

    name: str
    layout: str
    sha256: str
    model: str
    config: dict[str, Any]
    parameters: dict[str, int]
    parameter_count: int
    multiply_adds: int | None
    reach: int | None
    recipe: Any
    trained: Any
    scores: Any
    other_metadata: dict[str, Any]
    notices: list[str]

    @property
    def series(self) -> Mapping[str, Sequence[float]]:
        """Series of numbers to print, by name, such as thresholds over iterations."""
        return {}

    def record(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


# --- two networks side by side --------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How two networks differ: numbers for `--json`, tables, figures by file name.

    `fused` are their luminances (H, W) by name. `plots` names the figures on the page, each with a
    title; `colors` are those of the networks in plots, `facts` a line on each.
    """

    record: Mapping[str, Any]
    tables: tuple[NumberTable, ...]
    figures: Mapping[str, FigureData]
    fused: Mapping[str, Map]
    plots: Mapping[str, str]
    colors: Mapping[str, str]
    facts: Mapping[str, str]


class Compare(Protocol):
    """Compares networks on a pair of luminances (H, W)."""

    def __call__(
        self,
        engines: Mapping[str, Engine],
        luminances: tuple[Map, Map],
        modalities: tuple[str, str],
        allocate: Allocate,
        on_step: Callable[[], None] = ...,
    ) -> Comparison:
        """Return what was found; the engines are by name. Raise PairError."""


@dataclass(frozen=True)
class Comparer:
    """How networks of one model are compared: the figures' files, and how many steps it takes."""

    pictures: tuple[str, ...]
    count_steps: Callable[[Sequence[Any]], int]  # of the networks' configurations
    compare: Compare


# --- inspectors -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Looking:
    """The input for inspecting a pair: luminances (H, W) in [0, 1], and callbacks.

    Features are written into the array that `allocate` returns for a shape; large ones should not
    be in memory. `on_step` is called `count_steps` times.
    """

    engine: Engine
    luminances: tuple[Map, Map]
    modalities: tuple[str, str]
    options: InspectOptions = field(default_factory=InspectOptions)
    allocate: Allocate = lambda shape: np.empty(shape, np.float16)
    on_step: Callable[[], None] = lambda: None


class Inspector(Protocol):
    """Inspects networks of one model, for one weights file."""

    @property
    def pair_pictures(self) -> tuple[str, ...]:
        """Names of the figures of a pair."""

    @property
    def weights_pictures(self) -> tuple[str, ...]:
        """Names of the figures of a weights file."""

    @property
    def iterates(self) -> bool:
        """Whether there are iterations to save."""

    def count_steps(self, options: InspectOptions) -> int:
        """Return how often `look` calls `on_step`."""

    def features_bytes(self, shape: tuple[int, ...], options: InspectOptions) -> int:
        """Return the approximate size of the file of numbers for a pair of (H, W)."""

    def look(self, looking: Looking) -> Findings:
        """Fuse a pair and return the findings. Raise PairError."""

    def facts(self) -> WeightsFacts:
        """Return the facts about the weights file."""

    def weights_figures(self) -> Mapping[str, FigureData]:
        """Return the figures of the weights, by file name."""


def written_names(inspector: Inspector) -> tuple[str, ...]:
    """Return the names of all files of a pair."""
    return (FEATURES_FILE, PAGE_FILE, *inspector.pair_pictures)
