"""The inspector of any model: its outputs, and how the fused image differs from the sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import Weights
from fnetcli.engine import Fusion, Maps, Wanted
from fnetcli.inspection.base import (
    Findings,
    InspectOptions,
    Looking,
    Map,
    NumberTable,
    Owner,
    ShownFeature,
    ShownMap,
    WeightsFacts,
    Words,
)
from fnetcli.inspection.features import Channels, Summary, beyond_notice, limit_values, summarise
from fnetcli.inspection.figures import (
    ChannelSheet,
    Distribution,
    FigureData,
    HistogramPanel,
    HistogramRow,
    MapRow,
    NormRow,
)
from fnetcli.inspection.numbers import (
    correlation,
    measure_clipping,
    measure_parts,
    measure_source,
    root_mean_square,
)
from fnetcli.inspection.tables import clipping_sentence, parts_table, sources_table, worded
from fnetcli.inspection.weights import weights_facts
from fnetcli.inspection.wording import (
    amount,
    by_modality,
    label_of,
    share,
    value,
    with_modalities,
)
from fnetcli.products import CLASS_MAPS

Modalities = tuple[str, str]

STRONGEST = 3  # channels that are named
COLORS = ("#b2182b", "#2166ac", "#4d4d4d", "#1b7837", "#762a83", "#b35806", "#01665e", "#8c510a")


class GenericInspector:
    """Inspects the outputs of any network."""

    iterates = False
    weights_pictures: tuple[str, ...] = ()

    def __init__(self, weights: Weights) -> None:
        network = weights.network
        self._weights = weights
        self._spec = network.spec
        self._maps = network.spec.maps(network.config)
        self._features = network.spec.features(network.config)

    @property
    def pair_pictures(self) -> tuple[str, ...]:
        """See `Inspector`."""
        return (
            *["features.png"] * bool(self._features),
            *["parts.png"] * bool(self._spec.parts),
            *["maps.png"] * bool(self._maps),
            *("differences.png", "histograms.png"),
            *(f"feature_{name}.png" for name in self._features),
        )

    def count_steps(self, options: InspectOptions) -> int:
        """See `Inspector`."""
        del options
        return 1 + len(self._features)

    def features_bytes(self, shape: tuple[int, ...], options: InspectOptions) -> int:
        """See `Inspector`."""
        kept = sum(self._features.values()) if options.with_features else 0
        maps = 1 + len(self._spec.parts) + len(self._maps) + len(self._features)
        return math.prod(shape) * (kept * 2 + maps * 4)

    def look(self, looking: Looking) -> Findings:
        """See `Inspector`."""
        first, second = looking.luminances
        wanted = Wanted(parts=True, maps=bool(self._maps), features=bool(self._features))
        fusion = looking.engine.run(first[None], second[None], wanted, looking.allocate)
        looking.on_step()
        features, notices = dict[str, _Feature](), []
        for name, values in fusion.features.items():
            beyond = limit_values(values[0], "features")
            if beyond:
                notices.append(beyond_notice(f"feature {name}", beyond))
            features[name] = _Feature(values[0], summarise(values[0]))
            looking.on_step()
        seen = _Seen(looking.modalities, first, second, fusion, features)
        record = {"model": self._spec.name, **_record(seen)}
        return Findings(
            fusion=fusion,
            maps=seen.maps,
            features={name: one.shown(name) for name, one in features.items()},
            arrays=_arrays(seen, with_features=looking.options.with_features),
            record=record,
            numbers=_page_numbers(record),
            tables=_tables(record, looking.modalities),
            sentences=(clipping_sentence(record),),
            figures=_figures(seen),
            plots=_plots(seen),
            words=_words(self._spec.title, seen),
            notices=tuple(notices),
        )

    def facts(self) -> WeightsFacts:
        """See `Inspector`; parameters are grouped by the first word of their tensors' names."""
        facts = weights_facts(self._weights, lambda name: name.partition(".")[0])
        others = {key: one for key, one in facts.other_metadata.items() if key != "model"}
        return replace(facts, other_metadata=others)

    def weights_figures(self) -> dict[str, FigureData]:
        """See `Inspector`; no figure is meaningful for every model."""
        return {}


# --- the outputs ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Feature:
    """A feature (C, H, W) and its summary."""

    values: Channels
    summary: Summary

    def shown(self, name: str) -> ShownFeature:
        """Return the feature for the page."""
        return ShownFeature(
            label=label_of(name),
            thumbnails=self.summary.thumbnails,
            shape=self.values.shape,
            energies=self.summary.energies,
            owner=_owner(name),
        )


@dataclass(frozen=True)
class _Seen:
    """A pair and the network's outputs for it."""

    modalities: Modalities
    first: Map
    second: Map
    fusion: Fusion[Maps]
    features: Mapping[str, _Feature]

    @property
    def fused(self) -> Map:
        """The fused luminance (H, W), not clipped."""
        fused: Map = self.fusion.fused[0]
        return fused

    @property
    def differences(self) -> dict[str, Map]:
        """The fused luminance minus each source."""
        return {
            "difference_first": self.fused - self.first,
            "difference_second": self.fused - self.second,
        }

    @property
    def maps(self) -> dict[str, ShownMap]:
        """Parts, maps and differences."""
        parts = {
            name: ShownMap(label_of(name), "a part of the sum", one[0], _owner(name), is_part=True)
            for name, one in self.fusion.parts.items()
        }
        maps = {name: _shown_map(name, one[0]) for name, one in self.fusion.maps.items()}
        words = {"first": "{first}", "second": "{second}"}
        differences = {
            name: ShownMap(
                f"fused \u2212 {words[_place(name)]}", "what fusing adds", one, _owner(name)
            )
            for name, one in self.differences.items()
        }
        return {**parts, **maps, **differences}

    def named(self, label: str) -> str:
        """Return a label for a figure."""
        return with_modalities(label, self.modalities)


def _shown_map(name: str, values: Map) -> ShownMap:
    is_signed = bool(values.min() < 0)
    hint = "a map of the network"
    return ShownMap(label_of(name), hint, values, _owner(name), is_signed=is_signed)


def _place(name: str) -> str:
    return name.rpartition("_")[2]


def _owner(name: str) -> Owner:
    match _place(name):
        case "first":
            return "first"
        case "second":
            return "second"
        case "common":
            return "common"
        case _:
            return "other"


def _arrays(seen: _Seen, *, with_features: bool) -> dict[str, NDArray[Any]]:
    """Return the content of the file of numbers; docs/outputs.md lists it."""
    found: dict[str, NDArray[Any]] = {"fused": seen.fused}
    for images in (seen.fusion.parts, seen.fusion.maps):
        found |= {name: one[0] for name, one in images.items()}
    for name, feature in seen.features.items():
        if with_features:
            found[name] = feature.values
        found[f"{name}_energy"] = feature.summary.energies.astype(np.float32)
        found[f"{name}_energy_map"] = feature.summary.energy_map
    return found


# --- numbers --------------------------------------------------------------------------------------


def _record(seen: _Seen) -> dict[str, Any]:
    """Return all numbers, ready for JSON, under the names of modalities."""
    first, second, names = seen.first, seen.second, seen.modalities
    sources = {"first": asdict(measure_source(first)), "second": asdict(measure_source(second))}
    fused = {
        **_range(seen.fused),
        "correlation_with_first": correlation(seen.fused, first),
        "correlation_with_second": correlation(seen.fused, second),
        "difference_first": root_mean_square(seen.fused - first),
        "difference_second": root_mean_square(seen.fused - second),
    }
    images = {name: part[0] for name, part in seen.fusion.parts.items()}
    parts = {
        name: by_modality(asdict(numbers), names)
        for name, numbers in measure_parts(images, first, second).items()
    }
    maps = {name: _range(one[0]) for name, one in seen.fusion.maps.items()}
    features = {name: _measured(one.summary) for name, one in seen.features.items()}
    clipping = measure_clipping(seen.fused)
    return {
        "sources": by_modality(sources, names),
        "fused": by_modality(fused, names),
        "parts": by_modality(parts, names),
        "maps": by_modality(maps, names),
        "features": by_modality(features, names),
        "clipped": clipping.total,
        "clipped_below": clipping.below,
        "clipped_above": clipping.above,
    }


def _range(values: Map) -> dict[str, Any]:
    return {
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
    }


def _measured(summary: Summary) -> dict[str, Any]:
    energies = [float(energy) for energy in summary.energies]
    return {
        "channels": len(energies),
        "energy": float(summary.energies.sum()),
        "largest": float(summary.peaks.max()),
        "energy_per_channel": energies,
    }


def _tables(record: Mapping[str, Any], modalities: Modalities) -> tuple[NumberTable, ...]:
    fused = record["fused"]
    tables = [
        sources_table(record["sources"]),
        NumberTable(
            "fused: range, correlation with each source, root mean square of the difference",
            (
                *("", "lowest", "highest"),
                *(f"{word} {one}" for word in ("with", "minus") for one in modalities),
            ),
            (("fused", *(value(fused[key]) for key in fused if key != "mean")),),
        ),
    ]
    if record["parts"]:
        tables.append(parts_table(record["parts"], modalities))
    if record["maps"]:
        rows = tuple((name, *map(value, of.values())) for name, of in record["maps"].items())
        tables.append(NumberTable("maps: range", ("", "lowest", "highest", "mean"), rows))
    if record["features"]:
        tables.append(_features_table(record["features"]))
    return tuple(tables)


def _features_table(features: Mapping[str, Mapping[str, Any]]) -> NumberTable:
    rows = []
    for name, of in features.items():
        energies = np.array(of["energy_per_channel"])
        order = np.argsort(-energies, kind="stable")
        total = float(energies.sum())
        rows.append(
            (
                name,
                f"{of['channels']:,}",
                amount(of["energy"]),
                value(of["largest"]),
                " ".join(str(channel) for channel in order[:STRONGEST]),
                share(float(energies[order[:STRONGEST]].sum()) / total if total > 0 else None),
            )
        )
    title = "features: sum of squares, largest magnitude, the channels with the most energy"
    heads = ("", "channels", "energy", "largest", "strongest", "have")
    return NumberTable(title, heads, tuple(rows))


def _page_numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    features = {
        name: {key: of[key] for key in ("channels", "energy", "largest")}
        for name, of in record["features"].items()
    }
    return {
        "Fused": worded({"fused": record["fused"]})["fused"],
        "Parts": worded(record["parts"]),
        "Maps": worded(record["maps"]),
        "Features": worded(features),
        "Sources": worded(record["sources"]),
        "The pair": {"fused pixels clipped": share(record["clipped"])},
    }


# --- figures and words ----------------------------------------------------------------------------


def _figures(seen: _Seen) -> dict[str, FigureData]:
    found: dict[str, FigureData] = {}
    if seen.features:
        lengths = {
            seen.named(label_of(name)): np.sqrt(one.summary.energy_map)
            for name, one in seen.features.items()
        }
        meaning = "L2 norm over the channels"
        found["features.png"] = NormRow("Features", lengths, meaning)
    shown = seen.maps
    parts = {name: one for name, one in shown.items() if one.is_part}
    if parts:
        found["parts.png"] = _row(seen, parts, "Parts: they sum to the fused luminance")
    if seen.fusion.maps:
        maps = {name: shown[name] for name in seen.fusion.maps}
        row = _row(seen, maps, "Maps of the network")
        found["maps.png"] = replace(row, has_own_scales=True)
    differences = {name: shown[name] for name in seen.differences}
    found["differences.png"] = _row(seen, differences, "The fused luminance minus each source")
    found["histograms.png"] = _histograms(seen)
    for name, one in seen.features.items():
        title = seen.named(label_of(name))
        summary = one.summary
        found[f"feature_{name}.png"] = ChannelSheet(title, summary.thumbnails, summary.energies)
    return found


def _row(seen: _Seen, maps: Mapping[str, ShownMap], title: str) -> MapRow:
    labelled = {seen.named(one.label): one.values for one in maps.values()}
    return MapRow(title, labelled, any(one.is_signed for one in maps.values()))


def _histograms(seen: _Seen) -> HistogramRow:
    first, second = seen.modalities
    luminances = {"fused": seen.fused, first: seen.first, second: seen.second}
    others = {
        seen.named(label_of(name)): one[0]
        for images in (seen.fusion.parts, seen.fusion.maps)
        for name, one in images.items()
        if name not in CLASS_MAPS
    }
    panels = [_panel("luminance", luminances)]
    panels += [_panel("parts and maps", others)] if others else []
    scale = "shares of the pixels; luminance is clipped to 0 ... 1 when it is stored"
    return HistogramRow("Histograms", tuple(panels), scale)


def _panel(title: str, images: Mapping[str, Map]) -> HistogramPanel:
    distributions = [
        Distribution(label, values, color=COLORS[i % len(COLORS)])
        for i, (label, values) in enumerate(images.items())
    ]
    low = min(0.0, *(float(values.min()) for values in images.values()))
    high = max(1.0, *(float(values.max()) for values in images.values()))
    return HistogramPanel(title, tuple(distributions), (0.0, 1.0), span=(low, high))


def _plots(seen: _Seen) -> dict[str, str]:
    features = {"features.png": "Features: L2 norm over the channels"} if seen.features else {}
    return {**features, "histograms.png": "Histograms of sources and outputs"}


def _words(title: str, seen: _Seen) -> Words:
    count = len(seen.fusion.parts)
    made = f"the sum of its {count} parts" if count else "the output of the network"
    scales = (
        "Luminance ranges from 0, black, to 1, white; the fused luminance is clipped when it is "
        "stored. Differences are the fused luminance minus that of a source. Zero is in the middle "
        "of the scale of signed maps, and black in others."
    )
    reading = [title, scales]
    if count:
        names = " + ".join(label_of(name) for name in seen.fusion.parts)
        reading.insert(1, f"fused = {names}")
    return Words(
        maps="What the network separated" if count else "Outputs of the network",
        fused=made,
        reading=tuple(reading),
    )
