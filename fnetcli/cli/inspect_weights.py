"""`fnet inspect` of a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, leaving_at_once
from fnetcli.cli.inspect_files import results_in, write_json
from fnetcli.runs.batch import EXIT_DONE

if TYPE_CHECKING:
    from fnetcli.checkpoints.loading import Weights
    from fnetcli.inspection.fnet.weights import CheckpointFacts


def inspect_weights(
    console: Console, path: str | None, out: Path | None, json_file: Path | None, device: str
) -> int:
    """Say what is in a weights file, and draw its dictionaries; return the exit code."""
    with leaving_at_once():
        from fnetcli.inspection.fnet.weights import checkpoint_facts
        from fnetcli.reports.inspection_text import checkpoint_lines
        from fnetcli.runs.network import NetworkSource

    network = NetworkSource(path, device).load(console.notice)
    engine, loaded = network.engine, network.weights
    facts = checkpoint_facts(loaded)
    for line in checkpoint_lines(facts, engine.path):
        console.result(line)
    for notice in facts.notices:
        console.notice(notice)
    if out is not None:
        _draw_dictionaries(console, loaded, facts, out)
    write_json(json_file, {**facts.record(), "runs_here": engine.path})
    return EXIT_DONE


def _draw_dictionaries(
    console: Console, loaded: Weights, facts: CheckpointFacts, out: Path
) -> None:
    """Draw one picture for each block and role, and the schedules."""
    from fnetcli.files.durable import files_together
    from fnetcli.inspection.fnet.weights import dictionaries
    from fnetcli.reports.figures import draw_dictionaries, draw_schedules

    figures = {"schedules.png": draw_schedules(facts.blocks)}
    every = dictionaries(loaded.network)
    for letter in facts.blocks:
        for role in ("analysis", "synthesis"):
            some = [one for one in every if (one.block, one.role) == (letter, role)]
            title = f"{role} dictionaries of block {letter}"
            figures[f"{role}_{letter}.png"] = draw_dictionaries(some, title)
    with results_in(out), files_together(out) as folder:
        for name, figure in figures.items():
            figure.save(folder / name)
    for name, figure in figures.items():
        console.result(f"{out / name}: {figure.scale}")
