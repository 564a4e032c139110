"""Score one case in a worker: read it, convert it to grey levels, compute the requested metrics.

Does not import torch, so that a worker process starts within a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fnetcli.baselines import BASELINES
from fnetcli.errors import ReadError
from fnetcli.evaluation.cache import Known
from fnetcli.evaluation.grey import Levels, depth_notices, read_fused, to_levels
from fnetcli.formats import ReadOptions
from fnetcli.inputs.pairing import Case
from fnetcli.metrics import Convention, Metric, Picture, metrics
from fnetcli.metrics.separation import PARTS, SEPARATION, measure_separation
from fnetcli.models.base import Fusion, Maps
from fnetcli.pictures.prepare import Prepared, PrepareOptions, read_case


@dataclass(frozen=True)
class Task:
    """The metrics to compute for one case, by method."""

    case: Case
    options: PrepareOptions
    reading: ReadOptions  # of fused files
    convention: Convention
    wanted: dict[str, list[str]]
    files: dict[str, Path] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)  # names of baselines
    made: dict[str, Levels] = field(default_factory=dict)  # fused in memory, (H, W)
    networks: tuple[str, ...] = ()  # methods whose network the worker runs itself


@dataclass(frozen=True)
class Scored:
    """The outcome of a task, by method; `failed` tells why a fused image could not be used."""

    known: dict[str, Known]
    failed: dict[str, str]


def score_task(task: Task, prepared: Prepared | None = None) -> Scored:
    """Score the fused images of one case. Raise ImageError if its sources fail.

    `prepared` is the case if it has been read already.
    """
    prepared = prepared or read_case(task.case, task.options)
    first, second = (Picture(to_levels(scaled)) for scaled in prepared.scaled)
    notices = source_notices(prepared)
    known, failed = dict[str, Known](), dict[str, str]()
    for method, names in task.wanted.items():
        try:
            fused, further = _fused(task, method, first, second)
        except ReadError as error:
            failed[method] = str(error)
            continue
        if fused.shape != first.shape:
            failed[method] = (
                f"{task.files.get(method, method)}: is {_size(fused)}, but the sources are "
                f"{_size(first)}; give a fused image of the sources' size"
            )
            continue
        chosen = [metric for metric in metrics(task.convention) if metric.name in names]
        known[method] = _score(first, second, fused, chosen)
        known[method].notices += [*notices, *further]
    return Scored(known, failed)


def source_notices(prepared: Prepared) -> list[str]:
    """Return how the sources became 8 bits."""
    notices = list[str]()
    for modality, scaled in zip(prepared.modalities, prepared.scaled, strict=True):
        notices += depth_notices(modality, scaled)
        notices += [f"{modality}: {text}" for text in (*scaled.image.notices, *scaled.notices)]
    return notices


def _fused(
    task: Task, method: str, first: Picture, second: Picture
) -> tuple[Picture, tuple[str, ...]]:
    if method in task.made:
        return Picture(task.made[method]), ()
    if method in task.rules:
        (rule,) = (one.rule for one in BASELINES if one.name == task.rules[method])
        return Picture(rule(first.levels, second.levels)), ()
    file = read_fused(task.files[method], task.reading)
    return Picture(to_levels(file.scaled)), file.notices


def _score(first: Picture, second: Picture, fused: Picture, chosen: list[Metric]) -> Known:
    known = Known()
    for metric in chosen:
        if min(fused.shape) < metric.smallest:
            known.refusals[metric.name] = (
                f"{metric.name} needs at least {metric.smallest}x{metric.smallest} pixels, but the "
                f"images are {_size(fused)}"
            )
        else:
            known.values[metric.name] = metric.function(first, second, fused)
    return known


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def score_separation(fusion: Fusion[Maps], luminances: tuple[Maps, Maps]) -> Known:
    """Return how well the parts of one pair are separated, or why this is unknown."""
    if not {*PARTS} <= {*fusion.parts}:
        return Known(refusals={SEPARATION: "no unique and common parts"})
    first, second = luminances
    parts = [fusion.parts[name][0] for name in PARTS]
    score = measure_separation(parts, first[0], second[0]).score
    if score is None:
        return Known(refusals={SEPARATION: "the sources have no edges to compare"})
    return Known(values={SEPARATION: score})
