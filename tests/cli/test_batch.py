"""Thousands of pairs: what is done stays done, what fails is said, whatever interrupts."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from bench.batch import peak_megabytes
from fnetcli.engine import Engine, Fusion, Maps
from fnetcli.files.durable import atomic_write
from fnetcli.files.output_folder import OutputFolder
from tests.cli.command import fnet, tiny_weights
from tests.drawn_pictures import smooth_noise, write, write_pairs

Records = list[dict[str, Any]]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_weights(tmp_path)


def records(out: Path) -> Records:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def run_file(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "run.json").read_text())
    return content


def contents(out: Path) -> dict[str, bytes]:
    """Return every file of a folder but the two that hold times and those on their way."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and path.name not in {"manifest.jsonl", "run.json"}
        and not path.name.startswith(".fnet-")
    }


def timeless(found: Records) -> Records:
    return [
        {key: value for key, value in one.items() if not key.endswith("seconds")} for one in found
    ]


def errors(stderr: str) -> list[str]:
    assert "Traceback" not in stderr
    return [line for line in stderr.splitlines() if line.startswith("error: ")]


class TestManifest:
    def test_says_what_was_made_of_what(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 3)
        (ir / "1.png").write_bytes(b"junk")
        out = tmp_path / "out"
        result = fnet(
            "fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "--invert", "ir"
        )
        assert result.exit_code == 1
        first, broken, last = records(out)
        assert [first["case"], broken["case"], last["case"]] == ["0", "1", "2"]
        assert first["status"] == "done"
        assert first["inputs"]["vis"]["path"] == "0.png"
        assert first["inputs"]["vis"]["size"] == "32x24"
        assert len(first["inputs"]["ir"]["sha256"]) == 64
        assert first["ranges"]["ir"] == {"low": 0.0, "high": 255.0, "invalid": 0}
        assert first["options"]["scaling"]["ir"]["is_inverted"] is True
        assert first["weights"]["name"] == "tiny.safetensors"
        assert first["outputs"]["fused"] == "fused/0.png"
        assert all((out / path).is_file() for path in first["outputs"].values())
        assert first["seconds"] >= first["network_seconds"] > 0
        assert broken["status"] == "failed"
        assert broken["error"].startswith(f"{ir / '1.png'}: ")
        assert broken["outputs"] == {}
        run = run_file(out)
        assert run["status"] == "finished"
        assert run["totals"] == {
            "cases": 3, "done": 2, "skipped": 0, "failed": 1, "left": 0, "unpaired": 0,
        }  # fmt: skip
        assert run["failed"] == [{"case": "1", "error": broken["error"]}]
        assert {"torch", "python", "fnetcli"} <= run["versions"].keys()
        assert run["device"] == "cpu"
        assert str(out / "manifest.jsonl") in result.stderr

    def test_a_reader_never_sees_half_a_line(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fnetcli.runs.manifest.MIN_REST", 0.0)
        monkeypatch.setattr("fnetcli.runs.manifest.REST", 0.0)
        vis, ir = write_pairs(tmp_path, 30)
        out, is_over, counts = tmp_path / "out", threading.Event(), [0]

        def watch() -> None:
            while not is_over.is_set():
                if (out / "manifest.jsonl").is_file():
                    counts.append(len(records(out)))  # raises for half a line
                if (out / "run.json").is_file():
                    run_file(out)

        watcher = threading.Thread(target=watch)
        watcher.start()
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights, "-q")
        is_over.set()
        watcher.join()
        assert result.exit_code == 0
        assert counts == sorted(counts)
        assert [one["case"] for one in records(out)] == sorted(str(i) for i in range(30))

    def test_single_pairs_into_one_folder_share_its_manifest(
        self, tmp_path: Path, weights: Path
    ) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        out = tmp_path / "out"
        for name in ("0.png", "1.png"):
            images = ["--vis", vis / name, "--ir", ir / name]
            assert fnet("fuse", *images, "-o", out, "--weights", weights).exit_code == 0
        assert sorted(one["case"] for one in records(out)) == ["0", "1"]

    def test_damaged_lines_are_said_and_made_anew(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        out = tmp_path / "out"
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights]
        fnet(*arguments)
        lines = (out / "manifest.jsonl").read_text().splitlines()
        (out / "manifest.jsonl").write_text(f"{lines[0][:40]}\n{lines[1]}\n[]\n")
        result = fnet(*arguments)
        assert result.exit_code == 0
        assert "2 lines are damaged" in result.stderr
        assert "1 fused, 1 skipped" in result.stderr
        assert len(records(out)) == 2

    def test_unreadable_manifest(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        (tmp_path / "out" / "manifest.jsonl").mkdir(parents=True)
        result = fnet(
            "fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights
        )
        assert result.exit_code == 2
        assert "manifest.jsonl" in errors(result.stderr)[0]


class TestExisting:
    @pytest.fixture
    def done(self, tmp_path: Path, weights: Path) -> list[Any]:
        vis, ir = write_pairs(tmp_path, 3)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        assert fnet(*arguments).exit_code == 0
        return arguments

    def fused(self, tmp_path: Path) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in (tmp_path / "out" / "fused").iterdir()}

    def test_what_is_done_is_skipped_and_named(self, tmp_path: Path, done: list[Any]) -> None:
        before, files = contents(tmp_path / "out"), self.fused(tmp_path)
        result = fnet(*done)
        assert result.exit_code == 0
        assert "0 fused, 3 skipped, 0 failed, 0 unpaired" in result.stderr
        assert len(result.stdout.splitlines()) == 3
        assert contents(tmp_path / "out") == before
        assert self.fused(tmp_path) == files

    def test_changed_content_lost_output_and_failed_cases_are_made(
        self, tmp_path: Path, done: list[Any]
    ) -> None:
        write(tmp_path / "vis" / "0.png", smooth_noise(24, 32, 77, 3))
        (tmp_path / "out" / "common" / "1.png").unlink()
        assert "2 fused, 1 skipped" in fnet(*done).stderr
        good = (tmp_path / "ir" / "2.png").read_bytes()
        (tmp_path / "ir" / "2.png").write_bytes(b"")
        assert "0 fused, 2 skipped, 1 failed" in fnet(*done).stderr
        (tmp_path / "ir" / "2.png").write_bytes(good)
        assert "1 fused, 2 skipped, 0 failed" in fnet(*done).stderr

    @pytest.mark.parametrize(
        "option",
        [
            ["--gray"],
            ["--maps", "none"],
            ["--depth", "16"],
            ["--range", "ir=0,200"],
            ["--invert", "ir"],
            ["--stretch", "ir=1,99"],
            ["--format", "webp"],
        ],
    )
    def test_other_options_make_all_anew(self, done: list[Any], option: list[str]) -> None:
        assert "3 fused, 0 skipped" in fnet(*done, *option).stderr
        assert "0 fused, 3 skipped" in fnet(*done, *option).stderr
        assert "3 fused, 0 skipped" in fnet(*done).stderr

    def test_options_without_a_say_in_pixels_do_not(self, done: list[Any]) -> None:
        for option in (["--workers", "1"], ["-v"], ["--report"], ["--device", "cpu"]):
            assert "0 fused, 3 skipped" in fnet(*done, *option).stderr

    def test_other_weights_make_all_anew(self, tmp_path: Path, done: list[Any]) -> None:
        copy = tmp_path / "copy.safetensors"
        shutil.copy(tmp_path / "tiny.safetensors", copy)
        others = [copy if one == tmp_path / "tiny.safetensors" else one for one in done]
        assert others != done
        assert "3 fused, 0 skipped" in fnet(*others).stderr

    def test_overwrite_and_error(self, tmp_path: Path, done: list[Any]) -> None:
        files = self.fused(tmp_path)
        assert "3 fused, 0 skipped" in fnet(*done, "--existing", "overwrite").stderr
        assert self.fused(tmp_path) != files
        result = fnet(*done, "--existing", "error")
        assert result.exit_code == 2
        assert "exists" in errors(result.stderr)[0]

    def test_an_overwritten_case_is_never_taken_for_done(
        self, tmp_path: Path, done: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Options A, then B killed on its way, then A again: nothing of B may stay."""
        before = contents(tmp_path / "out")
        command = [sys.executable, "-m", "fnetcli", *map(str, done), "--invert", "ir"]
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        kill_when(command, lambda: contents(tmp_path / "out") != before)
        assert contents(tmp_path / "out") != before
        assert fnet(*done).exit_code == 0
        assert contents(tmp_path / "out") == before

    def test_dry_run_writes_nothing(self, tmp_path: Path, done: list[Any]) -> None:
        (tmp_path / "out" / "fused" / "1.png").unlink()
        everything = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        result = fnet(*done, "--dry-run")
        assert result.exit_code == 0
        lines = [line.split("\t") for line in result.stdout.splitlines()]
        assert [line[:2] for line in lines] == [["skip", "0"], ["fuse", "1"], ["skip", "2"]]
        assert lines[1][2:] == [
            str(tmp_path / "ir" / "1.png"),
            str(tmp_path / "vis" / "1.png"),
            str(tmp_path / "out" / "fused" / "1.png"),
        ]
        assert "1 to fuse, 2 to skip, 0 unpaired" in result.stderr
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == everything


def kill_when(command: list[str], is_time: Any) -> None:
    """Start a process and kill it, as hard as can be, when `is_time` says so or it has ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not is_time():
        time.sleep(0.001)
    process.kill()
    process.wait()


class TestKill:
    @pytest.mark.slow
    def test_killed_anywhere_then_again_is_as_if_undisturbed(
        self, tmp_path: Path, weights: Path
    ) -> None:
        vis, ir = write_pairs(tmp_path, 60, 48, 64)
        (ir / "7.png").write_bytes(b"junk")
        command = [sys.executable, "-m", "fnetcli", "fuse", "--vis", str(vis), "--ir", str(ir)]
        command += ["--weights", str(weights), "--maps", "float"]
        quiet = fnet(*command[3:], "-o", tmp_path / "undisturbed")
        assert quiet.exit_code == 1
        expected = contents(tmp_path / "undisturbed")
        out, chance = tmp_path / "out", random.Random(5)  # noqa: S311
        counts = sorted(chance.sample(range(1, 230), 3))
        for count in counts:
            kill_when([*command, "-o", str(out)], lambda n=count: count_files(out) >= n)
            for line in (
                (out / "manifest.jsonl").read_text().splitlines()
                if (out / "manifest.jsonl").is_file()
                else []
            ):
                json.loads(line)
        result = fnet(*command[3:], "-o", out)
        assert result.exit_code == 1
        assert contents(out) == expected
        assert not list(out.rglob(".fnet-*"))
        assert timeless(records(out)) == timeless(records(tmp_path / "undisturbed"))

    def test_temporary_files_of_a_killed_run_are_swept(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        out = tmp_path / "out"
        (out / "fused").mkdir(parents=True)
        (out / "fused" / ".fnet-99-0123abcd.tmp").write_bytes(b"half")
        (out / ".fnet-99-0123abcd.tmp").write_bytes(b"half")
        (out / "fused" / ".fnet-notes.tmp").write_bytes(b"mine")
        fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert [path.name for path in out.rglob(".*")] == [".fnet-notes.tmp"]


def count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


class TestRefusals:
    def test_output_in_an_input_folder(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        (tmp_path / "link").symlink_to(vis)
        for out in (vis, vis / "sub" / "out", ir / ".." / "ir" / "x", tmp_path / "link" / "out"):
            result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
            assert result.exit_code == 2, out
            assert "in the input folder" in errors(result.stderr)[0]
        assert not (vis / "sub").exists()

    def test_a_link_from_the_results_to_an_input_folder(
        self, tmp_path: Path, weights: Path
    ) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        out = tmp_path / "out"
        (vis / "deeper").mkdir()
        out.mkdir()
        arguments = ["--vis", vis, "--ir", ir, "-o", out, "--weights", weights]
        for name, target in (("fused", ir), ("common", vis / "deeper")):
            (out / name).symlink_to(target)
            result = fnet("fuse", *arguments, "--format", "tiff")
            assert result.exit_code == 2
            line = errors(result.stderr)[0]
            assert f"-o {out}: {out / name} leads to {target}, in the input folder" in line
            (out / name).unlink()
        assert count_files(vis) == count_files(ir) == 1
        (out / "fused").symlink_to(tmp_path)  # above the inputs
        assert fnet("fuse", *arguments).exit_code == 0

    def test_an_input_in_the_way(self, tmp_path: Path, weights: Path) -> None:
        """OUT above the inputs is fine, unless a result would replace one of them."""
        vis, ir = write_pairs(tmp_path / "out", 1)
        shutil.move(vis, tmp_path / "out" / "fused")
        arguments = ["--vis", tmp_path / "out" / "fused", "--ir", ir, "--weights", weights]
        result = fnet("fuse", *arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert "is an input" in errors(result.stderr)[0]

    def test_another_run_in_the_same_folder(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        out = tmp_path / "out"
        with OutputFolder(out):
            result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights)
        assert result.exit_code == 2
        assert "another fnet is writing there" in errors(result.stderr)[0]
        assert not list(out.iterdir())

    @pytest.mark.parametrize("name", ["vis/0.png", "list.csv", "tiny.safetensors", "ir"])
    def test_a_summary_in_place_of_what_is_needed(
        self, tmp_path: Path, weights: Path, name: str
    ) -> None:
        write_pairs(tmp_path, 1)
        (tmp_path / "list.csv").write_text("vis,ir\nvis/0.png,ir/0.png\n")
        arguments = ["--pairs", tmp_path / "list.csv", "--weights", weights]
        result = fnet("fuse", *arguments, "-o", tmp_path / "out", "--json", tmp_path / name)
        assert result.exit_code == 2
        assert str(tmp_path / name) in errors(result.stderr)[0]
        assert iio.imread(tmp_path / "vis" / "0.png").shape == (24, 32, 3)
        assert not (tmp_path / "out").exists()

    def test_a_refused_run_does_not_claim_to_run(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        out = tmp_path / "out"
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights]
        with OutputFolder(out):
            result = fnet(*arguments, "--json", "-")
        assert json.loads(result.stdout)["status"] == "planned"

    def test_a_file_in_place_of_a_folder(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 5)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "fused").write_text("mine")
        result = fnet(
            *("fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights),
            *("--maps", "none"),
        )
        assert result.exit_code == 2
        (line,) = errors(result.stderr)
        assert f"{tmp_path / 'out' / 'fused'} is a file, not a folder" in line
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["fused"]
        assert (tmp_path / "out" / "fused").read_text() == "mine"


class TestFailures:
    def test_a_loop_of_links_fails_its_case_alone(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 3)
        (ir / "1.png").unlink()
        (ir / "1.png").symlink_to("1.png")
        result = fnet("fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "o", "--weights", weights)
        assert result.exit_code == 1
        assert "2 fused, 0 skipped, 1 failed" in result.stderr
        assert str(ir / "1.png") in errors(result.stderr)[0]

    def test_standard_output_that_takes_nothing(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 1)
        command = [sys.executable, "-m", "fnetcli", "fuse", "--vis", str(vis), "--ir", str(ir)]
        command += ["-o", str(tmp_path / "out"), "--weights", str(weights)]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        assert "standard output: cannot be written (No space left" in done.stderr

    def test_fail_fast(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 12)
        (ir / "1.png").write_bytes(b"junk")
        out = tmp_path / "out"
        result = fnet(
            *("fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights),
            *("--fail-fast", "--workers", 1),
        )
        assert result.exit_code == 1
        totals = run_file(out)["totals"]
        assert totals["failed"] == 1
        assert totals["left"] > 5
        assert run_file(out)["status"] == "stopped"

    def test_strict_minds_files_without_a_partner(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        (ir / "1.png").unlink()
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "o", "--weights", weights]
        assert fnet(*arguments).exit_code == 0
        assert fnet(*arguments, "--strict").exit_code == 1
        assert fnet(*arguments, "--strict", "--dry-run").exit_code == 1
        assert run_file(tmp_path / "o")["unpaired"] == [str(vis / "1.png")]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
    def test_disk_full_or_permission_lost_is_one_line(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        vis, ir = write_pairs(tmp_path, 9)
        out = tmp_path / "out"
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights]
        write_file, count = atomic_write, [0]

        def full(path: Path, write: Any) -> None:
            count[0] += path.suffix == ".png"

            def fail(_: BinaryIO) -> None:
                raise OSError(number, os.strerror(number))

            write_file(path, write if count[0] <= 14 else fail)

        monkeypatch.setattr("fnetcli.formats.writers.atomic_write", full)
        result = fnet(*arguments, "--workers", 1)
        assert result.exit_code == 1
        assert len(errors(result.stderr)) == 1
        assert os.strerror(number) in errors(result.stderr)[0]
        assert "3 fused, 0 skipped, 0 failed, 0 unpaired, 6 left" in result.stderr
        assert [one["case"] for one in records(out)] == ["0", "1", "2"]
        assert run_file(out)["status"] == "stopped"
        assert not list(out.rglob(".fnet-*"))
        for path in out.rglob("*.png"):
            assert iio.imread(path).shape[:2] == (24, 32)
        monkeypatch.undo()
        assert "6 fused, 3 skipped" in fnet(*arguments).stderr

    def test_large_codes_are_the_same_and_a_full_disk_is_one_line(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Large: they lie in files without a name, for which there must be space."""
        vis, ir = write_pairs(tmp_path, 3)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "--weights", weights, "--features", "-o"]
        assert fnet(*arguments, tmp_path / "small").exit_code == 0
        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", 0)
        assert fnet(*arguments, tmp_path / "large").exit_code == 0
        for path in (tmp_path / "small" / "features").iterdir():
            large = tmp_path / "large" / "features" / path.name
            assert large.read_bytes() == path.read_bytes()
        assert not list(tmp_path.rglob(".fnet-*"))

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("fnetcli.files.scratch._take_space", full)
        result = fnet(*arguments, tmp_path / "full")
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert "features/0.npz: cannot be written (No space left on device)" in line
        assert "0 fused, 0 skipped, 0 failed, 0 unpaired, 3 left" in result.stderr
        assert not [path for path in (tmp_path / "full").glob("*/*") if path.is_file()]

    def test_a_really_full_disk(self, tmp_path: Path, weights: Path) -> None:
        """The system's own refusal: a limit on the size of files, as a quota would be."""
        vis, ir = write_pairs(tmp_path, 2, 200, 200)
        program = (
            "import resource, signal, sys\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
            "from fnetcli.cli.app import app\n"
            "app(sys.argv[1:])"
        )
        out = tmp_path / "out"
        command = [sys.executable, "-c", program, "fuse", "--vis", str(vis), "--ir", str(ir)]
        command += ["-o", str(out), "--weights", str(weights)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "File too large" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(out.rglob("*.png"))
        assert not list(out.rglob(".fnet-*"))

    @pytest.mark.parametrize(
        ("what", "when", "message"),
        [
            (".", 4, "was removed"),
            ("fused", 8, "were removed while"),
            ("common", 8, "were removed while"),
        ],
    )
    def test_results_removed_under_our_feet(
        self,
        tmp_path: Path,
        weights: Path,
        monkeypatch: pytest.MonkeyPatch,
        what: str,
        when: int,
        message: str,
    ) -> None:
        vis, ir = write_pairs(tmp_path, 8)
        out, calls, run = tmp_path / "out", [0], Engine.run

        def removing(self: Engine, *args: Any, **kwargs: Any) -> Fusion[Maps]:
            calls[0] += 1
            if calls[0] == when:
                (out / what).rename(tmp_path / "moved")
            return run(self, *args, **kwargs)

        monkeypatch.setattr(Engine, "run", removing)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", out, "--weights", weights]
        result = fnet(*arguments, "--workers", 1)
        assert result.exit_code == 1
        (line,) = errors(result.stderr)
        assert message in line
        monkeypatch.undo()
        assert fnet(*arguments).exit_code == 0
        assert len(list((out / "fused").iterdir())) == 8


class TestManners:
    @pytest.mark.parametrize("workers", [1, 2, 7])
    def test_order_does_not_depend_on_workers(
        self, tmp_path: Path, weights: Path, workers: int
    ) -> None:
        for i in range(9):  # sizes differ, so that the later ones finish first
            side = 200 // (i + 1) + 5
            write(tmp_path / "vis" / f"{i}.png", smooth_noise(side, side, i, 3))
            write(tmp_path / "ir" / f"{i}.png", smooth_noise(side, side, i))
        out = tmp_path / "out"
        result = fnet(
            *("fuse", "--vis", tmp_path / "vis", "--ir", tmp_path / "ir", "-o", out),
            *("--weights", weights, "--workers", workers),
        )
        assert result.exit_code == 0
        names = [f"{i}.png" for i in range(9)]
        assert [Path(line).name for line in result.stdout.splitlines()] == names
        assert [one["outputs"]["fused"] for one in records(out)] == [f"fused/{n}" for n in names]

    def test_reading_and_writing_overlap_with_the_network(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        vis, ir = write_pairs(tmp_path, 6)
        threads: set[str] = set()
        write_one = atomic_write

        def spy(path: Path, write: Any) -> None:
            threads.add(threading.current_thread().name)
            write_one(path, write)

        monkeypatch.setattr("fnetcli.formats.writers.atomic_write", spy)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        assert fnet(*arguments).exit_code == 0
        assert "MainThread" not in threads
        assert not [one for one in threading.enumerate() if one.name.startswith("fnet")]

    def test_json_summary(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        result = fnet(*arguments, "--json", "-")
        summary = json.loads(result.stdout)
        assert summary["totals"]["done"] == 2
        assert summary["status"] == "finished"
        result = fnet(*arguments, "--json", tmp_path / "deep" / "s.json")
        assert json.loads((tmp_path / "deep" / "s.json").read_text())["totals"]["skipped"] == 2
        assert len(result.stdout.splitlines()) == 2
        result = fnet(*arguments, "--json", tmp_path / "tiny.safetensors" / "s.json")
        assert result.exit_code == 2
        assert "tiny.safetensors is a file, not a folder" in errors(result.stderr)[0]
        result = fnet(*arguments, "--json", "-", "--dry-run")
        assert json.loads(result.stdout)["totals"]["skipped"] == 2
        assert json.loads(result.stdout)["status"] == "planned"

    def test_verbose_tells_of_every_case(self, tmp_path: Path, weights: Path) -> None:
        vis, ir = write_pairs(tmp_path, 2)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        result = fnet(*arguments, "-v")
        assert "0: ir 32x24 0.png [0, 255], vis 32x24 0.png [0, 255]; 0." in result.stderr

    def test_the_same_warning_is_not_said_for_every_case(
        self, tmp_path: Path, weights: Path
    ) -> None:
        vis, ir = write_pairs(tmp_path, 8)
        for i, path in enumerate(sorted(ir.iterdir())):
            path.unlink()
            frame = smooth_noise(24, 32, 3).astype(np.float32)
            frame[0, : i + 1] = np.nan
            tifffile.imwrite(path.with_suffix(".tif"), frame)
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        lines = [line for line in fnet(*arguments).stderr.splitlines() if "NaN, infinite" in line]
        assert len(lines) == 4
        assert "2: ir: 3 pixels (0.4 %)" in lines[2]
        assert "5 more cases" in lines[3]

    def test_progress_in_plain_lines(
        self, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fnetcli.cli.console.Progress.SECONDS", -1.0)
        vis, ir = write_pairs(tmp_path, 3)
        (ir / "0.png").write_bytes(b"")
        arguments = ["fuse", "--vis", vis, "--ir", ir, "-o", tmp_path / "out", "--weights", weights]
        stderr = fnet(*arguments).stderr
        assert "1/3 pairs, " in stderr
        assert "3/3 pairs, " in stderr
        assert "0:00 left, 2, 1 failed" in stderr

    @pytest.mark.slow
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
    def test_memory_does_not_grow_with_the_number_of_pairs(
        self, tmp_path: Path, weights: Path
    ) -> None:
        """The peak of 300 pairs is that of 60; the bench measures 2,000."""
        vis, ir = write_pairs(tmp_path, 1, 64, 64)
        peaks = [peak_megabytes(tmp_path / str(n), vis, ir, weights, n) for n in (60, 300)]
        assert peaks[1] - peaks[0] < 15, peaks  # the pictures of 240 pairs would take 30


@pytest.fixture(autouse=True)
def _no_leftover_threads() -> Iterator[None]:
    yield
    assert not [one for one in threading.enumerate() if one.name.startswith("fnet")]
