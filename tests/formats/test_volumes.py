"""One face for all volumes; and the same patient through DICOM and NIfTI."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fnetcli.errors import ReadError
from fnetcli.formats import write_png
from fnetcli.formats.volumes import (
    VolumeOptions,
    is_volume,
    is_volume_file,
    read_volume,
    volume_files,
)
from tests.drawn_volumes import (
    GRIDS,
    PATIENT,
    assert_same_in_space,
    enhanced,
    phantom,
    save_one,
    to_nifti,
    world,
    write_nifti,
    write_series,
)

PLAIN = GRIDS["axial"]


def refused(path: Path, options: VolumeOptions | None = None) -> str:
    with pytest.raises(ReadError) as caught:
        read_volume(path, options or VolumeOptions())
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.mark.parametrize("name", GRIDS)
def test_a_point_of_the_patient_is_one_place(name: str, tmp_path: Path) -> None:
    """LPS+ and RAS+ are never confused: one bright voxel, through both formats."""
    pixels = np.zeros((5, 7, 6), np.int16)
    pixels[3, 1, 4] = 1000
    point = world(GRIDS[name], (3, 1, 4))
    paths = [
        write_series(tmp_path / "classic", pixels, GRIDS[name], "CT"),
        save_one(enhanced(pixels, GRIDS[name], [4, 2, 0, 3, 1]), tmp_path / "enhanced.dcm"),
        write_nifti(tmp_path / "scan.nii.gz", pixels, GRIDS[name]),
    ]
    for path in paths:
        image = read_volume(path)
        brightest = np.unravel_index(int(np.argmax(image.pixels)), image.grid.shape)
        found = world(image.grid.affine, [float(one) for one in brightest])
        np.testing.assert_allclose(found, point, atol=1e-4)
        assert_same_in_space(image, pixels, GRIDS[name])


class TestRecognition:
    def test_by_content(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "study" / "series", phantom(), PLAIN)
        scan = write_nifti(tmp_path / "scan.nii.gz", phantom(), PLAIN)
        renamed = tmp_path / "scan"
        scan.rename(renamed)
        for path in (folder, folder.parent, folder / "IM0000", renamed):
            assert is_volume(path), path
        assert is_volume_file(folder / "IM0000")
        assert not is_volume_file(folder)
        assert_same_in_space(read_volume(renamed), phantom(), PLAIN)

    def test_what_is_none(self, tmp_path: Path) -> None:
        write_png(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
        (tmp_path / "notes.txt").write_text("a text, long enough to be looked at " * 9)
        (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
        (tmp_path / "scan.img").write_bytes(bytes(400))
        for path in (*tmp_path.iterdir(), tmp_path, tmp_path / "none", Path("a\0b")):
            assert not is_volume(path), path
        assert "not a volume (DICOM, NIfTI, NRRD, MetaImage, MGZ)" in refused(tmp_path / "a.png")
        assert "contains no DICOM images" in refused(tmp_path)
        assert "no such file" in refused(tmp_path / "none")

    def test_by_a_name_that_is_wrong(self, tmp_path: Path) -> None:
        """So that it is refused by name, and not passed over."""
        path = tmp_path / "a" / "scan.dcm"
        path.parent.mkdir()
        path.write_text("no DICOM, whatever its name says")
        for one in (path, path.parent, tmp_path):
            assert is_volume(one), one
        words = f"{path}: not a DICOM file, despite its name; copy or export the file again"
        assert refused(path) == words
        with pytest.raises(ReadError) as caught:
            read_volume(tmp_path)
        assert str(caught.value) == words

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_pipes_do_not_block(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        os.mkfifo(folder / "pipe.dcm")
        assert_same_in_space(read_volume(folder), phantom(), PLAIN)
        assert "not an ordinary file" in refused(folder / "pipe.dcm")
        assert not is_volume(folder / "pipe.dcm")

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_no_permission(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN)
        (folder / "IM0004").chmod(0)
        with pytest.raises(ReadError, match="no permission") as caught:
            read_volume(folder)
        assert str(caught.value).startswith(f"{folder / 'IM0004'}: ")


class TestOptions:
    def test_each_kind_has_its_own(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom(), PLAIN, SeriesNumber=4)
        scan = write_nifti(tmp_path / "scan.nii", phantom(), PLAIN)
        assert_same_in_space(read_volume(folder, VolumeOptions(series="4")), phantom(), PLAIN)
        assert_same_in_space(read_volume(scan, VolumeOptions(volume=1)), phantom(), PLAIN)
        assert "NIfTI has no series" in refused(scan, VolumeOptions(series="4"))
        assert_same_in_space(read_volume(folder, VolumeOptions(volume=1)), phantom(), PLAIN)
        assert "holds 1 volume, not a number 2" in refused(folder, VolumeOptions(volume=2))
        for path in (folder, scan):
            assert "--max-pixels" in refused(path, VolumeOptions(pixel_limit=200))

    def test_files_of_a_volume(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series", phantom((3, 4, 5)), PLAIN)
        (folder / "notes.txt").write_text("no")
        assert volume_files(folder) == tuple(folder / f"IM000{i}" for i in range(3))
        assert volume_files(folder / "IM0001") == (folder / "IM0001",)
        nib.save(to_nifti(phantom(), PLAIN, nib.Nifti1Pair), tmp_path / "a.img")
        assert volume_files(tmp_path / "a.hdr") == (tmp_path / "a.hdr", tmp_path / "a.img")


def test_no_patient_outside_of_the_headers(tmp_path: Path) -> None:
    image = read_volume(write_series(tmp_path / "series", phantom(), PLAIN, "PT", Units="CM2ML"))
    assert image.series is not None
    assert str(image.series.headers[0].PatientName) == PATIENT["PatientName"]
    words = " ".join([*image.notices, str(image.unit), str(image.frame_of_reference)])
    assert "zzyzx" not in words.lower()
