"""Inspect a pair: the findings of the model's inspector, and those common to all models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from fnetcli.checkpoints.loading import Weights
from fnetcli.engine import Allocate, Engine
from fnetcli.errors import PairError, UsageError
from fnetcli.inspection.base import Findings, InspectOptions, Inspector, Looking
from fnetcli.inspection.inverse import with_recovered
from fnetcli.inspection.subject import Levels, Subject
from fnetcli.pictures.misalignment import Misalignment, estimate_misalignment


@dataclass(frozen=True)
class InspectedPair:
    """A pair and all findings; the picture is (H, W) or (H, W, 3)."""

    subject: Subject
    modalities: tuple[str, str]
    picture: Levels  # fused
    findings: Findings
    misalignment: Misalignment
    notices: tuple[str, ...]  # possibly not what the user wanted
    weights: Mapping[str, str]  # name, sha256
    command: str = "fnet fuse"  # that fuses this pair
    details: Mapping[str, str] = field(default_factory=dict)  # command, date, version

    def record(self) -> dict[str, Any]:
        """Return all numbers, ready for JSON."""
        return {
            "pair": self.subject.name,
            "modalities": list(self.modalities),
            "size": list(self.subject.luminances[0].shape),
            "weights": dict(self.weights),
            **self.findings.record,
            "misalignment": self.misalignment.record(),
            **({} if self.subject.placed is None else {"alignment": self.subject.placed.record()}),
            "said": list(self.subject.info),
            "notices": list(self.notices),
        }


@dataclass(frozen=True)
class PairTask:
    """A pair to inspect, and the commands that fuse it and inspect it, for the page."""

    subject: Subject
    modalities: tuple[str, str]
    options: InspectOptions
    fuse_command: str
    inspect_command: str
    inverse: Weights | None = None  # recovers the sources from what is fused
    doubts: tuple[str, ...] = ()  # about the networks


def require_fitting(inspector: Inspector, options: InspectOptions, model: str) -> None:
    """Raise UsageError if iterations are requested but the network has none."""
    if options.with_iterations and not inspector.iterates:
        raise UsageError(
            f"--iterations: the weights are of a model '{model}', which has none; leave it out"
        )


def count_steps(inspector: Inspector, options: InspectOptions) -> int:
    """Return how often `look_into_pair` calls `on_step`."""
    return inspector.count_steps(options) + 1


def look_into_pair(
    inspector: Inspector,
    engine: Engine,
    weights: Weights,
    task: PairTask,
    allocate: Allocate,
    on_step: Callable[[], None] = lambda: None,
) -> InspectedPair:
    """Inspect a pair; write features into the arrays of `allocate` (`Looking`). Raise PairError."""
    subject = task.subject
    looking = Looking(engine, subject.luminances, task.modalities, task.options, allocate, on_step)
    try:
        findings = inspector.look(looking)
        if task.inverse is not None:
            findings = with_recovered(
                findings, task.inverse, engine, subject.luminances, task.modalities
            )
    except PairError as error:
        raise PairError(f"{subject.name}, weights {weights.name}: {error}") from None
    misalignment = estimate_misalignment(*subject.luminances)
    on_step()
    finished = subject.finish(findings.fusion)
    return InspectedPair(
        subject=subject,
        modalities=task.modalities,
        picture=finished.picture,
        findings=findings,
        misalignment=misalignment,
        notices=(*finished.notices, *findings.notices, *task.doubts),
        weights={"name": weights.name, "sha256": weights.sha256},
        command=task.fuse_command,
        details={
            "command": task.inspect_command,
            "weights": f"{weights.name}, sha256 {weights.sha256}",
            "version": f"fnet {version('fnetcli')}",
        },
    )
