"""Weights files: recognise the layout, check every tensor, build the network.

Two layouts are known: ours (safetensors with metadata) and the published one (a PyTorch state dict
of 74 tensors, bare or wrapped). A layout is one `Layout` in `LAYOUTS`. Nothing is ever unpickled
beyond plain tensors.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from safetensors.torch import load as tensors_of_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from fnetcli.checkpoints.shipped import default_weights_path
from fnetcli.errors import CheckpointError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import FileKind, read_bytes
from fnetcli.models.fnet.network import LZSC, FNet, FNetConfig
from fnetcli.text import visible

NAME_ONE = "name a .safetensors or .pth file"
WEIGHTS = FileKind("a weights file", 2 << 30, NAME_ONE, CheckpointError, missing_todo=NAME_ONE)
FORMAT_VERSION = 1
MOST_SHOWN = 80  # letters of what a file says, in a message
DEEPEST = 50  # brackets within each other in metadata; what is deeper stays text
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """A network ready for inference and where it came from."""

    network: FNet
    path: Path
    sha256: str
    layout: str
    metadata: dict[str, Any]  # recipe, scores, data; empty in the published layout

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.name

    def notices(self) -> list[str]:
        """Say where thresholds do not fall, or momentum does not rise, over the iterations."""
        last, notices = self.network.config.iterations, []
        for letter in "uvz":
            block = cast("LZSC", getattr(self.network, f"encode_{letter}"))
            if block.theta(last) >= block.theta(0):
                notices.append(f"{self.name}: thresholds of block {letter} do not fall with k")
            has_several = last > 1 and self.network.config.momentum != "none"
            if has_several and block.rho(last) <= block.rho(1):
                notices.append(f"{self.name}: momentum of block {letter} does not rise with k")
        return notices


def load_weights(path: Path | None = None) -> Weights:
    """Read a weights file (default: the shipped one). Raise CheckpointError, UsageError.

    The network is float32, on the CPU, in evaluation mode.
    """
    path = path or default_weights_path()
    content = read_bytes(path, WEIGHTS)
    tensors, metadata = _read_tensors(path, content)
    layout = next((layout for layout in LAYOUTS if layout.matches(tensors)), None)
    if layout is None:
        shown = ", ".join(f"'{_quoted(key)}'" for key in list(tensors)[:3]) or "none"
        known = " or ".join(layout.name for layout in LAYOUTS)
        raise CheckpointError(
            f"{path}: {len(tensors)} tensors ({shown}, ...) of no known layout; give {known} ones"
        )
    config = _config(path, layout, tensors, metadata)
    if config.iterations > len(tensors):
        raise CheckpointError(
            f"{path}: {_quoted(config.iterations)} iterations, but {len(tensors)} tensors; "
            "check the file"
        )
    if config.atoms * config.kernel_size**2 > len(content):  # a number takes a byte at least
        raise CheckpointError(
            f"{path}: {_quoted(config.atoms)} atoms of {_quoted(config.kernel_size)} pixels "
            f"square, but {len(content)} bytes; check the file"
        )
    with torch.device("meta"):  # shapes are compared before anything is allocated
        network = FNet(config)
    checked = _checked_tensors(path, layout, tensors, network)
    network.load_state_dict(checked, assign=True)
    network.eval().requires_grad_(False)
    _check_schedules(path, network)
    return Weights(
        network=network,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        layout=layout.name,
        metadata={key: value for key, value in metadata.items() if key != "config"},
    )


def save_weights(path: Path, network: FNet, metadata: Mapping[str, Any]) -> None:
    """Write our layout, atomically; metadata values must be JSON-able. Raise WriteError."""
    header = {
        "format": "fnet",
        "format_version": json.dumps(FORMAT_VERSION),
        "model": json.dumps("fnet"),
        "config": json.dumps(dataclasses.asdict(network.config)),
        **{key: json.dumps(value) for key, value in metadata.items()},
    }
    tensors = {
        key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()
    }
    content = safetensors_bytes(tensors, header)
    atomic_write(path, lambda file: file.write(content))


# --- reading without trust ------------------------------------------------------------------------


def _read_tensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file and our metadata, recognised by content."""
    if len(content) < 10:
        raise CheckpointError(f"{path}: too short to be a weights file; get it again")
    with warnings.catch_warnings(action="ignore"):  # torch's, of what is refused below
        if content[8:9] == b"{":
            return _read_safetensors(path, content)
        return _read_pth(path, content), {}


def _read_pth(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower():  # a name to import: the door for code
            raise CheckpointError(
                f"{path}: holds more than tensors (it could run code), refused; "
                "export the bare state dict or use safetensors"
            ) from None
        raise CheckpointError(f"{path}: damaged or not a weights file; get it again") from None
    except Exception as error:  # noqa: BLE001  torch maps damage to many kinds of exception
        raise CheckpointError(
            f"{path}: damaged or not a weights file ({type(error).__name__}); get it again"
        ) from None
    return _unwrap(path, loaded)


def _read_safetensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors = tensors_of_safetensors(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except Exception as error:  # noqa: BLE001  safetensors maps damage to several kinds too
        raise CheckpointError(
            f"{path}: damaged safetensors file ({_quoted(error)}); get it again"
        ) from None
    metadata = {key: _json_or_text(text) for key, text in header.items() if key != "format"}
    version = metadata.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {_quoted(version)} is newer than this fnet; "
            "update fnet to use it"
        )
    return tensors, metadata


def _json_or_text(text: str) -> Any:
    """Return parsed JSON; other programs' metadata, and what is nested too deeply, stay text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if _is_shallow(value, DEEPEST) else text


def _is_shallow(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def _quoted(said: object) -> str:
    """Return what a file says, shortened, without what a terminal would obey."""
    text = str(said)
    short = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return visible(short)


def _unwrap(path: Path, loaded: object) -> dict[str, Tensor]:
    """Peel the wrappers that training programs put around a state dict."""
    for wrapper in ("params_ema", "params", "state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        loaded = {}
    if not loaded:
        raise CheckpointError(f"{path}: holds no state dict; give a file of named tensors")
    tensors = {key: value for key, value in loaded.items() if _is_plain_tensor(value)}
    if len(tensors) < len(loaded):
        other = next(key for key in loaded if key not in tensors)
        raise CheckpointError(
            f"{path}: '{_quoted(other)}' is not a tensor of plain numbers; "
            "give the network's state dict alone"
        )
    while tensors and all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _is_plain_tensor(value: object) -> bool:
    """Whether these are numbers one by one: neither sparse, nested, quantized nor without data."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_nested or value.is_quantized)
        and value.device.type == "cpu"
    )


# --- layouts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """One way to name the tensors of an FNet."""

    name: str
    matches: Callable[[Tensors], bool]
    config: Callable[[Tensors, Mapping[str, Any]], FNetConfig]
    keys: Callable[[FNetConfig], dict[str, str]]  # our key -> key in the file


def _own_config(_tensors: Tensors, metadata: Mapping[str, Any]) -> FNetConfig:
    config = FNetConfig(**metadata["config"])
    return dataclasses.replace(config, alpha=float(config.alpha), gamma=float(config.gamma))


def _own_keys(config: FNetConfig) -> dict[str, str]:
    with torch.device("meta"):
        return {key: key for key in FNet(config).state_dict()}


def _published_config(tensors: Tensors, _metadata: Mapping[str, Any]) -> FNetConfig:
    atoms, _, _, kernel_size = tensors["net_u.x0_block.conv_in.weight"].shape
    later = [re.match(r"net_u\.IM\.(\d+)\.", key) for key in tensors]
    return FNetConfig(
        atoms=atoms,
        kernel_size=kernel_size,
        iterations=2 + max((int(match[1]) for match in later if match), default=-1),
    )


def _published_keys(config: FNetConfig) -> dict[str, str]:
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


LAYOUTS = (
    Layout("fnet", lambda tensors: "encode_u.w_theta" in tensors, _own_config, _own_keys),
    Layout(
        "published",
        lambda tensors: any(key.startswith(("net_u.", "net_v.", "net_z.")) for key in tensors),
        _published_config,
        _published_keys,
    ),
)


def _config(
    path: Path, layout: Layout, tensors: Tensors, metadata: Mapping[str, Any]
) -> FNetConfig:
    try:
        return layout.config(tensors, metadata)
    except KeyError as error:
        raise CheckpointError(
            f"{path}: {layout.name} layout without {error.args[0]!r}; get the complete file"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: {layout.name} layout of an impossible network ({_quoted(error)}); "
            "check the file"
        ) from None


def _checked_tensors(
    path: Path, layout: Layout, tensors: Tensors, network: FNet
) -> dict[str, Tensor]:
    """Return the tensors under our keys; name the first missing, extra, misshapen or NaN one."""

    def fail(problem: str) -> NoReturn:
        raise CheckpointError(f"{path}: {layout.name} layout, {problem}; give a complete FNet file")

    keys = layout.keys(network.config)
    missing = [key for key in keys.values() if key not in tensors]
    unexpected = sorted(tensors.keys() - {*keys.values()})
    if missing:
        fail(f"{len(missing)} tensors missing, first {missing[0]!r}")
    if unexpected:
        fail(f"{len(unexpected)} unexpected tensors, first '{_quoted(unexpected[0])}'")
    found = dict[str, Tensor]()
    for ours, wanted in network.state_dict().items():
        key, tensor = keys[ours], tensors[keys[ours]]
        if tensor.shape != wanted.shape:
            shape = _quoted(tuple(tensor.shape))
            fail(f"{key!r} is {shape} where {tuple(wanted.shape)} is needed")
        if not tensor.is_floating_point():
            fail(f"{key!r} has values that are not real numbers")
        found[ours] = tensor.float()
        if not torch.isfinite(found[ours]).all():
            fail(f"{key!r} has values that are not finite numbers")
    return found


def _check_schedules(path: Path, network: FNet) -> None:
    """Refuse thresholds and momenta that overflow: every code would be NaN."""
    for letter in "uvz":
        block = cast("LZSC", getattr(network, f"encode_{letter}"))
        last = network.config.iterations
        schedules = {
            "thresholds": [block.theta(k) for k in range(last + 1)],
            "momenta": [block.rho(k) for k in range(1, last + 1)],
        }
        for name, values in schedules.items():
            if not all(map(torch.isfinite, values)):
                raise CheckpointError(
                    f"{path}: {name} of block {letter} are not finite numbers; "
                    "train the network again or give other weights"
                )
