"""How well the classes of a segmentation agree with a label: confusion matrix, IoU, mIoU.

Not a metric of a fused image alone: the number depends on the segmentation network as much. Put the
mIoU of the first image, of the second and of their mean beside it, with networks trained the same
way; else it says nothing about fusion.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 0

Classes = NDArray[np.integer]
Confusion = NDArray[np.int64]


def confusion(label: Classes, predicted: Classes, classes: int) -> Confusion:
    """Return how many pixels of each labelled class (rows) got each class (columns): (C, C).

    Both of one shape, whole numbers 0 ... C - 1. Sum the matrices of all images before `iou`. Raise
    ValueError for other shapes or numbers.
    """
    if label.shape != predicted.shape:
        raise ValueError(
            f"confusion: label is {label.shape}, prediction {predicted.shape}; give one shape"
        )
    for name, image in (("label", label), ("prediction", predicted)):
        if image.dtype.kind not in "iu":
            raise ValueError(f"confusion: the {name} is {image.dtype}; give whole numbers")
        if image.size and not (image.min() >= 0 and image.max() < classes):
            raise ValueError(
                f"confusion: the {name} runs from {image.min()} to {image.max()}; "
                f"classes are 0 to {classes - 1}"
            )
    pairs = label.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou(matrix: Confusion, *, with_unlabelled: bool = False) -> NDArray[np.float64]:
    """Return IoU_c = TP / (TP + FP + FN) of each class, (C,), in [0, 1]; NaN: not to be averaged.

    Pixels with label 0 are left out, and class 0 has no value, unless `with_unlabelled` (as tables
    of MSRS have it, where 0 is the background). NaN too for a class neither labelled nor predicted.
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
    """Return mIoU, the mean over the classes that have a value; NaN where none has one."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
