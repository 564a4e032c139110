"""Label images: numbers in, the same numbers out."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest

from fnetcli.errors import ReadError
from fnetcli.formats.labels import class_colors, read_labels, write_labels

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def numbers(path: Path) -> list[list[int]]:
    image = read_labels(path)
    assert image.pixels.shape[0] == image.pixels.shape[-1] == 1
    found: list[list[int]] = image.pixels[0, ..., 0].tolist()
    return found


def test_written_labels_are_read_again_and_look_like_something(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_labels(path, LABELS)
    assert numbers(path) == LABELS.tolist()
    with PIL.Image.open(path) as picture:
        assert picture.mode == "P"
        assert np.asarray(picture).tolist() == LABELS.tolist()
    np.testing.assert_array_equal(iio.imread(path)[..., :3], class_colors(256)[LABELS])


@pytest.mark.parametrize("classes", [2, 4, 16, 256])
def test_palettes_of_any_depth(tmp_path: Path, classes: int) -> None:
    labels = (LABELS % min(classes, 255)).astype(np.uint8)
    picture = PIL.Image.fromarray(labels).convert("P")
    picture.putpalette([7, 7, 7] * classes)  # colours mean nothing, even if all are alike
    picture.save(tmp_path / "a.png", transparency=0)
    assert numbers(tmp_path / "a.png") == labels.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_any_depth(tmp_path: Path, bits: int) -> None:
    labels = (LABELS % min(2**bits, 255)).astype(np.uint8)
    path = tmp_path / "a.png"
    if bits == 8:
        PIL.Image.fromarray(labels).save(path)
    elif bits == 1:
        PIL.Image.fromarray(255 * labels).convert("1").save(path)
    else:  # a palette of so many bits, made grey by its header
        picture = PIL.Image.fromarray(labels).convert("P")
        picture.putpalette([0, 0, 0] * 2**bits)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", bits=bits)
        path.write_bytes(as_grey(buffer.getvalue()))
    assert numbers(path) == labels.tolist()


def as_grey(content: bytes) -> bytes:
    found, place = [content[:8]], 8
    while place < len(content):
        size, name = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + size]
        place += 12 + size
        if name == b"PLTE":
            continue
        if name == b"IHDR":
            body = body[:9] + b"\0" + body[10:]
        found.append(
            struct.pack(">I", size) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )
    return b"".join(found)


def test_bmp_tiff_and_numpy(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.tif"):
        PIL.Image.fromarray(LABELS).save(tmp_path / name)
        assert numbers(tmp_path / name) == LABELS.tolist()
    np.save(tmp_path / "a.npy", LABELS)
    assert numbers(tmp_path / "a.npy") == LABELS.tolist()


def test_colours_stay_colours(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").is_color


def test_lossy_kinds_and_damage_are_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(LABELS).save(tmp_path / "a.jpg")
    with pytest.raises(ReadError, match="convert it to PNG"):
        read_labels(tmp_path / "a.jpg")
    write_labels(tmp_path / "a.png", np.zeros((40, 40), np.uint8))
    content = (tmp_path / "a.png").read_bytes()
    for end in (20, 60, len(content) - 20):
        (tmp_path / "b.png").write_bytes(content[:end])
        with pytest.raises(ReadError, match=r"b\.png"):
            read_labels(tmp_path / "b.png")


def test_colors_differ() -> None:
    colors = class_colors(64)
    assert len(np.unique(colors, axis=0)) == 64
    assert class_colors(3).shape == (3, 3)
