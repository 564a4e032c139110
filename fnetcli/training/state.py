"""What a training run keeps on disk to go on as if it had never been stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fnetcli.errors import TrainingError, UsageError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import FileKind, open_file
from fnetcli.training.base import Procedure, Stage, without_frozen
from fnetcli.training.config import Recipe
from fnetcli.training.health import Health
from fnetcli.training.optimizers import Muon

VERSION = 2
FILE = FileKind("a training state", 64 << 30, "start again in another folder", TrainingError)
MUST_STAY = ("seed", "precision", "optimizer", "network", "inverse", "keep_inverse")


@dataclass
class Progress:
    """How far a run is, beside what its modules and optimisers hold."""

    stage: int = 1
    iteration: int = 0  # finished ones of this stage
    best_loss: float = math.inf
    seconds: float = 0.0  # spent so far, all sessions together
    health: Health = field(default_factory=Health)


@dataclass
class State:
    """Everything that the next iteration depends on."""

    recipe: Recipe
    procedure: Procedure
    lists: dict[str, str]  # hashes of the training and validation pairs
    init: dict[str, str] | None = None  # name and hash of the weights that training started from
    progress: Progress = field(default_factory=Progress)
    optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.optimizers = self._optimizers()

    @property
    def stages(self) -> list[Stage]:
        """All stages, without what is frozen in them."""
        network = self.procedure.modules["network"]
        return [without_frozen(stage, network) for stage in self.procedure.stages]

    @property
    def stage(self) -> Stage:
        """The stage at work."""
        return self.stages[self.progress.stage - 1]

    @property
    def next_stage(self) -> int | None:
        """The number of the next stage that has iterations."""
        later = enumerate(self.procedure.stages[self.progress.stage :], self.progress.stage + 1)
        return next((number for number, stage in later if stage.config.iterations), None)

    def enter(self, number: int) -> None:
        """Start a later stage, with new optimisers unless it keeps those that there are."""
        self.progress.stage, self.progress.iteration = number, 0
        self.progress.health.enter_stage()
        if self.stage.starts_from_average:
            for name, average in self.procedure.averages.items():
                self.procedure.modules[name].load_state_dict(average.state_dict())
        before, self.optimizers = self.optimizers, self._optimizers()
        if self.stage.keeps_optimizers:
            self.optimizers |= {
                name: optimizer
                for name, optimizer in before.items()
                if _learning(optimizer) == _learning(self.optimizers.get(name))
            }

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: self._optimizer(group) for name, group in self.stage.groups.items()}

    def _optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        if self.recipe.optimizer == "muon":
            return Muon(parameters)
        return torch.optim.Adam(parameters)

    def save(self, path: Path) -> None:
        """Write the state, whole. Raise OutputError."""
        modules, averages = self.procedure.modules, self.procedure.averages
        content = {
            "version": VERSION,
            "model": self.recipe.model,
            "recipe": json.dumps(self.recipe.as_dict()),
            "modules": {name: module.state_dict() for name, module in modules.items()},
            "averages": {name: module.state_dict() for name, module in averages.items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
            "extra": self.procedure.extra_state(),
            "lists": self.lists,
            "init": self.init,
            "progress": asdict(self.progress),
            "random": torch.get_rng_state(),
        }
        atomic_write(path, lambda file: torch.save(content, file))

    def load(self, path: Path, device: torch.device) -> None:
        """Go on from a state on disk. Raise UsageError, TrainingError."""
        if not path.exists():
            raise UsageError(f"{path}: nothing to resume; start without --resume")
        try:
            with open_file(path, FILE) as file:
                content = torch.load(file, map_location=device, weights_only=True)
            _check_version(path, content["version"])
            self._check_recipe(path, content["model"], json.loads(content["recipe"]))
            self._check_lists(path, content["lists"])
            self._check_init(path, content.get("init"))
            for kind in ("modules", "averages"):
                for name, module in getattr(self.procedure, kind).items():
                    module.load_state_dict(content[kind][name])
            self.progress = _read_progress(content["progress"])
            self.optimizers = self._optimizers()
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(content["optimizers"][name])
            self.procedure.restore(content["extra"])
            torch.set_rng_state(content["random"].cpu())
        except TrainingError:
            raise
        except Exception as error:  # noqa: BLE001  damage shows as many kinds of exception
            raise TrainingError(
                f"{path}: damaged state ({type(error).__name__}); start again in another folder"
            ) from None

    def _check_recipe(self, path: Path, model: str, before: dict[str, Any]) -> None:
        """Refuse to go on with another network, seed or optimiser; stages' numbers may change."""
        now = json.loads(json.dumps(self.recipe.as_dict()))
        plain = type(self.recipe)().as_dict()  # what states of older versions do not name
        changed = [key for key in MUST_STAY if now.get(key) != before.get(key, plain.get(key))]
        if model != self.recipe.model:
            changed.insert(0, "model")
        if changed:
            raise TrainingError(
                f"{path}: was trained with another {', '.join(changed)}; resume with the same "
                f"{', '.join(key for key in MUST_STAY if key in now)} or use another folder"
            )

    def _check_lists(self, path: Path, before: dict[str, str]) -> None:
        """Refuse to go on with other pictures: the best loss would be of a mixture."""
        for name, digest in self.lists.items():
            if digest != before[name]:
                raise TrainingError(
                    f"{path}: the {name} pairs have changed since; resume with the same pictures "
                    "or use another folder"
                )

    def _check_init(self, path: Path, before: dict[str, str] | None) -> None:
        """Refuse to go on with other initial weights than those that the run started from."""
        if self.init is not None and self.init["sha256"] != (before or {}).get("sha256"):
            origin = f"from {before['name']}" if before else "without initial weights"
            raise TrainingError(
                f"{path}: training started {origin}, not from {self.init['name']}; leave --init "
                "out or use another folder"
            )
        self.init = before


def _learning(optimizer: torch.optim.Optimizer | None) -> list[int]:
    """Return the identities of the parameters that an optimiser moves."""
    groups = [] if optimizer is None else optimizer.param_groups
    return [id(parameter) for group in groups for parameter in group["params"]]


def _read_progress(content: dict[str, Any]) -> Progress:
    """Return the progress; of what older versions did not keep, nothing bad is assumed."""
    health = content.get("health", {"initial_share": 0.0})
    return Progress(**content | {"health": Health(**health)})


def _check_version(path: Path, version: int) -> None:
    if version != VERSION:
        raise TrainingError(
            f"{path}: a state of another version of fnet; start again in another folder"
        )
