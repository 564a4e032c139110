"""An evaluation as tables: for the terminal, CSV, JSON, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table as RichTable
from rich.text import Text

from fnetcli.evaluation.cost import Cost
from fnetcli.evaluation.results import Evaluation
from fnetcli.evaluation.statistics import BEST, SECOND, Summary, summaries
from fnetcli.metrics import Metric
from fnetcli.metrics.separation import SEPARATION
from fnetcli.text import number_of, printable

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "µ": r"$\mu$",
    **{mark: f"\\{mark}" for mark in "&%$#_"},
}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of cells that a spreadsheet would run
GAP = 2  # between two columns on the terminal
SHORTEST = 12  # least width of a wrapped method name


@dataclass(frozen=True)
class Cell:
    """One number as readable text."""

    text: str
    mark: int = 0  # BEST, SECOND or 0


@dataclass(frozen=True)
class Row:
    """One method: cells for n, the metrics, separation if measured, mean rank if several."""

    method: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Section:
    """The rows of one data set; without a title they are all there is."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class TableOptions:
    """How tables of means are arranged."""

    digits: int | None = None  # decimals of every metric; None: by its size
    has_methods_across: bool = False  # methods are columns, metrics are rows


@dataclass(frozen=True)
class Float:
    """What turns a LaTeX table into a float: it stands in a `table` with caption and label."""

    caption: str = ""
    label: str = ""
    is_wide: bool = False  # over both columns of a page, `table*`


PLAIN_TABLES = TableOptions()


def sections(
    evaluation: Evaluation, summary: Summary, options: TableOptions = PLAIN_TABLES
) -> tuple[list[str], list[Section]]:
    """Return the names of all columns, and the means: one section, or one for each data set."""
    parts = summaries(evaluation, summary)
    if options.digits is not None:
        places = [options.digits] * len(evaluation.metrics)
    else:
        every = np.concatenate([one.means for _, _, one in parts])
        places = [decimals(column) for column in every.T]
    found = [Section(title, tuple(mean_rows(part, one, places))) for title, part, one in parts]
    if not options.has_methods_across:
        return heads(evaluation), found
    names = heads(evaluation)[1:]
    columns = ["metric", *(method.name for method in evaluation.methods)]
    return columns, [Section(one.title, _transposed(names, one.rows)) for one in found]


def _transposed(names: Sequence[str], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return one row for each column of others, the cells of all methods in each."""
    across = zip(*(row.cells for row in rows), strict=True)
    return tuple(Row(name, cells) for name, cells in zip(names, across, strict=True))


def heads(evaluation: Evaluation) -> list[str]:
    """Return the names of all columns, with an arrow in the direction that is better."""
    metrics = [f"{metric.name} {arrow(metric)}" for metric in evaluation.metrics]
    separation = [] if evaluation.separation is None else [f"{SEPARATION} ↑"]
    rank = ["mean rank"] if len(evaluation.methods) > 1 else []
    return ["method", "n", *metrics, *separation, *rank]


def arrow(metric: Metric) -> str:
    """Return ↑ if more is better, ↓ if less is."""
    return "↑" if metric.higher_is_better else "↓"


def mean_rows(
    evaluation: Evaluation, summary: Summary, places: Sequence[int] | None = None
) -> Iterator[Row]:
    """Yield the means of every method; a cell holds n if it differs from the row's.

    `places` are the decimals of each metric.
    """
    places = places or [decimals(column) for column in summary.means.T]
    for m, method in enumerate(evaluation.methods):
        most = int(summary.counts[m].max(initial=0))
        cells = [Cell(str(most))]
        for metric, digits in enumerate(places):
            text, count = number(summary.means[m, metric], digits), summary.counts[m, metric]
            cells.append(
                Cell(
                    text if count in (most, 0) else f"{text} (n={count})",
                    int(summary.marks[m, metric]),
                )
            )
        if summary.separation is not None:
            cells.append(Cell(number(summary.separation[m], 3)))
        if len(evaluation.methods) > 1:
            cells.append(Cell(number(summary.mean_rank[m], 2)))
        yield Row(method.name, tuple(cells))


def p_rows(evaluation: Evaluation, summary: Summary) -> Iterator[Row]:
    """Yield the p-values of all methods but the first."""
    for method, values in list(zip(evaluation.methods, summary.p_values, strict=True))[1:]:
        yield Row(method.name, tuple(Cell(p_value(value)) for value in values))


def cost_rows(costs: Sequence[Cost]) -> Iterator[Row]:
    """Yield the cost of each method: parameters, multiply-adds, seconds per pair, peak memory."""
    for cost in costs:
        adds = "-" if cost.multiply_adds is None else counted(cost.multiply_adds)
        yield Row(
            cost.method,
            (
                Cell("-" if cost.parameters is None else f"{cost.parameters:,}"),
                Cell(adds),
                Cell(duration(cost.seconds)),
                Cell(f"{cost.peak_bytes / 1e6:,.0f} MB"),
                Cell(f"{cost.device}, {cost.how}"),
            ),
        )


COST_HEADS = ("method", "parameters", "multiply-adds", "time", "peak memory", "on")


def duration(seconds: float) -> str:
    """Return a time with three digits, in the unit that people would say."""
    if seconds >= 600:
        return f"{_three(seconds / 60)} min"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if factor * seconds >= 0.9995:
            return f"{_three(factor * seconds)} {unit}"
    return f"{_three(1e6 * seconds)} µs"


def counted(count: int) -> str:
    """Return a large number with three digits: 129 G."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if count >= 0.9995 * 10**power:
            return f"{_three(count / 10**power)} {prefix}"
    return str(count)


def _three(value: float) -> str:
    """Return a number with three digits, or all before the point: never as a power of ten."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def caption(evaluation: Evaluation, summary: Summary) -> str:
    """Return a sentence or two on the cases that means are over, and on the convention."""
    sensors = ", ".join(f"{second} + {first}" for first, second in evaluation.all_modalities)
    sets = f"{number_of(len(evaluation.sets), 'data set')}, " if evaluation.sets else ""
    kept, total = int(summary.common.sum()), len(evaluation.cases)
    cases = (
        "each method over its own cases"
        if summary.all_cases
        else f"{kept} of {number_of(total, 'case')}"
        + (", those that all methods have" if len(evaluation.methods) > 1 else "")
    )
    return (
        f"{sets}{sensors}, convention {evaluation.convention!r}, means over {cases}; "
        "colour is compared as luminance"
    )


def decimals(column: Any) -> int:
    """Return a readable number of decimals for a column."""
    seen = np.abs(column[np.isfinite(column)])
    largest = float(seen.max(initial=0))
    if largest == 0:
        return 3
    tens = math.floor(math.log10(largest))
    return min(max(3 - tens if tens >= 0 else 2 - tens, 0), 6)


def number(value: float, digits: int) -> str:
    """Return a number with `digits` decimals, or a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def p_value(value: float) -> str:
    """Return a p-value as readable text."""
    if not math.isfinite(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


# --- the terminal ---------------------------------------------------------------------------------


def terminal_tables(
    names: Sequence[str], rows: Iterable[Row], *, width: int | None, is_styled: bool
) -> list[RichTable]:
    """Return a table to print, split into as many parts as needed to fit into `width`, if given.

    The best is bold, the second underlined; * and + without style. Every part starts with the
    methods, whose names are wrapped if not even one column fits beside them. No number is cut.
    """
    shown = _styled if is_styled else _marked
    texts = [[Text(printable(row.method)), *map(shown, row.cells)] for row in rows]
    methods, *others = zip(map(Text, names), *texts, strict=True)
    widths = [_width(column) for column in others]
    room = width or GAP * len(others) + sum(widths, _width(methods))
    first = min(_width(methods), max(SHORTEST, room - GAP - max(widths)))
    parts, left = [[methods]], room - first
    for column, needed in zip(others, widths, strict=True):
        if len(parts[-1]) > 1 and GAP + needed > left:
            parts.append([methods])
            left = room - first
        parts[-1].append(column)
        left -= GAP + needed
    return [_table(part, first) for part in parts]


def _width(column: Sequence[Text]) -> int:
    return max(text.cell_len for text in column)


def _table(columns: Sequence[Sequence[Text]], first: int) -> RichTable:
    """Return a table of columns, each below its head; `first` is the width of the first one."""
    table = RichTable(show_edge=False, box=None, pad_edge=False)
    for i, (head, *_) in enumerate(columns):
        if i == 0:
            table.add_column(head, width=first, overflow="fold")
        else:
            table.add_column(head, justify="right", width=_width(columns[i]))
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*row)
    return table


def _styled(cell: Cell) -> Text:
    return Text(cell.text, style={BEST: "bold", SECOND: "underline"}.get(cell.mark, ""))


def _marked(cell: Cell) -> Text:
    return Text(cell.text + {BEST: "*", SECOND: "+"}.get(cell.mark, ""))


# --- files ----------------------------------------------------------------------------------------


def to_csv(evaluation: Evaluation) -> str:
    """Return one line per method and case, with empty cells for missing scores.

    Names that a spreadsheet would read as a formula get a leading apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names, table = _metric_names(evaluation), evaluation.values
    if evaluation.separation is not None:
        names = [*names, SEPARATION]
        table = np.concatenate((table, evaluation.separation[..., None]), axis=2)
    writer.writerow(["method", "case", *names])
    for method, of_method in zip(evaluation.methods, table, strict=True):
        for case, values in zip(evaluation.cases, of_method, strict=True):
            shown = ["" if math.isnan(value) else repr(float(value)) for value in values]
            writer.writerow([_cell(method.name), _cell(case), *shown])
    return file.getvalue()


def _cell(name: str) -> str:
    text = printable(name)
    return f"'{text}" if name.startswith(FORMULA_STARTS) else text


def to_json(
    evaluation: Evaluation,
    summary: Summary,
    costs: Sequence[Cost] = (),
    details: Mapping[str, str] | None = None,
) -> str:
    """Return everything: scores, means, ranks, tests, problems; null for missing numbers."""
    names = [metric.name for metric in evaluation.metrics]

    def by_metric(values: Any) -> dict[str, Any]:
        return dict(zip(names, _plain(values), strict=True))

    record = {
        "convention": evaluation.convention,
        "modalities": list(evaluation.modalities),
        "details": dict(details or {}),
        "metrics": [
            {
                "name": metric.name,
                "higher_is_better": metric.higher_is_better,
                "low": metric.low,
                "high": metric.high if math.isfinite(metric.high) else None,
                "unit": metric.unit,
                "source": metric.source,
            }
            for metric in evaluation.metrics
        ],
        "compared": "each method's own cases" if summary.all_cases else "common cases",
        "cases": list(evaluation.cases),
        "common_cases": [
            case
            for case, is_common in zip(evaluation.cases, summary.common, strict=True)
            if is_common
        ],
        "methods": [
            {
                **asdict(method),
                "mean": by_metric(summary.means[m]),
                "n": by_metric(summary.counts[m]),
                "standard_deviation": by_metric(summary.deviations[m]),
                "rank": by_metric(summary.ranks[m]),
                "mean_rank": _plain(summary.mean_rank[m]),
                **_separation(evaluation, summary, m),
                "wilcoxon_p": by_metric(summary.p_values[m]),
                "mark": by_metric(
                    [{BEST: "best", SECOND: "second"}.get(int(i)) for i in summary.marks[m]]
                ),
                "scores": {
                    case: by_metric(values)
                    for case, values in zip(evaluation.cases, evaluation.values[m], strict=True)
                },
            }
            for m, method in enumerate(evaluation.methods)
        ],
        **({"sets": _sets(evaluation, summary)} if evaluation.sets else {}),
        "costs": [asdict(cost) for cost in costs],
        "notices": list(evaluation.notices),
        "problems": [asdict(problem) for problem in evaluation.problems],
    }
    return json.dumps(record, indent=1) + "\n"


def _sets(evaluation: Evaluation, summary: Summary) -> list[dict[str, Any]]:
    """Return the statistics of each data set; `methods` of the record are over all of them."""
    names = [metric.name for metric in evaluation.metrics]
    return [
        {
            "name": name,
            "modalities": list(part.modalities),
            "cases": len(part.cases),
            "common_cases": int(one.common.sum()),
            "methods": [
                {
                    "name": method.name,
                    "mean": dict(zip(names, _plain(one.means[m]), strict=True)),
                    "n": dict(zip(names, _plain(one.counts[m]), strict=True)),
                    "standard_deviation": dict(zip(names, _plain(one.deviations[m]), strict=True)),
                    "rank": dict(zip(names, _plain(one.ranks[m]), strict=True)),
                    "mean_rank": _plain(float(one.mean_rank[m])),
                    "wilcoxon_p": dict(zip(names, _plain(one.p_values[m]), strict=True)),
                }
                for m, method in enumerate(part.methods)
            ],
        }
        for name, part, one in summaries(evaluation, summary)[: len(evaluation.sets)]
    ]


def _separation(evaluation: Evaluation, summary: Summary, method: int) -> dict[str, Any]:
    """Return the separation of a method's parts, if it was measured."""
    if evaluation.separation is None or summary.separation is None:
        return {}
    values = _plain(evaluation.separation[method])
    return {
        SEPARATION: {
            "mean": _plain(summary.separation[method : method + 1])[0],
            "scores": dict(zip(evaluation.cases, values, strict=True)),
        }
    }


def costs_to_json(costs: Sequence[Cost], details: Mapping[str, str]) -> str:
    """Return only the costs, with the same keys as beside scores."""
    record = {"details": dict(details), "costs": [asdict(cost) for cost in costs]}
    return json.dumps(record, indent=1) + "\n"


def _plain(values: Any) -> Any:
    """Return numbers ready for JSON."""
    if isinstance(values, np.ndarray):
        return [_plain(value) for value in values.tolist()]
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def to_markdown(
    evaluation: Evaluation,
    summary: Summary,
    costs: Sequence[Cost] = (),
    options: TableOptions = PLAIN_TABLES,
) -> str:
    """Return a table with the best in bold and the second underlined."""
    lines = [f"{caption(evaluation, summary)}.", ""]
    names, found = sections(evaluation, summary, options)
    for section in found:
        lines += ["", f"**{_markdown(section.title)}**", ""] if section.title else []
        lines += _markdown_table([_head(name, names, options) for name in names], section.rows)
    if len(evaluation.methods) > 1:
        lines += [
            "",
            f"p, Wilcoxon signed-rank against {_markdown(evaluation.methods[0].name)}:",
            "",
        ]
        lines += _markdown_table(
            ["method", *_metric_names(evaluation)], p_rows(evaluation, summary)
        )
    text = "\n".join(lines) + "\n"
    return f"{text}\n{costs_to_markdown(costs)}" if costs else text


def costs_to_markdown(costs: Sequence[Cost]) -> str:
    """Return only the table of costs."""
    lines = [cost_caption(costs), "", *_markdown_table(COST_HEADS, cost_rows(costs))]
    return "\n".join(lines) + "\n"


def cost_caption(costs: Sequence[Cost]) -> str:
    """Return the caption of the costs."""
    cost = costs[0]
    return f"cost of a pair of {cost.height}x{cost.width} (height x width), on this machine"


def _metric_names(evaluation: Evaluation) -> list[str]:
    return [metric.name for metric in evaluation.metrics]


def _head(name: str, names: Sequence[str], options: TableOptions) -> str:
    """Return the head of a column, which is the name of a method if methods are across."""
    return _markdown(name) if options.has_methods_across and name != names[0] else name


def _markdown_table(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        cells = (
            {BEST: f"**{cell.text}**", SECOND: f"<u>{cell.text}</u>"}.get(cell.mark, cell.text)
            for cell in row.cells
        )
        yield f"| {' | '.join([_markdown(row.method), *cells])} |"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", printable(text))


def to_latex(
    evaluation: Evaluation,
    summary: Summary,
    costs: Sequence[Cost] = (),
    options: TableOptions = PLAIN_TABLES,
    of_float: Float | None = None,
) -> str:
    r"""Return a tabular for booktabs, the best in \textbf and the second underlined.

    The p-values and the costs are tables of their own. If they are floats, each has the caption
    and label of its subject, and one wider than the text is scaled down to it.
    """
    names, found = sections(evaluation, summary, options)
    tables = [(caption(evaluation, summary), "", _latex_table(names, found))]
    if len(evaluation.methods) > 1:
        first = evaluation.methods[0].name
        rows = Section("", tuple(p_rows(evaluation, summary)))
        metrics = ["method", *_metric_names(evaluation)]
        about = f"p, Wilcoxon signed-rank test against {first}"
        tables.append((about, "p", _latex_table(metrics, [rows])))
    if costs:
        tables.append((cost_caption(costs), "cost", _costs_table(costs)))
    if of_float is None:
        return "\n\n".join("\n".join([f"% {_latex(about)}", *of]) for about, _, of in tables) + "\n"
    head = f"% needs \\usepackage{{booktabs,graphicx}}; {_latex(tables[0][0])}"
    floats = ["\n".join(_in_float(of_float, *one)) for one in tables]
    return "\n\n".join([head, *floats]) + "\n"


def costs_to_latex(costs: Sequence[Cost]) -> str:
    """Return only the table of costs."""
    return "\n".join([f"% {cost_caption(costs)}", *_costs_table(costs)]) + "\n"


def _costs_table(costs: Sequence[Cost]) -> Iterator[str]:
    return _latex_table(COST_HEADS, [Section("", tuple(cost_rows(costs)))])


def _in_float(of_float: Float, about: str, subject: str, table: Iterable[str]) -> Iterator[str]:
    """Return a table as a float; LaTeX measures it, and scales it if it is too wide."""
    kind = "table*" if of_float.is_wide else "table"
    text = of_float.caption or f"{about[:1].upper()}{about[1:]}."
    if subject and of_float.caption:
        text = f"{of_float.caption} {about[:1].upper()}{about[1:]}."
    yield rf"\begin{{{kind}}}[t]"
    yield r"\centering"
    yield rf"\caption{{{_latex(text)}}}"
    if of_float.label:
        yield rf"\label{{{of_float.label}{f'-{subject}' if subject else ''}}}"
    yield r"\sbox0{%"
    yield from (f"{line}%" if line.startswith((r"\begin", r"\end")) else line for line in table)
    yield "}%"
    yield r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
    yield rf"\end{{{kind}}}"


def _latex_table(names: Sequence[str], found: Sequence[Section]) -> Iterator[str]:
    shown = [_arrowed(name) for name in names]
    yield rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}"
    yield r"\toprule"
    yield f"{' & '.join([_latex_start(shown[0], is_escaped=True), *shown[1:]])} \\\\"
    for section in found:
        yield r"\midrule"
        if section.title:
            yield rf"\multicolumn{{{len(names)}}}{{l}}{{\textit{{{_latex(section.title)}}}}} \\"
        for row in section.rows:
            start = _arrowed(_latex_start(row.method), is_escaped=True)
            yield f"{' & '.join([start, *map(_latex_cell, row.cells)])} \\\\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _arrowed(text: str, *, is_escaped: bool = False) -> str:
    escaped = text if is_escaped else _latex(text)
    return escaped.replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    return {BEST: rf"\textbf{{{text}}}", SECOND: rf"\underline{{{text}}}"}.get(cell.mark, text)


def _latex_start(text: str, *, is_escaped: bool = False) -> str:
    """Return the first cell of a row; the line before would parse a leading [ or * as its own."""
    escaped = text if is_escaped else _latex(text)
    return ("{}" if text.lstrip()[:1] in {"[", "*"} else "") + escaped


def _latex(text: str) -> str:
    return "".join(LATEX.get(mark, mark) for mark in printable(text))
