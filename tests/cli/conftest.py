"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest

from fnetcli.models.fnet import shaped
from fnetcli.reports import plots
from tests.cli.command import dot, leave_plots_out

DRAW = plots.draw_loss_curves


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without compiling and without loss curves, which take longer than tiny runs.

    tests/models compares compiled and plain training.
    """
    monkeypatch.setattr(shaped, "compile_threshold", lambda: None)
    monkeypatch.setattr(plots, "draw_loss_curves", lambda _, picture: picture.write_bytes(dot()))


@pytest.fixture
def curves(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the loss curves nevertheless."""
    del eager
    monkeypatch.setattr(plots, "draw_loss_curves", DRAW)


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots out, where a test is about something else."""
    leave_plots_out(monkeypatch)
