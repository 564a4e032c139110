"""CDDFuse: correlation-driven decomposition into base and detail features (CVPR 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fnetcli.models.base import Arrays, HasShape, ModelSpec, TensorLayout
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.layouts import PARTS, published_keys, read_config

if TYPE_CHECKING:
    from torch import nn

FEATURES = ("base_first", "base_second", "detail_first", "detail_second")


def _build(config: CDDFuseConfig, arrays: Arrays) -> nn.Module:
    from fnetcli.models.cddfuse.network import CDDFuse
    from fnetcli.models.torch_arrays import module_with

    return module_with(lambda: CDDFuse(config), arrays)


def _shapes(config: CDDFuseConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    from fnetcli.models.cddfuse.network import CDDFuse
    from fnetcli.models.torch_arrays import module_shapes

    return module_shapes(lambda: CDDFuse(config))


def _published_config(
    tensors: Mapping[str, HasShape], _metadata: Mapping[str, Any]
) -> CDDFuseConfig:
    parts: dict[str, dict[str, HasShape]] = {part: {} for part in PARTS}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = tensor
    return read_config(parts)


PUBLISHED = TensorLayout(
    name="published CDDFuse",
    matches=lambda names: all(any(one.startswith(f"{part}.") for one in names) for part in PARTS),
    config=_published_config,
    keys=lambda config: {ours: str(key) for ours, key in published_keys(config).items()},
    shape=lambda name, shape: (*shape, 1, 1) if name.endswith(".temperature") else shape,
)

CDDFUSE = ModelSpec(
    name="cddfuse",
    title="CDDFuse: correlation-driven feature decomposition",
    config=CDDFuseConfig,
    shapes=_shapes,
    build=_build,
    mark="decoder.hidden.weight",
    features=lambda config: dict.fromkeys(FEATURES, config.dim),
    layouts=(PUBLISHED,),
)
