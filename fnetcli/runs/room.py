"""Check that the disk has space for the features of a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fnetcli.errors import OutputError, ReadError
from fnetcli.files import scratch
from fnetcli.formats import probe_image
from fnetcli.pictures.fuse import FuseOptions
from fnetcli.pictures.outputs import features_bytes
from fnetcli.runs.plan import RunPlan
from fnetcli.runs.process import MadeT, PathsT, PreparedT
from fnetcli.text import number_of


@dataclass(frozen=True)
class Room:
    """Messages about the disk space for features."""

    info: str
    warning: str | None = None


def features_room(
    plan: RunPlan[PathsT, PreparedT, MadeT], out: Path, options: FuseOptions
) -> Room | None:
    """Estimate the disk space for features from the size of the first pair.

    Warn if it is not enough for all pairs; raise OutputError if not even for the first.
    """
    count = len(plan.todo)
    if not options.output.with_features or not count:
        return None
    try:
        case = plan.todo[0]
        header = probe_image(case.second, case.reading(options.prepare.reading[1]))
    except ReadError:
        return None  # it is reported when its turn comes
    one = features_bytes(header.height, header.width, options.products.feature_channels)
    beside, free = _unnamed_bytes(one, len(options.products.features)), _free_bytes(out)
    pair = f"a pair of {header.width}x{header.height}"
    needed = f"{(count * one + beside) / 1e6:,.0f} MB"
    info = f"features: about {one / 1e6:,.0f} MB for {pair}, {number_of(count, 'pair')}"
    info += f"; while they are written {needed}" * (count > 1 or beside > 0)
    if free is not None and free < one + beside:
        raise OutputError(
            f"{out}: {free / 1e6:,.0f} MB are free there, but the features of {pair} need "
            f"{(one + beside) / 1e6:,.0f} MB while they are written; free some space, choose "
            "another -o or leave out --features"
        )
    if free is not None and free < count * one + beside:
        return Room(
            info,
            f"{out}: {free / 1e6:,.0f} MB are free there, enough for the features of about "
            f"{(free - beside) // one} of {number_of(count, 'pair')}",
        )
    return Room(info)


def _unnamed_bytes(features: int, files: int) -> int:
    """Return the bytes of a pair's features that are also in unnamed files while being written."""
    return features if features // files >= scratch.MAX_IN_MEMORY else 0


def _free_bytes(path: Path) -> int | None:
    """Return the free space where a path will be; None if the system does not tell."""
    try:
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        return shutil.disk_usage(there).free
    except OSError:
        return None
