"""A whole run of `fnet eval`: fuse and score what is not known yet, and store the scores."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fnetcli.errors import EvaluationError, ReadError
from fnetcli.evaluation.cache import Known, ScoreCache, key
from fnetcli.evaluation.elsewhere import Elsewhere, ScoreWork
from fnetcli.evaluation.entrants import Entrant, FilesEntrant, NetworkEntrant, RuleEntrant
from fnetcli.evaluation.grey import Levels, read_fused, to_levels, to_picture
from fnetcli.evaluation.results import Evaluation, Problem
from fnetcli.evaluation.scoring import Scored, Task, score_separation, score_task
from fnetcli.formats import ReadOptions, content_sha256, probe_image
from fnetcli.inputs.pairing import Case, Pairing
from fnetcli.metrics import Convention, Metric, quantise
from fnetcli.metrics.separation import SEPARATION
from fnetcli.pictures.fuse import finish
from fnetcli.pictures.prepare import Prepared, PrepareOptions, read_case
from fnetcli.runs.batch import Batch, Stages
from fnetcli.runs.crew.options import CrewOptions
from fnetcli.runs.crew.processes import begin_worker, interrupts_blocked
from fnetcli.runs.crew.witness import Witness
from fnetcli.text import without_numbers

BYTES_A_PIXEL = 120  # of one case in a worker: two sources, a fused image, and derived arrays


@dataclass(frozen=True)
class EvalJob:
    """Which fused images of which pairs are scored, and how."""

    pairing: Pairing
    options: PrepareOptions  # how the sources are read, scaled and put on one grid
    entrants: tuple[Entrant, ...]
    metrics: tuple[Metric, ...]
    convention: Convention = "paper"
    reading: ReadOptions = field(default_factory=ReadOptions)  # of fused files

    @property
    def metric_names(self) -> list[str]:
        """The metrics' names, in order."""
        return [metric.name for metric in self.metrics]


@dataclass(frozen=True)
class _Read:
    """A case before work: known scores, wanted scores, and the images if a network runs."""

    rows: dict[str, str]  # method -> name of its row in the cache
    known: dict[str, Known]
    wanted: dict[str, list[str]]
    prepared: Prepared | None
    pixels: int


@dataclass(frozen=True)
class _Worked:
    read: _Read
    made: dict[str, Levels]
    separated: dict[str, Known]  # of networks


@dataclass
class EvaluationRun:
    """One run: fills the table of scores."""

    job: EvalJob
    cache: ScoreCache
    workers: int = 1
    on_step: Callable[[str, list[str]], None] = lambda *_: None  # case, what failed in it
    is_debug: bool = False
    crew: CrewOptions | None = None  # who fuses and scores; None: processes of this machine
    on_notice: Callable[[str], None] = lambda _: None
    computed: int = 0  # scores that were not in the cache
    _rows: dict[str, dict[str, Known]] = field(default_factory=dict)
    _processes: _Processes | Elsewhere | None = None
    failed: list[Problem] = field(default_factory=list)  # files that exist, but cannot be used
    _problems: list[Problem] = field(default_factory=list)  # everything else

    def work(self) -> Evaluation:
        """Score everything; raise EvaluationError if a worker dies."""
        cases = self.job.pairing.cases
        self._absent()
        try:
            with self._pool() as self._processes:
                threads, forget = self.workers, _do_nothing
                if isinstance(self._processes, Elsewhere):
                    threads, forget = self._processes.threads, self._processes.forget
                Batch(
                    stages=Stages(
                        read=self._read,
                        work=self._fuse,
                        write=self._score,
                        weigh=lambda read: BYTES_A_PIXEL * read.pixels,
                    ),
                    on_done=self._done,
                    on_failed=self._failed,
                    workers=threads,
                    on_ending=forget,
                    is_debug=self.is_debug,
                ).run(cases)
        finally:
            self.cache.close()
        return self._table()

    def pictures(self, case: Case) -> dict[str, Levels]:
        """Return the pictures of a case, 8-bit grey or colour, by modality and method."""
        options = self.job.options
        prepared = read_case(case, options)
        seen = {
            modality: to_picture(scaled)
            for modality, scaled in reversed(
                list(zip(options.modalities, prepared.scaled, strict=True))
            )
        }
        for entrant in self.job.entrants:
            picture = self._picture(entrant, case, prepared)
            if picture is not None:
                seen[entrant.method.name] = picture
        return seen

    def _picture(self, entrant: Entrant, case: Case, prepared: Prepared) -> Levels | None:
        if isinstance(entrant, NetworkEntrant):
            fusion = entrant.engine().run(*prepared.luminances)
            fused = finish(prepared, fusion, kind=np.uint8).image
            pixels: Levels = fused.pixels[0]
            return pixels if fused.is_color else pixels[..., 0]
        if isinstance(entrant, RuleEntrant):
            first, second = map(to_levels, prepared.scaled)
            return entrant.baseline.rule(first, second)
        if case.name not in entrant.files:
            return None
        try:
            return to_picture(read_fused(entrant.files[case.name], self.job.reading).scaled)
        except ReadError:
            return None  # its problem is listed already

    def _absent(self) -> None:
        """List the cases that a method has no file for."""
        for case in self.job.pairing.cases:
            for entrant in self.job.entrants:
                if isinstance(entrant, FilesEntrant) and case.name not in entrant.files:
                    text = f"no fused image of this case in {entrant.method.origin}"
                    self._problems.append(Problem(case.name, entrant.method.name, text))

    def _pool(self) -> AbstractContextManager[_Processes | Elsewhere | None]:
        cases = self.job.pairing.cases
        if self.crew is not None:
            sources = {
                entrant.method.name: entrant.source.with_content()
                for entrant in self.job.entrants
                if isinstance(entrant, NetworkEntrant)
            }
            ends = [path for case in (cases[0], cases[-1]) for path in (case.first, case.second)]
            work = ScoreWork(sources, Witness.of_inputs(ends))
            return Elsewhere(self.crew, work, len(cases), self.on_notice)
        if self.workers < 2 or len(cases) < 2:
            return nullcontext()
        return _Processes(self.workers)

    def _read(self, case: Case) -> _Read:
        sources = {
            "sources": [content_sha256(case.first), content_sha256(case.second)],
            **({} if case.page is None else {"page": case.page}),
            "options": self._deciding(),
        }
        header = probe_image(case.second, case.reading(self.job.options.reading[1]))
        rows, known, wanted = dict[str, str](), dict[str, Known](), dict[str, list[str]]()
        for entrant in self.job.entrants:
            name = entrant.method.name
            try:
                fused = _digest(entrant, case)
            except ReadError as error:
                self._blame(case, name, str(error))
                continue
            if fused is None:
                continue
            rows[name] = key({**sources, "fused": fused})
            known[name] = self.cache.get(rows[name])
            is_network = isinstance(entrant, NetworkEntrant)
            names = [*self.job.metric_names, *([SEPARATION] if is_network else [])]
            lacking = known[name].lacks(names)
            if lacking:
                wanted[name] = lacking
        needs_network = any(
            isinstance(entrant, NetworkEntrant) and entrant.method.name in wanted
            for entrant in self.job.entrants
        )
        runs_here = needs_network and self.crew is None
        prepared = read_case(case, self.job.options) if runs_here else None
        return _Read(rows, known, wanted, prepared, header.height * header.width)

    def _deciding(self) -> dict[str, Any]:
        return {"convention": self.job.convention} | self.job.options.record()

    def _fuse(self, _: Case, read: _Read) -> _Worked:
        worked = _Worked(read, {}, {})
        for entrant in self.job.entrants if self.crew is None else ():
            name = entrant.method.name
            if isinstance(entrant, NetworkEntrant) and name in read.wanted:
                if read.prepared is None:
                    raise RuntimeError("a network is to run, but its case was not read")
                luminances = read.prepared.luminances
                fusion = entrant.engine().run(*luminances)
                worked.made[name] = quantise(fusion.fused[0])
                if SEPARATION in read.wanted[name]:
                    worked.separated[name] = score_separation(fusion, luminances)
        return worked

    def _score(self, case: Case, worked: _Worked) -> dict[str, Known]:
        """Compute the wanted scores in a worker process, and store them."""
        read = worked.read
        if not read.wanted:
            return read.known
        task = Task(
            case=case,
            options=self.job.options,
            reading=self.job.reading,
            convention=self.job.convention,
            wanted=read.wanted,
            files={
                entrant.method.name: entrant.files[case.name]
                for entrant in self.job.entrants
                if isinstance(entrant, FilesEntrant) and case.name in entrant.files
            },
            rules={
                entrant.method.name: entrant.baseline.name
                for entrant in self.job.entrants
                if isinstance(entrant, RuleEntrant)
            },
            made=worked.made,
            networks=self._networks_elsewhere(read.wanted),
        )
        scored = score_task(task) if self._processes is None else self._processes.score(task)
        for method, text in scored.failed.items():
            self._blame(case, method, text)
        known = {name: row for name, row in read.known.items() if name not in scored.failed}
        for method, found in scored.known.items():
            separation = worked.separated.get(method, Known())
            known[method] = known[method].add(found).add(separation)
            self.cache.put(read.rows[method], known[method])
            self.computed += len(found.values) + len(separation.values)
        return known

    def _networks_elsewhere(self, wanted: Mapping[str, object]) -> tuple[str, ...]:
        """Return the methods whose networks workers run."""
        if self.crew is None:
            return ()
        return tuple(
            entrant.method.name
            for entrant in self.job.entrants
            if isinstance(entrant, NetworkEntrant) and entrant.method.name in wanted
        )

    def _blame(self, case: Case, method: str, text: str) -> None:
        self.failed.append(Problem(case.name, method, text))

    def _done(self, case: Case, rows: dict[str, Known]) -> None:
        self._rows[case.name] = rows
        self.on_step(case.name, [one.text for one in self.failed if one.case == case.name])

    def _failed(self, case: Case, text: str) -> None:
        self._blame(case, "", text)
        self.on_step(case.name, [text])

    def _table(self) -> Evaluation:
        cases = [case.name for case in self.job.pairing.cases]
        methods = [entrant.method for entrant in self.job.entrants]
        names = self.job.metric_names
        values = np.full((len(methods), len(cases), len(names)), np.nan)
        separation = np.full(values.shape[:2], np.nan)
        notices, problems = Counter[str](), self._problems + self.failed
        samples = dict[str, str]()
        for c, case in enumerate(cases):
            rows = self._rows.get(case, {})
            for m, method in enumerate(methods):
                known = rows.get(method.name, Known())
                values[m, c] = [known.values.get(name, np.nan) for name in names]
                separation[m, c] = known.values.get(SEPARATION, np.nan)
                problems += [
                    Problem(case, method.name, known.refusals[name])
                    for name in names
                    if name in known.refusals
                ]
            for text in dict.fromkeys(text for known in rows.values() for text in known.notices):
                alike = without_numbers(text)
                samples.setdefault(alike, text)
                notices[alike] += 1
        order = {case: i for i, case in enumerate(cases)}
        return Evaluation(
            modalities=self.job.options.modalities,
            convention=self.job.convention,
            metrics=self.job.metrics,
            methods=tuple(methods),
            cases=tuple(cases),
            values=values,
            problems=tuple(sorted(problems, key=lambda problem: order[problem.case])),
            notices=tuple(
                samples[alike] if count == 1 else f"{samples[alike]} ({count} such cases)"
                for alike, count in notices.items()
            ),
            separation=separation if np.isfinite(separation).any() else None,
        )


class _Processes(AbstractContextManager["_Processes"]):
    """Worker processes that end at once if the run ends early."""

    def __init__(self, workers: int) -> None:
        self._executor = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=begin_worker,
            initargs=(os.getpid(),),
        )

    def score(self, task: Task) -> Scored:
        """Score a task in a worker. Raise EvaluationError if one has died."""
        try:
            with interrupts_blocked():  # a process may be started here
                future = self._executor.submit(score_task, task)
            return future.result()
        except BrokenProcessPool:
            raise EvaluationError(
                "a worker process was killed, probably because memory ran out; "
                "use fewer with --workers"
            ) from None

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


def _do_nothing() -> None:
    pass


def _digest(entrant: Entrant, case: Case) -> str | None:
    """Return a hash of what decides a fused image; None if there is none. Raise ReadError."""
    if isinstance(entrant, NetworkEntrant):
        return entrant.digest
    if isinstance(entrant, RuleEntrant):
        return f"baseline {entrant.baseline.name}"
    path = entrant.files.get(case.name)
    return None if path is None else content_sha256(path)
