"""NRRD, MetaImage, FreeSurfer and zipped DICOM, against SimpleITK and nibabel; and their claims."""

from __future__ import annotations

import bz2
import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as its users write it
from numpy.typing import NDArray

from fnetcli.errors import ImageError, ReadError, WriteError
from fnetcli.formats.metaimage import write_metaimage
from fnetcli.formats.nrrd import write_nrrd
from fnetcli.formats.volumes import (
    VolumeOptions,
    is_volume,
    is_volume_file,
    read_volume,
    volume_files,
    volume_kind,
    volume_stem,
)
from fnetcli.imaging.image import Grid, Image
from tests.drawn_volumes import GRIDS, nuclear, phantom, save_one, write_series
from tests.formats.test_claims import Counting, assert_refused, counting

__all__ = ["counting"]  # a fixture

SHAPE = (4, 5, 6)
TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
NAMES = ("a.nrrd", "a.nhdr", "a.mha", "a.mhd")
TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")


def values(dtype: str = "int16", shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    return np.random.default_rng(2).integers(0, 100, shape).astype(dtype)


def in_itk(numbers: NDArray[Any], turn: NDArray[Any] = TURN) -> Any:
    image = sitk.GetImageFromArray(numbers, isVector=numbers.ndim == 4)
    image.SetSpacing((1.5, 2.5, 3.5))
    image.SetOrigin((10.25, -20, 30))
    image.SetDirection(turn.ravel().tolist())
    return image


def affine_of(image: Any) -> NDArray[Any]:
    """Return what ITK says, from (slice, row, column) to RAS+."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    found: NDArray[Any] = np.diag([-1, -1, 1, 1]) @ affine @ np.eye(4)[[2, 1, 0, 3]]
    return found


def refused(path: Path, options: VolumeOptions = VolumeOptions()) -> str:  # noqa: B008
    with pytest.raises(ReadError) as caught:
        read_volume(path, options)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert "; " in text
    return text


class TestAgainstItk:
    @pytest.mark.parametrize("is_packed", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("dtype", TYPES)
    def test_numbers_and_place(
        self, dtype: str, name: str, is_packed: bool, tmp_path: Path
    ) -> None:
        image, path = in_itk(values(dtype)), tmp_path / name
        sitk.WriteImage(image, str(path), useCompression=is_packed)
        found = read_volume(path)
        np.testing.assert_array_equal(found.pixels[..., 0], values(dtype))
        assert found.grid.affine is not None
        np.testing.assert_allclose(found.grid.affine, affine_of(image), atol=1e-6)
        assert found.notices == ()
        assert is_volume_file(path)
        assert volume_stem(path) == "a"
        assert len(volume_files(path)) == (1 if name in {"a.nrrd", "a.mha"} else 2)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("grid", GRIDS)
    def test_every_orientation(self, name: str, grid: str, tmp_path: Path) -> None:
        affine = np.diag([-1, -1, 1, 1]) @ GRIDS[grid] @ np.eye(4)[[2, 1, 0, 3]]
        image = sitk.GetImageFromArray(values())
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        turn = affine[:3, :3] / spacing
        if abs(np.abs(np.linalg.det(turn)) - 1) > 1e-6:
            return  # ITK knows no shear
        image.SetSpacing(spacing.tolist())
        image.SetDirection(turn.ravel().tolist())
        image.SetOrigin(affine[:3, 3].tolist())
        sitk.WriteImage(image, str(tmp_path / name))
        found = read_volume(tmp_path / name).grid.affine
        assert found is not None
        np.testing.assert_allclose(found, GRIDS[grid], atol=1e-4)

    @pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
    def test_colours(self, name: str, tmp_path: Path) -> None:
        colors = values("uint8", (*SHAPE, 3))
        sitk.WriteImage(in_itk(colors), str(tmp_path / name))
        np.testing.assert_array_equal(read_volume(tmp_path / name).pixels, colors)

    @pytest.mark.parametrize(
        ("name", "write"), [("a.nrrd", write_nrrd), ("a.mha", write_metaimage)]
    )
    def test_itk_reads_what_is_written(
        self, name: str, write: Callable[..., None], tmp_path: Path
    ) -> None:
        image, path = in_itk(values()), tmp_path / name
        reference = Image(values()[..., None], Grid(SHAPE, affine_of(image)))
        for written in (values("float32") / 7, values("uint8", (*SHAPE, 3))):
            numbers = written.astype(np.float32) if written.dtype.kind == "f" else written
            write(path, numbers, reference)
            again = sitk.ReadImage(str(path))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(again), numbers)
            np.testing.assert_allclose(affine_of(again), affine_of(image), atol=1e-9)
            content = path.read_bytes()
            write(path, numbers, reference)
            assert path.read_bytes() == content
            np.testing.assert_array_equal(read_volume(path).pixels.reshape(numbers.shape), numbers)

    @pytest.mark.parametrize("write", [write_nrrd, write_metaimage])
    def test_what_cannot_be_written(self, write: Callable[..., None], tmp_path: Path) -> None:
        numbers = values("float32")
        with pytest.raises(WriteError, match="does not say where it lies"):
            write(tmp_path / "a", numbers, Image(numbers[..., None], Grid(SHAPE)))
        placed = Image(numbers[..., None], Grid(SHAPE, np.eye(4)))
        with pytest.raises(ImageError, match="NaN or infinity"):
            write(tmp_path / "a", np.full(SHAPE, np.nan, np.float32), placed)
        for other in (numbers.astype(float), numbers[1:], np.zeros((*SHAPE, 3), np.float32)):
            with pytest.raises(ValueError, match=r"takes|grid"):
                write(tmp_path / "a", other, placed)
        assert not list(tmp_path.iterdir())


class TestFreeSurfer:
    @pytest.mark.parametrize("suffix", ["mgz", "mgh"])
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
    def test_numbers_and_place(self, dtype: str, suffix: str, tmp_path: Path) -> None:
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = TURN * [1, 2, 3], (5, 6, 7)
        path = tmp_path / f"a.{suffix}"
        nib.save(nib.MGHImage(values(dtype), affine), path)
        found = read_volume(path)
        np.testing.assert_array_equal(found.pixels[..., 0], values(dtype).T)
        assert found.grid.affine is not None
        np.testing.assert_allclose(found.grid.affine @ np.eye(4)[[2, 1, 0, 3]], affine, atol=1e-4)
        assert volume_kind(path) == "FreeSurfer"

    def test_frames(self, tmp_path: Path) -> None:
        frames = values("float32", (4, 5, 6, 3))
        nib.save(nib.MGHImage(frames, np.eye(4)), tmp_path / "a.mgz")
        assert "holds 3 volumes; choose one with --volume" in refused(tmp_path / "a.mgz")
        found = read_volume(tmp_path / "a.mgz", VolumeOptions(volume=2))
        np.testing.assert_array_equal(found.pixels[..., 0], frames[..., 1].T)

    def test_without_a_place(self, tmp_path: Path) -> None:
        nib.save(nib.MGHImage(values("int16"), np.eye(4)), tmp_path / "a.mgh")
        content = bytearray((tmp_path / "a.mgh").read_bytes())
        content[28:30] = bytes(2)
        (tmp_path / "a.mgh").write_bytes(content)
        found = read_volume(tmp_path / "a.mgh")
        assert found.grid.affine is None
        assert found.notices == ("it does not say where it lies in the patient",)


def swapped(content: bytes) -> bytes:
    return np.frombuffer(content, "<i2").astype(">i2").tobytes()


NRRD = {
    "type": "int16",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "6 5 4",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,2,3)",
}


def nrrd(content: bytes = b"", /, **fields: Any) -> bytes:
    lines: dict[str, str | None] = {**NRRD, **fields}
    text = "".join(f"{name}: {text}\n" for name, text in lines.items() if text is not None)
    return f"NRRD0004\n# a comment\n{text}\n".encode() + content


class TestNrrd:
    @pytest.mark.parametrize(
        ("fields", "pack"),
        [
            ({"encoding": "raw"}, bytes),
            ({"encoding": "gzip"}, gzip.compress),
            ({"encoding": "bz2"}, bz2.compress),
            (
                {"endian": "big", "type": "short"},
                lambda c: np.frombuffer(c, "<i2").astype(">i2").tobytes(),
            ),
            ({"byte skip": "5"}, lambda c: b"12345" + c),
            ({"byte skip": "5", "encoding": "gz"}, lambda c: gzip.compress(b"12345" + c)),
            ({"line skip": "2"}, lambda c: b"a\nb\n" + c),
        ],
    )
    def test_encodings(
        self, fields: dict[str, str], pack: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        numbers = values("<i2")
        content = pack(numbers.tobytes())
        (tmp_path / "a.nrrd").write_bytes(nrrd(content, **fields))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nrrd").pixels[..., 0], numbers)
        (tmp_path / "d.bin").write_bytes(content)
        (tmp_path / "a.nhdr").write_bytes(nrrd(**fields, **{"data file": "d.bin"}))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nhdr").pixels[..., 0], numbers)

    @pytest.mark.parametrize("named", ["LIST", "s%03d.raw 3 6 1", "s%03d.raw 6 3 -1"])
    def test_several_data_files(self, named: str, tmp_path: Path) -> None:
        numbers = values("<i2")
        for i, part in enumerate(numbers):
            number = 6 - i if "-1" in named else i + 3
            (tmp_path / f"s{number:03d}.raw").write_bytes(part.tobytes())
        rows = "".join(f"s{i + 3:03d}.raw\n" for i in range(4))
        header = nrrd(**{"data file": named})
        (tmp_path / "a.nhdr").write_bytes(
            header[:-1] + rows.encode() if named == "LIST" else header
        )
        found = read_volume(tmp_path / "a.nhdr")
        np.testing.assert_array_equal(found.pixels[..., 0], numbers)
        assert len(volume_files(tmp_path / "a.nhdr")) == 5

    @pytest.mark.parametrize("first", [True, False])
    def test_a_list_of_volumes(self, first: bool, tmp_path: Path) -> None:
        numbers = values("<i2", (*SHAPE, 3) if first else (3, *SHAPE))
        plain = ["(1,0,0)", "(0,2,0)", "(0,0,3)"]
        vectors = ["none", *plain] if first else [*plain, "none"]
        kinds = ["list", *["domain"] * 3] if first else [*["domain"] * 3, "list"]
        fields = {
            "dimension": "4", "sizes": "3 6 5 4" if first else "6 5 4 3",
            "space directions": " ".join(vectors), "kinds": " ".join(kinds),
        }  # fmt: skip
        (tmp_path / "a.nrrd").write_bytes(nrrd(numbers.tobytes(), **fields))
        assert "holds 3 volumes" in refused(tmp_path / "a.nrrd")
        found = read_volume(tmp_path / "a.nrrd", VolumeOptions(volume=3))
        expected = numbers[..., 2] if first else numbers[2]
        np.testing.assert_array_equal(found.pixels[..., 0], expected)
        assert "holds 3 volumes, not a number 4" in refused(
            tmp_path / "a.nrrd", VolumeOptions(volume=4)
        )

    @pytest.mark.parametrize(
        ("space", "signs"),
        [("RAS", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("LPS", (-1, -1, 1))],
    )
    def test_spaces(self, space: str, signs: tuple[int, ...], tmp_path: Path) -> None:
        (tmp_path / "a.nrrd").write_bytes(nrrd(values("<i2").tobytes(), space=space))
        affine = read_volume(tmp_path / "a.nrrd").grid.affine
        assert affine is not None
        np.testing.assert_array_equal(affine[:3, 3], np.multiply(signs, (1, 2, 3)))
        np.testing.assert_array_equal(affine[:3, 2], np.multiply(signs, (1, 0, 0)))

    @pytest.mark.parametrize(
        "fields",
        [
            {"space": None, "space directions": None, "space origin": None, "spacings": "1 1 1"},
            {"space": "scanner-xyz"},
            {"space origin": None},
        ],
    )
    def test_without_a_place(self, fields: dict[str, str | None], tmp_path: Path) -> None:
        (tmp_path / "a.nrrd").write_bytes(nrrd(values("<i2").tobytes(), **fields))
        found = read_volume(tmp_path / "a.nrrd")
        assert found.grid.affine is None
        assert found.notices == ("it does not say where it lies in the patient",)

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"sizes": "6 5"}, "its sizes make no sense"),
            ({"sizes": "6 5 -4"}, "its sizes make no sense"),
            ({"sizes": "6 5 999999999"}, "million voxels are more than the limit"),
            ({"sizes": "6 5 4000"}, "ends early"),
            ({"type": "block"}, "its numbers are of type 'block'"),
            ({"encoding": "hex"}, "its numbers are written as 'hex'"),
            ({"encoding": "gzip"}, "not a readable NRRD file"),
            ({"space directions": "(1,0,0) (0,1,0) (0,0,0)"}, "do not span a space"),
            ({"space directions": "(1,0,0) (0,1,0) (1,1,0)"}, "do not span a space"),
            ({"space directions": "(1,0,0) (0,nan,0) (0,0,1)"}, "are not numbers"),
            ({"space directions": "(1,0,0) (0,x,0) (0,0,1)"}, "vectors make no sense"),
            ({"space directions": "(1,0) (0,1) (0,0)"}, "space directions make no sense"),
            ({"space directions": "(1e-9,0,0) (0,1,0) (0,0,1)"}, "its voxels are"),
            ({"space origin": "(1e9,0,0)"}, "mm away from the origin"),
            ({"space units": '"furlong" "furlong" "furlong"'}, "unit of length is unknown"),
            ({"byte skip": "-2"}, "byte skip make no sense"),
            ({"line skip": "99999999"}, "line skip make no sense"),
            ({"dimension": "4"}, "its sizes make no sense"),
        ],
    )
    def test_refused(self, fields: dict[str, str], said: str, tmp_path: Path) -> None:
        (tmp_path / "a.nrrd").write_bytes(nrrd(values("<i2").tobytes(), **fields))
        assert said in refused(tmp_path / "a.nrrd")

    def test_a_segmentation(self, tmp_path: Path) -> None:
        content = nrrd(values("<i2").tobytes()).replace(b"\n\n", b"\nSegment0_ID:=a\n\n", 1)
        (tmp_path / "a.seg.nrrd").write_bytes(content)
        assert "a segmentation, not an image" in refused(tmp_path / "a.seg.nrrd")

    def test_options(self, tmp_path: Path) -> None:
        (tmp_path / "a.nrrd").write_bytes(nrrd(values("<i2").tobytes()))
        assert "NRRD has no series" in refused(tmp_path / "a.nrrd", VolumeOptions(series="1"))


MHD = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "1 2 3",
    "ElementSpacing": "1 2 3",
    "DimSize": "6 5 4",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def mha(content: bytes = b"", /, **fields: Any) -> bytes:
    lines: dict[str, str | None] = {**MHD, **fields}
    lines["ElementDataFile"] = lines.pop("ElementDataFile")  # the last one
    text = "".join(f"{key} = {text}\n" for key, text in lines.items() if text is not None)
    return text.encode() + content


class TestMetaImage:
    @pytest.mark.parametrize(
        ("fields", "pack"),
        [
            ({}, bytes),
            ({"CompressedData": "True"}, zlib.compress),
            ({"BinaryDataByteOrderMSB": "True"}, swapped),
            ({"HeaderSize": "7"}, lambda c: b"1234567" + c),
            ({"HeaderSize": "-1"}, lambda c: b"any header" + c),
        ],
    )  # fmt: skip
    def test_data_beside_the_header(
        self, fields: dict[str, str], pack: Callable[[bytes], bytes], tmp_path: Path
    ) -> None:
        numbers = values("<i2")
        (tmp_path / "d.raw").write_bytes(pack(numbers.tobytes()))
        (tmp_path / "a.mhd").write_bytes(mha(ElementDataFile="d.raw", **fields))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.mhd").pixels[..., 0], numbers)

    @pytest.mark.parametrize("named", ["LIST", "s%03d.raw 3 6 1", "s%03d.raw 3 6"])
    def test_several_data_files(self, named: str, tmp_path: Path) -> None:
        numbers = values("<i2")
        for i, part in enumerate(numbers):
            (tmp_path / f"s{i + 3:03d}.raw").write_bytes(part.tobytes())
        rows = "".join(f"s{i + 3:03d}.raw\n" for i in range(4)) if named == "LIST" else ""
        (tmp_path / "a.mhd").write_bytes(mha(rows.encode(), ElementDataFile=named))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.mhd").pixels[..., 0], numbers)

    def test_four_dimensions(self, tmp_path: Path) -> None:
        numbers = values("<i2", (2, *SHAPE))
        matrix = " ".join("1" if i % 5 == 0 else "0" for i in range(16))
        fields = {
            "NDims": "4", "DimSize": "6 5 4 2", "TransformMatrix": matrix,
            "Offset": "1 2 3 0", "ElementSpacing": "1 2 3 1",
        }  # fmt: skip
        (tmp_path / "a.mha").write_bytes(mha(numbers.tobytes(), **fields))
        assert "holds 2 volumes" in refused(tmp_path / "a.mha")
        found = read_volume(tmp_path / "a.mha", VolumeOptions(volume=2))
        np.testing.assert_array_equal(found.pixels[..., 0], numbers[1])

    def test_without_a_place(self, tmp_path: Path) -> None:
        (tmp_path / "a.mha").write_bytes(mha(values("<i2").tobytes(), Offset=None))
        assert read_volume(tmp_path / "a.mha").grid.affine is None

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"DimSize": "6 5"}, "its DimSize makes no sense"),
            ({"DimSize": "6 5 x"}, "its DimSize makes no sense"),
            ({"DimSize": "6 5 4000"}, "ends early"),
            ({"DimSize": "6 5 99999999"}, "more than the limit"),
            ({"NDims": "2", "DimSize": "6 5"}, "has 2 dimensions, not a volume"),
            ({"ObjectType": "Mesh"}, "not an image"),
            ({"BinaryData": "False"}, "written as text"),
            ({"ElementType": "MET_OTHER"}, "of type 'MET_OTHER'"),
            ({"ElementNumberOfChannels": "2"}, "neither grey nor RGB"),
            ({"TransformMatrix": "1 0 0 0 1 0"}, "its TransformMatrix makes no sense"),
            ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "do not span a space"),
            ({"Offset": "1 2 nan"}, "its Offset makes no sense"),
            ({"ElementSpacing": "0 1 1"}, "do not span a space"),
            ({"CompressedData": "True"}, "not a readable MetaImage file"),
            ({"HeaderSize": "-7"}, "its HeaderSize makes no sense"),
            ({"ElementDataFile": None}, "not a readable MetaImage file"),
        ],
    )
    def test_refused(self, fields: dict[str, str | None], said: str, tmp_path: Path) -> None:
        (tmp_path / "a.mha").write_bytes(mha(values("<i2").tobytes(), **fields))
        assert said in refused(tmp_path / "a.mha")


ESCAPES = ["../d.raw", "/etc/passwd", "sub/d.raw", "..", ".", "", "C:d.raw", "a\\d.raw"]


class TestDetached:
    @pytest.mark.parametrize("name", ESCAPES)
    def test_data_lie_beside_the_header_alone(self, name: str, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        (folder / "sub").mkdir(parents=True)
        for place in (tmp_path, folder / "sub"):
            (place / "d.raw").write_bytes(values("<i2").tobytes())
        for header, content in (
            ("a.mhd", mha(ElementDataFile=name)),
            ("l.mhd", mha(f"{name or '.'}\n".encode(), ElementDataFile="LIST")),
            ("a.nhdr", nrrd(**{"data file": name})),
            ("l.nhdr", nrrd(**{"data file": "LIST"})[:-1] + f"{name or '.'}\n".encode()),
        ):
            (folder / header).write_bytes(content)
            line = refused(folder / header)
            assert "not a plain file name" in line or "makes no sense" in line, header
            with pytest.raises(ReadError):
                volume_files(folder / header)

    def test_missing_data(self, tmp_path: Path) -> None:
        (tmp_path / "a.mhd").write_bytes(mha(ElementDataFile="d.raw"))
        assert "its data file 'd.raw' is missing; copy both files" in refused(tmp_path / "a.mhd")

    @pytest.mark.parametrize(
        "named", ["s%d%d.raw 1 4 1", "s%s.raw 1 4 1", "s%99999d.raw 1 4 1", "s%d.raw 1 99999999 1",
                  "s%d.raw 4 1 1", "s%d.raw 1 4 0", "s%d.raw -4 -1 1"]
    )  # fmt: skip
    def test_lists_are_bounded(self, named: str, tmp_path: Path, counting: Counting) -> None:
        for header, content in (
            ("a.mhd", mha(ElementDataFile=named)),
            ("a.nhdr", nrrd(**{"data file": named})),
        ):
            (tmp_path / header).write_bytes(content)
            assert_refused(tmp_path / header, counting, read_volume)


class TestClaims:
    def test_more_voxels_than_bytes(self, tmp_path: Path, counting: Counting) -> None:
        for name, content in (
            ("a.nrrd", nrrd(bytes(999), sizes="700 700 700")),
            ("b.nrrd", nrrd(gzip.compress(bytes(999)), sizes="700 700 700", encoding="gzip")),
            ("c.nrrd", nrrd(bytes(999), sizes="700 700 700", encoding="bzip2")),
            ("a.mha", mha(bytes(999), DimSize="700 700 700")),
            ("b.mha", mha(zlib.compress(bytes(999)), DimSize="700 700 700", CompressedData="True")),
        ):
            (tmp_path / name).write_bytes(content)
            assert_refused(tmp_path / name, counting, read_volume)

    @pytest.mark.parametrize("kind", ["nrrd", "mha", "mgz"])
    def test_what_lies_behind_the_numbers_is_not_inflated(
        self, kind: str, tmp_path: Path, counting: Counting
    ) -> None:
        """A few megabytes that would become many."""
        numbers = values("<i2")
        bomb = numbers.tobytes() + bytes(100 << 20)
        if kind == "mgz":
            buffer = io.BytesIO()
            image = nib.MGHImage(values("int16"), np.eye(4))
            image.to_stream(buffer)
            content = gzip.compress(buffer.getvalue() + bytes(100 << 20))
            expected: NDArray[Any] = values("int16").T
        elif kind == "nrrd":
            content, expected = nrrd(gzip.compress(bomb), encoding="gzip"), numbers
        else:
            content, expected = mha(zlib.compress(bomb), CompressedData="True"), numbers
        path = tmp_path / f"a.{kind}"
        path.write_bytes(content)
        del bomb, content
        with counting() as counter:
            found = read_volume(path)
        np.testing.assert_array_equal(found.pixels[..., 0], expected)
        assert counter.allocated < 20_000_000

    @pytest.mark.parametrize("kind", ["nrrd", "nrrd.gz", "mha", "mha.z", "mgz"])
    def test_flipped_and_cut_bytes(self, kind: str, tmp_path: Path) -> None:
        numbers = values("<i2")
        contents = {
            "nrrd": nrrd(numbers.tobytes()),
            "nrrd.gz": nrrd(gzip.compress(numbers.tobytes()), encoding="gzip"),
            "mha": mha(numbers.tobytes()),
            "mha.z": mha(zlib.compress(numbers.tobytes()), CompressedData="True"),
        }
        suffix = kind.partition(".")[0]
        if kind == "mgz":
            nib.save(nib.MGHImage(values("int16"), np.eye(4)), tmp_path / "w.mgz")
            contents["mgz"] = (tmp_path / "w.mgz").read_bytes()
        whole, path = contents[kind], tmp_path / f"a.{suffix}"
        options = VolumeOptions(pixel_limit=100_000)
        random = np.random.default_rng(5)
        for i in range(150):
            content = bytearray(whole)
            if i % 3 == 0:
                del content[int(random.integers(len(content))) :]
            else:
                for _ in range(random.integers(1, 4)):
                    content[int(random.integers(len(content)))] ^= 1 << random.integers(8)
            path.write_bytes(content)
            try:
                image = read_volume(path, options)
            except ReadError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either is right
                continue
            assert image.pixels.shape[:3] == image.grid.shape
            if i % 3 == 0:
                assert bytes(content) == whole or image.pixels.size == numbers.size


def zipped(path: Path, files: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


class TestZip:
    def series(self, root: Path) -> dict[str, bytes]:
        folder = write_series(root / "series", phantom(), GRIDS["axial"])
        return {f"ct/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}

    def test_as_the_folder(self, tmp_path: Path) -> None:
        files = self.series(tmp_path) | {"README.txt": b"hello", "ct/DICOMDIR": b"x" * 200}
        path = zipped(tmp_path / "ct.zip", files)
        found, expected = read_volume(path), read_volume(tmp_path / "series")
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        np.testing.assert_array_equal(found.grid.affine, expected.grid.affine)
        assert found.series is not None
        assert is_volume_file(path)
        assert volume_kind(path) == "DICOM"
        assert is_volume(path)

    def test_a_multi_frame_file_and_a_choice(self, tmp_path: Path) -> None:
        one = save_one(nuclear(phantom(), GRIDS["axial"]), tmp_path / "a.dcm")
        path = zipped(tmp_path / "a.zip", {"a": one.read_bytes()})
        np.testing.assert_array_equal(read_volume(path).pixels, read_volume(one).pixels)
        assert "fnet-" not in refused(path, VolumeOptions(series="none of them"))
        assert read_volume(path, VolumeOptions(volume=1)).volumes == 1
        assert "holds 1 volume, not a number 2" in refused(path, VolumeOptions(volume=2))
        with pytest.raises(ReadError, match="no series matches"):
            read_volume(path, VolumeOptions(series="none of them"))

    def test_a_damaged_slice_is_named(self, tmp_path: Path) -> None:
        files = self.series(tmp_path)
        name = sorted(files)[2]
        files[name] = files[name][:300]
        path = zipped(tmp_path / "a.zip", files)
        assert refused(path).startswith(f"{path}, {name}: ")

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("../evil.dcm", "holds a path that leaves it"),
            ("a/../../evil.dcm", "holds a path that leaves it"),
            ("/evil.dcm", "holds a path that leaves it"),
            ("..\\evil.dcm", "holds a path that leaves it"),
            ("C:/evil.dcm", "holds a path that leaves it"),
        ],
    )
    def test_paths_that_leave_it(self, name: str, said: str, tmp_path: Path) -> None:
        files = self.series(tmp_path)
        (tmp_path / "in").mkdir()
        path = zipped(tmp_path / "in" / "a.zip", files | {name: next(iter(files.values()))})
        assert said in refused(path)
        assert not list(tmp_path.rglob("evil*"))

    def test_links(self, tmp_path: Path) -> None:
        entry = zipfile.ZipInfo("link.dcm")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(entry, "/etc/passwd")
        assert "holds a link" in refused(tmp_path / "a.zip")

    def test_bombs(self, tmp_path: Path, counting: Counting) -> None:
        head = bytes(128) + b"DICM"
        path = zipped(tmp_path / "a.zip", {"a": head + bytes(300 << 20)}, compresslevel=9)
        options = VolumeOptions(pixel_limit=1000)
        text = assert_refused(path, counting, lambda path: read_volume(path, options))
        assert "unpacks to more than is allowed" in text
        content = path.read_bytes()
        small = (len(head) + (300 << 20)).to_bytes(4, "little")
        path.write_bytes(content.replace(small, (2000).to_bytes(4, "little")))
        assert_refused(path, counting, lambda path: read_volume(path, options))

    def test_more_files_than_there_may_be(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", {"a": b"x"})
        content = bytearray(path.read_bytes())
        place = content.rindex(b"PK\5\6")
        content[place + 10 : place + 12] = b"\xff\xff"
        path.write_bytes(content)
        assert "more than" in refused(path)

    def test_what_is_none(self, tmp_path: Path) -> None:
        assert "an archive without DICOM in it; unpack it" in refused(
            zipped(tmp_path / "a.zip", {"a.txt": b"hello"})
        )
        (tmp_path / "b.zip").write_bytes(b"PK\3\4 and then nothing")
        assert "not a complete zip archive" in refused(tmp_path / "b.zip")
        (tmp_path / "c.zip").write_bytes(b"no archive at all")
        assert "not a volume" in refused(tmp_path / "c.zip")
        cut = zipped(tmp_path / "d.zip", self.series(tmp_path))
        cut.write_bytes(cut.read_bytes()[:-30])
        refused(cut)

    def test_nothing_is_left_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
        (tmp_path / "t").mkdir()
        read_volume(zipped(tmp_path / "a.zip", self.series(tmp_path)))
        refused(zipped(tmp_path / "b.zip", {"a.txt": b"hello"}))
        assert not list((tmp_path / "t").iterdir())
