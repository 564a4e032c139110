"""What `fnet eval` scores, how it scores, and what it writes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
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
TABLES = "Tables"
RUNNING = "Running"
MAX_REPORT_CASES = 40
Inset = tuple[int, int, int, int]  # left, top, width, height in pixels
LABEL = re.compile(r"[A-Za-z0-9:._-]+")


class ConventionChoice(StrEnum):
    """Which definition to use for metrics that have more than one."""

    paper = "paper"
    standard = "standard"


@dataclass(frozen=True)
class GivenMethods(OptionGroup):
    """Which methods are scored."""

    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME:vis=DIR,ir=DIR[,METHOD=DIR]",
            help="A data set with a name, instead of two image options: the folders of its two "
            "sources, and of the fused images of each method. Repeat for more sets; every table "
            "shows all of them.",
            show_default=False,
            rich_help_panel=METHODS,
        ),
    ] = None
    fused: Annotated[
        list[str] | None,
        typer.Option(
            "--fused",
            metavar="[NAME=]DIR",
            help="Folder of one method's fused images, which have the names of the pairs; repeat "
            "for more methods. For one pair, a file; with --pairs, the column that lists them.",
            show_default=False,
            rich_help_panel=METHODS,
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="[NAME=]WEIGHTS",
            help="Fuse in memory with these weights, and score the result: a file, or the name of "
            "shipped weights ('default', 'fnet'); repeat for more.",
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
            help="Metrics, separated by commas (MI,VIF,EN), or all. Default: the paper's six.",
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
            help="Also measure what a pair of this height and width costs: parameters, "
            "multiply-adds, seconds, memory. Needs no images.",
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
class GivenTables(OptionGroup):
    """How tables are written."""

    decimals: Annotated[
        int | None,
        typer.Option(
            "--decimals",
            metavar="N",
            min=0,
            max=9,
            help="Decimals of every mean in the tables. Default: by the size of each metric.",
            show_default=False,
            rich_help_panel=TABLES,
        ),
    ] = None
    methods_across: Annotated[
        bool,
        typer.Option(
            "--methods-across",
            help="Write methods as columns and metrics as rows, in all tables of means.",
            rich_help_panel=TABLES,
        ),
    ] = False
    caption: Annotated[
        str | None,
        typer.Option(
            "--caption",
            metavar="TEXT",
            help="Caption of the LaTeX tables (scores, p-values, costs); it makes each a float.",
            show_default=False,
            rich_help_panel=TABLES,
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            metavar="TEXT",
            help="Label of the LaTeX table of scores, which becomes a float; -p and -cost are "
            "added for the tables of p-values and costs.",
            show_default=False,
            rich_help_panel=TABLES,
        ),
    ] = None
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="Let the LaTeX tables span both columns of a page, as floats (table*).",
            rich_help_panel=TABLES,
        ),
    ] = False

    def require_latex(self, latex: Path | None) -> None:
        """Raise UsageError if options of the LaTeX table are given without it, or cannot be."""
        given = {"--caption": self.caption, "--label": self.label, "--wide": self.wide}
        for option, value in given.items():
            if value and latex is None:
                raise UsageError(f"{option}: applies only to --latex; add it, or leave it out")
        if self.label is not None and not LABEL.fullmatch(self.label):
            raise UsageError(
                f"--label {self.label}: use letters, digits and : . _ - only, as in tab:fusion"
            )


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
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Draw box plots of the scores and a grid of pictures, each as SVG and PDF.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    cases: Annotated[
        str | None,
        typer.Option(
            "--cases",
            metavar="NAMES",
            help="Cases whose pictures are shown, separated by commas, instead of those that "
            "--report-cases counts. With several data sets: SET/CASE.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None
    inset: Annotated[
        list[str] | None,
        typer.Option(
            "--inset",
            metavar="CASE=X,Y,W,H",
            help="Enlarge this rectangle of a case's pictures, in --figures and --html: left, top, "
            "width and height in pixels; repeat for more cases.",
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
            help="Number of cases whose pictures are shown, in --figures and --html: those where "
            "the first method is best, median and worst.",
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

    @property
    def insets(self) -> dict[str, Inset]:
        """The rectangle to enlarge, by case. Raise UsageError."""
        found = dict[str, Inset]()
        for text in self.inset or []:
            case, mark, numbers = text.rpartition("=")
            parts = numbers.split(",")
            is_whole = all(part.strip().isascii() and part.strip().isdecimal() for part in parts)
            if not (mark and case and len(parts) == 4 and is_whole) or "0" in map(
                str.strip, parts[2:]
            ):
                raise UsageError(
                    f"--inset {text}: give CASE=X,Y,W,H, the left, top, width and height in pixels"
                )
            if case in found:
                raise UsageError(f"--inset {text}: {case} has another inset; leave one out")
            x, y, width, height = map(int, parts)
            found[case] = (x, y, width, height)
        if found and self.figures is None and self.html_file is None:
            raise UsageError(
                "--inset: applies only to --figures and --html; add one of them, or leave it out"
            )
        return found

    def chosen_cases(self, known: Sequence[str]) -> list[int]:
        """Return the cases to show: those of --cases, else those with insets. Raise UsageError."""
        insets = self.insets
        names = _split_cases(self.cases, known) if self.cases is not None else list(insets)
        for option, some in (("--inset", insets), ("--cases", names)):
            for name in some:
                if name not in known:
                    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
                    hint = f"did you mean {close[0]!r}?" if close else f"such as {known[0]!r}"
                    raise UsageError(f"{option} {name}: no case has this name; {hint}")
        if len(names) > MAX_REPORT_CASES:
            raise UsageError(
                f"--cases: {len(names)} cases, but at most {MAX_REPORT_CASES} can be shown"
            )
        for name in insets:
            if name not in names:
                raise UsageError(f"--inset {name}: is not among --cases; add it there")
        return [known.index(name) for name in dict.fromkeys(names)]


def _split_cases(text: str, known: Sequence[str]) -> list[str]:
    """Return the names in a list separated by commas; one name may hold commas itself."""
    names = [text] if text in known else [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"--cases {text}: an empty name; separate names by single commas")
    return names


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
