"""CDDFuse's inspector: what both sources share, what each has of its own, and how well apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fnetcli.inspection.base import (
    Findings,
    InspectOptions,
    Looking,
    NumberTable,
    ShownFeature,
    Words,
)
from fnetcli.inspection.cddfuse.numbers import KINDS, Decomposition, measure_decomposition
from fnetcli.inspection.cddfuse.weights import (
    KERNELS,
    TEMPERATURES,
    CDDFuseFacts,
    cddfuse_facts,
    cddfuse_weights_figures,
)
from fnetcli.inspection.figures import FigureData, Line, LinePanel, LineRow, NormRow
from fnetcli.inspection.generic import GenericInspector
from fnetcli.inspection.wording import by_modality, value
from fnetcli.modalities import shown_name

Modalities = tuple[str, str]

WISHED = {"base": 1, "detail": 0}  # correlations
COLORS = {"base": "#2166ac", "detail": "#b2182b"}
MEANING = "L2 norm over the {count} channels"

_IDEA = (
    "CDDFuse encodes both pictures with one network. Base features are global: both sensors should "
    "agree on them. Detail features are local, edges and texture, and differ between sensors. "
    "Training makes the base features of {first} and {second} correlated and the detail features "
    "uncorrelated. Features of a kind are added and pass a layer of their own, and a decoder "
    "computes the picture:"
)
_FORMULA = (
    "fused = Decoder(BaseFuse(base of {first} + base of {second}), "
    "DetailFuse(detail of {first} + detail of {second}))"
)
_SCALES = (
    "The picture is not a sum of parts: features pass a nonlinear decoder, so no part can be "
    "scaled. Shown is the network's output, without the stretch that the published program applies "
    "to each picture. Luminance runs from 0, black, to 1, white; differences have zero in "
    "the middle of their scale."
)
WORDS = Words(
    maps="What fusing adds",
    fused="what the decoder made",
    reading=(_IDEA, _FORMULA, _SCALES),
    channels="Base and detail features",
    channels_hint="Every channel of the base and detail features of both pictures has a map. "
    "Choose one to see it large. A channel of the base features should look alike in both "
    "pictures, a channel of the detail features should not.",
)


class CDDFuseInspector(GenericInspector):
    """Looks into a CDDFuse."""

    weights_pictures = (TEMPERATURES, KERNELS)

    @property
    def pair_pictures(self) -> tuple[str, ...]:
        """See `Inspector`."""
        general = (name for name in super().pair_pictures if name != "features.png")
        return ("base.png", "detail.png", "agreement.png", *general)

    def count_steps(self, options: InspectOptions) -> int:
        """See `Inspector`."""
        return super().count_steps(options) + 2 * len(KINDS)

    def look(self, looking: Looking) -> Findings:
        """See `Inspector`."""
        options = looking.options
        with_all = replace(looking, options=replace(options, with_features=True))
        general = super().look(with_all)
        names = list(general.features)
        found = measure_decomposition(
            {name: general.arrays[name] for name in names},
            {name: general.arrays[f"{name}_energy_map"] for name in names},
            looking.on_step,
        )
        left_out = () if options.with_features else names
        arrays = {name: one for name, one in general.arrays.items() if name not in left_out}
        numbers = _record(found, looking.modalities)
        page = _page_numbers(found, looking.modalities)
        return replace(
            general,
            features=_shown(general.features),
            arrays=arrays | _arrays(found),
            record={**general.record, "decomposition": numbers},
            numbers={"Decomposition": page, **general.numbers},
            tables=(*general.tables, *_tables(found, looking.modalities)),
            sentences=(_sentence(found), *general.sentences),
            figures=_figures(general, found, looking.modalities),
            plots={
                "base.png": "Base features of both: L2 norm over the channels",
                "detail.png": "Detail features of both: L2 norm over the channels",
                "agreement.png": "Correlation of both sources, channel by channel",
                "histograms.png": general.plots["histograms.png"],
            },
            words=WORDS,
        )

    def facts(self) -> CDDFuseFacts:
        """See `Inspector`."""
        return cddfuse_facts(self._weights)

    def weights_figures(self) -> dict[str, FigureData]:
        """See `Inspector`."""
        return cddfuse_weights_figures(self._weights)


def _shown(features: Mapping[str, ShownFeature]) -> dict[str, ShownFeature]:
    symbols = {"base_first": "B1", "base_second": "B2", "detail_first": "D1", "detail_second": "D2"}
    return {name: replace(one, symbol=symbols[name]) for name, one in features.items()}


def _arrays(found: Decomposition) -> dict[str, Any]:
    """Return the correlations for the file of numbers; of a constant channel NaN."""
    return {
        f"{kind}_correlation": np.array(
            [np.nan if one is None else one for one in of.per_channel], np.float32
        )
        for kind, of in found.agreement.items()
    }


# --- numbers --------------------------------------------------------------------------------------


def _record(found: Decomposition, modalities: Modalities) -> dict[str, Any]:
    record = found.record()
    return {**record, "features": by_modality(record["features"], modalities)}


def _tables(found: Decomposition, modalities: Modalities) -> tuple[NumberTable, ...]:
    agreement = []
    for kind, of in found.agreement.items():
        known = sorted(one for one in of.per_channel if one is not None)
        ends = (known[0], known[-1]) if known else (None, None)
        agreement.append((kind, *map(value, (of.mean, *ends, of.of_norms))))
    features = [
        (shown_name(name, modalities), value(of.mean_norm), value(of.roughness))
        for name, of in found.features.items()
    ]
    first, second = modalities
    return (
        NumberTable(
            f"correlation of {first} and {second}: mean over channels, lowest, highest, of norms",
            ("", "mean", "lowest", "highest", "of norms"),
            tuple(agreement),
        ),
        NumberTable(
            "features: mean L2 norm over the channels; roughness (0 smooth, 1 noise)",
            ("", "norm", "roughness"),
            tuple(features),
        ),
    )


def _sentence(found: Decomposition) -> str:
    return f"decomposition loss, cc(detail)^2 / (1.01 + cc(base)): {found.loss:.4g}"


def _page_numbers(found: Decomposition, modalities: Modalities) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        f"correlation of {kind} features": of.mean for kind, of in found.agreement.items()
    }
    numbers |= {
        f"correlation of norms, {kind}": of.of_norms for kind, of in found.agreement.items()
    }
    for name, of in found.features.items():
        shown = shown_name(name, modalities).replace("_", " ")
        numbers[f"mean norm, {shown}"] = of.mean_norm
        numbers[f"roughness, {shown}"] = of.roughness
    return {**numbers, "decomposition loss": found.loss}


# --- figures --------------------------------------------------------------------------------------


def _figures(
    general: Findings, found: Decomposition, modalities: Modalities
) -> dict[str, FigureData]:
    figures = {name: one for name, one in general.figures.items() if name != "features.png"}
    for kind in KINDS:
        norms = {
            f"{kind} of {modality}": np.sqrt(general.arrays[f"{kind}_{place}_energy_map"])
            for place, modality in zip(("first", "second"), modalities, strict=True)
        }
        count = len(found.agreement[kind].per_channel)
        title = f"{kind.capitalize()} features"
        figures[f"{kind}.png"] = NormRow(title, norms, MEANING.format(count=count))
    figures["agreement.png"] = _agreement_row(found, modalities)
    return figures


def _agreement_row(found: Decomposition, modalities: Modalities) -> LineRow:
    first, second = modalities
    panels = []
    for kind, of in found.agreement.items():
        values = [one or 0.0 for one in of.per_channel]
        line = Line(f"{first} with {second}, mean {of.mean:.3f}", values, 0, COLORS[kind])
        panels.append(LinePanel(f"{kind} features: should be near {WISHED[kind]}", (line,)))
    return LineRow(
        panels=tuple(panels),
        x_label="channel",
        ticks=max(len(of.per_channel) for of in found.agreement.values()),
        scale="Pearson's correlation over the pixels; 0 where a channel is constant",
    )
