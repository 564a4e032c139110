"""The published checkpoint's names of an FNet's tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fnetcli.models.base import HasShape, TensorLayout
from fnetcli.models.fnet.config import FNetConfig


def _config(tensors: Mapping[str, HasShape], _metadata: Mapping[str, Any]) -> FNetConfig:
    atoms, _, _, kernel_size = tensors["net_u.x0_block.conv_in.weight"].shape
    later = [re.match(r"net_u\.IM\.(\d+)\.", name) for name in tensors]
    return FNetConfig(
        atoms=atoms,
        kernel_size=kernel_size,
        iterations=2 + max((int(match[1]) for match in later if match), default=-1),
    )


def _keys(config: FNetConfig) -> dict[str, str]:
    """Our key -> the published one; docs/math.md has the same table in the paper's symbols."""
    keys = {
        "explain_u.weight": "conv_u.weight",
        "explain_v.weight": "conv_v.weight",
        "reconstruct_u.weight": "decoder.conv_1.weight",
        "reconstruct_z.weight": "decoder.conv_2.weight",
        "reconstruct_v.weight": "decoder.conv_3.weight",
    }
    for block in "uvz":
        ours, theirs = f"encode_{block}", f"net_{block}"
        for name in ("w_theta", "b_theta"):
            keys[f"{ours}.{name}"] = f"{theirs}.{name}"
        for name in ("w_rho", "b_rho"):
            keys[f"{ours}.{name}"] = f"{theirs}.{name.replace('rho', 'ro')}"
        for k in range(config.iterations + 1):
            step, room = f"{ours}.iterations.{k}", f"{theirs}.x{k}_block"
            if k > 1:
                room = f"{theirs}.IM.{k - 2}"
            keys[f"{step}.encode.weight"] = f"{room}.conv_in.weight"
            for i in range(min(k, 2)):
                layer = f"{room}.basic_layer{i + 1 if k > 1 else ''}"
                keys[f"{step}.residuals.{i}.synthesis.weight"] = f"{layer}.ch_down.weight"
                keys[f"{step}.residuals.{i}.analysis.weight"] = f"{layer}.ch_up.weight"
    return keys


PUBLISHED = TensorLayout(
    name="published",
    matches=lambda names: any(name.startswith(("net_u.", "net_v.", "net_z.")) for name in names),
    config=_config,
    keys=_keys,
)
