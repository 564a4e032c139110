"""Reading, work and writing overlap; order, failures and the end are those of one after another."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnetcli.errors import (
    CheckpointError,
    FnetError,
    OutputError,
    PairError,
    ReadError,
    UsageError,
    WriteError,
)
from fnetcli.runs.batch import MAX_BYTES, Batch, Report, Stages

STAGES = ("read", "work", "write")
PATIENCE = 600.0  # seconds after which something hangs, on a busy machine as well
A_WHILE = 0.5  # seconds; what is waited for may not come
FATAL = (FnetError, UsageError, OutputError, CheckpointError)
OF_ONE_CASE = (ReadError, PairError, WriteError)


@dataclass(frozen=True)
class Named:
    name: str


Plan = dict[tuple[str, str], BaseException]  # what goes wrong, by stage and case
Waits = Callable[[str, str], None]  # what takes its time, by stage and case


def no_wait(_stage: str, _case: str) -> None:
    """Do everything at once."""


def cases(count: int) -> list[Named]:
    return [Named(f"{i}") for i in range(count)]


@dataclass
class Recorder:
    """Runs a batch whose stages only say that they were there, and hears of its cases."""

    plan: Plan = field(default_factory=dict)
    waits: Waits = no_wait
    weight: int = 0
    heard: list[str] = field(default_factory=list)  # done and failed cases, as they were told
    texts: list[str] = field(default_factory=list)
    begun: dict[str, list[str]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    ended: dict[str, list[str]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    report: Report[Named] = field(default_factory=Report)
    raised: BaseException | None = None

    def run(
        self,
        named: Iterable[Named],
        *,
        workers: int = 2,
        stops_at_failure: bool = False,
        is_debug: bool = False,
    ) -> Report[Named]:
        """Run a batch; fail if it hangs or leaves a thread behind; keep what it raises."""
        batch = Batch(
            on_done=self._hear,
            on_failed=self._hear_failure,
            stages=Stages(self._read, self._work, self._write, lambda _: self.weight),
            workers=workers,
            stops_at_failure=stops_at_failure,
            is_debug=is_debug,
            report=self.report,
        )

        def run() -> None:
            try:
                batch.run(named)
            except BaseException as error:  # noqa: BLE001  looked at by the test
                self.raised = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the batch hangs"
        left = [one.name for one in threading.enumerate() if one.name.startswith("fnet")]
        assert not left
        return self.report

    @property
    def done(self) -> list[str]:
        """Names of the cases that the report counts as done."""
        return [case.name for case in self.report.done]

    @property
    def failed(self) -> list[str]:
        """Names of the cases that the report counts as failed."""
        return [case.name for case, _ in self.report.failed]

    def _step(self, stage: str, case: Named) -> None:
        self.begun[stage].append(case.name)
        self.waits(stage, case.name)
        error = self.plan.get((stage, case.name))
        if error is not None:
            raise error
        self.ended[stage].append(case.name)

    def _read(self, case: Named) -> str:
        self._step("read", case)
        return f"read {case.name}"

    def _work(self, case: Named, read: str) -> str:
        assert read == f"read {case.name}"
        self._step("work", case)
        return f"worked {case.name}"

    def _write(self, case: Named, worked: str) -> str:
        assert worked == f"worked {case.name}"
        self._step("write", case)
        return f"wrote {case.name}"

    def _hear(self, case: Named, done: str) -> None:
        assert done == f"wrote {case.name}"
        self.heard.append(case.name)

    def _hear_failure(self, case: Named, text: str) -> None:
        self.heard.append(case.name)
        self.texts.append(text)


def at_random(seed: int, longest: float = 0.003) -> Waits:
    """Return waits that differ from case to case and stage to stage."""

    def wait(stage: str, case: str) -> None:
        share = zlib.crc32(f"{seed} {stage} {case}".encode()) / 2**32
        time.sleep(share * longest)

    return wait


class TestOrder:
    @settings(max_examples=25)
    @given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 10**6))
    def test_cases_are_told_in_their_order(self, count: int, workers: int, seed: int) -> None:
        recorder = Recorder(waits=at_random(seed))
        report = recorder.run(cases(count), workers=workers)
        names = [case.name for case in cases(count)]
        assert recorder.raised is None
        assert recorder.heard == names
        assert recorder.done == names
        assert report.failed == []
        assert recorder.begun["work"] == names
        for stage in STAGES:
            assert sorted(recorder.ended[stage]) == sorted(names)

    @settings(max_examples=25)
    @given(
        st.dictionaries(st.integers(0, 11), st.sampled_from(STAGES)),
        st.sampled_from((*OF_ONE_CASE, ValueError, MemoryError, KeyError, OSError)),
        st.integers(1, 4),
        st.integers(0, 10**6),
    )
    def test_failures_keep_the_order_and_stop_nothing(
        self, failing: dict[int, str], kind: type[Exception], workers: int, seed: int
    ) -> None:
        plan: Plan = {(stage, f"{i}"): kind(f"bad {i}") for i, stage in failing.items()}
        recorder = Recorder(plan, at_random(seed))
        report = recorder.run(cases(12), workers=workers)
        assert recorder.raised is None
        assert recorder.heard == [f"{i}" for i in range(12)]
        assert recorder.failed == [f"{i}" for i in range(12) if i in failing]
        assert recorder.done == [f"{i}" for i in range(12) if i not in failing]
        assert recorder.texts == [text for _, text in report.failed]

    def test_a_slow_first_case_does_not_lose_its_place(self) -> None:
        recorder = Recorder(waits=lambda _, case: time.sleep(0.05 if case == "0" else 0))
        recorder.run(cases(8), workers=3)
        assert recorder.heard == [f"{i}" for i in range(8)]

    def test_equal_cases_are_two(self) -> None:
        assert len(Recorder().run([Named("a"), Named("a")]).done) == 2


class TestReport:
    def test_texts_of_failures(self) -> None:
        plan: Plan = {("read", "0"): ReadError("0.png: broken"), ("work", "1"): ValueError("?")}
        report = Recorder(plan).run(cases(3))
        assert [(case.name, text) for case, text in report.failed] == [
            ("0", "0.png: broken"),
            ("1", "1: unexpected ValueError (?); --debug shows more"),
        ]

    @pytest.mark.parametrize("stage", STAGES)
    def test_memory_that_runs_out_names_the_case(self, stage: str) -> None:
        report = Recorder({(stage, "1"): MemoryError()}).run(cases(3))
        text = "1: not enough memory; end other programs, use fewer --workers or smaller images"
        assert [text for _, text in report.failed] == [text]

    def test_no_thread_to_be_had_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def none(_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", none)
        stages = Stages[Named, str, str, str](lambda _: "", lambda *_: "", lambda *_: "")
        with pytest.raises(FnetError, match=r"^0: no thread can be started \(can't start new"):
            Batch(lambda *_: None, lambda *_: None, stages).run(cases(3))

    def test_a_case_without_size_fails_alone(self) -> None:
        stages = Stages[Named, str, str, str](
            read=lambda case: case.name,
            work=lambda _, read: read,
            write=lambda _, worked: worked,
            weigh=int,
        )
        heard: list[str] = []
        batch = Batch(lambda *_: None, lambda case, _: heard.append(case.name), stages)
        report = batch.run([Named("1"), Named("x"), Named("3")])
        assert heard == ["x"]
        assert [case.name for case in report.done] == ["1", "3"]


class TestOverlap:
    @pytest.mark.parametrize(("busy", "next_stage"), [("work", "read"), ("write", "work")])
    def test_the_next_case_goes_on_meanwhile(self, busy: str, next_stage: str) -> None:
        is_under_way = threading.Event()

        def wait(stage: str, case: str) -> None:
            if (stage, case) == (next_stage, "1"):
                is_under_way.set()
            if (stage, case) == (busy, "0"):
                assert is_under_way.wait(PATIENCE / 2)

        recorder = Recorder(waits=wait)
        assert len(recorder.run(cases(3)).done) == 3

    def test_no_more_run_at_once_than_workers(self) -> None:
        running, most, lock = 0, 0, threading.Lock()
        are_several = threading.Event()

        def wait(stage: str, case: str) -> None:
            nonlocal running, most
            if stage == "work" or case == "0":  # which is read alone: nobody knows its size
                return
            with lock:
                running += 1
                most = max(most, running)
                if running > 1:
                    are_several.set()
            are_several.wait(PATIENCE / 2)
            with lock:
                running -= 1

        Recorder(waits=wait).run(cases(20), workers=3)
        assert 2 <= most <= 3

    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_an_endless_list_is_not_read_ahead_of_need(self, workers: int) -> None:
        taken = itertools.count()
        recorder = Recorder({("work", "5"): OutputError("full")})
        recorder.run((Named(f"{i}") for i in taken), workers=workers)
        assert isinstance(recorder.raised, OutputError)
        assert recorder.heard[:5] == ["0", "1", "2", "3", "4"]
        assert next(taken) <= 6 + 2 * workers + 2

    def test_a_list_that_breaks_off_ends_the_batch(self) -> None:
        def breaking() -> Iterator[Named]:
            yield from cases(3)
            raise UsageError("the list ends")

        recorder = Recorder()
        recorder.run(breaking(), workers=2)
        assert isinstance(recorder.raised, UsageError)
        assert recorder.heard == [f"{i}" for i in range(len(recorder.heard))]
        assert recorder.heard == recorder.ended["write"]


class TestMemory:
    @staticmethod
    def most_on_their_way(
        weight: int, workers: int, slow: str, plan: Plan | None = None
    ) -> tuple[int, int]:
        """Return how many cases at most were between reading and the end of writing."""
        on_their_way, most, lock = set[str](), 0, threading.Lock()

        def wait(stage: str, case: str) -> None:
            nonlocal most
            with lock:
                on_their_way.add(case)
                most = max(most, len(on_their_way))
            time.sleep(0.002 if stage == slow else 0.0002)
            if stage == "write" or (stage, case) in recorder.plan:
                with lock:
                    on_their_way.discard(case)

        recorder = Recorder(plan or {}, wait, weight)
        recorder.run(cases(16), workers=workers)
        return most, len(recorder.heard)

    @pytest.mark.parametrize("slow", STAGES)
    @pytest.mark.parametrize("workers", [1, 2, 8])
    @pytest.mark.parametrize("fitting", [0.5, 1, 2, 5])
    def test_heavy_cases_wait_for_room(self, fitting: float, workers: int, slow: str) -> None:
        """Beside what fits, one is at work and one is read: else nothing would overlap."""
        most, heard = self.most_on_their_way(int(MAX_BYTES / fitting), workers, slow)
        assert heard == 16
        assert most <= fitting + 2

    @pytest.mark.parametrize("slow", STAGES)
    def test_light_ones_are_bounded_by_the_workers(self, slow: str) -> None:
        most, _ = self.most_on_their_way(1, 3, slow)
        assert 2 <= most <= 2 * 3 + 1

    def test_failures_make_room(self) -> None:
        plan: Plan = {("read", f"{i}"): ReadError("?") for i in range(0, 16, 2)}
        most, heard = self.most_on_their_way(MAX_BYTES, 4, "write", plan)
        assert heard == 16
        assert most <= 3


class TestFailFast:
    @pytest.mark.parametrize("workers", [1, 2, 4])
    @pytest.mark.parametrize("stage", STAGES)
    def test_nothing_new_begins_after_a_failure(self, stage: str, workers: int) -> None:
        recorder = Recorder({(stage, "3"): ReadError("3.png: broken")}, at_random(1))
        recorder.run(cases(40), workers=workers, stops_at_failure=True)
        assert recorder.raised is None
        assert recorder.failed == ["3"]
        assert recorder.heard[:4] == ["0", "1", "2", "3"]
        assert recorder.heard == sorted(recorder.heard, key=int)
        assert len(recorder.begun["work"]) <= 4 + 2 * workers
        # What is on disk is said to be, and nothing else.
        assert sorted(recorder.done) == sorted(recorder.ended["write"])

    def test_queued_writes_do_not_hang_it(self) -> None:
        """Two long reads keep both workers; the work of two cases waits to be written."""

        def wait(stage: str, case: str) -> None:
            if stage == "read" and int(case) > 2:
                time.sleep(0.1)

        recorder = Recorder({("work", "1"): ReadError("1.png: broken")}, wait)
        recorder.run(cases(12), stops_at_failure=True)
        assert recorder.failed == ["1"]
        assert recorder.done[0] == "0"


class TestFatal:
    @pytest.mark.parametrize("workers", [1, 2, 4])
    @pytest.mark.parametrize("kind", FATAL)
    @pytest.mark.parametrize("stage", STAGES)
    def test_it_ends_the_batch_after_what_came_before(
        self, stage: str, kind: type[FnetError], workers: int
    ) -> None:
        recorder = Recorder({(stage, "3"): kind("full")}, at_random(2))
        recorder.run(cases(40), workers=workers)
        assert type(recorder.raised) is kind
        assert recorder.heard[:3] == ["0", "1", "2"]
        assert "3" not in recorder.heard
        assert recorder.failed == []
        assert sorted(recorder.done) == sorted(recorder.ended["write"])
        assert len(recorder.begun["work"]) <= 4 + 2 * workers

    @pytest.mark.parametrize("stage", STAGES)
    def test_in_the_last_cases_too(self, stage: str) -> None:
        """Nothing is left to read, and what is being written is still told."""
        last = threading.Event()

        def wait(stage: str, case: str) -> None:
            if (stage, case) == ("write", "3"):
                last.set()
            elif stage == "write" and case == "2":
                last.wait(A_WHILE)

        recorder = Recorder({(stage, "2"): OutputError("full")}, wait)
        recorder.run(cases(4))
        assert isinstance(recorder.raised, OutputError)
        assert recorder.heard[:2] == ["0", "1"]
        assert sorted(recorder.done) == sorted(recorder.ended["write"])

    def test_two_of_them_are_one_end(self) -> None:
        plan: Plan = {("write", f"{i}"): OutputError(f"full {i}") for i in range(10)}
        recorder = Recorder(plan)
        recorder.run(cases(10), workers=4)
        assert str(recorder.raised) == "full 0"
        assert recorder.heard == []

    def test_whoever_hears_may_end_it(self) -> None:
        """The manifest cannot be written any more."""

        def full(case: Named, _text: str) -> None:
            heard.append(case.name)
            if case.name == "2":
                raise OutputError("full")

        heard: list[str] = []
        stages = Stages[Named, str, str, str](
            read=lambda case: case.name, work=lambda _, read: read, write=lambda _, worked: worked
        )
        with pytest.raises(OutputError):
            Batch(full, lambda *_: None, stages).run(cases(20))
        assert heard[:3] == ["0", "1", "2"]
        assert len(heard) < 20


class TestDebug:
    @pytest.mark.parametrize("stage", STAGES)
    def test_the_unexpected_comes_through(self, stage: str) -> None:
        recorder = Recorder({(stage, "2"): ZeroDivisionError("?")}, at_random(3))
        recorder.run(cases(20), is_debug=True)
        assert isinstance(recorder.raised, ZeroDivisionError)
        assert recorder.heard[:2] == ["0", "1"]
        assert sorted(recorder.done) == sorted(recorder.ended["write"])

    def test_the_expected_does_not(self) -> None:
        recorder = Recorder({("read", "1"): ReadError("1.png: broken")})
        recorder.run(cases(3), is_debug=True)
        assert recorder.raised is None
        assert recorder.failed == ["1"]


INTERRUPTED_WHILE_WAITING = """
import os, signal, sys, threading, time
from dataclasses import dataclass
from fnetcli.runs.batch import Batch, Stages

@dataclass(frozen=True)
class Named:
    name: str

written = []

def read(case):
    if case.name == sys.argv[2] and sys.argv[1] == "read":
        interrupt()
    return case.name

def write(case, worked):
    if case.name == sys.argv[2] and sys.argv[1] == "write":
        interrupt()
    written.append(case.name)
    return worked

def interrupt():
    time.sleep(0.2)  # by now the main thread waits for this one
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)

stages = Stages(read, lambda _, read: read, write)
told = []
batch = Batch(lambda case, _: told.append(case.name), lambda *_: None, stages, workers=1)
try:
    batch.run(Named(str(i)) for i in range(100))
except KeyboardInterrupt:
    threads = [one.name for one in threading.enumerate() if one.name.startswith("fnet")]
    print("interrupted", told == written, *told, *threads)
"""


class TestInterrupt:
    @pytest.mark.parametrize("workers", [1, 2, 4])
    @pytest.mark.parametrize("seed", range(2))
    def test_in_the_work_of_a_case(self, workers: int, seed: int) -> None:
        recorder = Recorder({("work", "5"): KeyboardInterrupt()}, at_random(seed, 0.01))
        recorder.run(cases(40), workers=workers)
        assert isinstance(recorder.raised, KeyboardInterrupt)
        assert recorder.begun["work"] == ["0", "1", "2", "3", "4", "5"]
        assert recorder.heard == sorted(recorder.heard, key=int)
        assert sorted(recorder.begun["write"]) == sorted(recorder.ended["write"])
        assert sorted(recorder.done) == sorted(recorder.ended["write"])

    def test_what_is_being_written_is_finished_and_told(self) -> None:
        is_writing = threading.Event()

        def wait(stage: str, case: str) -> None:
            if (stage, case) == ("write", "0"):
                is_writing.set()
                time.sleep(0.05)
            if (stage, case) == ("work", "1"):
                assert is_writing.wait(PATIENCE / 2)

        recorder = Recorder({("work", "1"): KeyboardInterrupt()}, wait)
        recorder.run(cases(4))
        assert isinstance(recorder.raised, KeyboardInterrupt)
        assert recorder.heard == ["0"]

    def test_with_writes_in_the_queue(self) -> None:
        """Both workers read for long, a case that was worked on waits to be written."""

        def wait(stage: str, case: str) -> None:
            if stage == "read" and int(case) >= 2:
                time.sleep(0.1)

        recorder = Recorder({("work", "1"): KeyboardInterrupt()}, wait, weight=0)
        recorder.run(cases(8), workers=2)
        assert isinstance(recorder.raised, KeyboardInterrupt)
        assert recorder.done == recorder.ended["write"] == ["0"]

    @pytest.mark.parametrize(("stage", "case"), [("read", "3"), ("write", "3"), ("write", "99")])
    def test_while_it_waits_for_a_worker(self, stage: str, case: str) -> None:
        finished = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_WHILE_WAITING, stage, case],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert finished.stderr == ""
        told = finished.stdout.split()
        assert told[:2] == ["interrupted", "True"]
        assert told[2:] == [f"{i}" for i in range(len(told) - 2)]
        assert len(told) - 2 >= int(case)
