"""Snapshots: equal runs are identical, and nothing that is planted stays unseen."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import pytest
import torch
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from safetensors.numpy import save_file

from bench.snapshot import make as making
from bench.snapshot.__main__ import parse, run
from bench.snapshot.cases import CASES
from bench.snapshot.compare import compare, report
from bench.snapshot.contents import DIFFERENCE, PAGE, WORDING, Place, compare_files
from bench.snapshot.inputs import MAKERS, Sources
from bench.snapshot.make import SnapshotError

CASE = "fuse-native-off"  # one pair, and nothing is compiled


def tool(*words: object) -> int:
    """Run the script in this process; return its exit code."""
    return run(parse([str(word) for word in words]))


# --- the whole ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _bytecode() -> Iterator[None]:
    """Commands share the bytecode of this process: that of torch takes seconds to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", sys.pycache_prefix or "")
        yield


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two of the same code, in folders of other names; the second in two goes."""
    base = tmp_path_factory.mktemp("snapshots")
    old, new = base / "old", base / "the new one"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "_warm_up", lambda *_: None)  # nothing here is compiled
        assert tool("make", old, "--only", CASE, "fuse-visir", "error-command") == 0
        assert tool("make", new, "--only", "error-command") == 0
        assert tool("make", new, "--only", CASE, "fuse-visir", "error-command") == 0
    return old, new


@pytest.fixture
def changed(snapshots: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the second, to plant something in."""
    return shutil.copytree(snapshots[1], tmp_path / "changed")


@pytest.mark.slow
class TestWhole:
    def test_the_same_code_gives_identical_snapshots(
        self, snapshots: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert tool("compare", *snapshots, "--strict-wording") == 0
        assert "identical: " in capsys.readouterr().out
        index = json.loads((snapshots[0] / "snapshot.json").read_text())
        assert index["left_out"] == {"fuse-visir": "visir/val: name the data with --data"}
        assert [one["exit_code"] for one in index["cases"]["error-command"]["steps"]] == [2]
        assert "files/out/fused/0.png" in index["cases"][CASE]["files"]

    def test_what_is_planted_is_found(
        self, snapshots: tuple[Path, Path], changed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = changed / "cases" / CASE / "files" / "out"
        content = bytearray((out / "fused/0.png").read_bytes())
        content[-1] ^= 1
        (out / "fused/0.png").write_bytes(content)
        (out / "common/0.png").unlink()
        (out / "stray.txt").write_text("x")
        manifest = (out / "manifest.jsonl").read_text()
        (out / "manifest.jsonl").write_text(manifest.replace('"high": 255.0', '"high": 254.0', 1))
        index = json.loads((changed / "snapshot.json").read_text())
        index["cases"]["error-command"]["steps"][0]["exit_code"] = 1
        (changed / "snapshot.json").write_text(json.dumps(index))

        found = compare(snapshots[0], changed)
        texts = [(one.name, text) for one in found for text in one.of(DIFFERENCE)]
        assert texts == [
            (CASE, "files/out/common/0.png: gone"),
            (CASE, "files/out/fused/0.png: same pixels, other bytes"),
            (CASE, "files/out/manifest.jsonl: line 1.ranges.ir.high: 255.0 became 254.0"),
            (CASE, "files/out/stray.txt: new"),
            ("error-command", "exit code of command 1: 2 became 1"),
        ]
        assert report(found) == 1
        assert "5 differences" in capsys.readouterr().out

    def test_wording_counts_on_request_only(
        self, snapshots: tuple[Path, Path], changed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (changed / "cases/error-command/1.stderr").write_text("No such thing.\n")
        assert tool("compare", snapshots[0], changed) == 0
        assert "wording (told only" in capsys.readouterr().out
        assert tool("compare", snapshots[0], changed, "--strict-wording") == 1

    def test_results_of_old_code_are_skipped(
        self, changed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Beside one that lacks a picture, which must be told."""
        shutil.copytree(changed / "cases" / CASE, changed / "cases" / "lacking")
        (changed / "cases/lacking/files/out/fused/0.png").unlink()
        index = json.loads((changed / "snapshot.json").read_text())
        index["cases"]["lacking"] = index["cases"][CASE]
        (changed / "snapshot.json").write_text(json.dumps(index))
        assert tool("resume", changed, "--jobs", "1") == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == [CASE, "ok,", "1", "skipped"]
        assert "only 0 of 1 case skipped; out/fused/0.png: written or removed" in lines[1]

    def test_other_code_does_not_go_on_with_a_snapshot(self, changed: Path) -> None:
        index = json.loads((changed / "snapshot.json").read_text())
        with pytest.raises(SnapshotError, match="was made in another place"):
            tool("make", changed, "--only", "error-command")
        index["code"]["sources_sha256"] = "0" * 64
        (changed / "snapshot.json").write_text(json.dumps(index))
        with pytest.raises(SnapshotError, match="a snapshot of other code"):
            tool("make", changed, "--only", "error-command")


def test_what_commands_compile_is_made_before_the_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command runs into the caches of all; what else it writes is removed."""
    ran = []

    def record(words: Sequence[str], folder: Path, caches: making.Caches, _: object) -> None:
        ran.append((words[0], caches.kept))
        (folder / "out").mkdir()

    monkeypatch.setattr(making, "run_command", record)
    kept = tmp_path / "cache"
    making._warm_up(tmp_path, making.Caches(kept, tmp_path / "bytecode"))
    assert ran == [("fuse", kept)]
    assert not list((tmp_path / "cases").iterdir())


def test_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for words, message in (
        (("make", tmp_path), "not empty"),
        (("make", tmp_path / "new", "--only", "fuse-nothing"), "fuse-nothing: no such case"),
        (("compare", tmp_path, tmp_path), "no snapshot"),
        (("resume", tmp_path), "no snapshot"),
    ):
        with pytest.raises(SnapshotError, match=message):
            tool(*words)


def test_names_and_inputs_of_cases() -> None:
    assert len({one.name for one in CASES}) == len(CASES)
    assert {name for one in CASES for name in one.inputs} <= MAKERS.keys()
    assert sum(one.name.startswith("error-") for one in CASES) >= 25


def test_drawn_inputs_are_the_same_each_time(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        MAKERS["drawn"](tmp_path / name, Sources())
        digests.append(making._digests(tmp_path / name))
    assert digests[0] == digests[1]
    assert len(digests[0]) > 60


# --- files ----------------------------------------------------------------------------------------

Write = Callable[[Path], object]


def findings(
    tmp_path: Path, name: str, old: Write, new: Write, *, is_help: bool = False
) -> list[str]:
    """Write a file in two places and return the kinds of what differs, with the texts."""
    places = []
    for side, write in (("old", old), ("new", new)):
        (tmp_path / side).mkdir(exist_ok=True)
        write(tmp_path / side / name)
        places.append(Place(tmp_path / side, str(tmp_path / side)))
    return [f"{one.kind}: {one.text}" for one in compare_files(name, *places, is_help=is_help)]


def text(content: str) -> Write:
    """Return what writes a text in which HERE is the file's folder."""
    return lambda path: path.write_text(content.replace("HERE", str(path.parent)))


class TestTexts:
    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ({"seconds": 1.5, "n": 2}, {"seconds": 7, "n": 2}, []),
            ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["difference: a[1].b: 2 became 3"]),
            ({"a": 1}, {"a": 1.0}, ["difference: a: 1 became 1.0"]),
            ({"a": 1, "b": 2}, {"a": 1}, ["difference: b: gone"]),
            ({"seconds": 1}, {}, ["difference: seconds: gone"]),
            ({"a": [1]}, {"a": [1, 2]}, ["difference: a: [1] became [1, 2]"]),
            ({"error": "x"}, {"error": "y"}, ["wording: error: 'x' became 'y'"]),
            ({"out": "HERE/a", "x": 1}, {"out": "HERE/a", "x": 1}, []),
            ({"out": "HERE/a"}, {"out": "HERE/b"}, ["difference: out: 'SNAPSHOT/a' became 'SN"]),
            ({"version": "fnet 0.1"}, {"version": "fnet 0.2"}, []),
            ({"version": 1}, {"version": 2}, ["difference: version: 1 became 2"]),
            ({"a": float("nan"), "seconds": 1}, {"a": float("nan"), "seconds": 2}, []),
        ],
    )
    @pytest.mark.parametrize("name", ["a.json", "1.stdout", "a.jsonl"])
    def test_json(self, tmp_path: Path, name: str, old: Any, new: Any, expected: list[str]) -> None:
        found = findings(tmp_path, name, text(json.dumps(old)), text(json.dumps(new)))
        assert len(found) == len(expected)
        for one, start in zip(found, expected, strict=True):
            assert one.replace("line 1.", "").startswith(start)

    def test_missing_line_of_a_manifest(self, tmp_path: Path) -> None:
        found = findings(tmp_path, "a.jsonl", text('{"a": 1}\n{"a": 2}\n'), text('{"a": 1}\n'))
        assert found == ["difference: 2 lines became 1"]

    def test_paths_on_stdout(self, tmp_path: Path) -> None:
        assert findings(tmp_path, "1.stdout", text("HERE/a.png\n"), text("HERE/a.png\n")) == []
        found = findings(tmp_path, "1.stdout", text("out/a.png\n"), text("out/b.png\n"))
        assert found == ["difference: line 1: 'out/a.png' became 'out/b.png'"]
        found = findings(tmp_path, "1.stdout", text("Use"), text("Usage"), is_help=True)
        assert [one.split(":")[0] for one in found] == [WORDING]

    def test_progress_on_stderr_is_no_wording(self, tmp_path: Path) -> None:
        lines = "1 pairs\n{}\n1 fused\n"
        assert findings(tmp_path, "1.stderr", text("a; 0.25 s, x"), text("a; 3 s, x")) == []
        old = lines.format("3/9 pairs, 1.4 s each, 0:09 left, a")
        new = lines.format("4/9 pairs, 2.0/s, 0:05 left, b\n5/9 pairs, 1.9 s each, 0:01 left, c")
        assert findings(tmp_path, "1.stderr", text(old), text(new)) == []
        found = findings(tmp_path, "1.stderr", text(old), text(old.replace("fused", "made")))
        assert found == ["wording: line 2: '1 fused' became '1 made'"]

    def test_pages(self, tmp_path: Path) -> None:
        page = '<p id="a">{}</p><br>'
        old = text(page.format("1 s"))
        assert findings(tmp_path, "a.html", old, text(page.format("2 s"))) == []
        (found,) = findings(tmp_path, "a.html", old, text(page.format("<b>2</b>")))
        assert found.startswith(f"{PAGE}: 2 tags became 3; number 2")


class TestNumbers:
    def test_arrays_in_npz(self, tmp_path: Path) -> None:
        a, b = np.arange(4.0), np.ones(3, np.float16)

        def packed(**arrays: NDArray[Any]) -> Write:
            return lambda path: np.savez(path, **arrays)  # type: ignore[arg-type]

        old = packed(a=a, b=b)
        assert (
            findings(tmp_path, "a.npz", old, lambda path: np.savez_compressed(path, a=a, b=b)) == []
        )
        for new, expected in (
            (
                packed(a=a + np.array([0, 0, 0, 0.5]), b=b),
                "a: 1 of 4 numbers differ, by at most 0.5",
            ),
            (packed(a=a.astype(np.float32), b=b), "a: float64 (4,) became float32 (4,)"),
            (packed(a=a), "b: gone"),
            (packed(a=a, b=b, c=b), "c: new"),
        ):
            assert findings(tmp_path, "a.npz", old, new) == [f"{DIFFERENCE}: {expected}"]

    def test_safetensors(self, tmp_path: Path) -> None:
        def weights(value: float, seconds: int, stage: int = 2) -> Write:
            metadata = {"trained": json.dumps({"seconds": seconds, "stage": stage})}
            return lambda path: save_file({"w": np.array([1, value], np.float32)}, path, metadata)

        old = weights(3, 10)
        assert findings(tmp_path, "a.safetensors", old, weights(3, 11)) == []
        assert findings(tmp_path, "a.safetensors", old, weights(4, 10)) == [
            "difference: w: 1 of 2 numbers differ, by at most 1"
        ]
        assert findings(tmp_path, "a.safetensors", old, weights(3, 10, stage=1)) == [
            "difference: metadata.trained.stage: 2 became 1"
        ]

    def test_state_of_training(self, tmp_path: Path) -> None:
        def state(value: float, seconds: float) -> Write:
            def write(path: Path) -> None:
                recipe = json.dumps({"vis": str(path.parent / "vis")})
                tensors = {"w": torch.tensor([1.0, value])}
                torch.save({"recipe": recipe, "ema": tensors, "seconds": seconds}, path)

            return write

        assert findings(tmp_path, "state.pt", state(2, 1.5), state(2, 9.0)) == []
        (found,) = findings(tmp_path, "state.pt", state(2, 1.5), state(3, 1.5))
        assert found.startswith("difference: ema.w: 'float32 (2,)")

    def test_pictures_are_compared_by_bytes(self, tmp_path: Path) -> None:
        pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)

        def picture(values: NDArray[Any], **options: Any) -> Write:
            return lambda path: PIL.Image.fromarray(values).save(path, **options)

        other = pixels.copy()
        other[2, 3] += 2
        assert findings(tmp_path, "a.png", picture(pixels), picture(pixels)) == []
        assert findings(tmp_path, "a.png", picture(pixels), picture(other)) == [
            "difference: pixels: 1 of 48 numbers differ, by at most 2"
        ]
        found = findings(tmp_path, "a.png", picture(pixels), picture(pixels, compress_level=0))
        assert found == ["difference: same pixels, other bytes"]


class TestDicom:
    @staticmethod
    def header(uid: str = "2.25.1", **attributes: Any) -> Write:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
        meta.MediaStorageSOPInstanceUID = UID(uid)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        made.SOPInstanceUID = UID(uid)
        for name, value in {"DerivationDescription": "fused", "Rows": 3, **attributes}.items():
            setattr(made, name, value)
        return lambda path: pydicom.dcmwrite(path, made)

    def test_elements(self, tmp_path: Path) -> None:
        old = self.header()
        assert findings(tmp_path, "a.dcm", old, self.header(Rows=4)) == [
            "difference: Rows: 'US 3' became 'US 4'"
        ]
        found = findings(tmp_path, "a.dcm", self.header(SoftwareVersions="1"), old)
        assert found == []

    def test_computed_uids_may_follow_the_description(self, tmp_path: Path) -> None:
        old = self.header()
        found = findings(tmp_path, "a.dcm", old, self.header("2.25.7"))
        assert [one.split(":")[0] for one in found] == [DIFFERENCE] * 2
        new = self.header("2.25.7", DerivationDescription="made of two")
        found = findings(tmp_path, "a.dcm", old, new)
        assert [one.split(":")[0] for one in found] == [WORDING] * 3
