"""Facts that every weights file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import WeightsFacts
from fnetcli.models.base import config_values

KNOWN_METADATA = ("recipe", "trained", "scores")


def weights_facts(weights: Weights, group_of: Callable[[str], str]) -> WeightsFacts:
    """Return the facts; `group_of` returns the group of a tensor's parameters."""
    network, metadata = weights.network, dict(weights.metadata)
    known = {key: metadata.pop(key, None) for key in KNOWN_METADATA}
    counts = Counter[str]()
    for name, array in network.arrays.items():
        counts[group_of(name)] += array.size
    return WeightsFacts(
        name=weights.name,
        layout=weights.layout,
        sha256=weights.sha256,
        model=network.spec.name,
        config=config_values(network.config),
        parameters=dict(counts),
        parameter_count=network.parameter_count,
        multiply_adds=network.config.multiply_adds,
        reach=network.config.reach,
        **known,
        other_metadata=metadata,
        notices=[*weights.notices(), *weights.warnings()],
    )
