"""Whether the disk has room for the features of a run."""

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


@dataclass(frozen=True)
class Room:
    """What is to be said of the room that features take."""

    info: str
    warning: str | None = None


def features_room(
    plan: RunPlan[PathsT, PreparedT, MadeT], out: Path, options: FuseOptions
) -> Room | None:
    """Say how much room the features will take, from the size of the first pair.

    Raise OutputError where not even those of that pair fit; warn where not all will.
    """
    count = len(plan.todo)
    if not options.output.with_features or not count:
        return None
    try:
        header = probe_image(plan.todo[0].second, options.prepare.reading[1])
    except ReadError:
        return None  # it is reported when its turn comes
    one = features_bytes(header.height, header.width, options.products.feature_channels)
    beside, free = _unnamed_bytes(one, len(options.products.features)), _free_bytes(out)
    pair = f"a pair of {header.width}x{header.height}"
    needed = f"{(count * one + beside) / 1e6:,.0f} MB"
    info = f"features: about {one / 1e6:,.0f} MB for {pair}, {count} pairs"
    info += f"; while they are written {needed}" * (count > 1 or beside > 0)
    if free is not None and free < one + beside:
        raise OutputError(
            f"{out}: {free / 1e6:,.0f} MB are free there, and the codes of {pair} take "
            f"{(one + beside) / 1e6:,.0f} MB while they are written; make room, choose another -o "
            "or leave out --features"
        )
    if free is not None and free < count * one + beside:
        return Room(
            info,
            f"{out}: {free / 1e6:,.0f} MB are free there, enough for the codes of about "
            f"{(free - beside) // one} of {count} pairs",
        )
    return Room(info)


def _unnamed_bytes(features: int, files: int) -> int:
    """Return how much of a pair's features is on the disk a second time before it has a name."""
    return features if features // files >= scratch.MAX_IN_MEMORY else 0


def _free_bytes(path: Path) -> int | None:
    """Return the room where a path will be; None where the system does not tell."""
    try:
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        return shutil.disk_usage(there).free
    except OSError:
        return None
