"""Scores of a fused image against its two sources, as published tables define them.

A new metric is one function `f(first, second, fused) -> float` in the file of its family, one line
in `METRICS` and one row in the conformance test.
"""

from __future__ import annotations

from fnetcli.metrics.base import Metric, Pixels
from fnetcli.metrics.contrast import contrast_preservation
from fnetcli.metrics.edges import edge_preservation
from fnetcli.metrics.fidelity import visual_information_fidelity
from fnetcli.metrics.grey import quantise, to_grey8
from fnetcli.metrics.information import cross_entropy, mutual_information
from fnetcli.metrics.structure import structural_similarity

__all__ = ["METRICS", "Metric", "quantise", "score", "to_grey8"]

METRICS = (
    Metric("MI", mutual_information, True, "0 to 11.09 nats", "Qu et al. 2002"),
    Metric("CE", cross_entropy, False, "0 to 23.25 bits", "Bulanon et al. 2009"),
    Metric("VIF", visual_information_fidelity, True, "0 to about 2", "Sheikh & Bovik 2006"),
    Metric("Qabf", edge_preservation, True, "0 to 1", "Xydeas & Petrovic 2000"),
    Metric("Qcb", contrast_preservation, True, "0 to 1", "Chen & Blum 2009"),
    Metric("SSIM", structural_similarity, True, "-2 to 2", "Wang et al. 2004"),
)


def score(first: Pixels, second: Pixels, fused: Pixels) -> dict[str, float]:
    """Return every metric by name, for three (H, W) images of whole numbers 0..255.

    Raise ValueError where the images do not fit together or are smaller than 41x41, which VIF
    needs.
    """
    return {metric.name: metric.function(first, second, fused) for metric in METRICS}
