"""The record of a folder: in order, whole at any moment, and it forgets in time."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.errors import OutputError, ReadError, UsageError
from fnetcli.files.durable import atomic_write
from fnetcli.formats import content_sha256
from fnetcli.runs import manifest as manifests
from fnetcli.runs.manifest import (
    DECIDING,
    MANIFEST_FILE,
    RUN_FILE,
    Manifest,
    Record,
    content,
    deciding,
    relative_path,
    write_run,
)

PATIENCE = 600  # seconds after which something hangs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
HASHES = st.text("0123456789abcdef", min_size=4, max_size=4)
RECORDS = st.fixed_dictionaries(
    {
        "case": st.text(min_size=1, max_size=5),
        "inputs": st.fixed_dictionaries(
            {name: st.fixed_dictionaries({"path": st.text(), "sha256": HASHES}) for name in "xy"}
        ),
        "weights": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "method": st.text(max_size=3),
        "options": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
        "outputs": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "pixels_version": st.integers(1, 3),
        "status": st.sampled_from(("done", "failed")),
        "seconds": st.floats(0, 10),
    }
)


def record(case: str, **more: Any) -> Record:
    return {"case": case, "status": "done", **more}


def cases_on_disk(folder: Path) -> list[str]:
    lines = (folder / MANIFEST_FILE).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""  # every line ends
    return [json.loads(line)["case"] for line in lines]


def make(folder: Path, *cases: str) -> Manifest:
    """Return the manifest of an earlier run."""
    manifest = Manifest(folder)
    manifest.begin(cases, anew=cases)
    for case in cases:
        manifest.put(record(case))
    manifest.save()
    return Manifest(folder)


class TestManifest:
    @settings(max_examples=30)
    @given(st.lists(RECORDS, max_size=5, unique_by=lambda one: str(one["case"])))
    def test_what_is_put_is_got(
        self, tmp_path_factory: pytest.TempPathFactory, records: list[Record]
    ) -> None:
        folder = tmp_path_factory.mktemp("law")
        manifest = Manifest(folder)
        manifest.begin([one["case"] for one in records], anew=[])
        for one in records:
            manifest.put(one)
            assert manifest.get(one["case"]) == one
        manifest.save()
        again = Manifest(folder)
        assert [again.get(one["case"]) for one in records] == records
        assert again.damaged == 0
        assert cases_on_disk(folder) == [one["case"] for one in records]

    def test_nothing_there_is_nothing_known(self, tmp_path: Path) -> None:
        manifest = Manifest(tmp_path / "missing")
        assert manifest.get("a") is None
        assert manifest.damaged == 0
        assert not (tmp_path / "missing").exists()

    @given(order=st.permutations(list("abcdef")))
    @settings(max_examples=20)
    def test_lines_stand_in_the_order_of_the_cases(
        self, tmp_path_factory: pytest.TempPathFactory, order: list[str]
    ) -> None:
        folder = tmp_path_factory.mktemp("law")
        manifest = Manifest(folder)
        manifest.begin(list("abcdef"), anew=list("abcdef"))
        for case in order:
            manifest.put(record(case))
        manifest.save()
        assert cases_on_disk(folder) == list("abcdef")

    def test_cases_of_earlier_runs_come_last(self, tmp_path: Path) -> None:
        manifest = make(tmp_path, "old2", "c", "old1", "a")
        manifest.begin(["a", "b", "c"], anew=["b"])
        manifest.put(record("b"))
        manifest.save()
        assert cases_on_disk(tmp_path) == ["a", "b", "c", "old2", "old1"]

    def test_begin_forgets_what_is_made_anew_at_once(self, tmp_path: Path) -> None:
        manifest = make(tmp_path, "a", "b", "c")
        manifest.begin(["c", "b", "a", "new"], anew=["b", "new"])
        assert manifest.get("b") is None
        assert cases_on_disk(tmp_path) == ["c", "a"]
        assert Manifest(tmp_path).get("b") is None

    def test_begin_writes_nothing_where_nothing_is_forgotten(self, tmp_path: Path) -> None:
        manifest = Manifest(tmp_path)
        manifest.begin(["a"], anew=["a"])
        assert not (tmp_path / MANIFEST_FILE).exists()
        manifest = make(tmp_path, "a")
        before = (tmp_path / MANIFEST_FILE).stat().st_mtime_ns
        manifest.begin(["a", "b"], anew=["b"])
        assert (tmp_path / MANIFEST_FILE).stat().st_mtime_ns == before

    def test_the_last_word_on_a_case_counts(self, tmp_path: Path) -> None:
        manifest = make(tmp_path, "a", "b")
        manifest.put(record("a", status="failed"))
        manifest.save()
        again = Manifest(tmp_path).get("a")
        assert again is not None
        assert again["status"] == "failed"
        assert cases_on_disk(tmp_path) == ["a", "b"]

    def test_the_first_record_is_saved_at_once_the_next_ones_now_and_then(
        self, tmp_path: Path
    ) -> None:
        manifest = Manifest(tmp_path)
        manifest.begin(["a", "b"], anew=["a", "b"])
        manifest.put(record("a"))
        assert cases_on_disk(tmp_path) == ["a"]
        manifest.put(record("b"))
        assert cases_on_disk(tmp_path) == ["a"]
        manifest.save()
        assert cases_on_disk(tmp_path) == ["a", "b"]

    def test_many_records_cost_little_more_than_their_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rewritten for each, it would be minutes. A second passes with every hundred records."""
        clock, saves = itertools.count(), [0]
        own_time = SimpleNamespace(monotonic=lambda: next(clock) / 100)
        monkeypatch.setattr(manifests, "time", own_time)

        def counted(path: Path, write: Any) -> None:
            saves[0] += 1
            atomic_write(path, write)

        monkeypatch.setattr(manifests, "atomic_write", counted)
        manifest = Manifest(tmp_path)
        names = [f"case {i}" for i in range(5000)]
        manifest.begin(names, anew=names)
        for name in names:
            manifest.put(record(name))
        assert 2 <= saves[0] <= 120

    def test_a_reader_never_sees_half_a_line(self, tmp_path: Path) -> None:
        manifest = Manifest(tmp_path)
        names = [f"case {i}" for i in range(200)]
        manifest.begin(names, anew=names)
        manifest.put(record(names[0]))
        seen: list[int] = []
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.is_set():
                seen.append(len(cases_on_disk(tmp_path)))

        reader = threading.Thread(target=watch)
        reader.start()
        try:
            for name in names:
                manifest.put(record(name, padding="x" * 200))
                manifest.save()
        finally:
            is_over.set()
            reader.join()
        assert seen == sorted(seen)
        assert seen
        assert cases_on_disk(tmp_path) == names
        assert [one.name for one in tmp_path.iterdir()] == [MANIFEST_FILE]

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"half a l",
            b'{"case": "b", "status": "do',
            b"[]",
            b"3",
            b"null",
            b'"b"',
            b"{}",
            b'{"case": 3}',
            b'{"case": null}',
            b"\xff\xfe\x00",
            b"[" * 100_000,
        ],
    )
    def test_damaged_lines_are_counted_and_left_out(self, line: bytes, tmp_path: Path) -> None:
        good = [json.dumps(record(case)).encode() for case in "ac"]
        (tmp_path / MANIFEST_FILE).write_bytes(b"\n".join([good[0], line, good[1]]))
        manifest = Manifest(tmp_path)
        assert manifest.damaged == 1
        assert manifest.get("a") == record("a")
        assert manifest.get("b") is None
        assert manifest.get("c") == record("c")
        manifest.save()
        assert cases_on_disk(tmp_path) == ["a", "c"]

    def test_cut_anywhere_it_is_still_read(self, tmp_path: Path) -> None:
        make(tmp_path, "a", "ä", "c")
        whole = (tmp_path / MANIFEST_FILE).read_bytes()
        for length in range(len(whole)):
            (tmp_path / MANIFEST_FILE).write_bytes(whole[:length])
            manifest = Manifest(tmp_path)
            known = [case for case in ("a", "ä", "c") if manifest.get(case) is not None]
            assert known == ["a", "ä", "c"][: len(known)]
            assert manifest.damaged <= 1

    @pytest.mark.parametrize(
        "name", [os.fsdecode(b"\xff\xe4"), "ä ö", "a\nb", "a\u2028b", "a\x85b", "😀", '"', "\\"]
    )
    def test_names_of_any_kind_are_one_line(self, name: str, tmp_path: Path) -> None:
        make(tmp_path, "first", name, "last")
        manifest = Manifest(tmp_path)
        assert manifest.damaged == 0
        assert manifest.get(name) == record(name)
        assert cases_on_disk(tmp_path) == ["first", name, "last"]
        assert len((tmp_path / MANIFEST_FILE).read_bytes().splitlines()) == 3

    def test_what_is_no_file_is_said(self, tmp_path: Path) -> None:
        (tmp_path / MANIFEST_FILE).mkdir()
        with pytest.raises(UsageError, match="a folder, not a manifest; remove it"):
            Manifest(tmp_path)
        (tmp_path / "file").touch()
        assert Manifest(tmp_path / "file").get("a") is None  # who writes there will say it


def fingerprint(record: Record) -> tuple[str, dict[str, str | None]]:
    return deciding(record), content(record)


class TestFingerprint:
    @settings(max_examples=50)
    @given(RECORDS, st.randoms(use_true_random=False))
    def test_neither_order_nor_disk_changes_it(self, one: Record, random: Any) -> None:
        assert fingerprint(json.loads(json.dumps(one))) == fingerprint(one)
        keys = list(one)
        random.shuffle(keys)
        shuffled = {key: one[key] for key in keys}
        shuffled["inputs"] = dict(reversed(one["inputs"].items()))
        assert fingerprint(shuffled) == fingerprint(one)

    @settings(max_examples=50)
    @given(RECORDS)
    def test_what_does_not_decide_does_not_count(self, one: Record) -> None:
        other = one | {"case": "z", "status": "?", "seconds": 99, "error": "x", "ranges": {}}
        other["inputs"] = {
            name: {**known, "path": "elsewhere", "size": "1x1"}
            for name, known in one["inputs"].items()
        }
        assert fingerprint(other) == fingerprint(one)

    @settings(max_examples=50)
    @given(RECORDS, st.sampled_from(DECIDING))
    def test_everything_that_decides_counts(self, one: Record, key: str) -> None:
        assert fingerprint(one | {key: {"another": "value"}}) != fingerprint(one)
        assert fingerprint({k: v for k, v in one.items() if k != key}) != fingerprint(one)

    @settings(max_examples=50)
    @given(RECORDS, st.sampled_from("xy"))
    def test_so_does_the_content_of_each_input(self, one: Record, name: str) -> None:
        inputs = one["inputs"] | {name: {"path": one["inputs"][name]["path"], "sha256": "other"}}
        assert fingerprint(one | {"inputs": inputs}) != fingerprint(one)

    @settings(max_examples=50)
    @given(RECORDS)
    def test_exchanged_inputs_are_others(self, one: Record) -> None:
        x, y = one["inputs"]["x"], one["inputs"]["y"]
        is_equal = fingerprint(one | {"inputs": {"x": y, "y": x}}) == fingerprint(one)
        assert is_equal == (x["sha256"] == y["sha256"])

    @settings(max_examples=50)
    @given(st.dictionaries(st.sampled_from(("inputs", *DECIDING)), JSON))
    def test_records_from_elsewhere_do_not_crash_it(self, one: Record) -> None:
        assert fingerprint(one) == fingerprint(one)


class TestFiles:
    @given(st.binary(min_size=1, max_size=100))
    @settings(max_examples=20)
    def test_hash_of_content(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "hashed"
        path.write_bytes(content)
        assert content_sha256(path) == hashlib.sha256(content).hexdigest()

    def test_what_cannot_be_hashed_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        for name, message in (
            ("missing", "no such file"),
            ("", "a folder"),
            ("empty.png", "empty"),
        ):
            with pytest.raises(ReadError, match=message):
                content_sha256(tmp_path / name)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
    def test_a_pipe_is_no_file_to_wait_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        errors: list[BaseException] = []

        def hash_it() -> None:
            try:
                content_sha256(tmp_path / "pipe.png")
            except ReadError as error:
                errors.append(error)

        hasher = threading.Thread(target=hash_it, daemon=True)
        hasher.start()
        hasher.join(PATIENCE)
        is_waiting = hasher.is_alive()
        if is_waiting:  # let it go: an open pipe without content is an empty file
            (tmp_path / "pipe.png").open("wb").close()
            hasher.join(PATIENCE)
        assert not is_waiting
        assert len(errors) == 1

    def test_paths_below_their_root(self) -> None:
        assert relative_path(Path("in/day/a.png"), Path("in")) == "day/a.png"
        assert relative_path(Path("/elsewhere/a.png"), Path("/in")) == "/elsewhere/a.png"
        assert relative_path(Path("inner/a.png"), Path("in")) == "inner/a.png"

    def test_run_is_whole_and_ends_with_a_line(self, tmp_path: Path) -> None:
        run = {"command": ["fnet", os.fsdecode(b"\xff")], "totals": {"done": 3}}
        for _ in range(2):
            write_run(tmp_path, run)
        text = (tmp_path / RUN_FILE).read_text(encoding="ascii")
        assert json.loads(text) == run
        assert text.endswith("}\n")
        assert [one.name for one in tmp_path.iterdir()] == [RUN_FILE]

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_a_closed_folder_ends_the_run(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(OutputError):
                write_run(tmp_path, {})
            with pytest.raises(OutputError):
                Manifest(tmp_path).put(record("a"))
        finally:
            tmp_path.chmod(0o700)
