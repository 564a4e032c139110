"""Fast executors of FNet: compiled code on CPUs, torch in bands everywhere else."""

from __future__ import annotations

from collections.abc import Callable

from fnetcli.engine.device import Device
from fnetcli.engine.executors.base import BUILDING, Executor
from fnetcli.engine.options import Precision
from fnetcli.models.base import Network
from fnetcli.models.fnet.blocks import blocks_of
from fnetcli.models.fnet.config import FNetConfig

COMPILED = "compiled for this processor"


def choose_fnet(
    network: Network[FNetConfig],
    device: Device,
    precision: Precision,
    on_notice: Callable[[str], None],
) -> tuple[Executor, str]:
    """Return the fastest executor that runs here, and a few words about it."""
    from fnetcli.engine.executors.fnet.building import NoLibraryError

    blocks = blocks_of(network)
    why = ""
    if device.kind == "cpu":
        from fnetcli.engine.executors.fnet.native import Native, load_library

        try:
            library = load_library(lambda: on_notice(BUILDING))
            return Native(blocks, library), COMPILED
        except NoLibraryError as error:
            why = f"torch (the compiled path, several times faster: {error})"
    from fnetcli.engine.executors.fnet.bands import Bands

    executor = Bands(
        blocks,
        device,
        is_rounded=precision == "bf16" and device.kind != "cpu",
        # cuDNN's float32 convolutions without tensor cores suit channels that come first
        channels_last=device.kind != "cuda" or precision != "fp32",
    )
    return executor, why or f"torch on {device.kind}"
