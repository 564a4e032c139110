"""What a validation finds: the mean loss, the six metrics, and a strip of fixed cases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fnetcli.formats.writers import write_png
from fnetcli.metrics import PAPER, quantise, score

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


def summarise(cases: Iterator[Validated], count: int, strip: Path) -> dict[str, float]:
    """Return the mean loss of `count` pairs as `validation`, and the means of the six metrics.

    Metrics are of the pairs that are large enough for them. `strip` becomes a picture of some of
    the pairs, a row each: first, second, fused.
    """
    total, rows, shown = 0.0, [], strip_numbers(count)
    scores: list[dict[str, float]] = []
    for number, case in enumerate(cases):
        total += case.loss
        if case.fused is None:
            continue
        fused = quantise(case.fused)
        if min(fused.shape) >= SMALLEST:
            scores.append(score(case.first, case.second, fused))
        if number in shown:
            rows.append([case.first, case.second, fused])
    if rows:
        strip.parent.mkdir(exist_ok=True)
        write_png(strip, draw_strip(rows))
    means = {name: _mean([one[name] for one in scores]) for name in METRICS} if scores else {}
    return {"validation": total / count, **means}


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
