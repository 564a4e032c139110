"""Plots as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fnetcli.files.durable import atomic_write
from fnetcli.reports.figures import as_png
from fnetcli.reports.training_log import log_rows
from fnetcli.training.validation import METRICS

NOT_LOSSES = ("stage", "iteration", "seconds", "validation", *METRICS)


def draw_loss_curves(log: Path, picture: Path) -> None:
    """Draw the losses of log.jsonl over the iterations, one panel per stage. Raise WriteError."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = list(log_rows(log))
    stages = sorted({row["stage"] for row in rows})
    if not stages:
        return
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(6 * len(stages), 4), layout="constrained")
        for axes, stage in zip(
            figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True
        ):
            of_stage = [row for row in rows if row["stage"] == stage]
            trained = [row for row in of_stage if row["iteration"]]  # 0: before training
            for name in dict.fromkeys(name for row in trained for name in row):
                if name in NOT_LOSSES:
                    continue
                with_name = [row for row in trained if name in row]
                iterations = np.array([row["iteration"] for row in with_name])
                values = _smooth(np.array([row[name] for row in with_name]))
                axes.plot(iterations[-len(values) :], values, label=name)
            validated = [row for row in of_stage if "validation" in row]
            if validated:
                axes.plot(
                    [row["iteration"] for row in validated],
                    [row["validation"] for row in validated],
                    "k.-",
                    label="validation (total)",
                )
            axes.set(title=f"stage {stage}", xlabel="iteration", ylabel="loss", yscale="log")
            # Below the axes, where it covers no curve.
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False)
        png = as_png(figure)
    atomic_write(picture, lambda file: file.write(png))


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the running mean over a fiftieth of the curve."""
    width = max(1, len(values) // 50)
    return np.convolve(values, np.ones(width) / width, mode="valid")
