"""A terminal, a pipe and their ends: what is printed there, and what happens when they go."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fnetcli.text import escaped
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write, write_pairs

PSEUDO = pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals on Windows")
ODD = "a\x1b[31m\x07b"  # a terminal would turn red and ring
SECONDS = 300  # on a busy machine


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "fnetcli", *map(str, arguments)]


def on_a_terminal(*arguments: object) -> bytes:
    """Return what a terminal is given on stdout."""
    import pty  # noqa: PLC0415 - not on Windows

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments), stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        message = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            message += part
    os.close(ours)
    assert process.returncode == 0, message
    return message


@pytest.fixture
def pair(tmp_path: Path) -> list[object]:
    for folder, seed in (("vis", 0), ("ir", 1)):
        write(tmp_path / folder / f"{ODD}.png", smooth_noise(24, 32, seed))
    folders = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir"]
    return [*folders, "--weights", tiny_weights(tmp_path)]


class TestNames:
    @PSEUDO
    @pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=" ".join)
    def test_a_terminal_does_not_obey_them(
        self, pair: list[object], options: tuple[str, ...], tmp_path: Path
    ) -> None:
        message = on_a_terminal("fuse", *pair, "-o", tmp_path / "out", *options)
        assert b"a\\x1b[31m\\x07b.png" in message
        assert b"\x1b[31m" not in message
        assert b"\x07" not in message

    def test_a_pipe_gets_them_as_they_are(self, pair: list[object], tmp_path: Path) -> None:
        result = fnet("fuse", *pair, "-o", tmp_path / "out")
        assert Path(result.stdout.removesuffix("\n")).is_file()
        assert f"{ODD}.png" in result.stdout
        planned = fnet("fuse", *pair, "-o", tmp_path / "new", "--dry-run").stdout
        assert planned.count("\t") == 4
        assert ODD in planned

    @PSEUDO
    def test_json_keeps_its_lines_on_a_terminal(self, pair: list[object], tmp_path: Path) -> None:
        message = on_a_terminal("fuse", *pair, "-o", tmp_path / "out", "--json", "-")
        assert json.loads(message)["status"] == "finished"

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a b.png", "a b.png"),
            ("ä\u2028\u202e", "ä\\u2028\\u202e"),
            ("\x1b]0;x\x07\n\t", "\\x1b]0;x\\x07\\n\\t"),
            ("\udc9b31m", "\\x9b31m"),  # a byte that begins an escape sequence, too
        ],
    )
    def test_what_is_escaped(self, text: str, shown: str) -> None:
        assert escaped(text) == shown

    def test_cells_that_a_spreadsheet_would_run(self, tmp_path: Path) -> None:
        names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "x=1", "'x", "7"]
        for folder, seed in (("vis", 0), ("ir", 1)):
            for name in names:
                write(tmp_path / folder / f"{name}.png", smooth_noise(16, 16, seed))
        given = ["--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "--baselines", "--no-cache"]
        result = fnet("eval", *given, "--metrics", "SD", "--csv", tmp_path / "r.csv")
        assert result.exit_code == 0, result.stderr
        with (tmp_path / "r.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        shown = {"'=1+1", "'+1", "'-1", "'@x", "'\ufffdx", "x=1", "'x", "7"}
        assert {row["case"] for row in rows} == shown
        assert all(float(row["SD"]) >= 0 for row in rows)


def begun(out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until there is a first result."""
    while not any((out / "fused").glob("*.png")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that are closed")
class TestEnds:
    @pytest.fixture
    def running(self, tmp_path: Path) -> list[str]:
        vis, ir = write_pairs(tmp_path, 250, 96, 128)
        given = ["--vis", vis, "--ir", ir, "--weights", tiny_weights(tmp_path)]
        return command("fuse", *given, "-o", tmp_path / "out")

    @pytest.mark.parametrize("number", ["SIGHUP", "SIGTERM"])
    def test_a_closed_terminal_ends_a_run_tidily(
        self, number: str, running: list[str], tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        with subprocess.Popen(
            running, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            begun(out, process)
            process.send_signal(getattr(signal, number))
            _, message = process.communicate(timeout=SECONDS)
        assert process.returncode == 130, message
        assert message.splitlines()[-1] == "error: interrupted; finished results are on disk"
        assert not list(out.rglob(".fnet-*"))
        assert json.loads((out / "run.json").read_text())["status"] == "interrupted"

    def test_under_nohup_it_goes_on(self, running: list[str], tmp_path: Path) -> None:
        program = "import signal, os, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        program += "os.execv(sys.argv[1], sys.argv[1:])"
        with subprocess.Popen(
            [sys.executable, "-c", program, *running],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            begun(tmp_path / "out", process)
            process.send_signal(signal.SIGHUP)
            listed, message = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, message
        assert len(listed.splitlines()) == 250

    def test_a_reader_that_leaves(self, running: list[str], tmp_path: Path) -> None:
        """As `| head -1` does."""
        with subprocess.Popen(
            running, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            message = process.stderr.read()
            assert process.wait(SECONDS) == 1
        (line,) = [line for line in message.splitlines() if line.startswith("error: ")]
        assert line == (
            "error: standard output: closed by its reader, so the run ended; "
            "finished results are on disk"
        )
        assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] != "running"
        assert not list((tmp_path / "out").rglob(".fnet-*"))


@PSEUDO
def test_a_plan_is_a_table_on_a_terminal(tmp_path: Path) -> None:
    vis, ir = write_pairs(tmp_path, 2)
    planned = on_a_terminal("fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--dry-run")
    lines = planned.decode().splitlines()
    assert lines[0] == "2 pairs"
    assert [word in lines[1] for word in ("case", "ir", "vis", "result")] == [True] * 4
    assert lines[2].split()[:2] == ["fuse", "0"]
    assert "\t" not in planned.decode()
