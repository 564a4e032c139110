"""Modalities and pairing: which two, in which order, which file with which."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fnetcli.errors import UsageError
from fnetcli.modality import MODALITIES, PAIRS, WITH_COLOR, network_order
from fnetcli.pairing import pair_paths


@pytest.mark.parametrize("given", list(itertools.permutations(MODALITIES, 2)))
def test_order_does_not_depend_on_the_command_line(given: tuple[str, str]) -> None:
    pair = next((pair for pair in PAIRS if set(pair) == set(given)), None)
    if pair is None:
        with pytest.raises(UsageError, match="vis\\+ir"):
            network_order(list(given))
    else:
        assert network_order(list(given)) == pair


def test_the_first_input_is_infrared_or_structural() -> None:
    assert {first for first, _ in PAIRS} == {"ir", "nir", "mri", "ct"}
    assert network_order(["ct", "mri"]) == ("mri", "ct")
    assert network_order(["pet", "ct"]) == ("ct", "pet")


def test_at_most_one_of_a_pair_gives_colour() -> None:
    assert all(sum(name in WITH_COLOR for name in pair) <= 1 for pair in PAIRS)


def make(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_folders_pair_by_stem(tmp_path: Path) -> None:
    first = make(tmp_path / "ir", "b.png", "a.JPG", "x.tif", "notes.txt", ".hidden.png", "Ä 1.bmp")
    second = make(tmp_path / "vis", "a.jpeg", "b.webp", "y.png", "Ä 1.png")
    pairing = pair_paths(first, second)
    assert [case.name for case in pairing.cases] == ["a", "b", "Ä 1"]
    assert (pairing.cases[0].first, pairing.cases[0].second) == (first / "a.JPG", second / "a.jpeg")
    assert pairing.unpaired == [first / "x.tif", second / "y.png"]


def test_sub_folders_are_not_images(tmp_path: Path) -> None:
    first, second = make(tmp_path / "ir", "a.png"), make(tmp_path / "vis", "a.png")
    for folder in (first, second):
        (folder / "sub.png").mkdir()
    assert [case.name for case in pair_paths(first, second).cases] == ["a"]


def test_two_files_make_one_case_named_after_the_second(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "thermal", "photo.v2.png")
    (case,) = pair_paths(folder / "thermal", folder / "photo.v2.png").cases
    assert case.name == "photo.v2"
