"""Scores of real pairs against numbers that other people's programs computed.

The images and numbers lie in an optional folder beside the checkout.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from fnetcli.metrics import METRICS, PAPER, metrics, score, to_grey8
from tests.metrics.images import Grey8

SHARED = Path(__file__).parents[2].parent / "shared"
NUMBERS = SHARED / "reference" / "metrics.json"
PAIRS = SHARED / "data" / "visir" / "val"
REFERENCE: dict[str, dict[str, dict[str, float]]] = (
    json.loads(NUMBERS.read_text()) if NUMBERS.is_file() and PAIRS.is_dir() else {}
)
# JPEG decoders differ by one grey level here and there.
TOLERANCE = {".png": 1e-6, ".jpg": 2e-3}


def maximum(first: Grey8, second: Grey8) -> Grey8:
    return np.maximum(first, second)


def floor_mean(first: Grey8, second: Grey8) -> Grey8:
    return ((first.astype(np.uint16) + second) // 2).astype(np.uint8)


@pytest.mark.skipif(not REFERENCE, reason="no shared/ folder beside the checkout")
@pytest.mark.parametrize("fuse", [maximum, floor_mean])
@pytest.mark.parametrize("name", REFERENCE)
def test_agrees_with_published_programs(name: str, fuse: Callable[[Grey8, Grey8], Grey8]) -> None:
    first, second = (to_grey8(iio.imread(PAIRS / side / name)) for side in ("vis", "ir"))
    expected = REFERENCE[name][fuse.__name__]
    fused, tolerance = fuse(first, second), TOLERANCE[name[-4:]]
    named = [metric for metric in METRICS if metric.name in expected]
    assert named[: len(PAPER)] == list(PAPER)
    scores = score(first, second, fused, named)
    assert scores == pytest.approx({key: expected[key] for key in scores}, rel=tolerance)
    standard = score(first, second, fused, metrics("standard"))
    assert standard["CE"] == pytest.approx(expected["CE_nonzero_bins"], rel=tolerance)
    assert standard["SSIM"] == pytest.approx(expected["SSIM_255"], rel=tolerance)
