"""Fuzzing finds what it looks for, and what it found once stays mended."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import tiny_weights
from tests.fuzz import children
from tests.fuzz.children import Child
from tests.fuzz.mutate import mutated, smaller
from tests.fuzz.seeds import Seed, all_seeds

FOUND = Path(__file__).with_name("found")
OPTIONS = {".nii": "--ct", ".gz": "--ct", ".dcm": "--ct", ".nrrd": "--ct", ".mha": "--ct"}
DOOR = """
import json, os, sys, time
for line in sys.stdin:
    content = open(json.loads(line)[2], "rb").read()
    if b"crash" in content:
        os.abort()
    while b"hang" in content:
        pass
    print(json.dumps({"outcome": "fused", "words": ""}), flush=True)
"""


@pytest.fixture(scope="module")
def seeds() -> list[Seed]:
    return all_seeds()


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Return a child that crashes and hangs when told."""
    (tmp_path / "planted.py").write_text(DOOR)
    monkeypatch.setattr(children, "ROOT", tmp_path)
    monkeypatch.setattr(children, "CPU_SECONDS", 0.2)
    monkeypatch.setattr(children, "LOOK_EVERY", 0.05)
    return Child(tmp_path, tmp_path / "w", "planted")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are POSIX")
class TestChild:
    def test_crashes_and_hangs_are_seen_and_survived(self, planted: Child) -> None:
        seed = Seed("a", b"")
        told = [planted.fuse(seed, words).outcome for words in (b"crash", b"ok", b"hang", b"ok")]
        planted.end()
        assert told == ["crash", "fused", "hang", "fused"]

    def test_seeds_are_fused_and_what_was_found_is_no_fault(
        self, tmp_path: Path, seeds: list[Seed]
    ) -> None:
        child = Child(tmp_path, tiny_weights(tmp_path))
        every = {seed.suffix: seed for seed in seeds}.values()  # one of each suffix; others below
        assert {child.fuse(seed, seed.content).outcome for seed in every} == {"fused"}
        for number, seed in enumerate(seeds[:: len(seeds) // 20]):
            content = mutated(seed.content, seeds[0].content, np.random.default_rng(number))
            assert not child.fuse(seed, content).is_fault
        for path in sorted(FOUND.glob("[!.]*")):
            seed = Seed("found", b"", path.suffix, OPTIONS.get(path.suffix, "--vis"))
            assert not child.fuse(seed, path.read_bytes()).is_fault, path.name
        child.end()


def test_damage_is_the_same_for_the_same_seed(seeds: list[Seed]) -> None:
    for seed in seeds[::9]:
        one, again, other = (
            mutated(seed.content, seeds[0].content, np.random.default_rng(k)) for k in (1, 1, 2)
        )
        assert one == again
        assert one != seed.content or other != seed.content


def test_what_remains_is_what_the_fault_needs() -> None:
    assert smaller(b"0123456789abcdef" * 9, lambda tried: b"7" in tried, 300) == b"7"
    assert smaller(b"abc", lambda _: False, 300) == b"abc"


def test_every_format_has_a_seed(seeds: list[Seed]) -> None:
    from fnetcli.formats import FORMATS  # noqa: PLC0415

    starts = [kind.name for kind in FORMATS for seed in seeds if kind.starts(seed.content[:4096])]
    missing = {kind.name for kind in FORMATS} - set(starts)
    assert not missing
