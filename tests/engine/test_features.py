"""Features are rounded as NumPy rounds, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fnetcli.engine.executors.base import LARGEST_FEATURE, as_features


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_half_and_what_is_between(dtype: Any) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
    halves = np.unique(halves[np.isfinite(halves)])
    ties = ((halves[:-1] + halves[1:]) / 2).astype(dtype)
    beside = [np.nextafter(ties, dtype(end)) for end in (-np.inf, np.inf)]
    other = [0.0, -0.0, 1e-9, -1e-30, np.nan, np.inf, -np.inf, 70000.0]
    values = np.concatenate((halves, ties, *beside, other)).astype(dtype)
    with np.errstate(under="ignore"):
        expected = np.clip(values, -LARGEST_FEATURE, LARGEST_FEATURE).astype(np.float16)
    found = as_features(values.reshape(1, 1, 1, -1)).ravel()
    np.testing.assert_array_equal(found.view(np.uint16), expected.view(np.uint16))
