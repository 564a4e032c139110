"""UAAFusion's inspector: what the segmentation network preferred where, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import (
    Findings,
    Looking,
    Map,
    NumberTable,
    WeightsFacts,
    Words,
)
from fnetcli.inspection.figures import ClassMaps, FigureData, Line, LinePanel, LineRow, MapRow
from fnetcli.inspection.generic import GenericInspector
from fnetcli.inspection.numbers import root_mean_square
from fnetcli.inspection.wording import decimals, label_of, share, value, with_modalities
from fnetcli.models.uaafusion.config import UAAFusionConfig

SEGMENTATION = "segmentation"
NEUTRAL = 0.5  # a gate where S prefers nothing
DECIDING = (
    "UAAFusion asks a segmentation network S what it sees, and which picture that rests on. The "
    "weight of {first}, w, is 1 where S's decision for a region rests on {first} alone, 0 where it "
    "rests on {second} alone, and 1/2 where neither helps. It is constant on each region that S "
    "finds in the mean of both pictures, and enters the data term that each stage descends:"
)
STEPPING = (
    "A learned step follows, steered by attention: above 1/2 where what the stages before have "
    "changed helped S, below where it hurt. Stages are the fused picture after each step; the last "
    "one is the result. The memory is what a stage hands to the next. Classes are guesses of S, as "
    "good as its training: they are what the network believes, not what is there."
)
DESCENT = "r = f \u2212 \u03b1 (f \u2212 (w {first} + (1 \u2212 w) {second}))"


@dataclass(frozen=True)
class UAAFusionFacts(WeightsFacts):
    """What is known of a UAAFusion."""

    alpha: list[float]  # length of each stage's step on the data term

    @property
    def series(self) -> dict[str, list[float]]:
        """The lengths of the steps."""
        return {"alpha_k": self.alpha}


class UAAFusionInspector(GenericInspector):
    """Looks into a UAAFusion."""

    weights_pictures = ("steps.png",)

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self._config: UAAFusionConfig = weights.network.config

    @property
    def pair_pictures(self) -> tuple[str, ...]:
        """See `Inspector`; what is alike has a picture of its own."""
        attention = ("attention.png",) if self._config.stages > 1 else ()
        own = ("weights.png", *attention, "stages.png", "segmentation.png")
        return (*own, *(name for name in super().pair_pictures if name != "maps.png"))

    def look(self, looking: Looking) -> Findings:
        """See `Inspector`."""
        found, names = super().look(looking), looking.modalities
        maps = {role: one[0] for role, one in found.fusion.maps.items()}
        classes = self._measure_classes(maps, names)
        changes = self._measure_changes(maps, looking)
        figures = {name: one for name, one in found.figures.items() if name != "maps.png"}
        return replace(
            found,
            maps={
                name: replace(one, hint=self._hint(name)) if name in maps else one
                for name, one in found.maps.items()
            },
            record={**found.record, "classes": classes, "stages": changes},
            numbers={"Classes": classes, "Stages": changes, **found.numbers},
            tables=(*found.tables, _classes_table(classes, names), _stages_table(changes)),
            figures={**self._figures(maps, names), **figures},
            plots={"segmentation.png": "What S sees in the fused picture", **found.plots},
            words=Words(
                maps="Weights, attention, stages and classes",
                fused="what the last stage made",
                reading=(DECIDING, DESCENT, STEPPING),
                channels="Memory",
                channels_hint="What the last stage has of the stages before it: the long memory "
                "through its gates, the short one directly. Choose a channel to see it large.",
            ),
        )

    def facts(self) -> UAAFusionFacts:
        """See `Inspector`; S counts as one group."""
        alpha = self._weights.network.arrays["alpha"]
        return UAAFusionFacts(**vars(super().facts()), alpha=[float(one) for one in alpha])

    def weights_figures(self) -> dict[str, FigureData]:
        """See `Inspector`: how far each stage follows the weighted pictures."""
        panel = LinePanel(
            "length of the step on the data term", (Line("\u03b1", self.facts().alpha),)
        )
        scale = "0: stays where it was; 1: goes to the weighted mean of both pictures"
        return {"steps.png": LineRow((panel,), "stage k", self._config.stages, scale)}

    # --- numbers ---

    def _class_name(self, number: int) -> str:
        names = self._config.class_names
        return names[number] if names else f"class {number}"

    def _measure_classes(self, maps: Mapping[str, Map], names: tuple[str, str]) -> dict[str, Any]:
        """Return each found class's share of the pixels and the mean weights of the sources."""
        numbers = maps[SEGMENTATION].astype(np.intp).ravel()
        counts = np.bincount(numbers, minlength=self._config.classes)
        weights = np.bincount(numbers, maps["weight_first"].ravel(), self._config.classes)
        first, second = names
        found: dict[str, Any] = {}
        for number in np.flatnonzero(counts):
            mean = float(weights[number] / counts[number])
            found[self._class_name(int(number))] = {
                "share": float(counts[number] / numbers.size),
                f"weight_{first}": mean,
                f"weight_{second}": 1 - mean,
            }
        return found

    def _measure_changes(self, maps: Mapping[str, Map], looking: Looking) -> dict[str, Any]:
        """Return how far each stage moves the estimate, and how far its attention is from 1/2."""
        first, second = looking.luminances
        before: Map = (first + second) / np.float32(2)
        found: dict[str, Any] = {}
        for k in range(self._config.stages):
            after = maps[f"stage_{k + 1}"]
            gate = maps.get(f"attention_{k}")
            attention = 0.0 if gate is None else float(np.abs(gate - NEUTRAL).mean())
            found[f"stage_{k + 1}"] = {
                "change": root_mean_square(after - before),
                "attention": attention,
            }
            before = after
        return found

    # --- pictures ---

    def _hint(self, name: str) -> str:
        match name.partition("_")[0]:
            case "weight":
                return "how far the data term follows this picture"
            case "stage":
                return "the fused picture after this stage"
            case "attention":
                return "1/2 where S prefers nothing"
            case _:
                known = ", ".join(
                    f"{number} {self._class_name(number)}" for number in range(self._config.classes)
                )
                return f"numbers of classes: {known}"

    def _figures(self, maps: Mapping[str, Map], names: tuple[str, str]) -> dict[str, FigureData]:
        def those(start: str, shift: float = 0.0) -> dict[str, Map]:
            return {
                with_modalities(label_of(role), names): one - np.float32(shift)
                for role, one in maps.items()
                if role.startswith(start)
            }

        found: dict[str, FigureData] = {
            "weights.png": MapRow(
                "Weights of the sources, by attribution", those("weight"), are_signed=False
            ),
            "stages.png": MapRow("The estimate after each stage", those("stage"), are_signed=False),
            "segmentation.png": ClassMaps(
                "Classes that S finds in the fused picture",
                {"segmentation": maps[SEGMENTATION].astype(np.intp)},
                {number: self._class_name(number) for number in range(self._config.classes)},
            ),
        }
        attention = those("attention", NEUTRAL)
        if attention:
            title = "Attention of the stages, without 1/2: what helped S is bright"
            found["attention.png"] = MapRow(title, attention)
        return found


def _classes_table(classes: Mapping[str, Any], names: tuple[str, str]) -> NumberTable:
    rows = tuple(
        (name, share(of["share"]), *(value(of[f"weight_{one}"]) for one in names))
        for name, of in classes.items()
    )
    title = "classes: share of the pixels of the fused picture, mean weight of each source"
    return NumberTable(title, ("", "share", *(f"w {name}" for name in names)), rows)


def _stages_table(changes: Mapping[str, Any]) -> NumberTable:
    rows = tuple(
        (name, decimals(of["change"], 4), decimals(of["attention"], 4))
        for name, of in changes.items()
    )
    title = "stages: root mean square of the change, mean distance of the attention from 1/2"
    return NumberTable(title, ("", "change", "attention"), rows)
