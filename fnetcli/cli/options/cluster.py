"""Workers elsewhere: a Ray cluster, or several devices of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.errors import UsageError

if TYPE_CHECKING:
    from fnetcli.runs.crew.options import CrewOptions

PANEL = "Running on a cluster"


@dataclass(frozen=True)
class GivenCluster(OptionGroup):
    """Which Ray cluster, and what each worker gets of it."""

    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS",
            help="Let Ray workers do the work: ray (the cluster of RAY_ADDRESS, else all cores and "
            "GPUs of this machine), auto (the cluster that this machine is a node of), or "
            "ray://HOST:10001. Needs fnetcli[cluster]; inputs and results lie on storage that all "
            "nodes share.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    cpus_per_worker: Annotated[
        float | None,
        typer.Option(
            "--cpus-per-worker",
            metavar="N",
            min=0.1,
            max=1024,
            help="CPUs, and computing threads, of each worker. Default: 2, or 1 with a GPU.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker",
            metavar="N",
            min=0,
            max=1024,
            help="GPUs of each worker, such as 0.5 for two workers on each GPU. Default: 1 if the "
            "cluster has GPUs, else 0.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def crew(self, device: str) -> CrewOptions | None:
        """Return who does the work; None: this process. Raise UsageError."""
        from fnetcli.engine.device import choose_devices

        if self.cluster is None:
            for option, value in (
                ("--cpus-per-worker", self.cpus_per_worker),
                ("--gpus-per-worker", self.gpus_per_worker),
            ):
                if value is not None:
                    raise UsageError(f"{option}: applies only to --cluster; leave it out")
            devices = choose_devices(device)
            if len(devices) < 2:
                return None
            from fnetcli.runs.crew.options import CrewOptions

            return CrewOptions(devices=tuple(devices))
        from fnetcli.runs.crew.base import ClusterOptions
        from fnetcli.runs.crew.options import CrewOptions

        return CrewOptions(
            ClusterOptions(self.cluster, self.cpus_per_worker, self.gpus_per_worker, device)
        )
