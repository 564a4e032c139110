"""FLIR files: numbers, temperatures, visible pictures and alignments, whole and damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fnetcli.errors import ReadError
from fnetcli.formats import ReadOptions, probe_image, read_image
from fnetcli.formats.base import Layer
from fnetcli.formats.counts import NOISE
from fnetcli.formats.flir import block, chunks, count_frames, counts, holds_counts
from fnetcli.imaging.image import Image
from tests import flir_files as made
from tests.flir_files import ALIGNMENT, CAMERA, COUNTS, PICTURE
from tests.paths import SHARED

LAYERS: list[Layer] = ["thermal", "visible"]
SAMPLE = SHARED / "data" / "flir"
y, x = np.mgrid[0:32, 0:24].astype(float)
TEMPERATURES = 15 + 0.4 * y + 0.3 * x + 20 * ((y - 12) ** 2 + (x - 9) ** 2 < 25)
NUMBERS = made.counts_of(TEMPERATURES)
v, u = np.mgrid[0:64, 0:48]
VISIBLE = np.stack([4 * u, 3 * v, 100 + u + v], -1).astype(np.uint8)
RECORDS = {
    PICTURE: made.picture(VISIBLE),
    CAMERA: made.camera(),
    COUNTS: made.png_counts(NUMBERS),
    ALIGNMENT: made.alignment(1.25, 3, -2),
}


def read(folder: Path, content: bytes, layer: Layer = "thermal", name: str = "a.jpg") -> Image:
    path = folder / name
    path.write_bytes(content)
    return read_image(path, ReadOptions(layer=layer))


def refusal(folder: Path, content: bytes, layer: Layer = "thermal", name: str = "a.jpg") -> str:
    with pytest.raises(ReadError) as caught:
        read(folder, content, layer, name)
    text = str(caught.value)
    assert text.startswith(str(folder / name))
    assert "\n" not in text
    assert ";" in text  # what to do
    return text


def without(*kinds: int) -> dict[int, bytes]:
    return {kind: data for kind, data in RECORDS.items() if kind not in kinds}


class TestSample:
    pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason="no sample of a camera here")

    def test_agrees_with_other_programs(self) -> None:
        known = np.load(SAMPLE / "flir_example.npz")
        tags = json.loads((SAMPLE / "flir_example.json").read_text())
        path = SAMPLE / "flir_example.jpg"
        image = read_image(path, ReadOptions(layer="thermal"))
        # They count the air twice, on half the way each: 0.09 K at 62 degrees.
        np.testing.assert_allclose(image.pixels[0, ..., 0], known["celsius"], atol=0.1)
        counts = f"counts {known['raw'].min()} to {known['raw'].max()}"
        assert counts in image.details
        assert image.alignment is not None
        width, ratio = tags["EmbeddedImageWidth"], tags["Real2IR"]
        assert image.alignment.matrix[0, 0] * 240 == pytest.approx(width / ratio)

    def test_every_count_agrees(self) -> None:
        with (SAMPLE / "flir_example.jpg").open("rb") as file:
            data = chunks.find_block(file)
            assert data is not None
            head = counts.read_head_of_counts(block.open_block(data), ReadOptions())
        assert head is not None
        found, notices = counts.decode(head)
        np.testing.assert_array_equal(found, np.load(SAMPLE / "flir_example.npz")["raw"])
        assert not notices


class TestNumbers:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("name", [b"FFF\0", b"AFF\0"])
    @pytest.mark.parametrize("inner", ["<", ">"])
    def test_byte_orders(self, tmp_path: Path, order: str, name: bytes, inner: str) -> None:
        records = {
            PICTURE: made.picture(VISIBLE, order=inner),
            CAMERA: made.camera(inner),
            COUNTS: made.png_counts(NUMBERS, inner),
            ALIGNMENT: made.alignment(1.25, 3, -2, inner),
        }
        image = read(tmp_path, made.flir_jpeg(records, order=order, name=name))
        np.testing.assert_allclose(image.pixels[0, ..., 0], TEMPERATURES, atol=0.02)
        assert image.unit == "°C"
        assert image.alignment is not None
        assert image.alignment.source == "factory"
        assert not image.notices

    @pytest.mark.parametrize(
        "record",
        [
            made.png_counts(NUMBERS, is_swapped=False),
            made.plain_counts(NUMBERS),
            made.plain_counts(NUMBERS, data=">"),
            made.jpeg_ls_counts(NUMBERS),
            made.jpeg_ls_counts(NUMBERS, ">"),
        ],
    )
    def test_ways_of_storing(self, tmp_path: Path, record: bytes) -> None:
        image = read(tmp_path, made.flir_jpeg(without(CAMERA) | {COUNTS: record}))
        np.testing.assert_array_equal(image.pixels[0, ..., 0], NUMBERS)
        assert image.unit == "counts"
        assert "not temperatures" in image.notices[0]

    def test_many_chunks_in_any_order(self, tmp_path: Path) -> None:
        payloads = made.chunks(made.block(RECORDS), 500)
        assert len(payloads) > 5
        content = made.with_segments(made.rendering(), payloads[::-1])
        image = read(tmp_path, content)
        np.testing.assert_allclose(image.pixels[0, ..., 0], TEMPERATURES, atol=0.02)

    def test_noise_is_said(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 1 << 16, (32, 24)).astype(np.uint16)
        image = read(tmp_path, made.flir_jpeg({COUNTS: made.plain_counts(noise)}))
        assert NOISE in image.notices

    @pytest.mark.parametrize(
        "changed",
        [
            {"emissivity": 0.0},
            {"emissivity": float("nan")},
            {"r1": -1.0},
            {"reflected": 0.0},
            {"humidity": 1e9},
            {"alpha1": -1e30},
            {"window_share": 3.0},
        ],
    )
    def test_constants_that_make_no_sense(self, tmp_path: Path, changed: dict[str, float]) -> None:
        records = RECORDS | {CAMERA: made.camera(**changed)}
        image = read(tmp_path, made.flir_jpeg(records))
        np.testing.assert_array_equal(image.pixels[0, ..., 0], NUMBERS)
        assert any("no constants that make sense" in text for text in image.notices)

    def test_humidity_in_percent(self, tmp_path: Path) -> None:
        records = RECORDS | {CAMERA: made.camera(humidity=40.0)}
        image = read(tmp_path, made.flir_jpeg(records))
        np.testing.assert_allclose(image.pixels[0, ..., 0], TEMPERATURES, atol=0.02)

    def test_counts_below_all_temperatures_hold_no_data(self, tmp_path: Path) -> None:
        numbers = NUMBERS.copy()
        numbers[3, 4] = 0
        records = RECORDS | {COUNTS: made.png_counts(numbers)}
        image = read(tmp_path, made.flir_jpeg(records))
        assert np.isnan(image.pixels[0, 3, 4, 0])
        assert np.isfinite(np.delete(image.pixels.ravel(), 3 * 24 + 4)).all()


class TestVisible:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_picture(self, tmp_path: Path, kind: str) -> None:
        records = RECORDS | {PICTURE: made.picture(VISIBLE, kind)}
        image = read(tmp_path, made.flir_jpeg(records), "visible")
        np.testing.assert_allclose(image.pixels[0], VISIBLE, atol=0 if kind == "PNG" else 12)
        header = probe_image(tmp_path / "a.jpg", ReadOptions(layer="visible"))
        assert (header.height, header.width, header.channels) == (64, 48, 3)

    def test_plain_planes(self, tmp_path: Path) -> None:
        planes = [np.full((64, 48), 90, np.uint8)]
        planes += [np.full((32, 24), level, np.uint8) for level in (100, 160)]
        records = RECORDS | {PICTURE: made.ycbcr_picture(planes)}
        image = read(tmp_path, made.flir_jpeg(records), "visible")
        red = 90 + 1.402 * (160 - 128)
        blue = 90 + 1.772 * (100 - 128)
        np.testing.assert_allclose(image.pixels[0, 5, 5, [0, 2]], [red, blue], atol=1)

    def test_rendered_is_as_before(self, tmp_path: Path) -> None:
        image = read(tmp_path, made.flir_jpeg(RECORDS), "rendered")
        assert image.pixels.shape == (1, 32, 24, 3)
        assert "FLIR" in image.notices[0]


class TestAlignment:
    def test_window(self, tmp_path: Path) -> None:
        image = read(tmp_path, made.flir_jpeg(RECORDS))
        assert image.alignment is not None
        # 48x64 / 1.25 is 38.4x51.2, centred at (24 + 3, 32 - 2), in edges of pixels.
        corner = image.alignment.matrix @ [-0.5, -0.5, 1]
        np.testing.assert_allclose(corner[:2] + 0.5, [27 - 19.2, 30 - 25.6], atol=1e-4)
        corner = image.alignment.matrix @ [23.5, 31.5, 1]
        np.testing.assert_allclose(corner[:2] + 0.5, [27 + 19.2, 30 + 25.6], atol=1e-4)

    @pytest.mark.parametrize(
        "record", [made.alignment(0.0), made.alignment(float("nan")), made.alignment(9.0, 4000)]
    )
    def test_nonsense_is_not_used(self, tmp_path: Path, record: bytes) -> None:
        image = read(tmp_path, made.flir_jpeg(RECORDS | {ALIGNMENT: record}))
        assert image.alignment is not None
        assert image.alignment.source == "assumed"
        assert "makes no sense" in image.alignment.notices[0]
        np.testing.assert_allclose(np.diag(image.alignment.matrix), [2, 2, 1])

    def test_none(self, tmp_path: Path) -> None:
        image = read(tmp_path, made.flir_jpeg(without(ALIGNMENT)))
        assert image.alignment is not None
        assert "does not say" in image.alignment.notices[0]

    def test_other_shape_is_said(self, tmp_path: Path) -> None:
        square = np.zeros((48, 48, 3), np.uint8)
        image = read(tmp_path, made.flir_jpeg(RECORDS | {PICTURE: made.picture(square)}))
        assert image.alignment is not None
        assert "differ in shape" in image.alignment.notices[-1]
        assert image.alignment.matrix[0, 0] == pytest.approx(image.alignment.matrix[1, 1])


class TestRowsOfBlocks:
    def test_fff(self, tmp_path: Path) -> None:
        image = read(tmp_path, made.block(RECORDS), name="a.fff")
        np.testing.assert_allclose(image.pixels[0, ..., 0], TEMPERATURES, atol=0.02)
        assert "as --ir" in refusal(tmp_path, made.block(RECORDS), "rendered", "a.fff")

    def test_seq(self, tmp_path: Path) -> None:
        frames = [made.counts_of(TEMPERATURES + 5 * i) for i in range(3)]
        blocks = [made.block(without(COUNTS) | {COUNTS: made.plain_counts(f)}) for f in frames]
        content = (b"\0" * 7).join(blocks)
        path = tmp_path / "a.seq"
        path.write_bytes(content)
        assert count_frames(path) == 3
        for i in range(3):
            image = read_image(path, ReadOptions(page=i + 1, layer="thermal"))
            np.testing.assert_allclose(image.pixels[0, ..., 0], TEMPERATURES + 5 * i, atol=0.02)
        assert "3 frames" in refusal(tmp_path, content, name="a.seq")
        with pytest.raises(ReadError, match="no frame 4"):
            read_image(path, ReadOptions(page=4, layer="thermal"))

    def test_a_frame_that_is_cut_off(self, tmp_path: Path) -> None:
        one = made.block(RECORDS)
        path = tmp_path / "a.seq"
        path.write_bytes(one + one[:-500])
        assert read_image(path, ReadOptions(page=1, layer="thermal")).unit == "°C"
        with pytest.raises(ReadError, match="not complete"):
            read_image(path, ReadOptions(page=2, layer="thermal"))


def _changed(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return made.with_segments(made.rendering(), change(made.chunks(made.block(RECORDS), 800)))


def _renumbered(payloads: list[bytes], index: int, last: int) -> list[bytes]:
    changed = payloads[0][:6] + bytes([index, last]) + payloads[0][8:]
    return [changed, *payloads[1:]]


def _patched(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


BLOCK = made.block(RECORDS)
DAMAGED = {
    "missing": _changed(lambda all_: all_[:2] + all_[3:]),
    "twice": _changed(lambda all_: [*all_, all_[1]]),
    "disagree": _changed(lambda all_: _renumbered(all_, 0, 200)),
    "do not begin with": made.flir_jpeg(RECORDS, name=b"XYZ\0"),
    "version is unknown": made.flir_jpeg(RECORDS, version=77),
    " claimed, but there is room for": made.with_segments(
        made.rendering(), made.chunks(_patched(BLOCK, 0x1C, struct.pack(">I", 900)))
    ),
    "header ends early": made.with_segments(made.rendering(), made.chunks(BLOCK[:0x18])),
    "hold no counts": made.flir_jpeg(without(COUNTS)),
    "unknown byte order": made.flir_jpeg(RECORDS | {COUNTS: b"\7\7" + RECORDS[COUNTS][2:]}),
    "has no pixels": made.flir_jpeg(RECORDS | {COUNTS: _patched(RECORDS[COUNTS], 2, b"\0\0")}),
    "are claimed": made.flir_jpeg(RECORDS | {COUNTS: _patched(RECORDS[COUNTS], 2, b"\x19\0")}),
    "but there are": made.flir_jpeg(RECORDS | {COUNTS: made.plain_counts(NUMBERS)[:-2]}),
    "0x0, but 24x32 are": made.flir_jpeg(
        RECORDS | {COUNTS: made.plain_counts(NUMBERS)[:0x20] + b"\xff\xd8\xff\xf7" + bytes(9)}
    ),
    "they end early": made.flir_jpeg(
        RECORDS | {COUNTS: made.plain_counts(NUMBERS)[:0x20] + b"\xff\xd8\xff\xf7"}
    ),
    "not 16-bit": made.flir_jpeg(
        RECORDS | {COUNTS: _patched(made.jpeg_ls_counts(NUMBERS), 0x26, b"\x08")}
    ),
    "thermal counts": made.with_segments(made.rendering(), made.chunks(BLOCK[:-1700])),
}


class TestDamage:
    @pytest.mark.parametrize("why", DAMAGED)
    def test_is_one_line_that_names_the_rendering(self, tmp_path: Path, why: str) -> None:
        text = refusal(tmp_path, DAMAGED[why], "numbers")
        assert why in text
        assert "--ir-rendered" in text
        assert read(tmp_path, DAMAGED[why], "rendered").pixels.shape == (1, 32, 24, 3)
        assert holds_counts(tmp_path / "a.jpg")

    def test_no_thermal_data(self, tmp_path: Path) -> None:
        assert "no thermal data" in refusal(tmp_path, made.rendering())
        assert not holds_counts(tmp_path / "a.jpg")
        assert read(tmp_path, made.rendering(), "numbers").pixels.shape == (1, 32, 24, 3)

    def test_no_visible_picture(self, tmp_path: Path) -> None:
        content = made.flir_jpeg(without(PICTURE))
        assert "no visible picture" in refusal(tmp_path, content, "visible")
        assert read(tmp_path, content).alignment is None

    def test_visible_picture_of_another_size(self, tmp_path: Path) -> None:
        record = _patched(RECORDS[PICTURE], 2, struct.pack("<HH", 64, 48))
        content = made.flir_jpeg(RECORDS | {PICTURE: record})
        assert "64x48 are claimed" in refusal(tmp_path, content, "visible")

    def test_cut_planes(self, tmp_path: Path) -> None:
        record = made.ycbcr_picture([np.zeros((64, 48), np.uint8)])
        content = made.flir_jpeg({PICTURE: record})
        assert "not complete" in refusal(tmp_path, content, "visible")

    def test_claims_do_not_take_memory(self, tmp_path: Path) -> None:
        """A record that claims 65535x65535 pixels is refused before room is made for them."""
        record = _patched(made.plain_counts(NUMBERS), 2, b"\xff\xff\xff\xff")
        assert "megapixels" in refusal(tmp_path, made.flir_jpeg({COUNTS: record}))
        record = _patched(made.plain_counts(NUMBERS), 2, struct.pack("<HH", 20000, 20000))
        assert "but there are" in refusal(tmp_path, made.flir_jpeg({COUNTS: record}))

    @pytest.mark.parametrize("layer", LAYERS)
    def test_cut_anywhere_is_an_error_or_whole(self, tmp_path: Path, layer: Layer) -> None:
        whole = made.flir_jpeg(RECORDS)
        for length in range(2, len(whole), 259):
            with suppress(ReadError):
                read(tmp_path, whole[:length], layer)

    @pytest.mark.parametrize("layer", LAYERS)
    def test_changed_bytes_are_an_error_or_a_picture(self, tmp_path: Path, layer: Layer) -> None:
        numbers = np.random.default_rng(3)
        for _ in range(150):
            content = bytearray(BLOCK)
            for place in numbers.integers(0, 0x120, 2):
                content[place] = numbers.integers(0, 256)
            with suppress(ReadError):
                read(tmp_path, bytes(content), layer, "a.fff")
