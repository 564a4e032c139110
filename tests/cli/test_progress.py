"""Bars of progress keep what matters on narrow terminals."""

from __future__ import annotations

import os
import sys

import pytest

from fnetcli.cli.console import Console, Progress

LOSSES = "first 0.123 second 0.456 fused 12.345"


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals")
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_losses_of_a_training_are_seen(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl  # noqa: PLC0415
    import pty  # noqa: PLC0415
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.setenv("COLUMNS", str(columns))
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(6000, "iterations of stage 2", Console()) as progress:
            progress.step(LOSSES, 123)
            bar = progress._bar
            assert bar is not None
            bar.refresh()
            shown = screen.read(9999).decode()
        monkeypatch.undo()
    line = shown.rstrip("\r ").split("\r")[-1]
    assert LOSSES in line
    assert "123/6000" in line
    assert len(line) <= columns
