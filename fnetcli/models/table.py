"""The networks that fnet knows, by name. A new one is a folder beside this file and a line here."""

from __future__ import annotations

from typing import Any

from fnetcli.models.base import ModelSpec
from fnetcli.models.cddfuse import CDDFUSE
from fnetcli.models.fnet import FNET, IFNET
from fnetcli.models.uaafusion import UAAFUSION

MODELS: dict[str, ModelSpec[Any]] = {spec.name: spec for spec in (FNET, CDDFUSE, UAAFUSION)}
# Networks that recover sources from a fused picture: no command fuses with them.
INVERSES: dict[str, ModelSpec[Any]] = {IFNET.name: IFNET}
