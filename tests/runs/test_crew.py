"""Workers in other processes: what is handed out comes back, whoever dies meanwhile."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fnetcli.errors import ClusterError, FnetError, PairError, UsageError, WorkerDiedError
from fnetcli.inputs.pairing import Case
from fnetcli.interruption import GivenUpError
from fnetcli.runs.batch import Handout
from fnetcli.runs.crew.base import ClusterOptions, Hello, Place, own_versions
from fnetcli.runs.crew.crew import Crew
from fnetcli.runs.crew.processes import processes
from fnetcli.runs.crew.ray_actors import _share
from fnetcli.runs.crew.witness import Room, Witness, witness


@dataclass(frozen=True)
class Number:
    """A case that stands for its number; `kills` its worker, or is a pair that `fails`."""

    value: int
    kills: bool = False
    fails: bool = False

    @property
    def case(self) -> Case:
        return Case(str(self.value), Path(f"ir/{self.value}"), Path(f"vis/{self.value}"))


@dataclass
class Doubling:
    """Work of tests: double a number."""

    error: FnetError | None = None
    dies: bool = False
    versions: tuple[str, ...] = field(default_factory=own_versions)

    def begin(self, place: Place) -> Hello:
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error is not None:
            raise self.error
        return Hello("here", place.device, str(os.getpid()), versions=self.versions)

    def process(self, item: Number) -> int:
        if item.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.fails:
            raise PairError(f"{item.value}: no pair")
        return 2 * item.value


def crew_of(work: Doubling, notices: list[str] | None = None) -> Crew[Number, int]:
    heard = [] if notices is None else notices
    return Crew(processes(["cpu", "cpu"], work), heard.append)


def test_a_pair_that_kills_its_workers_fails_alone() -> None:
    notices: list[str] = []
    numbers = [Number(i, kills=i == 3, fails=i == 5) for i in range(12)]
    with crew_of(Doubling(), notices) as crew:
        assert [hello.device for hello in crew.hellos()] == ["cpu", "cpu"]
        futures = [crew.submit(number) for number in numbers]
        found = [
            future.exception() or future.result() for future in futures
        ]  # what belongs to the others
    assert isinstance(found[3], WorkerDiedError)
    assert str(found[3]) == (
        "ir/3 and vis/3: its worker died 3 times, last on here (killed by SIGKILL); probably "
        "memory ran out: use fewer workers (--cpus-per-worker), --max-memory, or smaller images"
    )
    assert isinstance(found[5], PairError)
    assert [found[i] for i in range(12) if i not in (3, 5)] == [
        2 * i for i in range(12) if i not in (3, 5)
    ]
    assert len(notices) == 3
    assert notices[0] == (
        "a worker on here died (killed by SIGKILL); another one tries its pairs again"
    )


@pytest.mark.slow
def test_workers_killed_at_any_moment() -> None:
    draw = random.Random(18)  # noqa: S311
    with crew_of(Doubling()) as crew:
        futures: list[Future[int]] = []
        for i in range(300):
            futures.append(crew.submit(Number(i)))
            if i in (20, 80, 200):
                futures[-5].exception()
                with suppress(ProcessLookupError, IndexError):
                    os.kill(int(draw.choice(crew.hellos()).network), signal.SIGKILL)
        assert [future.result() for future in futures] == [2 * i for i in range(300)]


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (Doubling(error=ClusterError("worker on here: sees nothing")), "worker on here: sees"),
        (Doubling(error=UsageError("--max-memory: too little")), "--max-memory: too little"),
        (Doubling(versions=("fnetcli 0.0.1",)), "has fnetcli 0.0.1, but here is fnetcli"),
        (Doubling(dies=True), "workers die before they can work"),
    ],
    ids=["sees nothing", "cannot work", "another version", "dies"],
)
def test_workers_that_cannot_begin(work: Doubling, message: str) -> None:
    with pytest.raises(FnetError, match=message), crew_of(work):
        pytest.fail("no worker could begin")


def test_what_waits_is_dropped_and_what_failed_ends_all() -> None:
    with crew_of(Doubling()) as crew:
        assert crew.submit(Number(1)).result() == 2
        crew.forget()
        with pytest.raises(GivenUpError):
            crew.submit(Number(2)).result()
    with crew_of(Doubling()) as crew:
        crew.fail(ClusterError("the head is gone"))
        with pytest.raises(ClusterError, match="the head is gone"):
            crew.submit(Number(2)).result()


# --- handing out ----------------------------------------------------------------------------------


@dataclass
class Later:
    """Futures that a test settles by hand."""

    given: list[tuple[Number, Future[int]]] = field(default_factory=list)
    forgotten: bool = False

    def submit(self, number: Number) -> Future[int]:
        self.given.append((number, Future()))
        if len(self.given) > 1:  # the second settles first
            for one, future in reversed(self.given):
                if not future.done():
                    if one.fails:
                        future.set_exception(PairError("no"))
                    else:
                        future.set_result(one.value)
        return self.given[-1][1]

    def forget(self) -> None:
        self.forgotten = True
        for _, future in self.given:
            if not future.done():
                future.set_exception(GivenUpError())


@dataclass(frozen=True)
class Named:
    name: str
    fails: bool = False


def test_results_come_in_order_and_a_failure_may_stop() -> None:
    later, told = Later(), list[str]()
    cases = [Named("0"), Named("1"), Named("2", fails=True), Named("3"), Named("4")]
    handout = Handout[Named, int, int](
        on_done=lambda case, done: told.append(f"{case.name}={done}"),
        on_failed=lambda case, text: told.append(f"{case.name}: {text}"),
        submit=lambda case: later.submit(Number(int(case.name), fails=case.fails)),
        settle=lambda _, value: 10 * value,
        forget=later.forget,
        window=2,
        stops_at_failure=True,
    )
    report = handout.run(cases)
    assert told[:3] == ["0=0", "1=10", "2: no"]
    assert later.forgotten
    assert len(report.done) + len(report.failed) < len(cases)


def test_an_error_of_all_ends_and_forgets() -> None:
    later = Later()

    def submit(case: Named) -> Future[int]:
        if case.name == "1":
            raise ClusterError("gone")
        return later.submit(Number(0))

    handout = Handout[Named, int, int](
        on_done=lambda *_: None,
        on_failed=lambda *_: None,
        submit=submit,
        settle=lambda _, value: value,
        forget=later.forget,
        window=4,
    )
    with pytest.raises(ClusterError):
        handout.run([Named("0"), Named("1")])
    assert later.forgotten
    assert not handout.report.done
    assert not handout.report.failed


# --- what a worker sees and has room for ----------------------------------------------------------


def test_a_worker_that_sees_other_files(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"123")
    with witness(tmp_path / "out", [picture, tmp_path / "missing"]) as seen:
        seen.require_seen()
        picture.write_bytes(b"1234")
        with pytest.raises(ClusterError, match=r"^worker on .*: does not see .*a\.png as it is"):
            seen.require_seen()
        elsewhere = Witness(seen.sizes, seen.out, tmp_path / "another" / "file", seen.secret)
        with pytest.raises(ClusterError, match=r"^worker on .*: does not see the output folder"):
            elsewhere.require_seen()
    assert list((tmp_path / "out").iterdir()) == []


def test_room_admits_what_fits() -> None:
    room = Room()
    with room.place() as weigh:
        assert not room._has_room()  # nobody knows yet how heavy cases are
        weigh(1 << 28)
        assert room._has_room()
        with room.place() as weigh_too:
            weigh_too(1 << 29)
            assert not room._has_room()
    assert room._has_room()


# --- shares of a cluster --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "nodes", "share"),
    [
        (ClusterOptions("ray"), [{"CPU": 16.0}, {"CPU": 3.0}], ("cpu", 2, 0, 9)),
        (ClusterOptions("ray"), [{"CPU": 1.0}], ("cpu", 1, 0, 1)),
        (ClusterOptions("ray"), [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0}], ("cuda", 1, 1, 4)),
        (ClusterOptions("ray", gpus=0.1), [{"CPU": 16.0, "GPU": 1.0}], ("cuda", 1, 0.1, 10)),
        (ClusterOptions("ray", gpus=0.0), [{"CPU": 16.0, "GPU": 1.0}], ("cpu", 2, 0, 8)),
        (ClusterOptions("ray", cpus=4.0), [{"CPU": 16.0}], ("cpu", 4, 0, 4)),
    ],
)
def test_shares(
    options: ClusterOptions, nodes: list[dict[str, float]], share: tuple[object, ...]
) -> None:
    found = _share(options, nodes)
    assert (found.device, found.cpus, found.gpus, found.count) == share


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ClusterOptions("ray", cpus=64.0), "no node has 64 CPUs and 0 GPUs for a worker"),
        (ClusterOptions("ray", device="cuda"), "no node has 1 CPUs and 1 GPUs"),
        (ClusterOptions("ray", gpus=0.0, device="cuda"), "need a share of a GPU"),
    ],
)
def test_nodes_without_enough(options: ClusterOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _share(options, [{"CPU": 2.0}])
