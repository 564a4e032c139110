"""What an inverse recovers from the fused luminance alone: both sources, and how far off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fnetcli.checkpoints.loading import Weights, load_weights
from fnetcli.engine import Engine, Wanted
from fnetcli.inspection.base import Findings, Map, NumberTable, ShownMap
from fnetcli.inspection.figures import MapRow
from fnetcli.inspection.numbers import correlation, root_mean_square
from fnetcli.inspection.wording import by_modality, value, with_modalities
from fnetcli.models.table import INVERSES

INVERSE_FILE = "inverse.png"
TITLE = "Recovered from the fused picture alone"


def load_inverse(path: Path, weights: Weights) -> tuple[Weights, list[str]]:
    """Return an inverse, and whether it belongs to other weights. Raise CheckpointError."""
    inverse = load_weights(path, INVERSES)
    owner = inverse.metadata.get("belongs_to")
    sha256 = owner.get("sha256") if isinstance(owner, dict) else None
    if sha256 == weights.sha256:
        return inverse, []
    doubt = (
        f"{path.name}: was not trained beside {weights.name}, so what it recovers says little "
        "about these weights; use the files of one run"
    )
    return inverse, [doubt]


def with_recovered(
    findings: Findings,
    inverse: Weights,
    engine: Engine,
    luminances: tuple[Map, Map],
    modalities: tuple[str, str],
) -> Findings:
    """Add what an inverse recovers, and its errors, to the findings. Raise PairError."""
    own = Engine(inverse.network, engine.device, engine.options, engine.on_notice)
    fused = findings.fusion.fused
    found = own.run(fused, fused, Wanted(maps=True)).maps
    recovered = {place: found[f"recovered_{place}"][0] for place in ("first", "second")}
    sources = dict(zip(("first", "second"), luminances, strict=True))
    errors = {place: recovered[place] - sources[place] for place in sources}
    numbers = {place: _measure(recovered[place], sources[place]) for place in sources}
    record = by_modality(numbers, modalities)
    shown = {
        **{
            f"recovered_{place}": ShownMap(
                f"{{{place}}} recovered", "by IFNet, from the fused", one, _owner(place)
            )
            for place, one in recovered.items()
        },
        **{
            f"error_{place}": ShownMap(
                f"error of {{{place}}}", "recovered \u2212 source", one, _owner(place)
            )
            for place, one in errors.items()
        },
    }
    labels = {with_modalities(one.label, modalities): one.values for one in shown.values()}
    rows = {name: dict(zip(HEADS, of.values(), strict=True)) for name, of in record.items()}
    table = NumberTable(
        f"{TITLE}: errors against each source, luminance in [0, 1]",
        ("", *HEADS),
        tuple((name, *map(value, of.values())) for name, of in record.items()),
    )
    return replace(
        findings,
        maps={**findings.maps, **shown},
        arrays={
            **findings.arrays,
            **{f"recovered_{place}": one for place, one in recovered.items()},
        },
        record={**findings.record, "recovered": record},
        numbers={**findings.numbers, TITLE: rows},
        tables=(*findings.tables, table),
        figures={**findings.figures, INVERSE_FILE: MapRow(TITLE, labels, has_own_scales=True)},
        plots={**findings.plots, INVERSE_FILE: TITLE},
    )


HEADS = ("mean error", "root mean square", "PSNR in dB", "correlation")


def _measure(recovered: Map, source: Map) -> dict[str, Any]:
    difference = recovered - source
    rms = root_mean_square(difference)
    return {
        "mean_absolute_error": float(np.abs(difference).mean(dtype=np.float64)),
        "root_mean_square_error": rms,
        "psnr": -20 * float(np.log10(rms)) if rms else None,
        "correlation": correlation(recovered, source),
    }


def _owner(place: str) -> Any:
    return place
