"""What a validation finds: the mean loss, the six metrics, and a strip of fixed cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fnetcli.formats.writers import write_png
from fnetcli.metrics import PAPER, quantise, score
from fnetcli.training.team import working_alone

Grey8 = NDArray[np.uint8]
STRIP_CASES = 4
STRIP_HEIGHT = 192  # of a case, in pixels
GAP = 4
METRICS = tuple(metric.name for metric in PAPER)
SMALLEST = max(metric.smallest for metric in PAPER)


class Validated(NamedTuple):
    """One validation pair, (H, W) each; `fused` is in [0, 1], or None if nothing is fused yet."""

    loss: float
    first: Grey8
    second: Grey8
    fused: NDArray[np.float32] | None


def strip_numbers(count: int) -> list[int]:
    """Return the numbers of the pairs that strips show, spread over all of them."""
    shown = min(count, STRIP_CASES)
    return [i * count // shown for i in range(shown)]


class Measured(NamedTuple):
    """What is kept of a validation pair: its loss, its scores, and its row of the strip."""

    number: int
    loss: float
    scores: dict[str, float] | None
    row: list[Grey8] | None


def summarise(
    validate: Callable[[Sequence[int]], Iterator[Validated]], count: int, strip: Path | None
) -> dict[str, float]:
    """Return the mean loss of `count` pairs as `validation`, and the means of the six metrics.

    Metrics are of the pairs that are large enough for them. `strip` becomes a picture of some of
    the pairs, a row each: first, second, fused. Each process looks at its share of the pairs.
    """
    shown = strip_numbers(count)
    with working_alone() as others:
        numbers = others.indices(count)
        own = [
            _measure(number, case, is_shown=number in shown)
            for number, case in zip(numbers, validate(numbers), strict=True)
        ]
    measured = sorted((one for part in others.gather(own) for one in part), key=lambda one: one[0])
    rows = [one.row for one in measured if one.row is not None]
    if rows and strip is not None:
        strip.parent.mkdir(exist_ok=True)
        write_png(strip, draw_strip(rows))
    scores = [one.scores for one in measured if one.scores is not None]
    means = {name: _mean([one[name] for one in scores]) for name in METRICS} if scores else {}
    total = 0.0
    for one in measured:
        total += one.loss
    return {"validation": total / count, **means}


def _measure(number: int, case: Validated, *, is_shown: bool) -> Measured:
    if case.fused is None:
        return Measured(number, case.loss, None, None)
    fused = quantise(case.fused)
    is_large = min(fused.shape) >= SMALLEST
    scores = score(case.first, case.second, fused) if is_large else None
    return Measured(
        number, case.loss, scores, [case.first, case.second, fused] if is_shown else None
    )


def _mean(values: list[float]) -> float:
    """Return the mean of the finite values, NaN if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def draw_strip(rows: list[list[Grey8]]) -> Grey8:
    """Return images of one height in rows, with white gaps, (H, W)."""
    lines = [_line([_shrunk(image) for image in row]) for row in rows]
    width = max(line.shape[1] for line in lines)
    gap = np.full((GAP, width), 255, np.uint8)
    padded = [
        np.pad(line, ((0, 0), (0, width - line.shape[1])), constant_values=255) for line in lines
    ]
    return np.concatenate([part for line in padded for part in (line, gap)][:-1])


def _line(images: list[Grey8]) -> Grey8:
    gap = np.full((images[0].shape[0], GAP), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)


def _shrunk(image: Grey8) -> Grey8:
    height, width = image.shape
    if height <= STRIP_HEIGHT:
        return image
    size = (max(1, round(width * STRIP_HEIGHT / height)), STRIP_HEIGHT)
    shrunk: Grey8 = np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BOX))
    return shrunk
