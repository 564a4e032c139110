"""`fnet train`: read a recipe and pairs, write weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress, exits_properly, leaving_at_once
from fnetcli.cli.options.group import takes_groups
from fnetcli.cli.options.images import GivenImages
from fnetcli.cli.options.network import GivenDevice
from fnetcli.cli.options.registration import GivenRegistration
from fnetcli.cli.options.talking import GivenQuiet
from fnetcli.cli.options.training import GivenTraining
from fnetcli.cli.train_plan import (
    check_run_folder,
    choose_recipe,
    find_pairs,
    initial_weights,
    kept_recipe,
    naming,
    plan_registration,
    plan_run,
    read_plan,
    write_recipe,
)
from fnetcli.runs.batch import EXIT_DONE, EXIT_INTERRUPTED
from fnetcli.text import number_of

if TYPE_CHECKING:
    from fnetcli.reports.tensorboard import Board


@exits_properly
@takes_groups
def train(
    given: GivenTraining,
    images: GivenImages,
    registration: GivenRegistration,
    device: GivenDevice,
    talking: GivenQuiet,
) -> int:
    r"""Train a network on aligned pairs, stage by stage.

    \b
    fnet train --init fnet --vis VIS --ir IR --validation HELD -o RUN  fine-tune
    fnet train --write-recipe fnet -o mine.toml                        a recipe
    fnet train --resume -o runs/mine                                   after Ctrl-C

    The recipe names the model and sets all numbers (default: FNet's published recipe, or with
    --resume the run's own). Image options name folders and replace those of the recipe, for
    validation too. With --init, training starts from other weights; without a recipe it fine-tunes
    them. UAAFusion learns from labels: --labels, or labels in the recipe. Ctrl-C saves
    the state and stops; resuming with --resume gives results identical to those of an
    uninterrupted run. Writes best.safetensors, last.safetensors, log.jsonl, log.csv, loss.png,
    recipe.toml, state.pt and pictures of validation pairs to the run folder.
    """
    if given.write_recipe is not None:
        Console(is_quiet=talking.quiet).result(str(write_recipe(given.write_recipe, given.out)))
        return EXIT_DONE
    with leaving_at_once():
        from fnetcli.engine import choose_device
        from fnetcli.reports.tensorboard import Board, require_tensorboard
        from fnetcli.training import loop, team

    leads = not team.has_team() or team.rank() == 0  # of the processes that torchrun has started
    console = Console(is_quiet=talking.quiet or not leads, has_results=leads)
    if given.tensorboard:
        require_tensorboard()
    resume = given.resume
    name = choose_recipe(given)
    run = given.out or Path("runs") / Path(name).stem
    check_run_folder(run, resume=resume)
    kept = kept_recipe(run, given)
    plan = read_plan(name, kept, given, images.given)
    source = kept or given.recipe or ""
    with naming(source):
        plan = plan_registration(plan_run(plan, given, images.given), registration)
    chosen = choose_device(device.device)
    if chosen.kind == "cuda" and chosen.index is None and team.has_team():
        chosen = choose_device(f"cuda:{team.local_rank()}")
    with naming(source):
        pairs, validation_pairs = find_pairs(plan, run, console)
    init = initial_weights(plan, given)
    if init is not None:
        console.notice(f"training starts from {init.name}")
    console.notice(f"{number_of(len(pairs), 'pair')}, device {chosen}, run folder {run}")
    observer = _Observer(console, Board(run) if given.tensorboard and leads else None)
    try:
        with naming(source):
            loop.train(
                plan,
                pairs,
                validation_pairs,
                run,
                device=chosen.in_torch(),
                resume=resume,
                observer=observer,
                init=init,
                accumulate=given.accumulate,
            )
    except loop.Stopped:
        if leads:
            console.error(f"interrupted; the state is saved, continue with --resume -o {run}")
        return EXIT_INTERRUPTED
    finally:
        observer.close()
        if leads:
            _draw_curves(console, run)
    if resume and not observer.stage:
        console.notice(
            f"{run}: all its iterations were done before; a recipe with more goes further"
        )
    best, last = run / loop.BEST_FILE, run / loop.LAST_FILE
    console.result(str(best if best.is_file() else last))
    return EXIT_DONE


class _Observer:
    """Shows losses and the time left, stage by stage."""

    def __init__(self, console: Console, board: Board | None) -> None:
        self.console, self.board = console, board
        self.stage = 0
        self.progress: Progress | None = None
        self.smooth: dict[str, float] = {}

    def step(self, stage: int, iteration: int, total: int, losses: dict[str, float]) -> None:
        if stage != self.stage:
            self._close_progress()
            self.stage, self.smooth = stage, dict(losses)
            self.console.notice(f"stage {stage}: iterations {iteration} to {total}")
            self.progress = Progress(
                total - iteration + 1, f"iterations of stage {stage}", self.console
            )
        for name, value in losses.items():
            self.smooth[name] += 0.05 * (value - self.smooth[name])
        if self.progress is not None:
            self.progress.step(
                " ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())
            )

        if self.board is not None:
            self.board.add(stage, iteration, losses, "loss")

    def validated(
        self, stage: int, iteration: int, found: dict[str, float], strip: Path | None
    ) -> None:
        if self.board is not None:
            self.board.add(stage, iteration, found, "validation")
            if strip is not None:
                self.board.add_strip(stage, iteration, strip)

    def message(self, text: str) -> None:
        self.console.notice(text)

    def warning(self, text: str) -> None:
        self.console.warning(text)

    def close(self) -> None:
        self._close_progress()
        if self.board is not None:
            self.board.close()

    def _close_progress(self) -> None:
        if self.progress is not None:
            self.progress.close()


def _draw_curves(console: Console, run: Path) -> None:
    """Draw the log's losses and write them as a table, however training ended."""
    from fnetcli.reports.plots import draw_loss_curves
    from fnetcli.reports.training_log import write_log_table
    from fnetcli.training.loop import LOG_FILE

    try:
        if (run / LOG_FILE).is_file():
            draw_loss_curves(run / LOG_FILE, run / "loss.png")
            write_log_table(run / LOG_FILE, run / "log.csv")
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  it must not hide how training ended
        console.warning(
            f"{run}: loss.png or log.csv is not written ({str(error) or 'interrupted'})"
        )
