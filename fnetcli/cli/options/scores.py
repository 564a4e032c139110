"""What `fnet eval` scores, how it scores, and what it writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fnetcli.cli.options.group import OptionGroup
from fnetcli.errors import UsageError

METHODS = "Methods to score"
SCORES = "Scores"
RESULTS = "Results"
RUNNING = "Running"
MAX_REPORT_CASES = 40


class ConventionChoice(StrEnum):
    """Which definition to use for metrics that have more than one."""

    paper = "paper"
    standard = "standard"


@dataclass(frozen=True)
class GivenMethods(OptionGroup):
    """Which methods are scored."""

    fused: Annotated[
        list[str] | None,
        typer.Option(
            "--fused",
            metavar="[NAME=]DIR",
            help="Fused images of one method, with the names of the pairs; repeat for more "
            "methods. For one pair: a file. With --pairs: the column that lists them.",
            show_default=False,
            rich_help_panel=METHODS,
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="[NAME=]WEIGHTS",
            help="Fuse with these weights, in memory: a file or the name of shipped weights "
            "('default', 'fnet'); repeat for more.",
            show_default=False,
            rich_help_panel=METHODS,
        ),
    ] = None
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Also score the average, the maximum and a Laplacian pyramid.",
            rich_help_panel=METHODS,
        ),
    ] = False


@dataclass(frozen=True)
class GivenScores(OptionGroup):
    """Which scores are computed."""

    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAMES",
            help="Comma-separated metrics, such as MI,VIF,EN, or all. Default: the paper's six.",
            show_default=False,
            rich_help_panel=SCORES,
        ),
    ] = None
    convention: Annotated[
        ConventionChoice,
        typer.Option(
            "--convention",
            help="paper: as in published tables; standard: as the metrics are defined (SSIM, Qabf "
            "and CE differ).",
            rich_help_panel=SCORES,
        ),
    ] = ConventionChoice.paper
    all_cases: Annotated[
        bool,
        typer.Option(
            "--all-cases",
            help="Average each method over all its cases. Default: over the cases that all methods "
            "have.",
            rich_help_panel=SCORES,
        ),
    ] = False
    cost: Annotated[
        str | None,
        typer.Option(
            "--cost",
            metavar="HxW",
            help="Also measure the cost of a pair of this height and width: parameters, "
            "multiply-adds, seconds, memory. Also works without images.",
            show_default=False,
            rich_help_panel=SCORES,
        ),
    ] = None

    @property
    def cost_size(self) -> tuple[int, int] | None:
        """Height and width of the pair whose cost is measured. Raise UsageError."""
        if self.cost is None:
            return None
        found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", self.cost.strip().lower())
        if not found or not int(found[1]) * int(found[2]):
            raise UsageError(f"--cost {self.cost}: give height and width in pixels, as 480x640")
        return int(found[1]), int(found[2])


@dataclass(frozen=True)
class GivenScoreFiles(OptionGroup):
    """Which files are written."""

    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write every score, one line per method and case; - for stdout.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write everything as JSON; - for stdout.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    markdown_file: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write the table as Markdown; - for stdout.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    latex_file: Annotated[
        Path | None,
        typer.Option(
            "--latex",
            metavar="FILE",
            help="Write the table as LaTeX (booktabs); - for stdout.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write one page with tables, plots and pictures, for any browser; - for stdout.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    report_cases: Annotated[
        int,
        typer.Option(
            "--report-cases",
            metavar="N",
            min=0,
            max=MAX_REPORT_CASES,
            help="Number of cases shown on the page: those where the first method is best, median "
            "and worst.",
            rich_help_panel=RESULTS,
        ),
    ] = 12

    def named(self) -> dict[str, Path | None]:
        """Return the named files by option."""
        return {
            "--csv": self.csv_file,
            "--json": self.json_file,
            "--markdown": self.markdown_file,
            "--latex": self.latex_file,
            "--html": self.html_file,
        }


@dataclass(frozen=True)
class GivenScoreRun(OptionGroup):
    """How the run proceeds."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=256,
            help="Number of scoring processes. Default: one per core, at most 8.",
            show_default=False,
            rich_help_panel=RUNNING,
        ),
    ] = None
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compute all scores again, and store none.",
            rich_help_panel=RUNNING,
        ),
    ] = False
