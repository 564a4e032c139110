"""Networks and baselines, to be given to all that fuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fnetcli.baselines import BY_NAME, SHORT_NAMES
from fnetcli.errors import UsageError
from fnetcli.runs.baseline import LoadedBaseline
from fnetcli.runs.network import LoadedNetwork, NetworkSource


def load_network(
    weights: str | Path | None = None, device: str = "auto", modalities: Sequence[str] = ()
) -> LoadedNetwork:
    """Load weights onto a device. Raise CheckpointError, UsageError.

    A text is the name of shipped weights, else a file; a `Path` is a file. The default is `fnet`,
    for CT, MRI, PET and SPECT `fnet-medical`: ``load_network(modalities=["mri", "ct"])``.
    """
    return NetworkSource(weights or None, device, modalities=tuple(modalities)).load()


def load_baseline(name: str) -> LoadedBaseline:
    """Return a baseline, to be given in the network's place: average, max or laplacian.

    It is not trained, and has no parts; everything else is as with a network, so that both can
    be compared: ``fuse_volumes(load_baseline("average"), "out", images)``. Raise UsageError.
    """
    full = SHORT_NAMES.get(name, name)
    if full not in BY_NAME:
        raise UsageError(f"{name}: no baseline; use average, max or laplacian")
    return LoadedBaseline(full)
