"""`fnet fuse --part`: shares of one command, in any order or at once, are one run."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fnetcli import fuse_folder, load_network
from fnetcli.errors import UsageError
from fnetcli.files.output_folder import OutputFolder
from fnetcli.runs.parts import Part
from tests.cli.command import error_line, fnet, tiny_weights
from tests.drawn_pictures import write_pairs

PAIRS = 7


@pytest.fixture
def command(tmp_path: Path) -> list[object]:
    write_pairs(tmp_path / "data", PAIRS)
    return [
        *("fuse", "--vis", tmp_path / "data/vis", "--ir", tmp_path / "data/ir"),
        *("--weights", tiny_weights(tmp_path), "-o"),
    ]


def pictures(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def records(out: Path) -> list[dict[str, Any]]:
    lines = (out / "manifest.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if not key.endswith("seconds")}
        for line in lines
    ]


@pytest.mark.parametrize("count", [1, 3, 16])
def test_shares_are_disjoint_and_complete(count: int) -> None:
    cases = list(range(PAIRS))
    shares = [Part(number, count).of(cases) for number in range(1, count + 1)]
    assert sorted(case for share in shares for case in share) == cases


def test_parts_in_any_order_are_one_run(tmp_path: Path, command: list[object]) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert fnet(*command, whole).exit_code == 0
    for part, fused in (("3/3", 2), ("1/3", 3), ("2/3", 2)):
        result = fnet(*command, out, "--part", part)
        assert result.exit_code == 0, result.output
        assert f"{fused} fused, 0 skipped, 0 failed" in result.stderr
        assert len(result.stdout.splitlines()) == fused
    assert not (out / "manifest.jsonl").exists()
    assert json.loads((out / "parts/2-of-3/run.json").read_text())["part"] == [2, 3]
    merged = fnet(*command, out, "--merge-parts")
    assert merged.exit_code == 0, merged.output
    assert "3 parts merged: 7 fused, 0 failed, 0 missing" in merged.stderr
    assert not (out / "parts").exists()
    assert pictures(out) == pictures(whole)
    assert records(out) == records(whole)
    run = json.loads((out / "run.json").read_text())
    assert run["totals"] == {"cases": 7, "done": 7, "failed": 0, "left": 0}
    assert sorted(run["parts"]) == ["1-of-3", "2-of-3", "3-of-3"]
    again = fnet(*command, out)
    assert "0 fused, 7 skipped" in again.stderr


def test_a_whole_run_merges_and_finishes(tmp_path: Path, command: list[object]) -> None:
    out = tmp_path / "out"
    assert fnet(*command, out, "--part", "1/2").exit_code == 0
    merged = fnet(*command, out, "--merge-parts")
    assert merged.exit_code == 1
    assert "3 pairs are missing" in merged.stderr
    assert json.loads((out / "run.json").read_text())["status"] == "stopped"
    assert fnet(*command, out, "--part", "2/4").exit_code == 0
    whole = fnet(*command, out)
    assert whole.exit_code == 0
    assert "1 fused, 6 skipped" in whole.stderr
    assert not (out / "parts").exists()
    assert len(records(out)) == PAIRS


def test_a_part_skips_what_is_done_elsewhere(tmp_path: Path, command: list[object]) -> None:
    out = tmp_path / "out"
    assert fnet(*command, out, "--part", "1/1").exit_code == 0
    assert "0 fused, 4 skipped" in fnet(*command, out, "--part", "1/2").stderr
    assert fnet(*command, out, "--merge-parts").exit_code == 0
    assert "0 fused, 3 skipped" in fnet(*command, out, "--part", "2/2").stderr
    assert "would be" not in fnet(*command, out, "--part", "2/2", "--dry-run").stderr
    assert len(fnet(*command, out, "--part", "2/2", "--dry-run").stdout.splitlines()) == 3


def test_a_case_begun_by_a_killed_part_is_not_taken_for_done(
    tmp_path: Path, command: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole run's record says done while a part, with other options, writes the same files."""
    out = tmp_path / "out"
    assert fnet(*command, out).exit_code == 0
    before = pictures(out)

    def killed(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("fnetcli.runs.run.work_on_case", killed)
        assert fnet(*command, out, "--part", "1/2", "--gain", "common=0.5").exit_code == 130
    again = fnet(*command, out)
    assert "4 fused, 3 skipped" in again.stderr
    assert pictures(out) == before


def test_a_failed_pair_fails_its_part_alone(tmp_path: Path, command: list[object]) -> None:
    out = tmp_path / "out"
    (tmp_path / "data/ir/2.png").write_bytes(b"junk")
    assert fnet(*command, out, "--part", "1/2").exit_code == 1
    assert fnet(*command, out, "--part", "2/2").exit_code == 0
    merged = fnet(*command, out, "--merge-parts")
    assert merged.exit_code == 1
    assert "6 fused, 1 failed, 0 missing" in merged.stderr
    (failed,) = json.loads((out / "run.json").read_text())["failed"]
    assert "2.png" in failed["error"]


def test_parts_run_beside_each_other_but_not_beside_a_whole_run(
    tmp_path: Path, command: list[object]
) -> None:
    out = tmp_path / "out"
    with OutputFolder(out, is_shared=True), OutputFolder(out / "parts/1-of-2"):
        assert fnet(*command, out, "--part", "2/2").exit_code == 0
        same = fnet(*command, out, "--part", "1/2")
        assert same.exit_code == 2
        assert "another fnet is writing there" in error_line(same.stderr)
        for option in ([], ["--merge-parts"]):
            whole = fnet(*command, out, *option)
            assert whole.exit_code == 2
            assert "another fnet is writing there" in error_line(whole.stderr)
    with OutputFolder(out):
        assert fnet(*command, out, "--part", "1/2").exit_code == 2


def test_temporary_files_of_other_parts_stay(tmp_path: Path, command: list[object]) -> None:
    out = tmp_path / "out"
    other = out / "fused" / ".fnet-123-0123abcd.tmp"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"on its way")
    assert fnet(*command, out, "--part", "1/2").exit_code == 0
    assert other.exists()
    assert fnet(*command, out).exit_code == 0
    assert not other.exists()


@pytest.mark.slow
def test_killed_parts_run_again_are_one_run(tmp_path: Path, command: list[object]) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert fnet(*command, whole).exit_code == 0
    words = [sys.executable, "-m", "fnetcli", *map(str, command), str(out), "--part"]
    parts = [subprocess.Popen([*words, f"{number}/2"], stderr=-3, stdout=-3) for number in (1, 2)]
    while not list(out.glob("fused/*.png")) and any(part.poll() is None for part in parts):
        time.sleep(0.01)
    for part in parts:
        part.send_signal(signal.SIGKILL)
        part.wait()
    for number in (2, 1):
        assert fnet(*command, out, "--part", f"{number}/2").exit_code == 0
    assert fnet(*command, out, "--merge-parts").exit_code == 0
    assert pictures(out) == pictures(whole)
    assert records(out) == records(whole)
    assert not list(out.rglob(".fnet-*"))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", "1/2/3", "1/99999999"])
def test_wrong_parts(tmp_path: Path, command: list[object], text: str) -> None:
    result = fnet(*command, tmp_path / "out", f"--part={text}")
    assert result.exit_code == 2
    assert "such as 3/16" in error_line(result.stderr)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--part", "1/2", "--merge-parts"], "leave one out"),
        (["--part", "1/2", "--report"], "a report shows all pairs"),
        (["--merge-parts"], "no part has run there"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path, command: list[object], options: list[str], message: str
) -> None:
    result = fnet(*command, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in error_line(result.stderr)


@pytest.mark.usefixtures("command")
def test_a_single_file_has_no_parts(tmp_path: Path) -> None:
    result = fnet(
        *("fuse", "--vis", tmp_path / "data/vis/0.png", "--ir", tmp_path / "data/ir/0.png"),
        *("--weights", tmp_path / "tiny.safetensors", "-o", tmp_path / "a.png", "--part", "1/2"),
    )
    assert result.exit_code == 2
    assert "names a file" in error_line(result.stderr)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"failed": 3}'])
def test_damaged_records_of_a_part(tmp_path: Path, command: list[object], content: bytes) -> None:
    out = tmp_path / "out"
    assert fnet(*command, out, "--part", "1/2").exit_code == 0
    shutil.copytree(out / "parts/1-of-2", out / "parts/2-of-2")
    (out / "parts/2-of-2/run.json").write_bytes(content)
    (out / "parts/2-of-2/manifest.jsonl").write_bytes(content)
    merged = fnet(*command, out, "--merge-parts")
    assert merged.exit_code == 1
    assert "Traceback" not in merged.stderr
    assert "4 fused, 0 failed, 3 missing" in merged.stderr


@pytest.mark.usefixtures("command")
def test_from_python(tmp_path: Path) -> None:
    network = load_network(tmp_path / "tiny.safetensors")
    images = {"vis": tmp_path / "data/vis", "ir": tmp_path / "data/ir"}
    report = fuse_folder(network, tmp_path / "out", images, part="2/3")
    assert len(report.done) == 2
    with pytest.raises(UsageError, match="such as 3/16"):
        fuse_folder(network, tmp_path / "out", images, part="half")
