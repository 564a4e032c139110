"""The training recipe: every number of a run, read from TOML and checked key by key."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fnetcli.errors import ConfigError, TrainingError
from fnetcli.files.guarded import FileKind, read_text
from fnetcli.models.fnet.network import FNetConfig, LZSCConfig

RECIPE = FileKind(
    name="a recipe",
    limit=1 << 20,
    todo="name a TOML file",
    error=ConfigError,
    missing=ConfigError,
    missing_todo="name a recipe, for example configs/fnet.toml",
)
LOG = FileKind("a log of losses", 1 << 30, "remove it", TrainingError)
STATE = FileKind("a training state", 64 << 30, "start again in another folder", TrainingError)
Precision = Literal["fp32", "bf16"]
Optimizer = Literal["adam", "muon"]


@dataclass(frozen=True)
class StageConfig:
    """One training stage: how long, on what crops, how fast."""

    iterations: int = 20_000
    batch: int = 16
    crop: int = 128  # pixels, square
    learning_rate: float = 1e-4
    warmup: int = 0  # iterations over which the rate rises to learning_rate
    decay: int = 0  # last iterations: it falls along a cosine to a hundredth; 0 keeps it constant

    def rate(self, iteration: int) -> float:
        """Return the learning rate of iteration 0 ... iterations - 1."""
        rise = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        left = self.iterations - iteration
        if self.decay and left <= self.decay:
            return (
                self.learning_rate
                * rise
                * max(0.01, 0.5 - 0.5 * math.cos(math.pi * left / self.decay))
            )
        return self.learning_rate * rise


@dataclass(frozen=True)
class FusionStageConfig(StageConfig):
    """Stage II with the weights of its three losses (eq. 26; AE13-15 set one of them to 0)."""

    intensity_weight: float = 20.0
    gradient_weight: float = 20.0
    ssim_weight: float = 15.0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the numbers of a run; the defaults are the paper's."""

    seed: int = 1
    precision: Precision = "fp32"
    optimizer: Optimizer = "adam"
    ema: float = 0.999  # decay of the moving average of the weights
    ema_warmup: bool = False  # start each stage with a smaller decay, (1 + i) / (10 + i)
    gradient_clip: float = 0.0  # largest gradient norm; 0: no clipping
    validate_every: int = 1000
    checkpoint_every: int = 500
    data: dict[str, str] = field(default_factory=dict)  # modality -> folder, two of them
    validation: dict[str, str] = field(default_factory=dict)  # likewise; may be empty
    network: FNetConfig = field(default_factory=FNetConfig)
    inverse: LZSCConfig = field(default_factory=LZSCConfig)
    stage_1: StageConfig = field(default_factory=StageConfig)  # iterations 0 leaves it out (AE11)
    stage_2: FusionStageConfig = field(default_factory=FusionStageConfig)

    def as_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as TOML and JSON have them."""
        return dataclasses.asdict(self)

    def average_decay(self, iteration: int) -> float:
        """Return the decay of the moving average in iteration 0, 1, ... of a stage."""
        return min(self.ema, (1 + iteration) / (10 + iteration)) if self.ema_warmup else self.ema

    def to_toml(self) -> str:
        """Write the recipe so that `read_recipe` reads the same one back."""
        scalars, tables = [], []
        for key, value in self.as_dict().items():
            if isinstance(value, dict):
                rows = [f"{name} = {json.dumps(item)}" for name, item in value.items()]
                tables.append("\n".join([f"[{key}]", *rows]))
            else:
                scalars.append(f"{key} = {json.dumps(value)}")
        return "\n\n".join(["\n".join(scalars), *tables]) + "\n"


def read_recipe(path: Path) -> Recipe:
    """Read a TOML recipe; folders in it are relative to the file. Raise ConfigError."""
    try:
        table = tomllib.loads(read_text(path, RECIPE))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); correct that line") from None
    recipe: Recipe = _build(Recipe, table, str(path), "")
    return dataclasses.replace(
        recipe,
        data=_resolve(recipe.data, path.parent),
        validation=_resolve(recipe.validation, path.parent),
    )


def _resolve(folders: dict[str, str], base: Path) -> dict[str, str]:
    return {modality: str((base / folder).resolve()) for modality, folder in folders.items()}


def _build(kind: type, table: dict[str, Any], path: str, section: str) -> Any:
    """Make a dataclass from a table; complain about unknown keys and wrong types by name."""
    types = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{section}.{key}" if section else key
        if key not in types:
            close = difflib.get_close_matches(key, types, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(types)}"
            raise ConfigError(f"{path}: unknown key {name!r}; {hint}")
        values[key] = _value(types[key], value, path, name)
    try:
        return _checked(kind(**values))
    except ValueError as error:
        raise ConfigError(f"{path}: [{section or 'recipe'}] {error}") from None


def _value(wanted: Any, value: Any, path: str, name: str) -> Any:
    if dataclasses.is_dataclass(wanted) or typing.get_origin(wanted) is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {name!r} must be a table, [{name}]")
        if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
            return _build(wanted, value, path, name)
        if not all(isinstance(item, str) for item in value.values()):
            raise ConfigError(f"{path}: [{name}] must map modalities to folders, as text")
        return value
    if typing.get_origin(wanted) is Literal:
        if value not in typing.get_args(wanted):
            choices = ", ".join(map(str, typing.get_args(wanted)))
            raise ConfigError(f"{path}: {name} = {value!r}; must be one of {choices}")
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        raise ConfigError(f"{path}: {name} = {value!r}; must be of type {wanted.__name__}")
    return value


POSITIVE = ("batch", "crop", "learning_rate", "validate_every", "checkpoint_every")
NOT_NEGATIVE = (
    *("seed", "gradient_clip", "iterations", "warmup", "decay"),
    *("intensity_weight", "gradient_weight", "ssim_weight"),
)


def _checked(value: Any) -> Any:
    """Raise ValueError where a number of the recipe or of a stage is out of range."""
    for item in dataclasses.fields(value):
        number = getattr(value, item.name)
        if item.name in POSITIVE and not (math.isfinite(number) and number > 0):
            raise ValueError(f"{item.name} must be positive, not {number}")
        if (
            item.name in NOT_NEGATIVE
            and not isinstance(value, LZSCConfig)  # it checks itself
            and not (math.isfinite(number) and number >= 0)
        ):
            raise ValueError(f"{item.name} must not be negative, but is {number}")
    if isinstance(value, Recipe) and not 0 <= value.ema < 1:
        raise ValueError(f"ema must lie in [0, 1), not {value.ema}")
    return value
