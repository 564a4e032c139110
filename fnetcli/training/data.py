"""Training pairs: kept as 8-bit luminance, cropped as a function of (seed, stage, iteration).

`Pairs` are those of two folders, a `Mixture` draws from several such sets by their shares.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fnetcli.errors import TrainingError
from fnetcli.formats import ReadOptions, content_sha256, read_image, usual_layer
from fnetcli.imaging.color import luminance
from fnetcli.imaging.intensity import ScalingOptions
from fnetcli.inputs.pairing import Case
from fnetcli.metrics import quantise, to_grey8
from fnetcli.modalities import BY_NAME
from fnetcli.pictures.place import Placed, PlaceOptions
from fnetcli.pictures.prepare import PrepareOptions, read_case
from fnetcli.pictures.sources import scale_source
from fnetcli.pictures.warp import Window
from fnetcli.training.augment import augment
from fnetcli.training.config import AugmentConfig
from fnetcli.training.team import team

Luminance = NDArray[np.uint8]
PixelT = TypeVar("PixelT", bound=np.generic)
CACHE_BYTES = 4 << 30
WHOLE = ReadOptions()
MAX_DRAWS = 50  # of a crop that is worth training on; then any will do
PLAIN = AugmentConfig()
IsWorthIt = Callable[[Luminance, Luminance], bool]


def cut_middle(image: NDArray[PixelT], side: int) -> NDArray[PixelT]:
    """Cut the middle of an image, (H, W), at most `side` pixels each way; 0: return all of it."""
    if not side:
        return image
    top, left = (max(0, length - side) // 2 for length in image.shape)
    return image[top : top + side, left : left + side]


def _any_crop(_first: Luminance, _second: Luminance) -> bool:
    return True


class Batch(NamedTuple):
    """Crops of both images, (N, 1, H, W) in [0, 1]: as the network sees them, and `wanted`.

    Losses compare with those that are wanted; they differ only if crops are augmented.
    """

    first: Tensor
    second: Tensor
    wanted: tuple[Tensor, Tensor]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        first, second = self.first.to(device), self.second.to(device)
        if self.wanted[0] is self.first and self.wanted[1] is self.second:
            return Batch(first, second, (first, second))
        wanted_first, wanted_second = (image.to(device) for image in self.wanted)
        return Batch(first, second, (wanted_first, wanted_second))

    def part(self, which: slice) -> Batch:
        """Return some of the crops."""
        first, second = self.first[which], self.second[which]
        if self.wanted[0] is self.first and self.wanted[1] is self.second:
            return Batch(first, second, (first, second))
        wanted_first, wanted_second = (image[which] for image in self.wanted)
        return Batch(first, second, (wanted_first, wanted_second))


class PairSource(Protocol):
    """Where crops come from: one set of pairs, or several."""

    def __len__(self) -> int:
        """Return the number of pairs."""

    def __getitem__(self, index: int) -> tuple[Luminance, Luminance]:
        """Return the luminance of the first and second image, (H, W), 0..255."""

    def __iter__(self) -> Iterator[tuple[Luminance, Luminance]]:
        """Yield the pairs, in order."""

    def list_sha256(self) -> str:
        """Return a hash over all that they hold."""

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """The modalities of the pairs, (first, second), each two once."""

    def side(self, crop: int, random: np.random.Generator) -> tuple[int, Sequence[int]]:
        """Return the side of a batch's crops, by default `crop`, and which sets they are of."""

    def choose(self, random: np.random.Generator, sets: Sequence[int]) -> int:
        """Return the number of a pair of some of the sets, drawn at random."""

    def is_thermal(self, index: int) -> bool:
        """Whether the first image of a pair is thermal."""

    def window(self, index: int) -> tuple[tuple[int, int], Window] | None:
        """Return height and width of a pair's reference, and what is kept; None: all of it."""

    def batch(
        self,
        size: int,
        crop: int,
        seed: tuple[int, ...],
        augmentation: AugmentConfig = PLAIN,
        is_worth_it: IsWorthIt = _any_crop,
    ) -> Batch:
        """Return random crops, a function of `seed`; see `draw_batch`."""
        return draw_batch(self, size, crop, seed, augmentation, is_worth_it)


@dataclass
class Pairs(PairSource):
    """Aligned pairs in memory; each is read and checked when it is first used."""

    cases: list[Case]
    smallest: int = 1  # shortest side allowed: the crop
    modalities: tuple[str, str] = ("ir", "vis")
    scaling: tuple[ScalingOptions, ScalingOptions] = (ScalingOptions(), ScalingOptions())
    reading: tuple[ReadOptions, ReadOptions] = (ReadOptions(), ReadOptions())
    place: PlaceOptions = field(default_factory=PlaceOptions)  # how they are aligned
    warnings: dict[Path, tuple[str, ...]] = field(default_factory=dict)  # of what was read so far
    _cache: dict[int, tuple[Luminance, Luminance]] = field(default_factory=dict)
    _placed: dict[int, Placed] = field(default_factory=dict)
    _cached_bytes: int = 0

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[Luminance, Luminance]:
        """Return the luminance of the first and second image, (H, W), 0..255."""
        if index in self._cache:
            return self._cache[index]
        case = self.cases[index]
        if self.place.is_active:
            first, second = self._read_placed(index)
        else:
            first, second = (
                self._read(path, modality, scaling, reading)
                for path, modality, scaling, reading in zip(
                    (case.first, case.second),
                    self.modalities,
                    self.scaling,
                    self.reading,
                    strict=True,
                )
            )
        if first.shape != second.shape:
            raise TrainingError(
                f"{case.first} is {_size(first)}, {case.second} is {_size(second)}; "
                "training pairs must be aligned and of one size: correct or remove this pair"
            )
        if min(first.shape) < self.smallest:
            raise TrainingError(
                f"{case.first}: {_size(first)} is smaller than the crop of {self.smallest}; "
                "remove this pair or choose a smaller crop in the recipe"
            )
        if self._cached_bytes < CACHE_BYTES:
            self._cache[index] = (first, second)
            self._cached_bytes += first.nbytes + second.nbytes
        return first, second

    def _read(
        self, path: Path, modality: str, scaling: ScalingOptions, reading: ReadOptions
    ) -> Luminance:
        levels, notices = _read_levels(path, modality, scaling, reading)
        if notices:
            self.warnings[path] = tuple(f"{modality}: {text}" for text in notices)
        return levels

    def _read_placed(self, index: int) -> tuple[Luminance, Luminance]:
        """Read a pair onto one grid, where both see something; registered once, then as known."""
        case, known = self.cases[index], self._placed.get(index)
        place = self.place if known is None else self.place.decided(known)
        prepared = read_case(
            case, PrepareOptions(self.modalities, self.scaling, self.reading, place=place)
        )
        if prepared.placed is not None:
            self._placed[index] = prepared.placed
        for path, modality, scaled in zip(
            (case.first, case.second), self.modalities, prepared.scaled, strict=True
        ):
            texts = (*scaled.image.notices, *scaled.notices, *prepared.notices)
            if texts:
                self.warnings[path] = tuple(f"{modality}: {text}" for text in texts)
        first, second = (quantise(one[0]) for one in prepared.luminances)
        return first, second

    def window(self, index: int) -> tuple[tuple[int, int], Window] | None:
        """Return height and width of a pair's reference, and what is kept; None: all of it."""
        self[index]
        placed = self._placed.get(index)
        if placed is None or placed.transform.sizes is None:
            return None
        width, height = placed.transform.sizes[1]
        return (height, width), placed.window

    def __iter__(self) -> Iterator[tuple[Luminance, Luminance]]:
        """Yield the pairs, in order."""
        return (self[index] for index in range(len(self)))

    def check(self, on_step: Callable[[], None] = lambda: None) -> None:
        """Read every pair once, so that a bad one is known before hours of training."""
        for index in range(len(self)):
            self[index]
            on_step()

    def list_sha256(self) -> str:
        """Return a hash over the names and contents of all files, in order."""
        digest = hashlib.sha256()
        for bands in (reading.bands for reading in self.reading if reading.bands):
            digest.update(f"{','.join(bands)}\n".encode())
        if self.place.is_active:
            digest.update(f"{json.dumps(self.place.record())}\n".encode())
        for case in self.cases:
            for path in (case.first, case.second):
                content = content_sha256(path)
                digest.update(f"{case.name}\t{content}\n".encode())
        return digest.hexdigest()

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """See `PairSource`."""
        return [self.modalities]

    def is_thermal(self, _index: int) -> bool:
        """See `PairSource`."""
        return BY_NAME[self.modalities[0]].is_thermal

    def side(self, crop: int, _random: np.random.Generator) -> tuple[int, Sequence[int]]:
        """See `PairSource`."""
        return crop, (0,)

    def choose(self, random: np.random.Generator, _sets: Sequence[int] = (0,)) -> int:
        """See `PairSource`."""
        return int(random.integers(len(self)))


@dataclass
class Mixture(PairSource):
    """Several sets of pairs; a crop is of each with a probability, its share.

    Crops of one batch are equally large. If sets want crops of different sizes, a batch holds
    crops of those sets alone that want the same, drawn by the sum of their shares.
    """

    sets: list[Pairs]
    shares: list[float]  # not negative, of any sum
    crops: list[int]  # side; 0: the stage's

    def __post_init__(self) -> None:
        self._starts = np.cumsum([0, *map(len, self.sets)])

    def __len__(self) -> int:
        """Return the number of pairs of all sets."""
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> tuple[Luminance, Luminance]:
        """See `PairSource`."""
        one = self._set_of(index)
        return self.sets[one][index - int(self._starts[one])]

    def is_thermal(self, index: int) -> bool:
        """See `PairSource`."""
        return self.sets[self._set_of(index)].is_thermal(index)

    def window(self, index: int) -> tuple[tuple[int, int], Window] | None:
        """See `PairSource`."""
        one = self._set_of(index)
        return self.sets[one].window(index - int(self._starts[one]))

    def _set_of(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1

    def __iter__(self) -> Iterator[tuple[Luminance, Luminance]]:
        """Yield the pairs, set by set."""
        return (pair for one in self.sets for pair in one)

    def list_sha256(self) -> str:
        """Return a hash over the names and contents of all files, in order."""
        digest = hashlib.sha256()
        for one in self.sets:
            digest.update(f"{'+'.join(one.modalities)}\t{one.list_sha256()}\n".encode())
        return digest.hexdigest()

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """See `PairSource`."""
        return list(dict.fromkeys(one.modalities for one in self.sets))

    def side(self, crop: int, random: np.random.Generator) -> tuple[int, Sequence[int]]:
        """See `PairSource`."""
        numbers = range(len(self.sets))
        if len(set(self.crops)) == 1:
            return self.crops[0] or crop, numbers
        side = self.crops[self._draw_set(random, numbers)]
        return side or crop, [i for i in numbers if self.crops[i] == side]

    def choose(self, random: np.random.Generator, sets: Sequence[int]) -> int:
        """See `PairSource`."""
        one = self._draw_set(random, sets)
        return int(self._starts[one] + random.integers(len(self.sets[one])))

    def _draw_set(self, random: np.random.Generator, sets: Sequence[int]) -> int:
        limits = np.cumsum([self.shares[i] for i in sets])
        drawn = int(np.searchsorted(limits, random.random() * limits[-1], side="right"))
        return sets[min(drawn, len(sets) - 1)]


def draw_batch(
    pairs: PairSource,
    size: int,
    crop: int,
    seed: tuple[int, ...],
    augmentation: AugmentConfig,
    is_worth_it: IsWorthIt,
) -> Batch:
    """Return random crops of both images, each (size, 1, crop, crop) in [0, 1].

    Pair, place, one of the eight flips and rotations, and what augments them depend on `seed`
    alone. Crops that are not worth training on are drawn again. Of a batch that several processes
    or pieces share, all is drawn and what is at work here is returned.
    """
    random = np.random.default_rng(seed)
    crop, sets = pairs.side(crop, random)
    crops = np.empty((2, size, 1, crop, crop), dtype=np.uint8)
    thermal = []
    for i in range(size):
        for _ in range(MAX_DRAWS):
            number = pairs.choose(random, sets)
            pieces = _draw_crops(pairs[number], crop, random)
            if is_worth_it(*pieces):
                break
        crops[:, i, 0] = pieces
        thermal.append(pairs.is_thermal(number))
    images = to_tensor(crops[0]), to_tensor(crops[1])
    seen, wanted = augment(images, thermal, augmentation, seed)
    return Batch(*seen, wanted).part(team().at_work(size))


def bytes_of_crops(size: int, crop: int) -> int:
    """Return the bytes of a batch as `draw_batch` draws it: in 8 bits and as float32."""
    return 2 * size * crop**2 * (1 + 4)


def _draw_crops(
    pair: tuple[Luminance, Luminance], crop: int, random: np.random.Generator
) -> tuple[Luminance, Luminance]:
    first, second = pair
    top = int(random.integers(first.shape[0] - crop + 1))
    left = int(random.integers(first.shape[1] - crop + 1))
    quarter_turns, is_flipped = int(random.integers(4)), bool(random.integers(2))

    def cut(image: Luminance) -> Luminance:
        piece = np.rot90(image[top : top + crop, left : left + crop], quarter_turns)
        return piece[:, ::-1] if is_flipped else piece

    return cut(first), cut(second)


def to_tensor(pixels: Luminance) -> Tensor:
    """Return 8-bit values as float32 in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def read_luminance(
    path: Path,
    modality: str,
    scaling: ScalingOptions | None = None,
    reading: ReadOptions = WHOLE,
) -> Luminance:
    """Read an image as 8-bit luminance, (H, W). Raise ReadError.

    8-bit pictures are taken as they are, all others are scaled as `fnet fuse` does it.
    """
    return _read_levels(path, modality, scaling or ScalingOptions(), reading)[0]


def _read_levels(
    path: Path, modality: str, scaling: ScalingOptions, reading: ReadOptions
) -> tuple[Luminance, tuple[str, ...]]:
    """Return luminance, and what could be wrong with the way to it."""
    image = read_image(path, replace(reading, layer=usual_layer(modality)))
    if image.stored_type == np.uint8:
        pixels = image.pixels[0].astype(np.float32)
        return to_grey8(pixels if image.is_color else pixels[..., 0]), image.notices
    scaled = scale_source(image, modality, scaling)
    unit = scaled.in_full().image.pixels[0]
    levels = quantise(luminance(unit)[..., 0] if image.is_color else unit[..., 0])
    return levels, (*scaled.image.notices, *scaled.notices)


def _size(image: Luminance) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
