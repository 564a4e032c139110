"""Settings that all runs over cases share."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict, get_args

from fnetcli.api.names import require_choices
from fnetcli.errors import UsageError
from fnetcli.models.base import Wanted
from fnetcli.runs.crew.base import ClusterOptions
from fnetcli.runs.network import LoadedMethod
from fnetcli.runs.parts import parse_part
from fnetcli.runs.picture_jobs import default_workers
from fnetcli.runs.plan import Existing, Job
from fnetcli.runs.process import MadeT, PathsT, PreparedT
from fnetcli.runs.report import PARTS_ONLY, OnProgress, Progress, RunReport, run_job


class RunSettings(TypedDict, total=False):
    """Settings of a run, for `fuse_folder` and `fuse_volumes`.

    `existing` decides about existing results: "skip" those made from the same files with the same
    options, "overwrite" all, or raise an "error". `workers` threads read and write while the
    network runs. `part` is a share of the cases, such as "3/16": see `fnet fuse --part`. `cluster`
    lets Ray workers do the cases: an address as for `fnet fuse --cluster`, or `ClusterOptions`.
    `on_progress` is called at every step, in the calling thread.
    """

    existing: Existing
    workers: int | None
    stops_at_failure: bool
    part: str | None
    cluster: str | ClusterOptions | None
    on_progress: OnProgress


def require_settings(settings: RunSettings) -> None:
    """Raise UsageError for a keyword that no function knows, or a value out of range."""
    for name in sorted(settings.keys() - RunSettings.__optional_keys__):
        raise UsageError(f"{name}: no such argument; check its spelling")
    existing, workers = settings.get("existing", "skip"), settings.get("workers")
    require_choices(existing=(existing, get_args(Existing)))
    if workers is not None and workers < 1:
        raise UsageError(f"workers: {workers}; use at least 1")


def workers_of(settings: RunSettings) -> int:
    """Return how many threads read and write."""
    return settings.get("workers") or default_workers()


def progress_of(settings: RunSettings) -> OnProgress:
    """Return what hears of progress."""
    return settings.get("on_progress", _silent)


def run(
    job: Job[PathsT, PreparedT, MadeT],
    network: LoadedMethod,
    settings: RunSettings,
    notices: list[str],
    wanted: Wanted = PARTS_ONLY,
) -> RunReport:
    """Do a job, or a part of it, with the settings of the call."""
    part, cluster = settings.get("part"), settings.get("cluster")
    return run_job(
        replace(job, part=parse_part(part) if part else None),
        network,
        workers=workers_of(settings),
        stops_at_failure=settings.get("stops_at_failure", False),
        notices=notices,
        on_progress=progress_of(settings),
        cluster=ClusterOptions(cluster) if isinstance(cluster, str) else cluster,
        wanted=wanted,
    )


def _silent(_: Progress) -> None:
    """Ignore progress."""
