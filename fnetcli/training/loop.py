"""Training: stage after stage, with a state on disk from which it goes on as if never stopped."""

from __future__ import annotations

import io
import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fnetcli.checkpoints.loading import Weights, save_weights
from fnetcli.errors import TrainingError
from fnetcli.files.durable import atomic_write
from fnetcli.files.guarded import read_text
from fnetcli.modalities import ORDINALS, shown_name
from fnetcli.models.base import Network
from fnetcli.text import number_of
from fnetcli.training.base import Procedure, Stage, let_learn
from fnetcli.training.config import LOG, Recipe
from fnetcli.training.recipes import resolved
from fnetcli.training.state import Progress, State
from fnetcli.training.table import procedure_of
from fnetcli.training.team import TeamLostError, joined, team, working_on
from fnetcli.training.validation import METRICS, summarise

STATE_FILE, LOG_FILE, RECIPE_FILE = "state.pt", "log.jsonl", "recipe.toml"
BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
STRIPS = "validation"  # folder of pictures


class PairList(Protocol):
    """Pairs to train on or to validate with, of the kind that the recipe's model needs."""

    def __len__(self) -> int:
        """Return the number of pairs."""

    def list_sha256(self) -> str:
        """Return a hash over all that they hold."""

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """The modalities of the pairs, (first, second), each two once."""


class Observer(Protocol):
    """What a run tells while it goes on; the CLI shows it."""

    def step(self, stage: int, iteration: int, total: int, losses: dict[str, float]) -> None:
        """Hear of one finished iteration."""

    def validated(
        self, stage: int, iteration: int, found: dict[str, float], strip: Path | None
    ) -> None:
        """Hear of a validation: loss and scores, and a picture of some pairs."""

    def message(self, text: str) -> None:
        """Hear of something worth a line."""

    def warning(self, text: str) -> None:
        """Hear of something that is possibly wrong."""


class Stopped(Exception):  # noqa: N818  it is a way to end, not an error
    """Training was asked to stop; the state is on disk."""


class UselessRunError(TrainingError):
    """Training ended, but its weights are of no use; all files are on disk."""


def train(
    recipe: Recipe,
    pairs: PairList,
    validation: PairList | None,
    run: Path,
    *,
    device: torch.device,
    resume: bool,
    observer: Observer,
    init: Weights | None = None,
    accumulate: int = 1,
) -> None:
    """Run all stages into folder `run`; raise TrainingError, or Stopped after a signal.

    Raise UselessRunError at the end if the weights are of no use. `init` are the weights to start
    from; a resumed run has its own. A batch is worked on in `accumulate` pieces, and by all
    processes that torchrun has started; the first of them writes.
    """
    lists = {
        "training": pairs.list_sha256(),
        "validation": validation.list_sha256() if validation else "",
    }
    with ExitStack() as stack:
        members = stack.enter_context(joined(device))
        for stage in recipe.stages:
            if stage.iterations:
                replace(members, pieces=accumulate).require_batch(stage.batch)
        torch.manual_seed(recipe.seed)
        procedure = procedure_of(recipe, pairs, validation, device)
        origin = None
        if init is not None:
            start_from(procedure, init.network)
            origin = {"name": init.name, "sha256": init.sha256}
        stack.enter_context(procedure.working(observer.message))
        state = State(recipe, procedure, lists, origin)
        if resume:
            state.load(run / STATE_FILE, device)
        members.copy_from_leader(procedure.modules.values())
        members.copy_from_leader(procedure.averages.values())
        log = None
        if members.leads:
            kept = resolved(recipe).to_toml()
            atomic_write(run / RECIPE_FILE, lambda file: file.write(kept.encode()))
            log = stack.enter_context(_open_log(run / LOG_FILE, state.progress))
        stop_asked = stack.enter_context(_stop_signals())
        _Trainer(run, state, pairs, len(validation or ()), observer, log, accumulate).run(
            stop_asked
        )


def start_from(procedure: Procedure, network: Network[Any]) -> None:
    """Copy a network at rest into the procedure's network and its average; counters stay."""
    state = {name: torch.tensor(array) for name, array in network.arrays.items()}
    for modules in (procedure.modules, procedure.averages):
        modules["network"].load_state_dict(modules["network"].state_dict() | state)


class _Trainer:
    """One run; the state is the only thing that changes."""

    def __init__(
        self,
        folder: Path,
        state: State,
        pairs: PairList,
        validation_pairs: int,
        observer: Observer,
        log: io.FileIO | None,
        pieces: int,
    ) -> None:
        self.folder, self.state, self.observer, self.log = folder, state, observer, log
        self.recipe, self.procedure = state.recipe, state.procedure
        self.pairs, self.validation_pairs = pairs, validation_pairs
        kinds = pairs.kinds
        self.shown = partial(shown_name, modalities=kinds[0] if len(kinds) == 1 else ORDINALS)
        self.pieces = pieces  # of a process's share of a batch
        self._is_stopping = False

    def run(self, stop_asked: list[bool]) -> None:
        """Go through the stages from where the state stands."""
        try:
            self._run(stop_asked)
        except TeamLostError as error:
            self._save()
            raise TrainingError(
                f"{self.folder}: {error}; the state is saved, continue with --resume"
            ) from None

    def _run(self, stop_asked: list[bool]) -> None:
        self._save()
        while True:
            stage = self.state.stage
            let_learn(stage, self.procedure.modules)
            self._validate_start(stage)
            while self._goes_on(stage):
                self._iterate(stage, stop_asked)
                if self._is_stopping:
                    self._save()
                    raise Stopped
            if (following := self.state.next_stage) is None:
                break
            self.state.enter(following)
            self._save()
        self._save()
        self._require_use(stage)

    def _goes_on(self, stage: Stage) -> bool:
        """Whether the stage has iterations left, and reason to run them."""
        progress, patience = self.state.progress, self.recipe.patience
        return progress.iteration < stage.config.iterations and not (
            patience and progress.health.since_best >= patience
        )

    def _iterate(self, stage: Stage, stop_asked: list[bool]) -> None:
        progress, started = self.state.progress, time.monotonic()
        optimizers = self.state.optimizers.values()
        for name, optimizer in self.state.optimizers.items():
            for group in optimizer.param_groups:
                factor = stage.rate_factors.get(name, 1.0)
                group["lr"] = stage.config.rate(progress.iteration) * factor
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        values = self._losses(stage, stop_asked)
        total = torch.tensor(list(values.values())).sum().item()
        team().add_gradients([one for group in stage.groups.values() for one in group])
        clip = self.recipe.gradient_clip or math.inf
        norms = [nn.utils.clip_grad_norm_(group, clip) for group in stage.groups.values()]
        if not all(map(math.isfinite, (total, *(norm.item() for norm in norms)))):
            raise self._lost("loss or gradient is not a number")
        team().agree_on(self.procedure.modules.values())
        for optimizer in optimizers:
            optimizer.step()
        stage.after_step()
        decay = self.recipe.average_decay(progress.iteration)
        for name, average in self.procedure.averages.items():
            _average(average, self.procedure.modules[name], decay)
        progress.health.see_loss(total, decay)
        progress.iteration += 1
        progress.seconds += time.monotonic() - started
        self._record(stage, {self.shown(name): value for name, value in values.items()})

    def _losses(self, stage: Stage, stop_asked: list[bool]) -> dict[str, float]:
        """Add up gradients and losses of all pieces; return the losses of the whole batch."""
        seed = (self.recipe.seed, self.state.progress.stage, self.state.progress.iteration)
        size, values = stage.config.batch, dict[str, Tensor]()
        for piece in range(self.pieces):
            with working_on(piece, self.pieces) as at_work:
                losses = stage.losses(seed)
                weight = at_work.weight(size)
                total = torch.stack(list(losses.values())).sum()
                (total if weight == 1 else total * weight).backward()
            for name, loss in losses.items():
                part = loss.detach() if weight == 1 else loss.detach() * weight
                values[name] = values[name] + part if name in values else part
        own = [*values.values(), *([] if team().is_alone else [_flag(stop_asked, total)])]
        everybody = team().add(torch.stack(own)).tolist()
        self._is_stopping = bool(stop_asked if team().is_alone else everybody[-1])
        return dict(zip(values, everybody, strict=False))

    def _lost(self, what: str) -> TrainingError:
        progress = self.state.progress
        return TrainingError(
            f"{self.folder}: {what} at stage {progress.stage}, iteration {progress.iteration}; "
            "lower learning_rate or set gradient_clip and start again, or continue from the last "
            "checkpoint with --resume"
        )

    def _record(self, stage: Stage, values: dict[str, float]) -> None:
        progress, recipe = self.state.progress, self.recipe
        self.observer.step(progress.stage, progress.iteration, stage.config.iterations, values)
        row: dict[str, Any] = {"stage": progress.stage, "iteration": progress.iteration, **values}
        is_last = progress.iteration == stage.config.iterations
        if is_last or progress.iteration % recipe.validate_every == 0:
            row |= self._validate(stage)
            self._tell_health()
        self._write_log(row | {"seconds": round(progress.seconds, 2)})
        if is_last or not self._goes_on(stage):
            self._tell_early_end(stage)
        if is_last or progress.iteration % recipe.checkpoint_every == 0:
            self._save()

    def _tell_health(self) -> None:
        """Say once in a stage what is wrong with losses or averages."""
        health = self.state.progress.health
        if health.has_diverged and not health.is_diverging_told:
            health.is_diverging_told = True
            self.observer.warning(
                f"{health.rise()}; lower learning_rate, lengthen warmup or set gradient_clip"
            )
        if health.is_lagging and not health.is_lagging_told and self.validation_pairs:
            health.is_lagging_told = True
            self.observer.warning(f"{health.lag()}; lower ema, or set ema_warmup = true")

    def _tell_early_end(self, stage: Stage) -> None:
        progress = self.state.progress
        if progress.iteration < stage.config.iterations:
            self.observer.message(
                f"stage {progress.stage} ends after "
                f"{number_of(progress.iteration, 'iteration')}: "
                f"{number_of(progress.health.since_best, 'validation')} without a better one "
                "(patience)"
            )

    def _require_use(self, stage: Stage) -> None:
        """Raise UselessRunError if the run's weights are of no use."""
        health, best = self.state.progress.health, self.folder / BEST_FILE
        if not stage.config.iterations:
            return
        problem = None
        if health.has_diverged:
            problem = f"{health.rise()}; lower learning_rate or set gradient_clip"
        elif health.is_lagging:
            problem = f"{health.lag()}; train longer, lower ema, or set ema_warmup = true"
        elif health.best_is_first:
            start = "the weights that it started from" if self.recipe.init else "the first ones"
            problem = (
                f"no validation was better than that of {start}, which {best.name} holds; lower "
                "learning_rate, or check that training and validation pairs are of one kind"
            )
        if problem:
            raise UselessRunError(f"{self.folder}: trained, but {problem}, and start again")

    def _write_log(self, row: dict[str, Any]) -> None:
        if self.log is None:
            return
        try:
            self.log.write((json.dumps(row) + "\n").encode())
        except OSError as error:
            raise TrainingError(
                f"{self.folder / LOG_FILE}: cannot be written ({error.strerror}); free some space, "
                "then continue with --resume"
            ) from None

    def _validate_start(self, stage: Stage) -> None:
        """Validate the weights that training starts from, so that it shows what it gains."""
        progress = self.state.progress
        is_first = progress.iteration == 0 and not progress.health.validations
        if self.recipe.init and is_first and stage.chooses_best and stage.config.iterations:
            row = {"stage": progress.stage, "iteration": 0, **self._validate(stage)}
            if len(row) > 2:
                self._write_log(row | {"seconds": round(progress.seconds, 2)})
                self._save()

    def _validate(self, stage: Stage) -> dict[str, float]:
        """Return the averaged weights' mean loss and scores over the validation pairs.

        Keep the best, and a picture of some pairs.
        """
        if stage.validate is None or not self.validation_pairs:
            return {}
        progress, count = self.state.progress, self.validation_pairs
        strip = self.folder / STRIPS / f"{progress.stage}-{progress.iteration:06d}.png"
        found = summarise(stage.validate, count, strip if team().leads else None)
        loss, told = found["validation"], ""
        if stage.chooses_best:
            is_best = loss < progress.best_loss
            progress.health.see_validation(is_best=is_best)
            if is_best:
                progress.best_loss = loss
                self._save_weights(BEST_FILE)
            told = f" (best {progress.best_loss:.4f})"
        shown = strip if strip.is_file() else None
        self.observer.validated(progress.stage, progress.iteration, found, shown)
        scores = "".join(f", {name} {found[name]:.3f}" for name in METRICS if name in found)
        self.observer.message(
            f"stage {progress.stage}, iteration {progress.iteration}: "
            f"validation loss {loss:.4f}{told}{scores}"
        )
        return found

    def _save(self) -> None:
        """Write state and weights. Raise TrainingError instead of replacing good ones by bad."""
        for module in (*self.procedure.modules.values(), *self.procedure.averages.values()):
            for name, value in module.state_dict().items():
                if not value.isfinite().all():
                    raise self._lost(f"{name} holds what is not a number")
        if not team().leads:
            return
        self.state.save(self.folder / STATE_FILE)
        self._save_weights(LAST_FILE)

    def _save_weights(self, name: str) -> None:
        if not team().leads:
            return
        progress = self.state.progress
        metadata = {  # without somebody's paths
            "recipe": {
                k: v
                for k, v in self.recipe.as_dict().items()
                if k not in {"init", *self.recipe.paths}
            },
            "trained": {
                "stage": progress.stage,
                "iteration": progress.iteration,
                "seconds": round(progress.seconds),
                "pairs": len(self.pairs),
                "validation_loss": progress.best_loss if name == BEST_FILE else None,
            },
            "trained_for": [f"{second}+{first}" for first, second in self.pairs.kinds],
            "training_list_sha256": self.state.lists["training"],
        }
        if self.state.init is not None:
            metadata["init"] = self.state.init
        sha256 = save_weights(self.folder / name, self.procedure.network(), metadata)
        for word, network in self.procedure.companions().items():
            path = self.folder / name
            path = path.with_stem(f"{path.stem}-{word}")
            save_weights(
                path, network, {**metadata, "belongs_to": {"name": name, "sha256": sha256}}
            )


def _flag(stop_asked: list[bool], like: Tensor) -> Tensor:
    return torch.full_like(like, float(bool(stop_asked))).detach()


@torch.no_grad()
def _average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged weights toward the current ones; what is counted is taken as it is."""
    averages: list[Tensor] = list(average.parameters())
    currents: list[Tensor] = list(module.parameters())
    torch._foreach_lerp_(averages, currents, 1 - decay)
    for kept, now in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(now)


def _open_log(path: Path, state: Progress) -> io.FileIO:
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
        if asked and team().is_alone:  # a second time: at once, without saving; torchrun repeats it
            raise KeyboardInterrupt
        asked.append(True)

    previous = [signal.signal(name, ask) for name in names]
    try:
        yield asked
    finally:
        for name, handler in zip(names, previous, strict=True):
            signal.signal(name, handler)
