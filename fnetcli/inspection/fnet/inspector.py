"""FNet's inspector: its codes, parts and residuals."""

from __future__ import annotations

import math
from typing import Any

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import (
    Findings,
    InspectOptions,
    Looking,
    ShownFeature,
    ShownMap,
)
from fnetcli.inspection.figures import FigureData
from fnetcli.inspection.fnet.figures import pair_figures, weights_figures
from fnetcli.inspection.fnet.numbers import measure_pair
from fnetcli.inspection.fnet.tables import page_numbers, pair_record, pair_sentences, pair_tables
from fnetcli.inspection.fnet.trace import (
    PairTrace,
    TraceOptions,
    count_steps,
    features_arrays,
    trace_pair,
)
from fnetcli.inspection.fnet.weights import CheckpointFacts, checkpoint_facts, dictionaries
from fnetcli.inspection.fnet.words import PAGE_WORDS, PLOTS
from fnetcli.models.fnet.config import FNetConfig

MAPS = 3 + 2 + 3  # parts, residuals, energy maps


class FNetInspector:
    """Inspects an FNet."""

    pair_pictures = (
        *("features.png", "parts.png", "residuals.png", "histograms.png", "schedules.png"),
        *("code_u.png", "code_v.png", "code_z.png"),
    )
    weights_pictures = (
        *("schedules.png", "analysis_u.png", "analysis_v.png", "analysis_z.png"),
        *("synthesis_u.png", "synthesis_v.png", "synthesis_z.png"),
    )
    iterates = True

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._config: FNetConfig = weights.network.config

    def count_steps(self, options: InspectOptions) -> int:
        """See `Inspector`."""
        return count_steps(self._config, _traced(options))

    def features_bytes(self, shape: tuple[int, ...], options: InspectOptions) -> int:
        """See `Inspector`."""
        steps = 2 * (self._config.iterations + 1) if options.with_iterations else 0
        kept = 3 * (steps + options.with_features)
        total: int = math.prod(shape) * (kept * self._config.atoms * 2 + MAPS * 4)
        return total

    def look(self, looking: Looking) -> Findings:
        """See `Inspector`."""
        modalities = looking.modalities
        trace = trace_pair(
            looking.engine,
            *looking.luminances,
            _traced(looking.options),
            allocate=looking.allocate,
            on_step=looking.on_step,
        )
        record = pair_record(measure_pair(*looking.luminances, trace), modalities)
        return Findings(
            fusion=trace.fusion,
            maps=_maps(trace),
            features=self._features(trace),
            arrays=features_arrays(trace),
            record=record,
            numbers=page_numbers(record, modalities),
            tables=pair_tables(record, modalities),
            sentences=pair_sentences(record),
            figures=pair_figures(trace, self.facts().blocks, modalities),
            plots=PLOTS,
            words=PAGE_WORDS,
            notices=tuple(trace.notices()),
        )

    def facts(self) -> CheckpointFacts:
        """See `Inspector`."""
        return checkpoint_facts(self._weights)

    def weights_figures(self) -> dict[str, FigureData]:
        """See `Inspector`."""
        return weights_figures(dictionaries(self._weights.network), self.facts().blocks)

    def _features(self, trace: PairTrace) -> dict[str, ShownFeature]:
        painted = {
            one.block: one.stamps
            for one in dictionaries(self._weights.network)
            if one.symbol.startswith("G")
        }
        found: dict[str, Any] = {
            "u": ("unique to {first}", "first"),
            "v": ("unique to {second}", "second"),
            "z": ("common to both", "common"),
        }
        return {
            letter: ShownFeature(
                label=label,
                thumbnails=trace.blocks[letter].thumbnails,
                shape=(trace.config.atoms, *trace.residuals[0].shape),
                energies=trace.blocks[letter].energies,
                kernels=painted[letter],
                owner=owner,
                symbol=letter,
            )
            for letter, (label, owner) in found.items()
        }


def _traced(options: InspectOptions) -> TraceOptions:
    return TraceOptions(options.with_features, options.with_iterations)


def _maps(trace: PairTrace) -> dict[str, ShownMap]:
    unique_first, unique_second, common = trace.parts
    p1, p2 = trace.residuals
    return {
        "unique_first": ShownMap(
            "unique to {first}", "Gu \u2217 u", unique_first, "first", is_part=True
        ),
        "unique_second": ShownMap(
            "unique to {second}", "Gv \u2217 v", unique_second, "second", is_part=True
        ),
        "common": ShownMap("common to both", "Gz \u2217 z", common, "common", is_part=True),
        "p1": ShownMap("residual of {first}", "p1: what u leaves unexplained", p1, "first"),
        "p2": ShownMap("residual of {second}", "p2: what v leaves unexplained", p2, "second"),
    }
