"""What a weights file of CDDFuse says of itself: temperatures, couplings, kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import WeightsFacts
from fnetcli.inspection.figures import FigureData, KernelGrids, Line, LinePanel, LineRow
from fnetcli.inspection.weights import weights_facts
from fnetcli.models.base import Array, Arrays
from fnetcli.models.cddfuse.config import CDDFuseConfig

# Where the parameters of a tensor count, by how its name begins; the first that fits.
GROUPS = {
    "encoder.base.": "base",
    "encoder.detail.": "detail",
    "encoder.": "shallow",
    "base_fusion.": "base_fusion",
    "detail_fusion.": "detail_fusion",
    "decoder.": "decoder",
}
TEMPERATURES, KERNELS = "temperatures.png", "kernels.png"
MARKERS, COLORS = "osD^", ("#b2182b", "#2166ac", "#1b7837", "#762a83")


@dataclass(frozen=True)
class CDDFuseFacts(WeightsFacts):
    """What is known of a CDDFuse.

    `temperatures`: of every attention block, its factors by head, in the network's order. The
    larger one is, the more a channel attends to those that it is most like. `conditions`: of every
    coupling block, the largest singular value of its W over the smallest; the block is invertible,
    in practice, where that is far below 1e6.
    """

    temperatures: dict[str, list[float]]
    conditions: dict[str, float]

    @property
    def series(self) -> Mapping[str, Sequence[float]]:
        """See `WeightsFacts`."""
        named = {f"t {name}": values for name, values in self.temperatures.items()}
        return {**named, "conditions": list(self.conditions.values())}


def cddfuse_facts(weights: Weights) -> CDDFuseFacts:
    """Gather what there is to say of a weights file."""
    arrays = weights.network.arrays
    facts = weights_facts(weights, _group)
    others = {key: one for key, one in facts.other_metadata.items() if key != "model"}
    return CDDFuseFacts(
        **{**vars(facts), "other_metadata": others},
        temperatures=_temperatures(arrays),
        conditions={
            _label(name.removesuffix(".shuffle.weight")): _condition(array)
            for name, array in arrays.items()
            if name.endswith(".shuffle.weight")
        },
    )


def cddfuse_weights_figures(weights: Weights) -> dict[str, FigureData]:
    """Return temperatures by block, and the kernels that touch images, by file name."""
    arrays, config = weights.network.arrays, weights.network.config
    return {TEMPERATURES: _temperatures_row(arrays, config), KERNELS: _kernels(arrays)}


def _group(name: str) -> str:
    return next(group for start, group in GROUPS.items() if name.startswith(start))


def _temperatures(arrays: Arrays) -> dict[str, list[float]]:
    return {
        _label(name.removesuffix(".attention.temperature")): [float(value) for value in array]
        for name, array in arrays.items()
        if name.endswith(".attention.temperature")
    }


def _label(block: str) -> str:
    """Return what a block is called: `encoder.blocks.0` is "shallow 0"."""
    words = block.removeprefix("encoder.").split(".")
    part = "shallow" if words[0] == "blocks" else words[0]
    return " ".join([part, *(word for word in words if word.isdecimal())])


def _condition(shuffle: Array) -> float:
    values = np.linalg.svd(shuffle[:, :, 0, 0].astype(np.float64), compute_uv=False)
    return float(values[0] / max(values[-1], np.finfo(np.float64).tiny))


def _temperatures_row(arrays: Arrays, config: CDDFuseConfig) -> LineRow:
    """Return the temperatures by head, shallow blocks, base blocks and decoder apart."""
    panels: dict[str, list[Line]] = {"shallow": [], "base": [], "decoder": []}
    for name, values in _temperatures(arrays).items():
        lines = panels[name.partition(" ")[0].removesuffix("_fusion")]
        style = len(lines) % len(COLORS)
        lines.append(Line(name.replace("_", " "), values, 0, COLORS[style], MARKERS[style]))
    return LineRow(
        panels=tuple(
            LinePanel(f"{part}: attention temperature", tuple(lines), "this network has no block")
            for part, lines in panels.items()
        ),
        x_label="head",
        ticks=config.heads,
        scale="one line a block; the larger, the more a channel attends to those it is like",
    )


def _kernels(arrays: Arrays) -> KernelGrids:
    grids = (
        ("first convolution, image to channels", arrays["encoder.embed.weight"][:, 0]),
        ("last convolution, channels to image", arrays["decoder.output.weight"][0]),
    )
    return KernelGrids(
        "Kernels that touch images",
        tuple((label, np.ascontiguousarray(one, np.float32)) for label, one in grids),
    )
