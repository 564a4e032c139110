"""Bars of progress keep what matters on narrow terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fnetcli.cli.console import Console, Progress
from tests.cli.command import fnet
from tests.drawn_pictures import smooth_noise, write

LOSSES = "first 0.123 second 0.456 fused 12.345"


def shown(
    total: int | None,
    unit: str,
    columns: int,
    work: Callable[[Progress], None],
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Return the lines of a bar on a terminal of this width, each of which must fit."""
    import fcntl  # noqa: PLC0415
    import pty  # noqa: PLC0415
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.setenv("COLUMNS", str(columns))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(total, unit, Console()) as progress:
            work(progress)
            bar = progress._bar
            assert bar is not None
            bar.refresh()
        monkeypatch.undo()
    drawn = b""
    with os.fdopen(ours, "rb", buffering=0) as screen, suppress(OSError):  # closed on their side
        while piece := screen.read(9999):
            drawn += piece
    lines = [one.rstrip() for one in drawn.decode().split("\r")]
    assert all(len(line) <= columns for line in lines)
    return [line for line in lines if line]


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_losses_of_a_training_are_seen(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(progress: Progress) -> None:
        progress.step(LOSSES, 123)

    (line,) = {
        one
        for one in shown(6000, "iterations of stage 2", columns, work, monkeypatch)
        if "12.345" in one
    }
    assert LOSSES in line
    assert "123/6000" in line
    assert ("iterations of stage 2" in line) == (columns > 80)  # if there is room


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("total", [3, None])
def test_a_bar_says_what_is_counted(
    total: int | None, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start: the first pair may take long."""
    lines = shown(total, "pairs", columns, lambda one: one.tell("reading volumes"), monkeypatch)
    assert "pairs" in lines[0]
    assert any("reading volumes" in line and "pairs" in line for line in lines)


@pytest.mark.usefixtures("eager")
def test_a_training_says_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering and reading thousands of pairs takes minutes, before anything is learnt."""
    monkeypatch.setattr(Progress, "SECONDS", -1)
    for name, seed in (("vis", 1), ("ir", 2)):
        for case in "ab":
            write(tmp_path / name / f"{case}.png", smooth_noise(9, 9, seed))
    folders = [word for name in ("vis", "ir") for word in (f"--{name}", tmp_path / name)]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[stage_1]\niterations = 0\n[stage_2]\niterations = 1\nbatch = 1\ncrop = 8\n")
    done = fnet("train", recipe, *folders, "-o", tmp_path / "run")
    assert done.exit_code in {0, 1}, done.stderr  # one step is of no use
    assert "1/2 pairs read" in done.stderr
    assert "2/2 pairs read" in done.stderr
    assert "headers and ranges" in done.stderr
