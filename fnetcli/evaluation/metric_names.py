"""Choose metrics by the names that a user gives."""

from __future__ import annotations

import difflib

from fnetcli.errors import UsageError
from fnetcli.metrics import PAPER, Convention, Metric, metrics


def choose_metrics(text: str | None, convention: Convention) -> tuple[Metric, ...]:
    """Return the metrics named in ``MI,VIF``, ``paper`` (the default) or ``all``.

    Raise UsageError for an unknown name; suggest the nearest.
    """
    known = {metric.name.casefold(): metric for metric in metrics(convention)}
    names = [metric.name for metric in PAPER]
    if text is not None and text.strip().casefold() == "all":
        names = list(known)
    elif text is not None and text.strip().casefold() != "paper":
        names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--metrics: names none; give names such as MI,VIF or all")
    for name in names:
        if name.casefold() not in known:
            near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.3)
            meant = f"did you mean {known[near[0]].name}? " if near else ""
            every = ", ".join(metric.name for metric in known.values())
            raise UsageError(f"--metrics {name}: unknown; {meant}use some of {every}, or all")
    return tuple(known[name] for name in dict.fromkeys(name.casefold() for name in names))
