"""Counts, sizes and lengths are held against the bytes that are there before room is made for them.

Asserted by counters: bytes that are read of the file, and the most memory that was allocated.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from fnetcli.errors import ReadError
from fnetcli.files.guarded import OrdinaryFile
from fnetcli.formats import ReadOptions, probe_image, read_image
from fnetcli.formats.volumes import VolumeOptions, read_volume
from tests.drawn_volumes import GRIDS, enhanced, nuclear, phantom, save_one, slices
from tests.formats.files import RGB, avif, chunk, encode, grey_tags, heic, packed, png, raw_tiff
from tests.paths import SHARED

DAMAGED = SHARED / "faults" / "damaged"
GRID = GRIDS["axial"]
MANY = 60_000
MAX_ALLOCATED = 50_000_000
MAX_READS = 10  # times the file's bytes


@dataclass
class Counter:
    """Bytes that were read of files, and the most that was allocated meanwhile."""

    read: int = 0
    allocated: int = 0


Counting = Callable[[], AbstractContextManager[Counter]]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    @contextmanager
    def count() -> Iterator[Counter]:
        counter = Counter()
        read, readinto = OrdinaryFile.read, OrdinaryFile.readinto

        def counted(self: OrdinaryFile, size: int | None = -1) -> bytes:
            content = read(self, size)
            counter.read += len(content)
            return content

        def counted_into(self: OrdinaryFile, buffer: bytearray) -> int:
            length = readinto(self, buffer)
            counter.read += length
            return length

        with monkeypatch.context() as patched:
            patched.setattr(OrdinaryFile, "read", counted)
            patched.setattr(OrdinaryFile, "readinto", counted_into)
            tracemalloc.start()
            try:
                yield counter
            finally:
                counter.allocated = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()

    return count


def assert_refused(path: Path, counting: Counting, read: Callable[[Path], object]) -> str:
    with counting() as counter, pytest.raises(ReadError) as caught:
        read(path)
    assert counter.read <= MAX_READS * path.stat().st_size
    assert counter.allocated < MAX_ALLOCATED
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


# --- DICOM ----------------------------------------------------------------------------------------


def classic() -> FileDataset:
    return slices(phantom(), GRID)[0]


def claiming(header: FileDataset, syntax: UID = ExplicitVRLittleEndian) -> FileDataset:
    """Return a header that claims many frames, with one frame's bytes at most."""
    header.NumberOfFrames = MANY
    header.file_meta.TransferSyntaxUID = syntax
    if syntax.is_encapsulated:
        header.PixelData = encapsulate([b"\xff\xd8" + bytes(40) + b"\xff\xd9"])
        header["PixelData"].is_undefined_length = True
    else:
        header.PixelData = header.PixelData[: 2 * header.Rows * header.Columns]
    return header


HEADERS: dict[str, Callable[[], FileDataset]] = {
    "classic": classic,
    "enhanced": lambda: enhanced(phantom(), GRID),
    "nuclear": lambda: nuclear(phantom(), GRID),
}


class TestDicom:
    @pytest.mark.parametrize("kind", HEADERS)
    @pytest.mark.parametrize(
        "syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless, JPEG2000, RLELossless]
    )
    def test_frames(self, kind: str, syntax: UID, tmp_path: Path, counting: Counting) -> None:
        path = save_one(claiming(HEADERS[kind](), syntax), tmp_path / "a.dcm")
        assert "ends early" in assert_refused(path, counting, read_volume)

    def test_as_many_steps_as_frames_are_claimed(self, tmp_path: Path, counting: Counting) -> None:
        """Each of them is there, and costs two bytes."""
        header = claiming(nuclear(phantom(), GRID))
        header.NumberOfFrames = MANY // 2
        header.SliceVector = list(range(1, MANY // 2 + 1))
        path = save_one(header, tmp_path / "a.dcm")
        assert_refused(path, counting, read_volume)

    def test_frames_of_one_pixel_are_looked_at_once(self, tmp_path: Path) -> None:
        """Every frame is there: the time grows with their number, not with its square."""
        count = 200
        header = nuclear(np.ones((2, 1, 1), np.int16), GRID)
        header.NumberOfFrames = count
        header.SliceVector = list(range(1, count + 1))
        header.PixelData = np.arange(count, dtype=np.int16).tobytes()
        path = save_one(header, tmp_path / "a.dcm")
        calls = 0
        get = pydicom.Dataset.get

        def counted(self: pydicom.Dataset, key: str, default: object = None) -> object:
            nonlocal calls
            calls += key == "SliceVector"
            return get(self, key, default)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(pydicom.Dataset, "get", counted)
            image = read_volume(path)
        assert image.pixels.shape == (count, 1, 1, 1)
        assert calls < 10

    @pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, RLELossless])
    def test_one_frame_of_a_claimed_size(
        self, syntax: UID, tmp_path: Path, counting: Counting
    ) -> None:
        header = claiming(classic(), syntax)
        header.NumberOfFrames = 1
        header.Rows = header.Columns = 20_000
        assert_refused(save_one(header, tmp_path / "a.dcm"), counting, read_volume)

    def test_a_deflated_file(self, tmp_path: Path, counting: Counting) -> None:
        header = claiming(classic(), DeflatedExplicitVRLittleEndian)
        header.Rows = header.Columns = 64
        path = save_one(header, tmp_path / "a.dcm")
        assert "ends early" in assert_refused(path, counting, read_volume)

    def test_the_length_of_an_element(self, tmp_path: Path, counting: Counting) -> None:
        path = save_one(classic(), tmp_path / "a.dcm")
        content = bytearray(path.read_bytes())
        place = content.index(b"\x10\x00\x10\x00PN") + 4
        content[place : place + 8] = b"UT\0\0" + struct.pack("<I", 0xFFFFFF00)
        path.write_bytes(content)
        assert_refused(path, counting, read_volume)

    def test_the_length_of_the_pixels(self, tmp_path: Path, counting: Counting) -> None:
        """All of them are there: a wrong length does no harm."""
        path = save_one(classic(), tmp_path / "a.dcm")
        content = bytearray(path.read_bytes())
        place = content.index(b"\xe0\x7f\x10\x00OW") + 8
        struct.pack_into("<I", content, place, 0xFFFFFF00)
        path.write_bytes(content)
        with counting() as counter:
            pixels = read_volume(path).pixels
        np.testing.assert_array_equal(pixels[0, ..., 0], phantom()[0])
        assert counter.allocated < MAX_ALLOCATED

    def test_a_palette_that_expands_without_end(self, tmp_path: Path, counting: Counting) -> None:
        header = classic()
        header.PhotometricInterpretation = "PALETTE COLOR"
        header.PixelRepresentation = 0
        first = struct.pack("<3H", 0, 1, 7)  # one colour, as it is
        ramps = struct.pack("<3H", 1, 0xFFFF, 9) * 1000  # 65,535 colours each
        again = struct.pack("<4H", 2, 0xFFFF, 0, 0) * 1000  # everything, from its beginning
        for body in (ramps, again):
            for color in ("Red", "Green", "Blue"):
                setattr(header, f"{color}PaletteColorLookupTableDescriptor", [0, 0, 16])
                setattr(header, f"Segmented{color}PaletteColorLookupTableData", first + body)
            path = save_one(header, tmp_path / "a.dcm")
            assert "its palette makes no sense" in assert_refused(path, counting, read_volume)

    @pytest.mark.skipif(not DAMAGED.is_dir(), reason="the shared files are not here")
    def test_files_that_were_found(self, counting: Counting) -> None:
        for path in sorted(DAMAGED.glob("*.dcm")):
            assert_refused(path, counting, read_volume)


# --- NIfTI ----------------------------------------------------------------------------------------


def nifti_claiming(shape: tuple[int, ...], dtype: type = np.float64) -> bytes:
    """Return a header of NIfTI-1, as it stands in front of the numbers."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return bytes(header.binaryblock) + bytes(4)


class TestNifti:
    def test_more_voxels_than_bytes(self, tmp_path: Path, counting: Counting) -> None:
        for name, content in (
            ("a.nii", nifti_claiming((700, 700, 700)) + bytes(5000)),
            ("b.nii.gz", gzip.compress(nifti_claiming((700, 700, 700)) + bytes(5000))),
        ):
            (tmp_path / name).write_bytes(content)
            assert "ends early" in assert_refused(tmp_path / name, counting, read_volume)

    def test_the_last_of_many_volumes(self, tmp_path: Path, counting: Counting) -> None:
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(nifti_claiming((64, 64, 64, 30_000)) + bytes(5000)))
        options = VolumeOptions(volume=30_000)
        assert_refused(path, counting, lambda path: read_volume(path, options))

    def test_what_lies_behind_the_numbers_is_not_inflated(
        self, tmp_path: Path, counting: Counting
    ) -> None:
        """Not even read: a few megabytes may become many gigabytes."""
        path = tmp_path / "a.nii.gz"
        numbers = np.arange(8**3, dtype=np.float32)
        content = nifti_claiming((8, 8, 8), np.float32) + numbers.tobytes()
        deflating = zlib.compressobj(9, zlib.DEFLATED, 31)
        with path.open("wb") as file:
            file.write(deflating.compress(content))
            for _ in range(100):  # many megabytes
                file.write(deflating.compress(bytes(1 << 20)))
            file.write(deflating.flush())
        with counting() as counter:
            image = read_volume(path)
        np.testing.assert_array_equal(image.pixels.ravel(), numbers)
        assert counter.read < path.stat().st_size / 2
        assert counter.allocated < MAX_ALLOCATED

    def test_numbers_that_start_far_behind_the_header(
        self, tmp_path: Path, counting: Counting
    ) -> None:
        content = bytearray(nifti_claiming((4, 4, 4)) + bytes(8 * 64))
        struct.pack_into("<f", content, 108, float(1 << 26))  # as after long extensions
        (tmp_path / "a.nii").write_bytes(content)
        assert "ends early" in assert_refused(tmp_path / "a.nii", counting, read_volume)


# --- pictures -------------------------------------------------------------------------------------


def jpeg_claiming(height: int, width: int) -> bytes:
    content = bytearray(encode(RGB, "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", content, place, height, width)
    return bytes(content)


def png_claiming(height: int, width: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99)))


def bmp_claiming(height: int, width: int) -> bytes:
    content = bytearray(encode(RGB, "BMP"))
    struct.pack_into("<ii", content, 18, width, height)
    return bytes(content)


class TestPictures:
    @pytest.mark.parametrize(
        "content",
        [jpeg_claiming(21_000, 21_000), png_claiming(21_000, 21_000), bmp_claiming(21_000, 21_000)],
        ids=["jpeg", "png", "bmp"],
    )
    @pytest.mark.parametrize("action", [read_image, probe_image])
    def test_megapixels_in_a_few_bytes(
        self,
        content: bytes,
        action: Callable[[Path], object],
        tmp_path: Path,
        counting: Counting,
    ) -> None:
        path = tmp_path / "a"
        path.write_bytes(content)
        text = assert_refused(path, counting, action)
        assert f"it claims 441 megapixels, but has only {len(content):,} bytes" in text

    def test_a_tiff(self, tmp_path: Path, counting: Counting) -> None:
        path = tmp_path / "a.tif"
        path.write_bytes(raw_tiff(grey_tags((21_000, 21_000), 8), [bytes(500)]))
        assert "ends early" in assert_refused(path, counting, read_image)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
    def test_one_colour_is_read_whatever_its_size(self, kind: str, tmp_path: Path) -> None:
        """No file that is complete is refused; these are as small as they come."""
        for mode, options in (("L", {}), ("RGB", {}), ("RGB", {"progressive": True})):
            more = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else options
            path = tmp_path / "a"
            PIL.Image.new(mode, (2500, 1800)).save(path, kind, **more)
            found = read_image(path).pixels
            assert found.shape[:3] == (1, 1800, 2500)
            assert found.max() <= 1

    def test_a_png_whose_pixels_take_little_of_it(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png((32, 32), 8, 0, packed(np.zeros((32, 32), np.uint8), 8)))
        os.truncate(path, 1 << 40)
        with pytest.raises(ReadError, match="more than the limit of 64 GB"):
            read_image(path)
        os.truncate(path, 1 << 33)
        with pytest.raises(ReadError, match="8,590 MB, more than a PNG of 500 megapixels can need"):
            read_image(path)
        os.truncate(path, 1 << 20)
        assert read_image(path).pixels.shape == (1, 32, 32, 1)

    def test_what_finds_no_room_in_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counting: Counting
    ) -> None:
        monkeypatch.setattr("fnetcli.formats.base.free_memory", lambda: 150_000_000)
        for kind in ("PNG", "BMP"):
            path = tmp_path / "a"
            PIL.Image.new("RGB", (6_000, 5_000)).save(path, kind)
            with counting() as counter, pytest.raises(ReadError) as caught:
                read_image(path, ReadOptions())
            assert counter.allocated < MAX_ALLOCATED
            assert "GB of memory, but 0.1 GB are free; make it smaller" in str(caught.value)

    @pytest.mark.slow
    def test_a_large_jpeg_is_not_in_memory_three_times(self, tmp_path: Path) -> None:
        """Pillow holds four bytes of a pixel, which are not traced; ours are three."""
        path = tmp_path / "a.jpg"
        PIL.Image.new("RGB", (6000, 5000), (9, 8, 7)).save(path)
        tracemalloc.start()
        try:
            pixels = read_image(path).pixels
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert most < pixels.nbytes + 40_000_000

    @pytest.mark.skipif(not DAMAGED.is_dir(), reason="the shared files are not here")
    def test_a_jpeg_that_was_found(self, counting: Counting) -> None:
        text = assert_refused(DAMAGED / "bomb_jpeg_458MP.jpg", counting, read_image)
        assert "it claims 458 megapixels, but has only 823 bytes" in text


# --- kinds of pictures that came later ------------------------------------------------------------


def jpeg2000_claiming(height: int, width: int) -> bytes:
    content = bytearray(imagecodecs.jpeg2k_encode(RGB, level=0, codecformat="j2k"))
    place = content.index(b"\xff\x51") + 6
    struct.pack_into(">II", content, place, width, height)
    struct.pack_into(">II", content, place + 16, width, height)  # one tile
    return bytes(content)


def jpegxl_claiming(height: int, width: int) -> bytes:
    """Return a header of 30 bits for each side, and nothing else."""
    bits = 0 | 3 << 1 | (height - 1) << 3 | 0 << 33 | 3 << 36 | (width - 1) << 38 | 1 << 68
    return b"\xff\x0a" + bits.to_bytes(12, "little") + bytes(40)


def heif_claiming(picture: bytes, height: int, width: int) -> bytes:
    content = bytearray(picture)
    place = content.index(b"ispe") + 8
    struct.pack_into(">II", content, place, width, height)
    return bytes(content)


def npy_claiming(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((9, 9)))
    size = f"({height}, {width}), }}".encode()
    return buffer.getvalue().replace(b"(9, 9), }".ljust(len(size)), size)


LATER: dict[str, Callable[[int, int], bytes]] = {
    "jpeg 2000": jpeg2000_claiming,
    "jpeg xl": jpegxl_claiming,
    "avif": partial(heif_claiming, avif(RGB)),
    "heic": partial(heif_claiming, heic(RGB)),
    "npy": npy_claiming,
    "pgm": lambda height, width: b"P5\n%d %d\n255\n" % (width, height) + bytes(999),
    "pgm in text": lambda height, width: b"P2\n%d %d\n255\n" % (width, height) + b"1 " * 99,
    "pbm": lambda height, width: b"P4\n%d %d\n" % (width, height) + bytes(999),
    "pfm": lambda height, width: b"Pf\n%d %d\n1.0\n" % (width, height) + bytes(999),
}


class TestLaterKinds:
    @pytest.mark.parametrize("kind", LATER)
    @pytest.mark.parametrize("action", [read_image, probe_image])
    @pytest.mark.parametrize("side", [21_000, 30_000])
    def test_megapixels_in_a_few_bytes(
        self,
        kind: str,
        action: Callable[[Path], object],
        side: int,
        tmp_path: Path,
        counting: Counting,
    ) -> None:
        path = tmp_path / "a"
        path.write_bytes(LATER[kind](side, side))
        try:
            text = assert_refused(path, counting, action)
        except pytest.fail.Exception:
            assert action is probe_image  # whose limit is that of the pixels
            assert side == 21_000
            assert kind in {"jpeg 2000", "jpeg xl", "avif", "heic"}
            return
        assert "more than the limit of 500" in text or side == 21_000

    def test_a_large_picture_in_a_small_tile(self, tmp_path: Path, counting: Counting) -> None:
        """A WebP picture of 36 megapixels takes the place of a tile."""
        buffer = io.BytesIO()
        PIL.Image.new("RGB", (6_000, 6_000)).save(buffer, "WEBP", lossless=True)
        tags = grey_tags((16, 16), 8, t259=("H", [50001]), t262=("H", [2]), t277=("H", [3]))
        path = tmp_path / "a.tif"
        path.write_bytes(raw_tiff(tags | {258: ("H", [8, 8, 8])}, [buffer.getvalue()]))
        assert "6000x6000 pixels in a tile of 16x16" in assert_refused(path, counting, read_image)

    def test_a_table_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(b"1;2;3\n" * 100_000)
        options = ReadOptions(pixel_limit=1000)
        with pytest.raises(ReadError, match="more than the limit"):
            read_image(path, options)
        path.write_bytes(b"1;" * 200_000)
        with pytest.raises(ReadError):
            read_image(path, options)
