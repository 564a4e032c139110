"""What every training recipe has: stages, optimiser, data; built from TOML, checked key by key.

A model adds its own sections in a subclass (`fnet/recipe.py`).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from fnetcli.errors import ConfigError, TrainingError
from fnetcli.files.guarded import FileKind
from fnetcli.modalities import MODALITIES
from fnetcli.models.base import config_values
from fnetcli.text import near_miss

LOG = FileKind("a log of losses", 1 << 30, "remove it", TrainingError)
Precision = Literal["fp32", "bf16"]
Optimizer = Literal["adam", "muon"]
Schedule = Literal["cosine", "linear", "exponential"]
LOWEST_RATE = 0.01  # at the end of a decay, in units of the rate
DEFAULT_MODEL = "fnet"  # of a recipe that names none
MAX_CLASSES = 255
MAX_WHOLE = 2**63 - 1  # seeds of torch and lengths of arrays hold no more
MAX_ITERATIONS = 10**9  # of a stage
MAX_SHARE = 10**9
MOST_CHANGED = {  # in `AugmentConfig`: more leaves nothing of the images
    "gain": 1,
    "gamma": 10,
    "invert_thermal": 1,
    "noise": 1,
    "blur": 100,
    "misalignment": 1000,
}


@dataclass(frozen=True)
class StageConfig:
    """One training stage: how long, on what crops, how fast."""

    iterations: int = 20_000
    batch: int = 16
    crop: int = 128  # pixels, square
    learning_rate: float = 1e-4
    warmup: int = 0  # iterations over which the rate rises to learning_rate
    decay: int = 0  # last iterations, in which it falls to a hundredth; 0 keeps it constant
    schedule: Schedule = "cosine"  # the curve along which it falls
    halve_every: int = 0  # iterations after which it is halved, again and again; 0: never
    freeze: tuple[str, ...] = ()  # parts of the network that do not learn, such as encode_u

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of range."""
        weights = [one.name for one in dataclasses.fields(self) if one.name.endswith("_weight")]
        require(
            self,
            ("batch", "crop", "learning_rate"),
            ("iterations", "warmup", "decay", "halve_every", *weights),
        )
        if self.iterations > MAX_ITERATIONS:
            raise ValueError(f"iterations must be at most {MAX_ITERATIONS}, not {self.iterations}")
        if weights and self.iterations and not any(getattr(self, name) for name in weights):
            raise ValueError(
                f"{', '.join(weights)} are all 0: nothing would be learnt; give one of them a "
                "positive number"
            )

    def rate(self, iteration: int) -> float:
        """Return the learning rate of iteration 0 ... iterations - 1."""
        rise = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        left = self.iterations - iteration
        rate = self.learning_rate * rise
        if self.decay and left <= self.decay:
            rate *= _fallen(self.schedule, left / self.decay)
        return rate * 0.5 ** (iteration // self.halve_every) if self.halve_every else rate


def _fallen(schedule: Schedule, left: float) -> float:
    """Return the factor of the rate, 1 to a hundredth; `left` is the share of the decay to come."""
    match schedule:
        case "cosine":
            return max(LOWEST_RATE, 0.5 - 0.5 * math.cos(math.pi * left))
        case "linear":
            return max(LOWEST_RATE, left)
        case "exponential":
            return float(LOWEST_RATE ** (1 - left))


@dataclass(frozen=True)
class AugmentConfig:
    """How crops are changed beside flips and turns, each by itself; 0: not at all."""

    gain: float = 0.0  # brightness of each image, times 1 - gain ... 1 + gain
    gamma: float = 0.0  # power of each image, from 1 / (1 + gamma) to 1 + gamma
    invert_thermal: float = 0.0  # probability that a thermal image shows hot as black
    noise: float = 0.0  # largest standard deviation, in units of white
    blur: float = 0.0  # largest sigma, in pixels
    misalignment: float = 0.0  # largest shift of the first image, in pixels

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of range."""
        require(self, (), tuple(one.name for one in dataclasses.fields(self)))
        for name, most in MOST_CHANGED.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, not {getattr(self, name)}")


@dataclass(frozen=True)
class DataSet:
    """Pairs in two folders, and how many of the crops are of them."""

    folders: dict[str, str]  # modality -> folder, two of them
    share: float = 0.0  # of the crops, relative to those of the others; 0 for all: as many as pairs
    crop: int = 0  # side in pixels; 0: the stage's
    labels: str = ""  # folder with one label image for each pair, for models that learn from them
    match: dict[str, str] = field(default_factory=dict)  # as that of the recipe, which it replaces
    bands: dict[str, str] = field(default_factory=dict)  # likewise

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of range."""
        require(self, (), ("share", "crop"))
        if self.share > MAX_SHARE:
            raise ValueError(f"share must be at most {MAX_SHARE}, not {self.share}")

    def as_table(self) -> dict[str, Any]:
        """Return what TOML holds: the folders, and the rest if it is not the default."""
        rest = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)[1:]}
        return self.folders | {name: value for name, value in rest.items() if value}

    def with_paths(self, change: Callable[[str], str]) -> DataSet:
        """Return the set with each of its paths changed."""
        folders = {name: change(one) for name, one in self.folders.items()}
        labels = change(self.labels) if self.labels else ""
        return dataclasses.replace(self, folders=folders, labels=labels)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the numbers of a run; a model's own class adds network and stages."""

    model: ClassVar[str] = ""
    paths: ClassVar[tuple[str, ...]] = ("data", "validation")  # fields that hold folders

    seed: int = 1
    precision: Precision = "fp32"
    optimizer: Optimizer = "adam"
    ema: float = 0.999  # decay of the moving average of the weights
    ema_warmup: bool = False  # start each stage with a smaller decay, (1 + i) / (10 + i)
    gradient_clip: float = 0.0  # largest gradient norm; 0: no clipping
    validate_every: int = 1000
    patience: int = 0  # validations without a better one after which a stage ends; 0: it never does
    checkpoint_every: int = 500
    init: str = ""  # weights to start from: a name of shipped ones, or a file
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    data: tuple[DataSet, ...] = ()  # [data], or several [[data]]
    validation: tuple[DataSet, ...] = ()  # likewise
    match: dict[str, str] = field(default_factory=dict)  # modality -> pattern of names, as --match
    bands: dict[str, str] = field(default_factory=dict)  # modality -> bands of a file, as --band
    registration: dict[str, str] = field(default_factory=dict)  # option -> value, as --register

    @classmethod
    def follow(cls, config: Any) -> dict[str, dict[str, Any]]:
        """Return the sections of a recipe that weights of this configuration decide."""
        return {"network": config_values(config)}

    @classmethod
    def completed(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Return the table of a recipe with what one section takes from another."""
        return table

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """The stages in order; those without iterations are left out of a run."""
        return tuple(
            value
            for value in (getattr(self, one.name) for one in dataclasses.fields(self))
            if isinstance(value, StageConfig)
        )

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of range."""
        require(self, ("validate_every", "checkpoint_every"), ("seed", "gradient_clip", "patience"))
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must lie in [0, 1), not {self.ema}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as TOML and JSON have them."""
        return dataclasses.asdict(self)

    def average_decay(self, iteration: int) -> float:
        """Return the decay of the moving average in iteration 0, 1, ... of a stage."""
        return min(self.ema, (1 + iteration) / (10 + iteration)) if self.ema_warmup else self.ema

    def to_toml(self) -> str:
        """Write the recipe so that `read_recipe` reads the same one back."""
        scalars = [f"model = {json.dumps(self.model)}"] if self.model != DEFAULT_MODEL else []
        tables = []
        for key, value in self.as_dict().items():
            sets = getattr(self, key)
            if isinstance(sets, tuple) and all(isinstance(one, DataSet) for one in sets):
                head = f"[{key}]" if len(sets) == 1 else f"[[{key}]]"
                tables += ["\n".join([head, *_rows(one.as_table())]) for one in sets]
            elif isinstance(value, dict):
                tables.append("\n".join([f"[{key}]", *_rows(value)]))
            else:
                scalars.append(f"{key} = {json.dumps(value)}")
        return "\n\n".join(["\n".join(scalars), *tables]) + "\n"


def _rows(table: dict[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_toml(value)}" for name, value in table.items()]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_rows(value)) + "}"
    return json.dumps(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


@dataclass(frozen=True)
class ClassesConfig:
    """What the numbers in label images mean."""

    names: tuple[str, ...] = ()  # of classes 1, 2, ...; 0 is unlabelled

    def __post_init__(self) -> None:
        """Raise ValueError where names are empty, repeated or too many for 8 bits."""
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ValueError("names must differ from each other, and none may be empty")
        if len(self.names) > MAX_CLASSES:
            raise ValueError(f"names must be at most {MAX_CLASSES}, as labels have 8 bits")


@dataclass(frozen=True)
class LabelledRecipe(Recipe):
    """A recipe of a model that learns the class of each pixel of the training pairs."""

    paths: ClassVar[tuple[str, ...]] = (*Recipe.paths, "labels", "validation_labels", "unlabelled")

    labels: str = ""  # folder with one label image for each pair of [data]
    validation_labels: str = ""  # likewise of [validation]; may be left out
    unlabelled: tuple[DataSet, ...] = ()  # further pairs, as [data]; one set
    classes: ClassesConfig = field(default_factory=ClassesConfig)

    @property
    def needs_labels(self) -> bool:
        """Whether the network that learns classes learns in any stage."""
        return True

    @classmethod
    def follow(cls, config: Any) -> dict[str, dict[str, Any]]:
        """See `Recipe`; weights that name their classes decide those, too."""
        names = config.class_names[1:]
        return super().follow(config) | ({"classes": {"names": names}} if names else {})


def build(kind: type, table: dict[str, Any], path: str, section: str = "") -> Any:
    """Make a dataclass from a table; complain about unknown keys and wrong types by name."""
    hints = typing.get_type_hints(kind)
    types = {one.name: hints[one.name] for one in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{section}.{key}" if section else key
        if key not in types:
            close = difflib.get_close_matches(key, types, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(types)}"
            raise ConfigError(f"{path}: unknown key {name!r}; {hint}")
        values[key] = _value(types[key], value, path, name)
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{path}: [{section or 'recipe'}] {error}") from None


def _value(wanted: Any, value: Any, path: str, name: str) -> Any:
    if dataclasses.is_dataclass(wanted) or typing.get_origin(wanted) is dict:
        return _table(wanted, value, path, name)
    if typing.get_origin(wanted) is Literal:
        if value not in typing.get_args(wanted):
            choices = ", ".join(map(str, typing.get_args(wanted)))
            raise ConfigError(f"{path}: {name} = {value!r}; must be one of {choices}")
        return value
    if type(value) is int and abs(value) > MAX_WHOLE:
        raise ConfigError(f"{path}: {name} must be at most {MAX_WHOLE}; choose a smaller number")
    if wanted in _LISTS:
        return _LISTS[wanted](value, path, name)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        raise ConfigError(f"{path}: {name} = {value!r}; must be of type {wanted.__name__}")
    return value


def _table(wanted: Any, value: Any, path: str, name: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {name!r} must be a table, [{name}]")
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return build(wanted, value, path, name)
    if not all(isinstance(item, str) for item in value.values()):
        raise ConfigError(f"{path}: [{name}] must map modalities to texts")
    if name.rpartition(".")[2] in {"match", "bands"}:
        _require_modalities(value, path, name)
    return value


def _require_modalities(table: dict[str, Any], path: str, name: str) -> None:
    for key in table:
        if key not in MODALITIES:
            todo = near_miss(key, MODALITIES) or f"use some of {', '.join(MODALITIES)}"
            raise ConfigError(f"{path}: unknown key '{name}.{key}'; {todo}")


def _data_sets(value: Any, path: str, name: str) -> tuple[DataSet, ...]:
    """Read [data], where an empty table is no set, or several [[data]]."""
    tables = value if isinstance(value, list) else [value] if value else []
    if not all(isinstance(one, dict) for one in tables) or value in ("", 0, False):
        raise ConfigError(f"{path}: {name!r} must be a table, [{name}], or several, [[{name}]]")
    sets = tuple(_data_set(one, path, name) for one in tables)
    if any(one.share for one in sets) and not all(one.share for one in sets):
        raise ConfigError(f"{path}: [[{name}]]: some sets have a share; give one to each, or none")
    return sets


def _data_set(table: dict[str, Any], path: str, name: str) -> DataSet:
    keys = [one.name for one in dataclasses.fields(DataSet)[1:]]
    folders = {key: value for key, value in table.items() if key not in keys}
    for key, value in folders.items():
        close = difflib.get_close_matches(key, [*MODALITIES, *keys], n=1, cutoff=0.6)
        if key not in MODALITIES:
            hint = f"did you mean {close[0]!r}?" if close else "give two modalities"
            raise ConfigError(f"{path}: unknown key '{name}.{key}'; {hint}")
        if not isinstance(value, str):
            raise ConfigError(f"{path}: [{name}] must map modalities to texts")
        if not value:
            raise ConfigError(f"{path}: [{name}] {key} is empty; give a folder")
    rest = {key: value for key, value in table.items() if key in keys}
    one: DataSet = build(DataSet, {"folders": folders, **rest}, path, name)
    return one


def _words(value: Any, path: str, name: str) -> tuple[str, ...]:
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ConfigError(f"{path}: {name} = {value!r}; must be a list of words")
    return tuple(value)


_LISTS: dict[Any, Callable[[Any, str, str], Any]] = {
    tuple[str, ...]: _words,
    tuple[DataSet, ...]: _data_sets,
}


def require(value: Any, positive: tuple[str, ...], not_negative: tuple[str, ...]) -> None:
    """Raise ValueError if a field of a dataclass is not positive, or negative, or not a number."""
    for name in positive:
        number = getattr(value, name)
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be positive, not {number}")
    for name in not_negative:
        number = getattr(value, name)
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name} must not be negative, but is {number}")
