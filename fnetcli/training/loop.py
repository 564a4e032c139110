"""The two training stages, with a state on disk from which they go on as if never stopped."""

from __future__ import annotations

import copy
import io
import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fnetcli.checkpoints.loading import save_weights
from fnetcli.errors import TrainingError, UsageError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import open_file, read_text
from fnetcli.models.fnet import shaped
from fnetcli.models.fnet.network import FNet, IFNet
from fnetcli.training.config import LOG, STATE, Recipe, StageConfig
from fnetcli.training.data import Pairs, to_tensor
from fnetcli.training.losses import FusionLoss, fusion_loss, inversion_loss
from fnetcli.training.optimizers import Muon

STATE_VERSION = 1
STATE_FILE, LOG_FILE, RECIPE_FILE = "state.pt", "log.jsonl", "recipe.toml"
BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"


class Observer(Protocol):
    """What a run tells while it goes on; the CLI shows it."""

    def step(self, stage: int, iteration: int, total: int, losses: dict[str, float]) -> None:
        """Hear of one finished iteration."""

    def message(self, text: str) -> None:
        """Hear of something worth a line."""


@dataclass
class State:
    """Everything that the next iteration depends on."""

    network: FNet
    inverse: IFNet
    ema: FNet
    optimizer: torch.optim.Optimizer
    stage: int = 1
    iteration: int = 0  # finished ones of this stage
    best_loss: float = math.inf
    seconds: float = 0.0  # spent so far, all sessions together
    lists: dict[str, str] = field(
        default_factory=dict
    )  # hashes of the training and validation pairs


class Stopped(Exception):  # noqa: N818  it is a way to end, not an error
    """Training was asked to stop; the state is on disk."""


def train(
    recipe: Recipe,
    pairs: Pairs,
    validation: Pairs | None,
    run: Path,
    *,
    device: torch.device,
    resume: bool,
    observer: Observer,
) -> None:
    """Run both stages into folder `run`; raise TrainingError, or Stopped after a signal."""
    torch.manual_seed(recipe.seed)
    if device.type == "cpu":
        _compile(observer)
    try:
        lists = {
            "training": pairs.list_sha256(),
            "validation": validation.list_sha256() if validation else "",
        }
        state = _load_state(run, recipe, lists, device) if resume else _new_state(recipe, device)
        state.lists = lists
        atomic_write(run / RECIPE_FILE, lambda file: file.write(recipe.to_toml().encode()))
        with _open_log(run / LOG_FILE, state) as log, _stop_signals() as stop_asked:
            trainer = _Trainer(recipe, pairs, validation, run, device, observer, state, log)
            trainer.run(stop_asked)
    finally:
        shaped.use_eager_threshold()


class _Trainer:
    """One run; `state` is the only thing that changes."""

    def __init__(
        self,
        recipe: Recipe,
        pairs: Pairs,
        validation: Pairs | None,
        folder: Path,
        device: torch.device,
        observer: Observer,
        state: State,
        log: io.FileIO,
    ) -> None:
        self.recipe, self.pairs, self.validation = recipe, pairs, validation
        self.folder, self.device, self.observer = folder, device, observer
        self.state, self.log = state, log

    def run(self, stop_asked: list[bool]) -> None:
        """Go through the stages from where the state stands."""
        self._save()
        while True:
            stage = self._stage_config()
            while self.state.iteration < stage.iterations:
                self._iterate(stage)
                if stop_asked:
                    self._save()
                    raise Stopped
            if self.state.stage == 2:
                break
            self._enter_stage_2()
        self._save()

    def _stage_config(self) -> StageConfig:
        return self.recipe.stage_1 if self.state.stage == 1 else self.recipe.stage_2

    def _enter_stage_2(self) -> None:
        """Start stage II from the averaged weights of stage I, with a fresh optimiser."""
        state = self.state
        state.network.load_state_dict(state.ema.state_dict())
        state.optimizer = _optimizer(self.recipe, 2, state.network, state.inverse)
        state.stage, state.iteration = 2, 0
        self._save()

    def _iterate(self, stage: StageConfig) -> None:
        state, started = self.state, time.monotonic()
        seed = (self.recipe.seed, state.stage, state.iteration)
        x, y = self.pairs.batch(stage.batch, stage.crop, seed)
        x, y = x.to(self.device), y.to(self.device)
        for group in state.optimizer.param_groups:
            group["lr"] = stage.rate(state.iteration)
        losses = self._losses(x, y)
        total = sum(losses.values(), start=torch.zeros((), device=self.device))
        state.optimizer.zero_grad(set_to_none=True)
        total.backward()
        parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_clip or math.inf)
        values = {name: loss.item() for name, loss in losses.items()}
        if not (math.isfinite(total.item()) and math.isfinite(norm.item())):
            raise TrainingError(
                f"{self.folder}: loss or gradient is not a number at stage {state.stage}, "
                f"iteration {state.iteration}; lower learning_rate or set gradient_clip and start "
                "again, or go on from the last checkpoint with --resume"
            )
        state.optimizer.step()
        _average(state.ema, state.network, self.recipe.average_decay(state.iteration))
        state.iteration += 1
        state.seconds += time.monotonic() - started
        self._record(stage, values)

    def _losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms of the current stage's loss."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"
        ):
            fused = shaped.separate_and_combine(self.state.network, x, y)[1].fused
            if self.state.stage == 1:
                first, second = shaped.invert(self.state.inverse, fused)
        if self.state.stage == 1:
            return {"first": inversion_loss(first, x), "second": inversion_loss(second, y)}
        loss = _fusion_loss(self.recipe, fused, x, y)
        return {"intensity": loss.intensity, "gradient": loss.gradient, "ssim": loss.ssim}

    def _record(self, stage: StageConfig, values: dict[str, float]) -> None:
        state, recipe = self.state, self.recipe
        self.observer.step(state.stage, state.iteration, stage.iterations, values)
        row: dict[str, Any] = {"stage": state.stage, "iteration": state.iteration, **values}
        is_last = state.iteration == stage.iterations
        if state.stage == 2 and (is_last or state.iteration % recipe.validate_every == 0):
            row |= self._validate()
        self._write_log(row | {"seconds": round(state.seconds, 2)})
        if is_last or state.iteration % recipe.checkpoint_every == 0:
            self._save()

    def _write_log(self, row: dict[str, Any]) -> None:
        try:
            self.log.write((json.dumps(row) + "\n").encode())
        except OSError as error:
            raise TrainingError(
                f"{self.folder / LOG_FILE}: cannot be written ({error.strerror}); free some space, "
                "then go on with --resume"
            ) from None

    def _validate(self) -> dict[str, float]:
        """Return the averaged weights' mean loss over the validation pairs; keep the best."""
        if self.validation is None:
            return {}
        loss = validation_loss(self.state.ema, self.validation, self.recipe, self.device)
        if loss < self.state.best_loss:
            self.state.best_loss = loss
            self._save_weights(BEST_FILE)
        self.observer.message(
            f"stage {self.state.stage}, iteration {self.state.iteration}: "
            f"validation loss {loss:.4f} (best {self.state.best_loss:.4f})"
        )
        return {"validation": loss}

    def _save(self) -> None:
        _save_state(self.folder / STATE_FILE, self.state, self.recipe)
        self._save_weights(LAST_FILE)

    def _save_weights(self, name: str) -> None:
        state = self.state
        metadata = {
            "recipe": {k: v for k, v in self.recipe.as_dict().items() if k not in _FOLDERS},
            "trained": {
                "stage": state.stage,
                "iteration": state.iteration,
                "seconds": round(state.seconds),
                "pairs": len(self.pairs),
                "validation_loss": state.best_loss if name == BEST_FILE else None,
            },
            "training_list_sha256": state.lists["training"],
        }
        save_weights(self.folder / name, state.ema, metadata)


_FOLDERS = ("data", "validation")  # somebody's paths do not travel with the weights


@torch.no_grad()
def validation_loss(network: FNet, pairs: Pairs, recipe: Recipe, device: torch.device) -> float:
    """Return the mean stage II loss over whole images."""
    total = 0.0
    for index in range(len(pairs)):
        x, y = (to_tensor(image)[None, None].to(device) for image in pairs[index])
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            fused = shaped.separate_and_combine(network, x, y)[1].fused
        total += _fusion_loss(recipe, fused, x, y).total.item()
    return total / len(pairs)


def _fusion_loss(recipe: Recipe, fused: Tensor, x: Tensor, y: Tensor) -> FusionLoss:
    stage = recipe.stage_2
    return fusion_loss(
        fused,
        x,
        y,
        intensity_weight=stage.intensity_weight,
        gradient_weight=stage.gradient_weight,
        ssim_weight=stage.ssim_weight,
    )


def _compile(observer: Observer) -> None:
    try:
        shaped.compile_threshold()
    except Exception as error:  # noqa: BLE001  no compiler, a broken one: many kinds
        shaped.use_eager_threshold()
        observer.message(
            f"no compiled threshold ({type(error).__name__}): training goes on, slower"
        )


# --- state ----------------------------------------------------------------------------------------


def _optimizer(recipe: Recipe, stage: int, network: FNet, inverse: IFNet) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    if stage == 1:
        parameters += list(inverse.parameters())
    return Muon(parameters) if recipe.optimizer == "muon" else torch.optim.Adam(parameters)


def _new_state(recipe: Recipe, device: torch.device) -> State:
    network = FNet(recipe.network).to(device)
    inverse = IFNet(recipe.inverse).to(device)
    ema = copy.deepcopy(network).requires_grad_(False)
    return State(network, inverse, ema, _optimizer(recipe, 1, network, inverse))


@torch.no_grad()
def _average(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights toward the current ones."""
    averages: list[Tensor] = list(ema.parameters())
    currents: list[Tensor] = list(network.parameters())
    torch._foreach_lerp_(averages, currents, 1 - decay)


def _save_state(path: Path, state: State, recipe: Recipe) -> None:
    content = {
        "version": STATE_VERSION,
        "recipe": json.dumps(recipe.as_dict()),
        "network": state.network.state_dict(),
        "inverse": state.inverse.state_dict(),
        "ema": state.ema.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "stage": state.stage,
        "iteration": state.iteration,
        "lists": state.lists,
        "best_loss": state.best_loss,
        "seconds": state.seconds,
        "random": torch.get_rng_state(),
    }
    atomic_write(path, lambda file: torch.save(content, file))


def _load_state(run: Path, recipe: Recipe, lists: dict[str, str], device: torch.device) -> State:
    path = run / STATE_FILE
    if not path.exists():
        raise UsageError(f"{path}: nothing to resume; start without --resume")
    try:
        with open_file(path, STATE) as file:
            content = torch.load(file, map_location=device, weights_only=True)
        _check_recipe(path, json.loads(content["recipe"]), recipe)
        _check_lists(path, content["lists"], lists)
        state = _new_state(recipe, device)
        state.network.load_state_dict(content["network"])
        state.inverse.load_state_dict(content["inverse"])
        state.ema.load_state_dict(content["ema"])
        state.optimizer = _optimizer(recipe, content["stage"], state.network, state.inverse)
        state.optimizer.load_state_dict(content["optimizer"])
        torch.set_rng_state(content["random"].cpu())
    except TrainingError:
        raise
    except Exception as error:  # noqa: BLE001  damage shows as many kinds of exception
        raise TrainingError(
            f"{path}: damaged state ({type(error).__name__}); start again in another folder"
        ) from None
    for name in ("stage", "iteration", "best_loss", "seconds"):
        setattr(state, name, content[name])
    return state


MUST_STAY = ("seed", "precision", "optimizer", "network", "inverse")


def _check_recipe(path: Path, before: dict[str, Any], recipe: Recipe) -> None:
    """Refuse to go on with another network, seed or optimiser; the stages' numbers may change."""
    now = json.loads(json.dumps(recipe.as_dict()))
    changed = [key for key in MUST_STAY if now[key] != before.get(key)]
    if changed:
        raise TrainingError(
            f"{path}: was trained with another {', '.join(changed)}; resume with the same "
            f"{', '.join(MUST_STAY)} or use another folder"
        )


def _check_lists(path: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to go on with other pictures: the best loss and the record would be of a mixture."""
    for name, digest in now.items():
        if digest != before[name]:
            raise TrainingError(
                f"{path}: the {name} pairs have changed since; resume with the same pictures or "
                "use another folder"
            )


def _open_log(path: Path, state: State) -> io.FileIO:
    """Open log.jsonl for one line per iteration; lines after the resumed state are dropped."""
    kept = []
    if path.is_file() and (state.stage, state.iteration) > (1, 0):
        for line in read_text(path, LOG, errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break  # half a line from a crash
            if (row["stage"], row["iteration"]) > (state.stage, state.iteration):
                break
            kept.append(line + "\n")
    atomic_write(path, lambda file: file.write("".join(kept).encode()))
    return io.FileIO(path, "a")  # unbuffered: a full disk shows at the line that does not fit


@contextmanager
def _stop_signals() -> Iterator[list[bool]]:
    """Collect requests to stop in a list instead of stopping in the middle of a step."""
    asked: list[bool] = []
    names = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        names.append(signal.SIGHUP)  # a lost terminal; under nohup it stays ignored

    def ask(*_: object) -> None:
        if asked:  # a second time: at once, without saving
            raise KeyboardInterrupt
        asked.append(True)

    previous = [signal.signal(name, ask) for name in names]
    try:
        yield asked
    finally:
        for name, handler in zip(names, previous, strict=True):
            signal.signal(name, handler)
