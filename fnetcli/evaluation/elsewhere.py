"""Score cases in workers: of a Ray cluster, or one process per device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Self

from fnetcli.errors import ClusterError
from fnetcli.evaluation.cache import Known
from fnetcli.evaluation.grey import Levels
from fnetcli.evaluation.scoring import Scored, Task, score_separation, score_task
from fnetcli.metrics import quantise
from fnetcli.metrics.separation import SEPARATION
from fnetcli.pictures.prepare import read_case
from fnetcli.runs.crew.base import Hello, Place, own_node, own_versions
from fnetcli.runs.crew.crew import Crew
from fnetcli.runs.crew.options import CrewOptions
from fnetcli.runs.crew.witness import Witness
from fnetcli.runs.network import NetworkSource


@dataclass
class ScoreWork:
    """A worker's work: fuse a case with each network that has no scores yet, and score it."""

    sources: Mapping[str, NetworkSource]  # by method
    witness: Witness

    def begin(self, place: Place) -> Hello:
        """See `Work`."""
        self.witness.require_seen()
        self._engines = {
            name: replace(source, device=place.device).load().engine
            for name, source in self.sources.items()
        }
        for name, engine in self._engines.items():
            if engine.precision != self.sources[name].options.precision:
                raise ClusterError(
                    f"worker on {own_node()}: computes in {engine.precision} on {engine.device}; "
                    "leave --precision out"
                )
        self._turn = threading.Lock()
        paths = ", ".join(engine.path for engine in self._engines.values())
        return Hello(own_node(), place.device, paths, versions=own_versions())

    def process(self, task: Task) -> Scored:
        """Fuse and score one case. Raise ImageError."""
        prepared = read_case(task.case, task.options)
        made, separated = dict[str, Levels](), dict[str, Known]()
        for name in task.networks:
            with self._turn:
                fusion = self._engines[name].run(*prepared.luminances)
            made[name] = quantise(fusion.fused[0])
            if SEPARATION in task.wanted[name]:
                separated[name] = score_separation(fusion, prepared.luminances)
        scored = score_task(replace(task, made=made), prepared)
        for name, found in separated.items():
            scored.known[name] = scored.known[name].add(found)
        return scored


class Elsewhere(AbstractContextManager["Elsewhere"]):
    """The workers of an evaluation."""

    def __init__(
        self,
        options: CrewOptions,
        work: ScoreWork,
        cases: int,
        on_notice: Callable[[str], None],
    ) -> None:
        self._options, self._work, self._cases = options, work, cases
        self._on_notice = on_notice
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the workers. Raise FnetError."""
        self._crew: Crew[Task, Scored] = self._stack.enter_context(
            self._options.hire(self._work, self._cases, self._on_notice)
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def threads(self) -> int:
        """How many threads of the coordinator keep all workers busy."""
        return self._crew.window

    def score(self, task: Task) -> Scored:
        """Score a task in a worker. Raise FnetError."""
        return self._crew.submit(task).result()

    def forget(self) -> None:
        """Drop what no worker has begun."""
        self._crew.forget()
