"""How each model is trained, by its name: its recipe's class, and its procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fnetcli.errors import ConfigError
from fnetcli.training.cddfuse.recipe import CDDFuseRecipe
from fnetcli.training.config import Recipe
from fnetcli.training.fnet.recipe import FNetRecipe
from fnetcli.training.uaafusion.recipe import UAAFusionRecipe

if TYPE_CHECKING:
    import torch

    from fnetcli.training.base import Procedure

RECIPES: dict[str, type[Recipe]] = {
    "fnet": FNetRecipe,
    "cddfuse": CDDFuseRecipe,
    "uaafusion": UAAFusionRecipe,
}


def procedure_of(recipe: Any, pairs: Any, validation: Any, device: torch.device) -> Procedure:
    """Return how a recipe's model is trained on these pairs. Raise ConfigError.

    `Pairs`, or `LabelledPairs` for a `LabelledRecipe`; validation may be None.
    """
    match recipe:
        case FNetRecipe():
            from fnetcli.training.fnet.procedure import FNetProcedure  # torch, only where it works

            return FNetProcedure(recipe, pairs, validation, device)
        case CDDFuseRecipe():
            from fnetcli.training.cddfuse.procedure import CDDFuseProcedure

            return CDDFuseProcedure(recipe, pairs, validation, device)
        case UAAFusionRecipe():
            from fnetcli.training.uaafusion.procedure import UAAFusionProcedure

            return UAAFusionProcedure(recipe, pairs, validation, device)
        case _:
            raise ConfigError(f"model {recipe.model!r}: there is no training procedure for it")
