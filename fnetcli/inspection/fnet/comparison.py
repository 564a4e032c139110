"""Two FNets on one pair, iteration by iteration: how sparse their codes are, and how large.

Figures 9 and 10 of the paper compare an l0 with an l1 network in this way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fnetcli.engine import Allocate, Engine
from fnetcli.inspection.base import Comparer, Comparison, Map, NumberTable
from fnetcli.inspection.figures import (
    Distribution,
    HistogramPanel,
    HistogramRow,
    Line,
    LinePanel,
    LineRow,
    MapRow,
)
from fnetcli.inspection.fnet.trace import (
    Measured,
    PairTrace,
    Step,
    TraceOptions,
    count_steps,
    trace_pair,
)
from fnetcli.inspection.fnet.words import BLOCK_LABELS
from fnetcli.inspection.wording import share, value, with_modalities
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.text import number_of

COLORS = ("#2166ac", "#b2182b")
FILES = ("fused.png", "sparsity.png", *(f"histograms_{letter}.png" for letter in "uvz"))
MEASURED_ONLY = TraceOptions(measures_iterations=True)
ZOOM = 1.5  # of the largest threshold: half the width of an inset


def count_compared(configs: Sequence[FNetConfig]) -> int:
    """Return how often `compare` calls `on_step`."""
    return sum(count_steps(config, MEASURED_ONLY) for config in configs)


def compare(
    engines: Mapping[str, Engine],
    luminances: tuple[Map, Map],
    modalities: tuple[str, str],
    allocate: Allocate,
    on_step: Callable[[], None] = lambda: None,
) -> Comparison:
    """Trace a pair of luminances (H, W) in networks by name. Raise PairError."""
    traces = {
        name: trace_pair(engine, *luminances, MEASURED_ONLY, allocate, on_step)
        for name, engine in engines.items()
    }
    labels = {letter: with_modalities(BLOCK_LABELS[letter], modalities) for letter in "uvz"}
    record = {name: _record(trace) for name, trace in traces.items()}
    fused = {name: trace.fusion.fused[0] for name, trace in traces.items()}
    return Comparison(
        record={"networks": record},
        tables=tuple(_table(record, letter, labels[letter]) for letter in "uvz"),
        figures={
            "fused.png": MapRow(
                "The fused luminance of both networks",
                fused,
                are_signed=False,
            ),
            "sparsity.png": _sparsity(record),
            **{
                f"histograms_{letter}.png": _histograms(traces, letter, labels[letter])
                for letter in "uvz"
            },
        },
        fused=fused,
        plots={
            "sparsity.png": "How sparse the codes are, and how large",
            **{
                f"histograms_{letter}.png": f"{letter}: {labels[letter]}, values after each "
                "threshold"
                for letter in "uvz"
            },
        },
        colors=dict(zip(traces, COLORS, strict=True)),
        facts={
            name: f"{trace.config.threshold} threshold, {trace.config.momentum} momentum, "
            f"{number_of(trace.config.iterations, 'iteration')}, "
            f"{number_of(trace.config.atoms, 'atom')}"
            for name, trace in traces.items()
        },
    )


def _record(trace: PairTrace) -> dict[str, Any]:
    return {
        "threshold": trace.config.threshold,
        "iterations": trace.config.iterations,
        "codes": {
            letter: [_step(step) for step in block.steps] for letter, block in trace.blocks.items()
        },
    }


def _step(step: Step) -> dict[str, Any]:
    """Return the numbers of x_k; magnitudes are over the values that are not nearly zero."""
    after = _after(step)
    limit = step.theta / 100
    is_large = np.abs(after.values) >= limit
    sizes, counts = np.abs(after.values[is_large]).astype(np.float64), after.counts[is_large]
    total = int(counts.sum())
    return {
        "k": step.k,
        "theta": step.theta,
        "nearly_zero": after.nearly_zero,
        "exactly_zero": float(after.counts[after.values == 0].sum() / after.counts.sum()),
        "mean_magnitude": float((sizes * counts).sum() / total) if total else 0.0,
        "largest_magnitude": float(sizes.max(initial=0.0)),
    }


def _after(step: Step) -> Measured:
    if step.after is None:
        raise RuntimeError(f"iteration {step.k} was not measured")
    return step.after


def _table(record: Mapping[str, Any], letter: str, label: str) -> NumberTable:
    rows = [
        (
            f"{name}, k = {step['k']}",
            value(step["theta"]),
            share(step["nearly_zero"]),
            share(step["exactly_zero"]),
            value(step["mean_magnitude"]),
            value(step["largest_magnitude"]),
        )
        for name, of in record.items()
        for step in of["codes"][letter]
    ]
    heads = ("", "theta", "nearly zero", "zero", "mean of others", "largest")
    return NumberTable(f"{letter}: {label}, after the threshold", heads, tuple(rows))


def _sparsity(record: Mapping[str, Any]) -> LineRow:
    """Return nearly zero shares and mean magnitudes over k, a line for each network and block."""

    def lines(key: str) -> tuple[Line, ...]:
        return tuple(
            Line(f"{name}, {letter}", [step[key] for step in steps], 0, color, marker)
            for color, (name, of) in zip(COLORS, record.items(), strict=True)
            for marker, (letter, steps) in zip("osD", of["codes"].items(), strict=True)
        )

    return LineRow(
        panels=(
            LinePanel("share nearly zero", lines("nearly_zero")),
            LinePanel("mean magnitude of the others", lines("mean_magnitude")),
        ),
        x_label="iteration k",
        ticks=max(of["iterations"] for of in record.values()) + 1,
        scale="nearly zero: |x| < theta_k / 100",
    )


def _histograms(traces: Mapping[str, PairTrace], letter: str, label: str) -> HistogramRow:
    """Return the histogram of x_k after its threshold for each k; an inset enlarges zero."""
    blocks = {name: trace.blocks[letter].steps for name, trace in traces.items()}
    panels = []
    for k in range(max(map(len, blocks.values()))):
        there = {name: steps[k] for name, steps in blocks.items() if k < len(steps)}
        zoom = ZOOM * max(step.theta for step in there.values())
        panels.append(
            HistogramPanel(
                title=f"k = {k}",
                distributions=tuple(
                    Distribution(name, _after(step).values, _after(step).counts, color)
                    for (name, step), color in zip(there.items(), COLORS, strict=False)
                ),
                reach=2 * zoom,
                inset=(-zoom, zoom),
            )
        )
    return HistogramRow(
        f"{letter}: {label}, after each threshold",
        tuple(panels),
        "shares on a logarithmic scale; the inset enlarges the values around zero",
    )


COMPARER = Comparer(FILES, count_compared, compare)
