"""Compare detected boxes with labels: average precision, as COCO computes it.

This does not measure a fused image alone: the number depends on the detector as much. Report it
together with that of the first image, the second, and their mean, with detectors trained the same
way; otherwise it says nothing about fusion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0, 1, 101)  # at which COCO samples precision

Boxes = NDArray[np.floating]  # (N, 4): left, top, right, bottom


def box_iou(boxes: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Return the area that two boxes share by the area that they cover together, (N, M)."""
    one, other = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = sides.clip(min=0).prod(axis=2)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=2) for each in (one, other)]
    union = areas[0] + areas[1] - shared
    shares: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=shares, where=union > 0)
    return shares


def average_precision(
    found: Sequence[tuple[Boxes, NDArray[np.floating]]],
    labels: Sequence[Boxes],
    least: float = 0.5,
) -> float:
    """Return AP of one class over all images: boxes and scores found, and the labelled boxes.

    In order of score, a box is right if it covers a labelled box of its image that no better one
    has taken, with an IoU of at least `least`. Precision is made to fall with recall and averaged
    at 101 recalls. NaN if no box is labelled.
    """
    total = sum(len(boxes) for boxes in labels)
    if total == 0:
        return float("nan")
    scores, is_right = list[float](), list[bool]()
    for (boxes, of_boxes), wanted in zip(found, labels, strict=True):
        taken = np.zeros(len(wanted), bool)
        overlaps = box_iou(boxes, wanted)
        for i in np.argsort(-of_boxes, kind="stable"):
            free = np.where(taken, -1.0, overlaps[i])
            best = int(free.argmax()) if len(wanted) else -1
            hit = best >= 0 and free[best] >= least
            if hit:
                taken[best] = True
            scores.append(float(of_boxes[i]))
            is_right.append(bool(hit))
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.cumsum(np.array(is_right, float)[order])
    recall = right / total
    precision = right / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS - 1e-12, side="left")
    sampled = np.append(falling, 0.0)[np.minimum(places, len(falling))]
    return float(sampled.mean())
