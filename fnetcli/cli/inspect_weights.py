"""`fnet inspect` of a weights file."""

from __future__ import annotations

from pathlib import Path

from fnetcli.cli.console import Console, leaving_at_once
from fnetcli.cli.inspect_files import require_places, results_in, write_json
from fnetcli.cli.options.inspection import GivenInspection
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE
from fnetcli.runs.protect import Inputs


def inspect_weights(
    console: Console, path: str | Path | None, inputs: Inputs, results: GivenInspection, device: str
) -> int:
    """Print what a weights file contains, and draw its pictures; return the exit code."""
    with leaving_at_once():
        from fnetcli.inspection.base import written_names
        from fnetcli.inspection.table import inspector_of
        from fnetcli.reports.inspection_text import weights_lines
        from fnetcli.runs.network import NetworkSource

    network = NetworkSource(path, device).load(console.notice)
    inspector = inspector_of(network.weights)
    out, pictures = results.out, inspector.weights_pictures
    require_places(out, pictures, results.json_file, inputs, written_names(inspector))
    if out is not None and not pictures:
        model = network.weights.network.spec.name
        raise UsageError(f"-o {out}: weights of '{model}' have no pictures to draw; leave it out")
    facts, runs_here = inspector.facts(), network.engine.path
    for line in weights_lines(facts, runs_here):
        console.result(line)
    for notice in facts.notices:
        console.notice(notice)
    if out is not None:
        from fnetcli.reports.inspection_files import write_weights_figures

        with results_in(out):
            scales = write_weights_figures(out, inspector)
        for name, scale in scales.items():
            console.result(f"{out / name}: {scale}")
    write_json(results.json_file, {**facts.record(), "runs_here": runs_here})
    return EXIT_DONE
