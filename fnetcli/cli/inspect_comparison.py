"""`fnet inspect` of a pair with two networks, side by side."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fnetcli.cli.console import Console, Progress, leaving_at_once
from fnetcli.cli.inspect_files import require_places, results_in, write_json
from fnetcli.cli.inspect_pair import GivenPair, find_pair
from fnetcli.cli.options.files import GivenPairing
from fnetcli.errors import UsageError
from fnetcli.runs.batch import EXIT_DONE
from fnetcli.runs.protect import Inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fnetcli.engine import EngineOptions
    from fnetcli.inspection.base import Comparer, Comparison
    from fnetcli.inspection.subject import Subject
    from fnetcli.reports.comparison_page import ComparisonPage
    from fnetcli.runs.network import LoadedNetwork


def inspect_two(
    console: Console,
    given: GivenPair,
    inputs: Inputs,
    device: str,
    engine_options: EngineOptions,
) -> int:
    """Compare two FNets on a pair, write figures and print tables; return the exit code."""
    with leaving_at_once():
        from fnetcli.files.scratch import scratch_array
        from fnetcli.inspection.base import PAGE_FILE
        from fnetcli.inspection.wording import not_aligned
        from fnetcli.pictures.misalignment import estimate_misalignment
        from fnetcli.reports.inspection_files import write_comparison
        from fnetcli.reports.inspection_text import terminal_tables
        from fnetcli.runs.network import NetworkSource

    out, results = given.out, given.results
    _refuse(given)
    found = given.camera.find(given.images, GivenPairing(), given.reading)
    if found.info:
        console.notice(found.info)
    read = find_pair(given, found)
    networks = {
        text: NetworkSource(text, device, engine_options, modalities=found.modalities).load(
            console.notice
        )
        for text in results.weights or []
    }
    comparer = _comparer(networks)
    require_places(out, (*comparer.pictures, PAGE_FILE), results.json_file, inputs)
    subject = read()
    for notice in subject.info:
        console.notice(notice)
    for network in networks.values():
        console.tell_method(network)
    misalignment = estimate_misalignment(*subject.luminances)
    words = misalignment.describe(*found.modalities)
    warnings = [not_aligned(words)] if misalignment.is_large else []
    for text in warnings:
        console.warning(text)
    warnings += [text for network in networks.values() for text in network.warnings]
    notices = [*subject.info, *(text for network in networks.values() for text in network.notices)]
    engines = dict(zip(_names(networks), [one.engine for one in networks.values()], strict=True))
    configs = [one.weights.network.config for one in networks.values()]

    def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
        return scratch_array(out / comparer.pictures[0], shape, "float16")

    with results_in(out), Progress(comparer.count_steps(configs) + 1, "steps", console) as progress:
        comparison = comparer.compare(
            engines, subject.luminances, found.modalities, allocate, progress.step
        )
        page = _page(subject, found.modalities, networks, comparison)
        scales = write_comparison(
            out, comparison, replace(page, warnings=warnings, notices=notices)
        )
        progress.step()
    for table in comparison.tables:
        console.table(table.title, *terminal_tables(table, console.width))
        console.result("")
    for name, scale in scales.items():
        console.result(f"{out / name}: {scale}")
    weights = {
        name: {"name": one.weights.name, "sha256": one.weights.sha256}
        for name, one in zip(engines, networks.values(), strict=True)
    }
    record = {
        "pair": subject.name,
        "modalities": list(found.modalities),
        "size": list(subject.luminances[0].shape),
        "weights": weights,
        **comparison.record,
        "misalignment": misalignment.record(),
        "said": list(subject.info),
    }
    write_json(results.json_file, record)
    return EXIT_DONE


def _page(
    subject: Subject,
    modalities: tuple[str, str],
    networks: dict[str, LoadedNetwork],
    comparison: Comparison,
) -> ComparisonPage:
    """Return the page, without plots and what is said of the pair."""
    from fnetcli.reports.comparison_page import ComparisonPage, Network

    weights = [one.weights for one in networks.values()]
    return ComparisonPage(
        title=subject.name,
        modalities=modalities,
        sources=subject.sources,
        networks=[
            Network(name, comparison.colors[name], f"{one.name}: {comparison.facts[name]}")
            for name, one in zip(comparison.fused, weights, strict=True)
        ],
        fused=comparison.fused,
        tables=comparison.tables,
        details={
            "command": shlex.join(["fnet", *sys.argv[1:]]),
            **{one.name: f"sha256 {one.sha256}" for one in weights},
            "version": f"fnet {version('fnetcli')}",
        },
    )


def _refuse(given: GivenPair) -> None:
    """Raise UsageError if an option does not apply to two networks."""
    results = given.results
    weights = results.weights or []
    if len(weights) > 2:
        raise UsageError(f"--weights: {len(weights)} networks, but two can be compared at a time")
    if len(set(weights)) < 2:
        raise UsageError(f"--weights {weights[0]}: given twice; name two different networks")
    options = {
        "--inverse": results.inverse,
        "--no-codes": not results.codes,
        "--iterations": results.iterations,
    }
    for option, value in options.items():
        if value:
            raise UsageError(f"{option}: does not apply to two networks; leave it out")


def _comparer(networks: dict[str, LoadedNetwork]) -> Comparer:
    """Return how the networks are compared. Raise UsageError if one has no codes."""
    from fnetcli.inspection.table import COMPARERS

    for text, one in networks.items():
        model = one.weights.network.spec.name
        if model not in COMPARERS:
            raise UsageError(
                f"--weights {text}: are of a model '{model}', which has no codes to compare; give "
                "two FNets"
            )
    return COMPARERS[model]


def _names(networks: dict[str, LoadedNetwork]) -> list[str]:
    """Return short names that differ: the files' stems, else with their folders, else as given."""
    paths = [one.weights.path for one in networks.values()]
    for names in ([path.stem for path in paths], [_with_folder(path) for path in paths]):
        if len(set(names)) == len(names):
            return names
    return list(networks)


def _with_folder(path: Path) -> str:
    return f"{path.resolve().parent.name} {path.stem}"
