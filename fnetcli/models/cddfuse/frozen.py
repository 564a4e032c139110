"""CDDFuse on tiles: with attention matrices of the whole scene, a pixel depends on few others.

With its matrices given, a fused pixel sees `config.frozen_reach` pixels (27 by default), so tiles
with that margin agree where they meet, without seams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from fnetcli.models.cddfuse.network import ChannelAttention


@contextmanager
def frozen(attentions: Sequence[ChannelAttention], matrices: Sequence[Tensor]) -> Iterator[None]:
    """Let attentions use these matrices inside the context, (N, C, C) each, not their own."""
    for attention, matrix in zip(attentions, matrices, strict=True):
        attention.frozen = matrix
    try:
        yield
    finally:
        for attention in attentions:
            attention.frozen = None
