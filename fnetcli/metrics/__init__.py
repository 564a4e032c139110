"""Scores of a fused image against its two sources, in two conventions (docs/metrics.md).

A new metric is one function `f(first, second, fused) -> float` in the file of its family, one line
in `METRICS` and one row in the conformance test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fnetcli.metrics.base import Convention, Image, Metric, Picture, check_images
from fnetcli.metrics.contrast import contrast_preservation
from fnetcli.metrics.correlation import correlation, difference_correlation
from fnetcli.metrics.detail import average_gradient, spatial_frequency, standard_deviation
from fnetcli.metrics.difference import mean_squared_error, peak_signal_to_noise
from fnetcli.metrics.edges import edge_preservation, edge_preservation_as_defined
from fnetcli.metrics.fidelity import visual_information_fidelity
from fnetcli.metrics.grey import quantise, to_grey8
from fnetcli.metrics.information import (
    cross_entropy,
    cross_entropy_of_common_levels,
    entropy,
    mutual_information,
)
from fnetcli.metrics.structure import (
    multiscale_similarity,
    structural_similarity,
    structural_similarity_of_full_range,
)

__all__ = [
    "METRICS",
    "PAPER",
    "Convention",
    "Metric",
    "Picture",
    "metrics",
    "quantise",
    "score",
    "to_grey8",
]

# The six of the paper, in the order of its tables; both tuples are in the convention "paper".
PAPER = (
    Metric("MI", mutual_information, True, 0, 2 * math.log(256), "nats", "Qu et al. 2002"),
    Metric("CE", cross_entropy, False, 0, 23.26, "bits", "Bulanon et al. 2009"),
    Metric("VIF", visual_information_fidelity, True, 0, math.inf, "", "Sheikh & Bovik 2006", 41),
    Metric("Qabf", edge_preservation, True, 0, 1, "", "Xydeas & Petrovic 2000"),
    Metric("Qcb", contrast_preservation, True, 0, 1, "", "Chen & Blum 2009"),
    Metric("SSIM", structural_similarity, True, -2, 2, "", "Wang et al. 2004", 7),
)
METRICS = (
    *PAPER,
    Metric("EN", entropy, True, 0, 8, "bits", "Roberts et al. 2008"),
    Metric("SD", standard_deviation, True, 0, 127.5, "grey levels", "plain statistic"),
    Metric("SF", spatial_frequency, True, 0, 361, "grey levels", "Eskicioglu & Fisher 1995"),
    Metric("AG", average_gradient, True, 0, 255, "grey levels", "Cui et al. 2015"),
    Metric("SCD", difference_correlation, True, -2, 2, "", "Aslantas & Bendes 2015"),
    Metric("CC", correlation, True, -1, 1, "", "Deshmukh & Bhosale 2010"),
    Metric(
        "MSE", mean_squared_error, False, 0, 65025, "grey levels squared", "Jagalingam & Hegde 2015"
    ),
    Metric("PSNR", peak_signal_to_noise, True, 0, math.inf, "dB", "Jagalingam & Hegde 2015"),
    Metric("MS-SSIM", multiscale_similarity, True, 0, 2, "", "Wang et al. 2003", 161),
)
# The replacements in the convention "standard", where published tables rest on a mistake.
STANDARD = (
    Metric(
        "CE", cross_entropy_of_common_levels, False, -0.54, math.inf, "bits", "Bulanon et al. 2009"
    ),
    Metric("Qabf", edge_preservation_as_defined, True, 0, 1, "", "Xydeas & Petrovic 2000"),
    Metric("SSIM", structural_similarity_of_full_range, True, -2, 2, "", "Wang et al. 2004", 7),
)


def metrics(convention: Convention = "paper") -> tuple[Metric, ...]:
    """Return every metric in a convention; name and order are the same in both."""
    if convention not in ("paper", "standard"):
        raise ValueError(f"convention is {convention!r}; give 'paper' or 'standard'")
    other = {metric.name: metric for metric in STANDARD} if convention == "standard" else {}
    return tuple(other.get(metric.name, metric) for metric in METRICS)


def score(
    first: Image, second: Image, fused: Image, chosen: Iterable[Metric] = PAPER
) -> dict[str, float]:
    """Return the chosen metrics by name, for three (H, W) images of whole numbers 0..255.

    Raise ValueError if the images do not fit together or are smaller than a metric needs: 41x41
    for the six of the paper, 161x161 for all.
    """
    pictures = check_images("score", first, second, fused)
    return {metric.name: metric.function(*pictures) for metric in chosen}
