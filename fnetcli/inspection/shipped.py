"""Descriptions of the weights that ship with fnet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fnetcli.checkpoints.loading import load_weights
from fnetcli.checkpoints.shipped import DEFAULT_NAME, shipped_weights

# For files whose metadata lack `trained_for`.
TRAINED_FOR = {"fnet": ["vis+ir"]}


@dataclass(frozen=True)
class Card:
    """One file of weights; `size` is in bytes, `trained_for` names pairs of modalities."""

    name: str
    model: str
    trained_for: list[str]
    size: int
    sha256: str
    is_default: bool

    def record(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def shipped_cards() -> list[Card]:
    """Return a card for each of the shipped weights, by name. Raise CheckpointError."""
    cards = []
    for name, path in shipped_weights().items():
        weights = load_weights(path)
        pairs = weights.metadata.get("trained_for", TRAINED_FOR.get(name, []))
        cards.append(
            Card(
                name=name,
                model=weights.network.spec.name,
                trained_for=[str(pair) for pair in pairs],
                size=path.stat().st_size,
                sha256=weights.sha256,
                is_default=name == DEFAULT_NAME,
            )
        )
    return cards
