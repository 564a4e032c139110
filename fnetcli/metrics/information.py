"""Metrics on grey-level histograms: mutual information and cross entropy."""

from __future__ import annotations

import numpy as np

from fnetcli.metrics.base import Grey, Pixels, check_images

LEVELS = 256
FLOOR = 1e-7  # added to each bin, so that a level which one image lacks stays finite


def mutual_information(first: Pixels, second: Pixels, fused: Pixels) -> float:
    """Return MI = I(fused; first) + I(fused; second) in nats, 0 to 2 ln 256; higher is better.

    (H, W), whole numbers 0..255; joint histogram of 256 levels. Qu, Zhang and Yan 2002.
    """
    one, two, result = check_images("MI", first, second, fused)
    return _shared_information(one, result) + _shared_information(two, result)


def cross_entropy(first: Pixels, second: Pixels, fused: Pixels) -> float:
    """Return CE, the mean over both sources of D(source || fused) in bits; lower is better.

    (H, W), whole numbers 0..255; 0 to about 23. Despite its name it is the relative entropy of
    the two histograms. Bulanon, Burks and Alchanatis 2009.
    """
    one, two, result = check_images("CE", first, second, fused)
    return (_relative_entropy(one, result) + _relative_entropy(two, result)) / 2


def _shared_information(source: Grey, fused: Grey) -> float:
    pairs = (source * LEVELS + fused).astype(np.intp).ravel()
    counts = np.bincount(pairs, minlength=LEVELS * LEVELS).reshape(LEVELS, LEVELS)
    joint = counts / pairs.size
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = counts > 0
    information = np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))
    return max(float(information), 0.0)  # rounding may leave -1e-17


def _relative_entropy(source: Grey, fused: Grey) -> float:
    p, q = _histogram(source), _histogram(fused)
    return float(np.sum(p * np.log2(p / q)))


def _histogram(image: Grey) -> Grey:
    counts = np.bincount(image.astype(np.intp).ravel(), minlength=LEVELS)
    return counts / image.size + FLOOR
