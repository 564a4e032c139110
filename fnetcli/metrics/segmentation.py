"""Compare the classes of a segmentation with a label: confusion matrix, IoU, mIoU.

This does not measure a fused image alone: the number depends on the segmentation network as much.
Report it together with the mIoU of the first image, the second, and their mean, with networks
trained the same way; otherwise it says nothing about fusion.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 0

Classes = NDArray[np.integer]
Confusion = NDArray[np.int64]


def confusion(label: Classes, predicted: Classes, classes: int) -> Confusion:
    """Return how many pixels of each labelled class (rows) got each predicted class (columns).

    Both have the same shape and whole numbers 0 ... C - 1; the matrix is (C, C). Sum the matrices
    of all images before `iou`. Raise ValueError for other shapes or numbers.
    """
    if label.shape != predicted.shape:
        raise ValueError(
            f"confusion: label is {label.shape}, prediction {predicted.shape}; give equal shapes"
        )
    for name, image in (("label", label), ("prediction", predicted)):
        if image.dtype.kind not in "iu":
            raise ValueError(f"confusion: the {name} is {image.dtype}; give whole numbers")
        if image.size and not (image.min() >= 0 and image.max() < classes):
            raise ValueError(
                f"confusion: the {name} ranges from {image.min()} to {image.max()}; "
                f"classes are 0 to {classes - 1}"
            )
    pairs = label.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou(matrix: Confusion, *, with_unlabelled: bool = False) -> NDArray[np.float64]:
    """Return IoU_c = TP / (TP + FP + FN) of each class, (C,), in [0, 1]; NaN: do not average it.

    Pixels with label 0 are ignored, and class 0 has no value, unless `with_unlabelled` (as in
    tables of MSRS, where 0 is the background). A class neither labelled nor predicted is NaN, too.
    """
    counts = matrix.astype(np.float64)
    if not with_unlabelled:
        counts[UNLABELLED] = 0
    hits = counts.diagonal()
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    values = np.full(len(counts), math.nan)
    np.divide(hits, union, out=values, where=union > 0)
    if not with_unlabelled:
        values[UNLABELLED] = math.nan
    return values


def mean_iou(values: NDArray[np.float64]) -> float:
    """Return mIoU, the mean over the classes that have a value; NaN if none has one."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
