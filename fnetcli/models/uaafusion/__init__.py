"""UAAFusion: unfolded fusion, steered by what a segmentation network attributes to each source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fnetcli.models.base import Arrays, ModelSpec, TensorLayout
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.layouts import (
    is_counter,
    published_config,
    published_keys,
    unused_keys,
)

if TYPE_CHECKING:
    from torch import nn


def _build(config: UAAFusionConfig, arrays: Arrays) -> nn.Module:
    from fnetcli.models.torch_arrays import module_with
    from fnetcli.models.uaafusion.network import UAAFusion

    return module_with(lambda: UAAFusion(config), arrays)


def _shapes(config: UAAFusionConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    from fnetcli.models.torch_arrays import module_shapes
    from fnetcli.models.uaafusion.network import UAAFusion

    return module_shapes(lambda: UAAFusion(config))


PUBLISHED = TensorLayout(
    name="published UAAFusion",
    matches=lambda names: "model_f.blockflow.0.lstm.conv_xi.weight" in names,
    config=lambda tensors, _: published_config(tensors),
    keys=lambda config: published_keys(name for name, _ in _shapes(config)),
    ignored=lambda config, name: is_counter(name) or name in unused_keys(config),
)

UAAFUSION = ModelSpec(
    name="uaafusion",
    title="UAAFusion: unfolding steered by attribution analysis",
    config=UAAFusionConfig,
    shapes=_shapes,
    build=_build,
    mark="start_infrared.first.weight",
    maps=lambda config: config.map_names,
    features=lambda config: dict.fromkeys(config.feature_names, config.channels),
    needs_gradients=True,
    numbers_a_pixel=lambda config: 40 * config.channels,
    layouts=(PUBLISHED,),
)
