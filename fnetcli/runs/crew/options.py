"""Who processes the cases of a run: workers of a Ray cluster, or one process per device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fnetcli.runs.crew.base import ClusterOptions, Work
from fnetcli.runs.crew.crew import Crew
from fnetcli.runs.crew.processes import processes
from fnetcli.runs.crew.ray_actors import ray_actors


@dataclass(frozen=True)
class CrewOptions:
    """A cluster, or several devices of this machine."""

    cluster: ClusterOptions | None = None
    devices: tuple[str, ...] = ()

    @contextmanager
    def hire(
        self, work: Work, most: int, on_notice: Callable[[str], None]
    ) -> Iterator[Crew[Any, Any]]:
        """Start at most `most` workers and end them. Raise ClusterError, UsageError."""
        if self.cluster is None:
            with Crew[Any, Any](processes(self.devices[:most], work), on_notice) as crew:
                yield crew
            return
        with (
            ray_actors(self.cluster, work, most) as staff,
            Crew[Any, Any](staff, on_notice) as crew,
        ):
            yield crew
