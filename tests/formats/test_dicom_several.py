"""Several volumes in one DICOM series: what tells them apart, in which order, and what does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence as Items

from fnetcli.errors import ReadError
from fnetcli.formats.dicom.several import ATTRIBUTES, BY_ORDER
from fnetcli.formats.volumes import VolumeOptions, read_volume
from tests.drawn_volumes import (
    GRIDS,
    assert_same_in_space,
    enhanced,
    item,
    nuclear,
    phantom,
    save,
    save_one,
    slices,
)

PLAIN = GRIDS["oblique"]
SHAPE = (4, 5, 6)
Change = Callable[[FileDataset, int, int], None]  # header, number of the volume, of the slice


def volumes(count: int) -> list[Any]:
    return [phantom(SHAPE, seed) for seed in range(count)]


def series(count: int, change: Change, modality: str = "MR") -> list[FileDataset]:
    """Return a classic series of several volumes, slice after slice."""
    found = []
    for number, pixels in enumerate(volumes(count)):
        for index, header in enumerate(slices(pixels, PLAIN, modality)):
            header.InstanceNumber = index * count + number + 1
            change(header, number, index)
            found.append(header)
    return found


def read(path: Path, volume: int | None = None) -> Any:
    return read_volume(path, VolumeOptions(volume=volume))


def refused(path: Path, volume: int | None = None) -> str:
    with pytest.raises(ReadError) as caught:
        read(path, volume)
    return str(caught.value)


def with_private(place: int, creator: str, element: int, values: Sequence[Any]) -> Change:
    def change(header: FileDataset, number: int, _: int) -> None:
        block = header.private_block(place, creator, create=True)
        kind = "IS" if isinstance(values[number], int | list) else "FD"
        block.add_new(element, kind, values[number])

    return change


def each(**attributes: Sequence[Any]) -> Change:
    def change(header: FileDataset, number: int, _: int) -> None:
        for keyword, found in attributes.items():
            setattr(header, keyword, found[number])

    return change


def times(header: FileDataset, number: int, index: int) -> None:
    """Set times of acquisition that differ in every slice, over midnight."""
    second = 86_370 + 40 * number + 3 * index
    header.AcquisitionDate = "20240131" if second < 86_400 else "20240201"
    second %= 86_400
    header.AcquisitionTime = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}.25"


CLASSIC: dict[str, tuple[Change, str]] = {
    "echoes": (
        each(EchoTime=[2.3, 4.6, 6.9]),
        "echo time (1: 2.3 ms, 2: 4.6 ms, 3: 6.9 ms)",
    ),
    "time points": (each(TemporalPositionIdentifier=[1, 2, 3]), "time point (1: 1, 2: 2, 3: 3)"),
    "b-values": (each(DiffusionBValue=[0.0, 500.0, 1000.0]), "b-value (1: 0 s/mm2, 2: 500 s/mm2"),
    "b-values of Siemens": (
        with_private(0x19, "SIEMENS MR HEADER", 0x0C, [0, 500, 1000]),
        "b-value (1: 0 s/mm2",
    ),
    "b-values of GE": (
        with_private(0x43, "GEMS_PARM_01", 0x39, [[0, 8], [1_000_000_500, 8], [1_000_001_000, 8]]),
        "b-value (1: 0 s/mm2, 2: 500 s/mm2, 3: 1000 s/mm2)",
    ),
    "b-values of Philips": (
        with_private(0x2001, "Philips Imaging DD 001", 0x03, [0.0, 500.0, 1000.0]),
        "b-value (1: 0 s/mm2, 2: 500 s/mm2",
    ),
    "directions": (
        each(
            DiffusionBValue=[0.0, 1000.0, 1000.0],
            DiffusionGradientOrientation=[None, [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
        ),
        "b-value and gradient direction (1: 0 s/mm2, none, 2: 1000 s/mm2, [0 1 0], 3: 1000",
    ),
    "cardiac phases": (
        each(NominalPercentageOfCardiacPhase=[0.0, 35.0, 70.0]),
        "cardiac phase (1: 0 %, 2: 35 %, 3: 70 %)",
    ),
    "trigger times, which differ by slice": (
        lambda header, number, index: setattr(header, "TriggerTime", 33.0 * number + index),
        "trigger time (1: 0 ms, 2: 33 ms",
    ),
    "kinds": (
        each(ImageType=[["DERIVED", "PRIMARY", kind] for kind in "ABC"]),
        "kind of image (1: A, 2: B, 3: C)",
    ),
    "acquisitions": (each(AcquisitionNumber=[1, 2, 3]), "acquisition (1: 1, 2: 2, 3: 3)"),
    "times of day, over midnight": (times, "acquisition time (1: 0 s, 2: 40 s, 3: 80 s)"),
}


class TestClassic:
    @pytest.mark.parametrize("name", CLASSIC)
    def test_what_tells_volumes_apart(self, tmp_path: Path, name: str) -> None:
        change, words = CLASSIC[name]
        path = save(series(3, change)[::-1], tmp_path / "series")
        problem = refused(path)
        assert f"holds 3 volumes that differ in {words}" in problem
        assert "choose one with --volume, a number from 1 to 3" in problem
        for number, pixels in enumerate(volumes(3), 1):
            found = read(path, number)
            assert_same_in_space(found, pixels, PLAIN)
            assert found.volumes == 3
            assert found.details[0].startswith(f"volume {number} of 3, ")
            assert not found.notices
        assert "holds 3 volumes, not a number 4; correct --volume" in refused(path, 4)

    def test_only_their_order(self, tmp_path: Path) -> None:
        path = save(series(3, lambda *_: None), tmp_path / "series")
        assert f"3 volumes that only {BY_ORDER} tells apart" in refused(path)
        for number, pixels in enumerate(volumes(3), 1):
            found = read(path, number)
            assert_same_in_space(found, pixels, PLAIN)
            assert "tells its volumes apart: look at the result" in " ".join(found.notices)

    def test_a_volume_that_was_interrupted(self, tmp_path: Path) -> None:
        change = each(TemporalPositionIdentifier=[1, 2, 3])
        path = save(series(3, change)[:-1], tmp_path / "series")
        assert_same_in_space(read(path, 2), volumes(2)[1], PLAIN)
        assert "volume 3 lacks 1 of its slices; choose another one with --volume" in refused(
            path, 3
        )

    def test_what_differs_from_slice_to_slice_does_not_split(self, tmp_path: Path) -> None:
        def change(header: FileDataset, number: int, index: int) -> None:
            header.EchoTime = 2.0 + index
            header.AcquisitionNumber = 1 + index
            header.FlipAngle = [10.0, 20.0][number]

        path = save(series(2, change), tmp_path / "series")
        assert "2 volumes that differ in flip angle (1: 10 degrees, 2: 20" in refused(path)

    def test_a_single_doubled_slice_is_no_volume(self, tmp_path: Path) -> None:
        headers = series(2, lambda *_: None)[: SHAPE[0] + 1]
        path = save(headers, tmp_path / "series")
        assert "1 of its 5 slices is at the position of another" in refused(path)

    def test_the_same_files_are_read_again_after_a_change(self, tmp_path: Path) -> None:
        change = each(TemporalPositionIdentifier=[1, 2])
        headers = series(2, change)
        path = save(headers, tmp_path / "series")
        assert read(path, 2).volumes == 2
        for header in headers[SHAPE[0] :]:
            header.TemporalPositionIdentifier = 0
        save(headers, path)
        assert_same_in_space(read(path, 1), volumes(2)[1], PLAIN)

    def test_damaged_attributes_tell_nothing(self, tmp_path: Path) -> None:
        def change(header: FileDataset, number: int, _: int) -> None:
            header.EchoTime = None
            header.DiffusionBValue = [1.0, 2.0]
            header.AcquisitionTime = ""
            header.TriggerTime = [5.0, 9.0][number]

        path = save(series(2, change), tmp_path / "series")
        assert "2 volumes that differ in trigger time (1: 5 ms, 2: 9 ms)" in refused(path)

    def test_names_are_unique(self) -> None:
        assert len({one.name for one in ATTRIBUTES}) == len(ATTRIBUTES)


class TestEnhanced:
    @pytest.mark.parametrize(
        ("sequence", "keyword", "found", "words"),
        [
            ("MREchoSequence", "EffectiveEchoTime", [2.5, 5.0], "echo time (1: 2.5 ms, 2: 5 ms)"),
            ("MRDiffusionSequence", "DiffusionBValue", [0.0, 800.0], "b-value (1: 0 s/mm2"),
            ("FrameContentSequence", "TemporalPositionIndex", [1, 2], "time point (1: 1, 2: 2)"),
            (
                "CardiacSynchronizationSequence",
                "NominalPercentageOfCardiacPhase",
                [10.0, 60.0],
                "cardiac phase (1: 10 %, 2: 60 %)",
            ),
            (
                "FrameContentSequence",
                "FrameAcquisitionDateTime",
                ["20240101120000.5", "20240101120030.5"],
                "acquisition time (1: 0 s, 2: 30 s)",
            ),
        ],
    )
    def test_frames(
        self, tmp_path: Path, sequence: str, keyword: str, found: list[Any], words: str
    ) -> None:
        both = np.concatenate(volumes(2))
        header = enhanced(both, PLAIN, [0, 4, 1, 5, 2, 6, 3, 7])
        places = enhanced(both, PLAIN, [0, 0, 1, 1, 2, 2, 3, 3])
        for frame, group in enumerate(places.PerFrameFunctionalGroupsSequence):
            setattr(group, sequence, Items([item(**{keyword: found[frame % 2]})]))
        header.PerFrameFunctionalGroupsSequence = places.PerFrameFunctionalGroupsSequence
        path = save_one(header, tmp_path / "four.dcm")
        assert f"holds 2 volumes that differ in {words}" in refused(path)
        for number, pixels in enumerate(volumes(2), 1):
            image = read(path, number)
            assert_same_in_space(image, pixels, PLAIN)
            assert image.series is not None
            assert image.series.frames == tuple(range(number, 9, 2))

    def test_the_limit_counts_one_volume(self, tmp_path: Path) -> None:
        header = enhanced(np.concatenate(volumes(2)), PLAIN)
        places = enhanced(np.concatenate(volumes(2)), PLAIN, [0, 1, 2, 3, 0, 1, 2, 3])
        header.PerFrameFunctionalGroupsSequence = places.PerFrameFunctionalGroupsSequence
        path = save_one(header, tmp_path / "four.dcm")
        voxels = int(np.prod(SHAPE))
        assert read_volume(path, VolumeOptions(volume=1, pixel_limit=voxels)).volumes == 2
        with pytest.raises(ReadError, match="raise the limit with --max-pixels"):
            read_volume(path, VolumeOptions(volume=1, pixel_limit=voxels - 1))


class TestNuclear:
    def test_gated_frames(self, tmp_path: Path) -> None:
        header = nuclear(np.concatenate(volumes(2)), PLAIN)
        header.SliceVector = [1, 2, 3, 4] * 2
        header.TimeSlotVector = [1] * 4 + [2] * 4
        path = save_one(header, tmp_path / "gated.dcm")
        assert "2 volumes that differ in time slot (1: 1, 2: 2)" in refused(path)
        for number, pixels in enumerate(volumes(2), 1):
            assert_same_in_space(read(path, number), pixels, PLAIN)
