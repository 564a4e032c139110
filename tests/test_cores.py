"""Containers have fewer cores than their machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fnetcli import cores
from fnetcli.cores import core_quota, usable_cores
from fnetcli.engine import device
from fnetcli.engine.device import count_threads
from tests.cli.command import fnet


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in place of the system's description of groups, on a large machine."""
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(device, "_quota", cores.core_quota)  # which is remembered
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_without_a_limit(group: Path) -> None:
    assert core_quota() is None
    assert usable_cores() == 64
    write(group, cpu__max="max 100000\n")
    assert core_quota() is None
    write(group / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert core_quota() is None


@pytest.mark.parametrize(
    ("words", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1)]
)
def test_quota_of_a_container(group: Path, words: str, cores: int) -> None:
    write(group, cpu__max=f"{words}\n")
    assert core_quota() == usable_cores() == cores


def test_quota_of_the_first_version(group: Path) -> None:
    write(group / "cpu", cpu__cfs_quota_us="400000\n", cpu__cfs_period_us="100000\n")
    assert usable_cores() == 4


def test_quota_of_any_group_around(group: Path) -> None:
    write(group, own="0::/user.slice/job\n")
    write(group / "user.slice", cpu__max="300000 100000\n")
    write(group / "user.slice" / "job", cpu__max="max 100000\n")
    assert usable_cores() == 3


@pytest.mark.parametrize("words", ["", "1", "a b", "100000 0", "-5 100000"])
def test_what_makes_no_sense_is_no_limit(group: Path, words: str) -> None:
    write(group, cpu__max=words, own="0\n::\n")
    assert core_quota() is None


def test_what_computes_is_told(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert fnet("inspect", "--list").exit_code == 0
    assert "OMP_NUM_THREADS" not in os.environ
    write(group, cpu__max="200000 100000\n")
    assert fnet("inspect", "--list").exit_code == 0
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert count_threads() <= 2


def test_who_set_the_count_decides(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    write(group, cpu__max="200000 100000\n")
    assert fnet("inspect", "--list").exit_code == 0
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_affinity_counts_as_well(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(group, cpu__max="500000 100000\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2})
    assert usable_cores() == 2
