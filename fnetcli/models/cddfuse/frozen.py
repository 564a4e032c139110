"""CDDFuse on tiles: with attention matrices of the whole scene, a pixel depends on few others.

With its matrices given, a fused pixel sees `config.frozen_reach` pixels (27 by default), so tiles
with that margin agree where they meet, without seams. The matrices come from the whole picture made
smaller: an approximation, since the sums over pixels of a smaller picture are not quite the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fnetcli.models.cddfuse.network import CDDFuse, ChannelAttention


@contextmanager
def frozen_attention(network: CDDFuse, first: Tensor, second: Tensor) -> Iterator[CDDFuse]:
    """Let the network use, inside the context, the attention matrices of one pair (1, 1, H, W).

    Each pair that goes through inside must be a single one, too: a tile of the scene.
    """
    if len(first) != 1 or len(second) != 1:
        raise ValueError("attention is frozen for one pair at a time")
    attentions = [m for m in network.modules() if isinstance(m, ChannelAttention)]
    for attention in attentions:
        attention.is_recording = True
    try:
        with torch.no_grad():
            network(first, second)
        for attention in attentions:
            attention.is_recording = False
        yield network
    finally:
        for attention in attentions:
            attention.is_recording, attention.frozen = False, None
