"""Load weights files: recognise model and layout, check every tensor, return the network at rest.

Our own layout is safetensors with metadata; a model may have others (`ModelSpec.layouts`), also as
PyTorch state dicts, bare or wrapped. Nothing is ever unpickled beyond plain tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fnetcli.checkpoints.pth import read_pth
from fnetcli.checkpoints.safetensors_file import read_safetensors, safetensors_bytes
from fnetcli.checkpoints.shipped import find_weights, shipped_weights
from fnetcli.checkpoints.tensors import Tensors, quoted
from fnetcli.errors import CheckpointError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import FileKind, read_bytes
from fnetcli.models.base import Array, ModelSpec, Network, TensorLayout, config_values
from fnetcli.models.table import INVERSES, MODELS
from fnetcli.text import number_of

WEIGHTS = FileKind(
    name="a weights file",
    limit=2 << 30,
    todo="give a .safetensors or .pth file",
    error=CheckpointError,
    missing_todo="give a .safetensors or .pth file, or shipped weights "
    f"({', '.join(shipped_weights())})",
    names=tuple(shipped_weights()),
)
FORMAT_VERSION = 1
MAX_EXCESS = 1000  # tensors that a file may lack for the message to name one


@dataclass(frozen=True)
class Weights:
    """A network at rest and its origin."""

    network: Network[Any]
    path: Path
    sha256: str
    layout: str
    metadata: dict[str, Any]  # recipe, scores, data; empty in published layouts

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.name

    def notices(self) -> list[str]:
        """Return what looks unusual in the network's numbers."""
        return [f"{self.name}: {text}" for text in self.network.spec.notices(self.network)]

    def warnings(self) -> list[str]:
        """Return why the network's fused images can be useless: its training has only begun."""
        trained = self.metadata.get("trained")
        stage = trained.get("stage") if isinstance(trained, dict) else None
        if stage != 1 or "init" in self.metadata:
            return []
        text = (
            "from stage 1 of a training, which does not teach it to fuse: its fused images mean "
            "nothing; finish the training (fnet train --resume)"
        )
        return [f"{self.name}: {text}"]


def load_weights(
    name: str | Path | None = None, models: Mapping[str, ModelSpec[Any]] = MODELS
) -> Weights:
    """Read weights of one of these models: the name of shipped ones (default: `fnet`), or a file.

    The arrays are float32. Raise CheckpointError, UsageError.
    """
    path = find_weights(name)
    return weights_of(path, read_bytes(path, WEIGHTS), models)


def weights_of(
    path: Path, content: bytes, models: Mapping[str, ModelSpec[Any]] = MODELS
) -> Weights:
    """Return the weights in a file's content; `path` is its name. Raise CheckpointError."""
    tensors, metadata = _read(path, content)
    spec, layout = _recognise(path, tensors, metadata, models)
    config = _config(path, layout, tensors, metadata)
    network = Network(spec, config, _checked(path, spec, layout, config, tensors))
    try:
        spec.check(network)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}; train the network again or give other weights"
        ) from None
    return Weights(
        network=network,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        layout=layout.name,
        metadata={key: value for key, value in metadata.items() if key != "config"},
    )


def save_weights(path: Path, network: Network[Any], metadata: Mapping[str, Any]) -> str:
    """Write our layout, atomically; metadata values must be serialisable. Raise WriteError.

    Return the sha256 of the file.
    """
    header = {
        "format": "fnet",
        "format_version": json.dumps(FORMAT_VERSION),
        "model": json.dumps(network.spec.name),
        "config": json.dumps(config_values(network.config)),
        **{key: json.dumps(value) for key, value in metadata.items()},
    }
    content = safetensors_bytes(network.arrays, header)
    atomic_write(path, lambda file: file.write(content))
    return hashlib.sha256(content).hexdigest()


# --- reading without trust ------------------------------------------------------------------------


def _read(path: Path, content: bytes) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors of a file and our metadata, recognised by content."""
    if len(content) < 10:
        raise CheckpointError(f"{path}: too short to be a weights file; download it again")
    if content[8:9] != b"{":
        return read_pth(path, content), {}
    tensors, metadata = read_safetensors(path, content)
    version = metadata.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {quoted(version)} is newer than this fnet; "
            "update fnet to use it"
        )
    return tensors, metadata


def _recognise(
    path: Path,
    tensors: Tensors,
    metadata: Mapping[str, Any],
    models: Mapping[str, ModelSpec[Any]],
) -> tuple[ModelSpec[Any], TensorLayout[Any]]:
    """Return the model and the layout by the file's metadata, else by its tensors."""
    model = metadata.get("model")
    if isinstance(model, str) and "config" in metadata:
        if model in models:
            return models[model], _own_layout(models[model])
        if model in INVERSES:
            raise CheckpointError(
                f"{path}: an inverse, which recovers sources from a fused picture and fuses "
                "nothing; give it to fnet inspect --inverse"
            )
        if model in MODELS:
            raise CheckpointError(
                f"{path}: weights of {model}, but an inverse is needed; give the file that fnet "
                "train wrote beside them with keep_inverse = true"
            )
        raise CheckpointError(
            f"{path}: weights of a model '{quoted(model)}', which this fnet does not know "
            f"({', '.join(MODELS)}); update fnet to use it"
        )
    for spec in models.values():
        for layout in (_own_layout(spec), *spec.layouts):
            if layout.matches(tensors):
                return spec, layout
    shown = ", ".join(f"'{quoted(key)}'" for key in list(tensors)[:3]) or "none"
    known = [
        layout.name for spec in models.values() for layout in (_own_layout(spec), *spec.layouts)
    ]
    raise CheckpointError(
        f"{path}: {number_of(len(tensors), 'tensor')} ({shown}, ...) of no known layout; "
        f"give {' or '.join(known)} ones"
    )


def _own_layout(spec: ModelSpec[Any]) -> TensorLayout[Any]:
    return TensorLayout(
        name=spec.name,
        matches=lambda names: spec.mark in names,
        config=lambda _, metadata: spec.config(**metadata["config"]),
        keys=lambda config: {name: name for name, _ in spec.shapes(config)},
    )


def _config(
    path: Path, layout: TensorLayout[Any], tensors: Tensors, metadata: Mapping[str, Any]
) -> Any:
    try:
        return layout.config(tensors, metadata)
    except KeyError as error:
        raise CheckpointError(
            f"{path}: {layout.name} layout without {error.args[0]!r}; get the complete file"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: {layout.name} layout of an impossible network ({quoted(error)}); "
            "check the file"
        ) from None


def _checked(
    path: Path, spec: ModelSpec[Any], layout: TensorLayout[Any], config: Any, tensors: Tensors
) -> dict[str, Array]:
    """Return the tensors under our names; report the first missing, extra, misshapen or NaN one."""

    def fail(problem: str) -> NoReturn:
        raise CheckpointError(
            f"{path}: {layout.name} layout, {problem}; give a complete {spec.title.split(':')[0]} "
            "file"
        )

    wanted = dict[str, tuple[int, ...]]()
    for name, shape in spec.shapes(config):
        wanted[name] = shape
        if len(wanted) > MAX_EXCESS + len(tensors):  # a configuration may claim anything
            count = number_of(len(tensors), "tensor")
            fail(f"{count}, but its configuration needs more than {len(wanted) - 1}")
    keys = layout.keys(config)
    missing = [keys[name] for name in wanted if keys[name] not in tensors]
    taken = {keys[name] for name in wanted}
    unexpected = sorted(key for key in tensors.keys() - taken if not layout.ignored(config, key))
    if missing:
        fail(f"{number_of(len(missing), 'tensor')} missing, first {missing[0]!r}")
    if unexpected:
        count = number_of(len(unexpected), "unexpected tensor")
        fail(f"{count}, first '{quoted(unexpected[0])}'")
    found = dict[str, Array]()
    for name, shape in wanted.items():
        key, tensor = keys[name], tensors[keys[name]]
        in_file = layout.shape(name, shape)
        if tensor.shape != in_file:
            fail(f"{key!r} is {quoted(tensor.shape)}, but {in_file} is needed")
        if not tensor.is_real:
            fail(f"{key!r} has values that are not real numbers")
        found[name] = tensor.float32().reshape(shape)
        if not np.isfinite(found[name]).all():
            fail(f"{key!r} has values that are not finite numbers")
    return found
