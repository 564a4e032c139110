"""The published checkpoint of UAAFusion: its keys, its unused tensors, the rules it needs.

A dictionary of two plain state dicts, `model_f` (the fusion network) and `model_s` (S); names here
are those of both as one, "model_f.alpha". Unused are the memory of the last stage, the forget gate
and the hidden maps of the first and a module that nothing calls: 185,188 numbers of the published
1,010,380.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fnetcli.models.base import HasShape
from fnetcli.models.uaafusion.config import UAAFusionConfig

FUSION, SEGMENTATION = "model_f", "model_s"
COUNTER = "num_batches_tracked"  # of batch normalisation: the only whole numbers allowed

# What the released program computes with its weights, where our defaults depart from it.
PUBLISHED_RULES: dict[str, Any] = {
    "data_step": False,
    "attention": "raw",
    "path_rule": "right",
    "scores": "sigmoid",
    "segmentation": "mobilenet",
}

_UNITS = {  # of a stage: our name -> the published one
    "embed": "conv1",
    "join": "conv2",
    "attend": "conv3",
    "estimate": "conv4.0",
    "gather": "conv5",
    "recall": "conv6",
}
_LAYERS = {"first": "0", "activation": "1", "second": "2"}
_GATES = {"forget": "f", "input": "i", "output": "o", "candidate": "j"}
_SOURCES = {"from_input": "x", "from_hidden": "h"}
_SEGMENTATION = (  # our prefix of S's keys -> the published one
    (r"segmentation\.features\.0\.", "feature_extractor.features.0."),
    (r"segmentation\.features\.(\d+)\.layers\.", r"feature_extractor.features.\1.conv."),
    (r"segmentation\.shortcut\.", "shortcut_conv."),
    (r"segmentation\.head\.", "cat_conv."),
    (r"segmentation\.classify\.", "cls_conv."),
)


def published_config(tensors: Mapping[str, HasShape]) -> UAAFusionConfig:
    """Read the configuration off flattened tensors: K from the blocks, C from `cls_conv`.

    Raise KeyError for a missing tensor, ValueError for an impossible network.
    """
    blocks = {
        int(match[1])
        for match in (re.match(rf"{FUSION}\.blockflow\.(\d+)\.", key) for key in tensors)
        if match
    }
    return UAAFusionConfig(
        stages=len(blocks),
        channels=tensors[f"{FUSION}.blockflow.0.lstm.conv_xi.weight"].shape[0],
        classes=tensors[f"{SEGMENTATION}.cls_conv.weight"].shape[0],
        **PUBLISHED_RULES,
    )


def published_keys(own_keys: Iterable[str]) -> dict[str, str]:
    """Return our key -> the published, flattened one, for the keys of our network."""
    return {key: _published_key(key) for key in own_keys}


def unused_keys(config: UAAFusionConfig) -> set[str]:
    """Return the flattened keys of the published file that no result depends on."""
    last = f"{FUSION}.blockflow.{config.stages - 1}"
    unused = {f"{FUSION}.init_conv_f0.0.conv_unit.{end}" for end in _UNIT_ENDS}
    unused |= {
        f"{last}.{unit}.conv_unit.{end}" for unit in ("conv5", "conv6") for end in _UNIT_ENDS
    }
    unused |= _lstm_keys(last, [source + gate for source in "xh" for gate in "fioj"])
    return unused | _lstm_keys(f"{FUSION}.blockflow.0", ["xf", "hf", "hi", "ho", "hj"])


_UNIT_ENDS = ("0.weight", "0.bias", "1.weight", "2.weight", "2.bias")


def _lstm_keys(block: str, gates: Iterable[str]) -> set[str]:
    return {f"{block}.lstm.conv_{gate}.{end}" for gate in gates for end in ("weight", "bias")}


def is_counter(name: str) -> bool:
    """Whether this is a counter of S's batch normalisation, the only whole numbers in the file."""
    return name.startswith(f"{SEGMENTATION}.") and name.endswith(f".{COUNTER}")


def _published_key(key: str) -> str:
    """Return the published name of one of our tensors."""
    if key == "alpha":
        return f"{FUSION}.alpha"
    for pattern, theirs in _SEGMENTATION:
        if re.match(pattern, key):
            return f"{SEGMENTATION}.{re.sub(pattern, theirs, key, count=1)}"
    if match := re.fullmatch(r"start_(infrared|visible)\.(\w+)\.(\w+)", key):
        source = {"infrared": "ir", "visible": "vi"}[match[1]]
        return f"{FUSION}.init_conv_{source}.conv_unit.{_LAYERS[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"stages\.(\d+)\.lstm\.(\w+)\.gates\.(\w+)\.(\w+)", key):
        gate = _SOURCES[match[2]] + _GATES[match[3]]
        return f"{FUSION}.blockflow.{match[1]}.lstm.conv_{gate}.{match[4]}"
    if match := re.fullmatch(r"stages\.(\d+)\.(\w+)\.(\w+)\.(\w+)", key):
        unit, layer = _UNITS[match[2]], _LAYERS[match[3]]
        return f"{FUSION}.blockflow.{match[1]}.{unit}.conv_unit.{layer}.{match[4]}"
    raise KeyError(key)
