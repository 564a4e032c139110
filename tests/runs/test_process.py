"""One case in another process: the same files and the same record as a run makes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from fnetcli.inputs.pairing import Case, pair_paths
from fnetcli.models.base import Wanted
from fnetcli.pictures.prepare import PrepareOptions
from fnetcli.runs.crew.options import CrewOptions
from fnetcli.runs.manifest import Record
from fnetcli.runs.network import NetworkSource
from fnetcli.runs.picture_jobs import PictureRunOptions, picture_job
from fnetcli.runs.plan import Job
from fnetcli.runs.process import ResultPaths
from fnetcli.runs.run import FusionRun
from fnetcli.runs.volume_jobs import VolumeRunOptions, volume_job
from fnetcli.volumes.prepare import VolumePrepareOptions
from tests.cli.command import tiny_weights
from tests.drawn_pictures import write_pairs

OWN = {"seconds", "network_seconds", "worker"}


class Silent:
    """Hears of a run and says nothing."""

    def done(self, case: Case, paths: ResultPaths, record: Record) -> None: ...

    def failed(self, case: Case, text: str) -> None: ...

    def slices(self, count: int, done: int, of: int) -> None: ...


def job_of(folder: Path, out: Path, source: NetworkSource) -> Job[Any, Any, Any]:
    pairing = pair_paths(folder / "ir", folder / "vis")
    options = PictureRunOptions(maps="float", with_features=True)
    return picture_job(pairing, PrepareOptions(("ir", "vis")), source.load(), out, options).job


def run_of(job: Job[Any, Any, Any], source: NetworkSource) -> list[Record]:
    run = FusionRun(job, Silent())
    run.look()
    run.work(source.load().engine)
    return run.records()


def timeless(record: Record) -> Record:
    """Return what does not differ from run to run, as JSON has it."""
    kept = {key: value for key, value in record.items() if key not in OWN}
    found: Record = json.loads(json.dumps(kept))
    return found


def files(folder: Path) -> dict[str, bytes]:
    named = ("manifest.jsonl", "run.json")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in named
    }


def handed_out(job: Job[Any, Any, Any], source: NetworkSource) -> list[Record]:
    run = FusionRun(job, Silent())
    run.look()
    run.hand_out(CrewOptions(devices=("cpu",)), source.with_content(), Wanted())
    return run.records()


@pytest.mark.slow
def test_another_process_makes_the_same(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2, 24, 32)
    (tmp_path / "vis" / "1.png").write_bytes(b"no picture")
    source = NetworkSource(tiny_weights(tmp_path), "cpu")
    here = run_of(job_of(tmp_path, tmp_path / "here", source), source)
    there = job_of(tmp_path, tmp_path / "there", source)
    records = handed_out(there, source)
    assert [one["status"] for one in records] == ["done", "failed"]
    assert [timeless(one) for one in records] == [timeless(one) for one in here]
    assert files(tmp_path / "there") == files(tmp_path / "here")


def test_tasks_are_values(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1, 8, 8)
    source = NetworkSource(tiny_weights(tmp_path), "cpu")
    pictures = job_of(tmp_path, tmp_path / "out", source)
    volumes: Job[Any, Any, Any] = volume_job(
        pair_paths(tmp_path / "ir", tmp_path / "vis"),
        VolumePrepareOptions(("mri", "ct")),
        source.load(),
        tmp_path / "volumes",
        VolumeRunOptions(),
    )
    for job in (pictures, volumes):
        task = job.task(job.pairing.cases[0])
        assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301  our own
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301
