"""The report of `fnet inspect` on two networks: one self-contained page that works offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fnetcli.files.durable import atomic_write
from fnetcli.inspection.base import NumberTable
from fnetcli.modalities import BY_NAME
from fnetcli.reports.figures import round_limit
from fnetcli.reports.inspect_page import (
    MAX_PIXELS,
    Levels,
    Map,
    Plot,
    data_uri,
    fitting,
    picture_uri,
)
from fnetcli.reports.page import template


@dataclass(frozen=True)
class Network:
    """One of the networks: what it is called on the page, its colour in plots, and facts."""

    name: str
    color: str
    facts: str


@dataclass(frozen=True)
class ComparisonPage:
    """Everything that the page of two networks shows.

    Sources are as displayed, (H, W) or (H, W, 3); fused luminances (H, W) are by network.
    """

    title: str
    modalities: tuple[str, str]
    sources: tuple[Levels, Levels]
    networks: Sequence[Network]
    fused: Mapping[str, Map]
    tables: Sequence[NumberTable]
    plots: Mapping[str, Plot] = field(default_factory=dict)  # by title
    warnings: Sequence[str] = ()  # what could be wrong
    notices: Sequence[str] = ()  # good to know
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with its label, what is said of it, and its network's colour."""

    label: str
    hint: str
    color: str
    data: str


def write_comparison_page(path: Path, page: ComparisonPage) -> None:
    """Write the report of two networks. Raise OutputError or WriteError."""
    contents = template("comparison.html").generate(
        page=page,
        first=BY_NAME[page.modalities[0]].title,
        second=BY_NAME[page.modalities[1]].title,
        size=page.sources[0].shape[:2],
        pictures=_pictures(page),
        plots=[
            (title, plot.caption, data_uri(plot.png, "png"), plot.size)
            for title, plot in page.plots.items()
        ],
    )
    atomic_write(path, lambda file: file.writelines(piece.encode() for piece in contents))


def _pictures(page: ComparisonPage) -> list[Picture]:
    """Return both sources, both fused luminances, and their difference."""
    height, width = page.sources[0].shape[:2]
    size = fitting((height, width), MAX_PIXELS)
    sources = [
        Picture(BY_NAME[name].title, "source", "", picture_uri(levels, size))
        for name, levels in zip(page.modalities, page.sources, strict=True)
    ]
    fused = [
        Picture(one.name, "fused luminance", one.color, picture_uri(_levels(luminance), size))
        for one in page.networks
        for luminance in [page.fused[one.name]]
    ]
    first, second = (page.fused[one.name] for one in page.networks)
    difference = first - second
    limit = round_limit(difference)
    names = [one.name for one in page.networks]
    hint = f"{names[0]} minus {names[1]}: black \u2212{limit:g}, middle grey 0, white {limit:g}"
    levels = _levels(0.5 + difference / (2 * limit))
    return [*sources, *fused, Picture("difference", hint, "", picture_uri(levels, size))]


def _levels(luminance: Map) -> NDArray[np.uint8]:
    return np.rint(255 * np.clip(luminance, 0, 1)).astype(np.uint8)
