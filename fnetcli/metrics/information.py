"""Metrics on grey-level histograms: mutual information, cross entropy and entropy."""

from __future__ import annotations

import numpy as np

from fnetcli.metrics.base import Grey, Image, Picture, check_images

LEVELS = 256
FLOOR = 1e-7  # added to each bin, so that a level missing in one image stays finite


def mutual_information(first: Image, second: Image, fused: Image) -> float:
    """Return MI = I(fused; first) + I(fused; second) in nats, 0 to 2 ln 256; higher is better.

    (H, W), whole numbers 0..255; joint histogram of 256 levels. Qu, Zhang and Yan 2002.
    """
    one, two, result = check_images("MI", first, second, fused)
    return _shared_information(one, result) + _shared_information(two, result)


def cross_entropy(first: Image, second: Image, fused: Image) -> float:
    """Return CE, the mean over both sources of D(source || fused) in bits; lower is better.

    (H, W), whole numbers 0..255; 0 to about 23. Despite its name it is the relative entropy of
    the two histograms. Bulanon, Burks and Alchanatis 2009.
    """
    one, two, result = (
        picture.derive(_histogram) + FLOOR for picture in check_images("CE", first, second, fused)
    )
    return float(np.sum(one * np.log2(one / result)) + np.sum(two * np.log2(two / result))) / 2


def cross_entropy_of_common_levels(first: Image, second: Image, fused: Image) -> float:
    """Return CE in bits over the levels that source and fused image both have; lower is better.

    (H, W), whole numbers 0..255. The convention "standard". The shares of common levels need not
    sum to 1, so a value may be slightly below 0 (not below -0.54), and images without a common
    level score 0. Bulanon, Burks and Alchanatis 2009.
    """
    one, two, result = (
        picture.derive(_histogram) for picture in check_images("CE", first, second, fused)
    )
    return (_common_entropy(one, result) + _common_entropy(two, result)) / 2


def entropy(first: Image, second: Image, fused: Image) -> float:
    """Return EN, the entropy of the fused image's histogram in bits, 0 to 8; higher is better.

    (H, W), whole numbers 0..255; the sources do not count, and noise raises it. Roberts, van Aardt
    and Ahmed 2008.
    """
    share = check_images("EN", first, second, fused)[2].derive(_histogram)
    share = share[share > 0]
    return max(float(-np.sum(share * np.log2(share))), 0.0)


def _shared_information(source: Picture, fused: Picture) -> float:
    pairs = (source.levels.astype(np.intp) * LEVELS + fused.levels).ravel()
    counts = np.bincount(pairs, minlength=LEVELS * LEVELS).reshape(LEVELS, LEVELS)
    joint = counts / pairs.size
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = counts > 0
    information = np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))
    return max(float(information), 0.0)  # rounding may leave -1e-17


def _histogram(image: Grey) -> Grey:
    """Return the share of each of the 256 levels."""
    return np.bincount(image.astype(np.intp).ravel(), minlength=LEVELS) / image.size


def _common_entropy(p: Grey, q: Grey) -> float:
    common = (p > 0) & (q > 0)
    return float(np.sum(p[common] * np.log2(p[common] / q[common])))
