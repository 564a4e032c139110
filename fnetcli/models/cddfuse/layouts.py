"""The published checkpoint: four state dicts in one dictionary, and their names here.

Plain functions of mappings from name to array, numpy's or torch's: only shapes are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fnetcli.models.cddfuse.config import LARGEST, CDDFuseConfig, Skip

Arrays = Mapping[str, Any]  # name -> numpy array or torch tensor

ENCODER, DECODER = "DIDF_Encoder", "DIDF_Decoder"
BASE_FUSION, DETAIL_FUSION = "BaseFuseLayer", "DetailFuseLayer"
PARTS = (ENCODER, DECODER, BASE_FUSION, DETAIL_FUSION)
WRAPPER = "module."  # what data-parallel training puts before every key


def is_published(loaded: Mapping[str, Any]) -> bool:
    """Whether a dictionary has the four parts of a published file; other entries do not matter."""
    return all(isinstance(loaded.get(part), Mapping) for part in PARTS)


@dataclass(frozen=True)
class PublishedKey:
    """Where the published file keeps one tensor."""

    part: str
    name: str

    def __str__(self) -> str:
        return f"{self.part}.{self.name}"


def from_published(
    loaded: Mapping[str, Arrays], skip: Skip = "second"
) -> tuple[CDDFuseConfig, dict[str, Any]]:
    """Return the configuration that the shapes tell and the arrays under our names.

    `skip` is not in the file. Raise ValueError naming the part where arrays are missing, left over
    or of an impossible shape.
    """
    parts = {part: _unwrap(loaded[part]) for part in PARTS}
    config = read_config(parts, skip)
    keys = published_keys(config)
    for part in PARTS:
        wanted = {key.name for key in keys.values() if key.part == part}
        _refuse(part, "missing", sorted(wanted - parts[part].keys()))
        _refuse(part, "unexpected", sorted(parts[part].keys() - wanted))
    return config, {ours: _adapt(ours, parts[key.part][key.name]) for ours, key in keys.items()}


def read_config(parts: Mapping[str, Arrays], skip: Skip = "second") -> CDDFuseConfig:
    """Read the shape of the network off its arrays. Raise ValueError."""
    encoder, decoder = parts[ENCODER], parts[DECODER]
    dim = _side(parts, ENCODER, "patch_embed.proj.weight", 0)
    base_hidden = _side(parts, ENCODER, "baseFeature.mlp.project_out.weight", 1)
    blocks = (
        _count(encoder, r"encoder_level1\.(\d+)\."),
        _count(decoder, r"encoder_level2\.(\d+)\."),
    )
    expansion = 2
    for part, level in ((ENCODER, "encoder_level1"), (DECODER, "encoder_level2")):
        if blocks[part == DECODER]:
            hidden = _side(parts, part, f"{level}.0.ffn.project_out.weight", 1)
            expansion = _ratio(hidden, dim, part)
            break
    return CDDFuseConfig(
        dim=dim,
        heads=_side(parts, ENCODER, "baseFeature.attn.scale", 0),
        encoder_blocks=blocks[0],
        decoder_blocks=blocks[1],
        expansion=expansion,
        base_expansion=_ratio(base_hidden, dim, ENCODER),
        couplings=_count(encoder, r"detailFeature\.net\.(\d+)\."),
        fuse_couplings=_count(parts[DETAIL_FUSION], r"net\.(\d+)\."),
        skip=skip,
    )


def published_keys(config: CDDFuseConfig) -> dict[str, PublishedKey]:
    """Return our name of each tensor and where the published file has it: 158 by default."""
    keys = {"encoder.embed.weight": PublishedKey(ENCODER, "patch_embed.proj.weight")}

    def add(ours: str, part: str, theirs: str, names: Mapping[str, str]) -> None:
        keys.update(
            {
                f"{ours}{name}": PublishedKey(part, f"{theirs}{published}")
                for name, published in names.items()
            }
        )

    for i in range(config.encoder_blocks):
        add(f"encoder.blocks.{i}.", ENCODER, f"encoder_level1.{i}.", _RESTORMER)
    add("encoder.base.", ENCODER, "baseFeature.", _BASE)
    for i in range(config.couplings):
        add(f"encoder.detail.{i}.", ENCODER, f"detailFeature.net.{i}.", _COUPLING)
    add("base_fusion.", BASE_FUSION, "", _BASE)
    for i in range(config.fuse_couplings):
        add(f"detail_fusion.{i}.", DETAIL_FUSION, f"net.{i}.", _COUPLING)
    add("decoder.", DECODER, "", _DECODER)
    for i in range(config.decoder_blocks):
        add(f"decoder.blocks.{i}.", DECODER, f"encoder_level2.{i}.", _RESTORMER)
    return keys


# --- names inside one block, ours and theirs ------------------------------------------------------

_NORMS = {
    f"{ours}.{name}": f"{theirs}.body.{name}"
    for ours, theirs in (("attention_norm", "norm1"), ("feed_forward_norm", "norm2"))
    for name in ("weight", "bias")
}
_RESTORMER = {
    **_NORMS,
    "attention.temperature": "attn.temperature",
    "attention.pointwise.weight": "attn.qkv.weight",
    "attention.depthwise.weight": "attn.qkv_dwconv.weight",
    "attention.project.weight": "attn.project_out.weight",
    "feed_forward.expand.weight": "ffn.project_in.weight",
    "feed_forward.grouped.weight": "ffn.dwconv.weight",
    "feed_forward.reduce.weight": "ffn.project_out.weight",
}
_BASE = {
    **_NORMS,
    "attention.temperature": "attn.scale",
    "attention.pointwise.weight": "attn.qkv1.weight",
    "attention.dense.weight": "attn.qkv2.weight",
    "attention.project.weight": "attn.proj.weight",
    "feed_forward.expand.weight": "mlp.project_in.weight",
    "feed_forward.grouped.weight": "mlp.dwconv.weight",
    "feed_forward.reduce.weight": "mlp.project_out.weight",
}
_COUPLING = {
    "shuffle.weight": "shffleconv.weight",  # spelled so
    "shuffle.bias": "shffleconv.bias",
    **{
        f"{name}.{ours}.weight": f"theta_{name}.bottleneckBlock.{place}.weight"
        for name in ("phi", "rho", "eta")
        for ours, place in (("expand", 0), ("depthwise", 3), ("reduce", 5))
    },
}
_DECODER = {
    "reduce.weight": "reduce_channel.weight",
    "hidden.weight": "output.0.weight",
    "output.weight": "output.2.weight",
}


# --- reading one part -----------------------------------------------------------------------------


def _unwrap(part: Arrays) -> dict[str, Any]:
    """Drop the wrapper's prefix where every key has it, as often as they all do."""
    names = dict(part)
    while names and all(name.startswith(WRAPPER) for name in names):
        names = {name.removeprefix(WRAPPER): array for name, array in names.items()}
    return names


def _refuse(part: str, what: str, names: list[str]) -> None:
    if names:
        raise ValueError(f"{part}: {len(names)} {what} tensors, first {names[0]!r}")


def _side(parts: Mapping[str, Arrays], part: str, name: str, axis: int) -> int:
    """Return one side of an array that every such network has."""
    if name not in parts[part]:
        raise ValueError(f"{part}: no {name!r}")
    shape = tuple(parts[part][name].shape)
    if len(shape) <= axis:
        raise ValueError(f"{part}: {name!r} has the shape {shape}")
    return int(shape[axis])


def _ratio(hidden: int, dim: int, part: str) -> int:
    if dim < 1 or hidden % dim:
        raise ValueError(f"{part}: {hidden} hidden channels are not a multiple of {dim}")
    return hidden // dim


def _count(names: Arrays, pattern: str) -> int:
    """Return one more than the largest number in names that match."""
    return 1 + max(_numbers(names, pattern), default=-1)


def _numbers(names: Arrays, pattern: str) -> Iterator[int]:
    for name in names:
        match = re.match(pattern, name)
        if match:
            yield min(int(match[1][:9]), LARGEST)  # more is refused by the configuration


def _adapt(ours: str, array: Any) -> Any:
    """Temperatures are (heads, 1, 1) there, (heads) here."""
    is_temperature = ours.endswith(".temperature")
    return array.reshape(-1) if is_temperature and tuple(array.shape[1:]) == (1, 1) else array
