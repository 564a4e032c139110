"""Pictures as files: by hand after the standards, and by other programs than ours."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import PIL.Image
import pillow_heif
import tifffile
from numpy.typing import NDArray

from fnetcli.formats import ReadOptions, read_image
from fnetcli.imaging.image import Image

Bytes = NDArray[np.uint8]
HEIGHT, WIDTH = 19, 26


def scene(channels: int = 3) -> Bytes:
    """Return a picture (H, W, C) that no flip or rotation maps onto itself, without sharp edges."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    waves = [9 * y + 2 * x, 8 * x + y, 255 - 5 * x - 5 * y, 120 + 5 * y - x]
    return np.stack([np.clip(wave, 0, 255) for wave in waves[:channels]], -1).astype(np.uint8)


def opacity() -> Bytes:
    """Return what transparency looks like (H, W): nearly everywhere full or none."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    found: Bytes = np.clip(8 * (5 * y - x - 30) + 128, 0, 255).astype(np.uint8)
    return found


RGB = scene()
GREY = RGB[..., 0]
ALPHA = opacity()
INDEX = GREY // 64
PALETTE = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 77], [9, 9, 9]], dtype=np.uint8)


def to_pillow(values: Bytes, mode: str | None = None) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(np.ascontiguousarray(values))
    return picture if mode is None else picture.convert(mode)


def encode(picture: PIL.Image.Image | Bytes, kind: str, **options: Any) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = to_pillow(picture)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(
    shape: tuple[int, int], bits: int, color_type: int, rows: list[bytes], extra: bytes = b""
) -> bytes:
    """Write a PNG by hand, after the standard alone."""
    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", body),
            chunk(b"IEND", b""),
        ]
    )


def packed(values: Bytes, bits: int) -> list[bytes]:
    """Return rows of values below 2**bits, packed from the highest bit on."""
    places = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    flat: Bytes = np.packbits(places.reshape(len(values), -1).astype(np.uint8), axis=1)
    return [row.tobytes() for row in flat]


def bmp24(rgb: Bytes) -> bytes:
    """Write a bottom-up BMP by hand: blue first, rows filled to 4 bytes."""
    fill = -rgb.shape[1] * 3 % 4
    rows = b"".join(row[:, ::-1].tobytes() + bytes(fill) for row in rgb[::-1])
    info = struct.pack(
        "<IiiHHIIiiII", 40, rgb.shape[1], rgb.shape[0], 1, 24, 0, len(rows), 0, 0, 0, 0
    )
    return struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54) + info + rows


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


def trns(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def rgba(rgb: Bytes, alpha: Bytes) -> Bytes:
    return np.concatenate([rgb, alpha[..., None]], axis=-1)


def raw_tiff(
    tags: Mapping[int, tuple[str, Sequence[float] | bytes]],
    segments: Sequence[bytes],
    order: Literal["<", ">"] = "<",
) -> bytes:
    """Write a TIFF by hand: tags (TIFF type as in struct, values), strips, and their tags."""
    kinds = {"B": 1, "s": 2, "H": 3, "I": 4, "d": 12}
    begin = 8 + 2 + (len(tags) + 2) * 12 + 4
    lengths = [len(one) for one in segments]
    values: dict[int, tuple[str, Sequence[float] | bytes]] = {**tags, 279: ("I", lengths)}
    extra = {tag: _pack(order, *one) for tag, one in values.items()}
    extra[273] = bytes(4 * len(segments))
    first = begin + sum(len(one) for one in extra.values() if len(one) > 4)
    offsets = [first + sum(lengths[:i]) for i in range(len(segments))]
    values[273] = ("I", offsets)
    extra[273] = _pack(order, "I", offsets)
    entries, rest = [], b""
    for tag in sorted(values):
        kind, body = values[tag][0], extra[tag]
        head = struct.pack(f"{order}HHI", tag, kinds[kind], len(values[tag][1]))
        if len(body) > 4:
            entries.append(head + struct.pack(f"{order}I", begin + len(rest)))
            rest += body
        else:
            entries.append(head + body.ljust(4, b"\0"))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return start + directory + rest + b"".join(segments)


def _pack(order: str, kind: str, values: Sequence[float] | bytes) -> bytes:
    if isinstance(values, bytes):
        return values
    return struct.pack(f"{order}{len(values)}{kind}", *values)


def grey_tags(
    shape: tuple[int, int], bits: int, **more: tuple[str, Sequence[float] | bytes]
) -> dict[int, tuple[str, Sequence[float] | bytes]]:
    """Return the tags of an uncompressed grey page in one strip; further ones as t317=..."""
    tags: dict[int, tuple[str, Sequence[float] | bytes]] = {
        256: ("I", [shape[1]]),
        257: ("I", [shape[0]]),
        258: ("H", [bits]),
        259: ("H", [1]),
        262: ("H", [1]),
        277: ("H", [1]),
        278: ("I", [shape[0]]),
    }
    return tags | {int(name[1:]): value for name, value in more.items()}


def read_bytes(content: bytes, folder: Path, name: str = "picture.bin", **options: Any) -> Image:
    path = folder / name
    path.write_bytes(content)
    return read_image(path, ReadOptions(**options))


FOUR_GREYS = GREY // 64  # 2 bits
SIXTEEN_GREYS = GREY // 16  # 4 bits
ONE_BIT = GREY // 128
GREY_PALETTE = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, 0)
COLORMAP = np.zeros((3, 256), dtype=np.uint16)
COLORMAP[:, :4] = PALETTE.T.astype(np.uint16) * 257
INDEX_ROWS = packed(INDEX, 8)
PLTE = chunk(b"PLTE", PALETTE.tobytes())
OPACITY = np.array([0, 100, 255, 255], dtype=np.uint8)
SHAPE = (HEIGHT, WIDTH)

# name: (file, pixels (H, W) or (H, W, 3), alpha 0..255 or None)
EXACT: dict[str, tuple[bytes, Bytes, Bytes | None]] = {
    "png grey": (png(SHAPE, 8, 0, packed(GREY, 8)), GREY, None),
    "png 1 bit": (png(SHAPE, 1, 0, packed(ONE_BIT, 1)), ONE_BIT * 255, None),
    "png 2 bits": (png(SHAPE, 2, 0, packed(FOUR_GREYS, 2)), FOUR_GREYS * 85, None),
    "png 4 bits": (png(SHAPE, 4, 0, packed(SIXTEEN_GREYS, 4)), SIXTEEN_GREYS * 17, None),
    "png rgb": (png(SHAPE, 8, 2, [row.tobytes() for row in RGB]), RGB, None),
    "png grey alpha": (
        png(SHAPE, 8, 4, [row.tobytes() for row in np.stack([GREY, ALPHA], -1)]),
        GREY,
        ALPHA,
    ),
    "png rgba": (png(SHAPE, 8, 6, [row.tobytes() for row in rgba(RGB, ALPHA)]), RGB, ALPHA),
    "png palette": (png(SHAPE, 8, 3, INDEX_ROWS, PLTE), PALETTE[INDEX], None),
    "png palette 2 bits": (png(SHAPE, 2, 3, packed(INDEX, 2), PLTE), PALETTE[INDEX], None),
    "png palette transparency": (
        png(SHAPE, 8, 3, INDEX_ROWS, PLTE + chunk(b"tRNS", OPACITY[:2].tobytes())),
        PALETTE[INDEX],
        OPACITY[INDEX],
    ),
    "png 1 bit key": (
        png(SHAPE, 1, 0, packed(ONE_BIT, 1), trns(1)),
        ONE_BIT * 255,
        np.where(ONE_BIT == 1, 0, 255).astype(np.uint8),
    ),
    "png 2 bits key": (
        png(SHAPE, 2, 0, packed(FOUR_GREYS, 2), trns(2)),
        FOUR_GREYS * 85,
        np.where(FOUR_GREYS == 2, 0, 255).astype(np.uint8),
    ),
    "png 4 bits key": (
        png(SHAPE, 4, 0, packed(SIXTEEN_GREYS, 4), trns(5)),
        SIXTEEN_GREYS * 17,
        np.where(SIXTEEN_GREYS == 5, 0, 255).astype(np.uint8),
    ),
    "png grey key": (
        png(SHAPE, 8, 0, packed(GREY, 8), trns(int(GREY[3, 4]))),
        GREY,
        np.where(GREY[3, 4] == GREY, 0, 255).astype(np.uint8),
    ),
    "png rgb key": (
        png(SHAPE, 8, 2, [row.tobytes() for row in RGB], trns(*RGB[5, 5].tolist())),
        RGB,
        np.where((RGB[5, 5] == RGB).all(-1), 0, 255).astype(np.uint8),
    ),
    "bmp": (bmp24(RGB), RGB, None),
    "bmp grey": (encode(GREY, "BMP"), GREY, None),
    "bmp 1 bit": (encode(to_pillow(ONE_BIT * 255, "1"), "BMP"), ONE_BIT * 255, None),
    "webp lossless": (encode(RGB, "WEBP", lossless=True), RGB, None),
    "webp lossless alpha": (
        encode(rgba(RGB, ALPHA), "WEBP", lossless=True, exact=True),
        RGB,
        ALPHA,
    ),
    "tiff grey": (tiff(GREY), GREY, None),
    "tiff white is zero": (tiff(GREY, photometric="miniswhite"), 255 - GREY, None),
    "tiff 1 bit": (tiff(ONE_BIT.astype(bool), photometric="minisblack"), ONE_BIT * 255, None),
    "tiff rgb": (tiff(RGB, photometric="rgb"), RGB, None),
    "tiff big endian": (tiff(RGB, photometric="rgb", byteorder=">"), RGB, None),
    "tiff planar": (
        tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"),
        RGB,
        None,
    ),
    "tiff tiles": (tiff(RGB, photometric="rgb", tile=(16, 16)), RGB, None),
    "tiff deflate": (tiff(RGB, photometric="rgb", compression="zlib"), RGB, None),
    "tiff lzw": (encode(RGB, "TIFF", compression="tiff_lzw"), RGB, None),
    "tiff packbits": (encode(RGB, "TIFF", compression="packbits"), RGB, None),
    "tiff group 4": (
        encode(to_pillow(ONE_BIT * 255, "1"), "TIFF", compression="group4"),
        ONE_BIT * 255,
        None,
    ),
    "bigtiff": (tiff(RGB, photometric="rgb", bigtiff=True), RGB, None),
    "tiff palette": (tiff(INDEX, photometric="palette", colormap=COLORMAP), PALETTE[INDEX], None),
    "tiff rgba": (
        tiff(rgba(RGB, ALPHA), photometric="rgb", extrasamples=["unassalpha"]),
        RGB,
        ALPHA,
    ),
    "tiff grey alpha": (
        tiff(
            np.stack([GREY, ALPHA], -1),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        GREY,
        ALPHA,
    ),
    "tiff further channel": (
        tiff(rgba(RGB, ALPHA), photometric="rgb", extrasamples=["unspecified"]),
        RGB,
        None,
    ),
}

# name: (file, pixels, largest deviation)
LOSSY: dict[str, tuple[bytes, Bytes, int]] = {
    "jpeg grey": (encode(GREY, "JPEG", quality=95), GREY, 6),
    "jpeg rgb": (encode(RGB, "JPEG", quality=95, subsampling=0), RGB, 8),
    "jpeg progressive": (encode(RGB, "JPEG", quality=95, subsampling=0, progressive=True), RGB, 8),
    "jpeg cmyk": (
        encode(to_pillow(RGB, "CMYK"), "JPEG", quality=95),
        np.asarray(to_pillow(RGB, "CMYK").convert("RGB")),
        8,
    ),
    "jpeg of several pictures": (
        encode(
            RGB, "MPO", quality=95, subsampling=0, save_all=True, append_images=[to_pillow(GREY)]
        ),
        RGB,
        8,
    ),
    "webp": (encode(RGB, "WEBP", quality=95), RGB, 24),
    "tiff jpeg": (encode(RGB, "TIFF", compression="jpeg", quality=95), RGB, 24),
}

# --- more than 8 bits, by hand ------------------------------------------------------------------

Words = NDArray[Any]  # uint16
DEEP_RGB: Words = RGB.astype(np.uint16) * 257 - np.arange(3, dtype=np.uint16)  # low bytes, too
DEEP_RGB[RGB == 0] = 3
DEEP_GREY: Words = np.ascontiguousarray(DEEP_RGB[..., 0])
DEEP_ALPHA: Words = ALPHA.astype(np.uint16) * 257
TWELVE: Words = DEEP_GREY >> 4
HALF = (GREY / 7 - 9).astype(np.float16)


def network_rows(values: NDArray[Any]) -> list[bytes]:
    """Return rows of 16-bit numbers, high byte first."""
    return [row.astype(">u2").tobytes() for row in values]


def planes(*bands: NDArray[Any]) -> NDArray[Any]:
    """Return bands (H, W) or (H, W, C), one after another."""
    return np.concatenate([band.reshape(*band.shape[:2], -1) for band in bands], axis=-1)


def tight(values: NDArray[Any], bits: int) -> bytes:
    """Return numbers packed from the highest bit on, every row from a new byte on."""
    text = ("".join(f"{int(value):0{bits}b}" for value in row) for row in values)
    padded = (row.ljust(-(-len(row) // 8) * 8, "0") for row in text)
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in padded)


def opaque_but(key: NDArray[Any]) -> NDArray[Any]:
    return np.where(key, 0.0, 1.0)


FORMAT_FLOAT: tuple[str, list[int]] = ("H", [3])
FORMAT_SIGNED: tuple[str, list[int]] = ("H", [2])

# name: (file, pixels of the type that is expected, alpha in [0, 1] or None, bits)
DEEP: dict[str, tuple[bytes, NDArray[Any], NDArray[Any] | None, int | None]] = {
    "png 16 grey": (png(SHAPE, 16, 0, network_rows(DEEP_GREY)), DEEP_GREY, None, None),
    "png 16 rgb": (png(SHAPE, 16, 2, network_rows(DEEP_RGB)), DEEP_RGB, None, None),
    "png 16 grey alpha": (
        png(SHAPE, 16, 4, network_rows(planes(DEEP_GREY, DEEP_ALPHA))),
        DEEP_GREY,
        DEEP_ALPHA / 65535,
        None,
    ),
    "png 16 rgba": (
        png(SHAPE, 16, 6, network_rows(planes(DEEP_RGB, DEEP_ALPHA))),
        DEEP_RGB,
        DEEP_ALPHA / 65535,
        None,
    ),
    "png 16 grey key": (
        png(SHAPE, 16, 0, network_rows(DEEP_GREY), trns(int(DEEP_GREY[3, 4]))),
        DEEP_GREY,
        opaque_but(DEEP_GREY[3, 4] == DEEP_GREY),
        None,
    ),
    "png 16 rgb key": (
        png(SHAPE, 16, 2, network_rows(DEEP_RGB), trns(*DEEP_RGB[5, 5].tolist())),
        DEEP_RGB,
        opaque_but((DEEP_RGB[5, 5] == DEEP_RGB).all(-1)),
        None,
    ),
    "png 16 key of which one byte differs": (
        png(SHAPE, 16, 0, network_rows(DEEP_GREY), trns(int(DEEP_GREY[3, 4]) ^ 1)),
        DEEP_GREY,
        opaque_but((DEEP_GREY[3, 4] ^ 1) == DEEP_GREY),
        None,
    ),
    "png 12 significant bits": (  # sBIT: numbers are spread over all 16 bits, whatever it says
        png(SHAPE, 16, 0, network_rows(DEEP_GREY), chunk(b"sBIT", b"\x0c")),
        DEEP_GREY,
        None,
        None,
    ),
    "tiff half": (
        raw_tiff(grey_tags(SHAPE, 16, t339=FORMAT_FLOAT), [HALF.astype("<f2").tobytes()]),
        HALF,
        None,
        None,
    ),
    "tiff half big endian": (
        raw_tiff(grey_tags(SHAPE, 16, t339=FORMAT_FLOAT), [HALF.astype(">f2").tobytes()], ">"),
        HALF,
        None,
        None,
    ),
    "tiff double": (
        raw_tiff(
            grey_tags(SHAPE, 64, t339=FORMAT_FLOAT), [(GREY / 3).astype(">f8").tobytes()], ">"
        ),
        GREY / 3,
        None,
        None,
    ),
    "tiff signed bytes": (
        raw_tiff(grey_tags(SHAPE, 8, t339=FORMAT_SIGNED), [GREY.tobytes()]),
        GREY.view(np.int8),
        None,
        None,
    ),
    "tiff signed negative": (  # min-is-white: the smallest number is the brightest
        raw_tiff(grey_tags(SHAPE, 16, t339=FORMAT_SIGNED, t262=("H", [0])), [DEEP_GREY.tobytes()]),
        -1 - DEEP_GREY.view(np.int16),
        None,
        None,
    ),
    "tiff 16 white is zero": (
        raw_tiff(grey_tags(SHAPE, 16, t262=("H", [0])), [DEEP_GREY.tobytes()]),
        65535 - DEEP_GREY,
        None,
        None,
    ),
    **{
        f"tiff {bits} bits packed": (
            raw_tiff(grey_tags(SHAPE, bits), [tight(DEEP_GREY >> (16 - bits), bits)]),
            DEEP_GREY >> (16 - bits),
            None,
            bits,
        )
        for bits in (9, 10, 12, 14)
    },
    "tiff 6 bits packed": (
        raw_tiff(grey_tags(SHAPE, 6), [tight(GREY >> 2, 6)]),
        GREY >> 2,
        None,
        6,
    ),
    "tiff 24 bits packed": (
        raw_tiff(grey_tags(SHAPE, 24), [tight(DEEP_GREY.astype(np.uint32) * 200, 24)]),
        DEEP_GREY.astype(np.uint32) * 200,
        None,
        24,
    ),
    "tiff 12 bits packed white is zero": (
        raw_tiff(grey_tags(SHAPE, 12, t262=("H", [0])), [tight(TWELVE, 12)]),
        4095 - TWELVE,
        None,
        12,
    ),
    "tiff 12 bits in words": (
        raw_tiff(grey_tags(SHAPE, 12), [TWELVE.astype("<u2").tobytes()]),
        TWELVE,
        None,
        12,
    ),
    "tiff 12 bits in deflated words": (
        raw_tiff(
            grey_tags(SHAPE, 12, t259=("H", [8])),
            [zlib.compress(TWELVE.astype(">u2").tobytes())],
            ">",
        ),
        TWELVE,
        None,
        12,
    ),
    "tiff 12 bits packed in strips": (
        raw_tiff(
            grey_tags(SHAPE, 12, t278=("I", [8])),
            [tight(TWELVE[i : i + 8], 12) for i in range(0, HEIGHT, 8)],
        ),
        TWELVE,
        None,
        12,
    ),
    "tiff bits from the right": (  # FillOrder 2
        raw_tiff(
            grey_tags(SHAPE, 1, t266=("H", [2])),
            [np.packbits(ONE_BIT, axis=1, bitorder="little").tobytes()],
        ),
        ONE_BIT * np.uint8(255),
        None,
        None,
    ),
    "tiff 16 rgba": (
        tiff(planes(DEEP_RGB, DEEP_ALPHA), photometric="rgb", extrasamples=["unassalpha"]),
        DEEP_RGB,
        DEEP_ALPHA / 65535,
        None,
    ),
    "tiff 16 rgba without word of alpha": (
        raw_tiff(
            grey_tags(SHAPE, 16, t262=("H", [2]), t277=("H", [4])),
            [planes(DEEP_RGB, DEEP_ALPHA).tobytes()],
        ),
        DEEP_RGB,
        DEEP_ALPHA / 65535,
        None,
    ),
    "tiff float grey alpha": (
        tiff(
            planes(GREY / 3, ALPHA / 200).astype(np.float32),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        (GREY / 3).astype(np.float32),
        np.clip((ALPHA / 200).astype(np.float32), 0, 1),
        None,
    ),
    "tiff palette alpha": (
        raw_tiff(
            grey_tags(SHAPE, 8, t262=("H", [3]), t277=("H", [2]), t338=("H", [2]))
            | {320: ("H", COLORMAP.ravel().tolist())},
            [planes(INDEX, ALPHA).tobytes()],
        ),
        PALETTE[INDEX],
        ALPHA / 255,
        None,
    ),
    "tiff palette of 2 bits": (
        raw_tiff(
            grey_tags(SHAPE, 2, t262=("H", [3])) | {320: ("H", COLORMAP[:, :4].ravel().tolist())},
            [tight(INDEX, 2)],
        ),
        PALETTE[INDEX],
        None,
        None,
    ),
    "tiff palette of bytes": (  # against the standard, but not rare
        raw_tiff(
            grey_tags(SHAPE, 2, t262=("H", [3]), t320=("H", PALETTE.T.ravel().tolist())),
            [tight(INDEX, 2)],
        ),
        PALETTE[INDEX],
        None,
        None,
    ),
    "bigtiff big endian": (
        tiff(DEEP_RGB, photometric="rgb", bigtiff=True, byteorder=">"),
        DEEP_RGB,
        None,
        None,
    ),
}


# --- kinds that came later ------------------------------------------------------------------------


def npy(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, **options)
    return buffer.getvalue()


def jpeg2000(values: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, **options))


def jpegxl(values: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(values, lossless=True))


def avif(values: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.avif_encode(values, level=100, **options))


def heic(values: NDArray[Any], **options: Any) -> bytes:
    """Return what pillow-heif writes: nearly the values."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[values.shape[2] if values.ndim == 3 else 1]
    mode += ";16" if values.dtype == np.uint16 else ""
    height, width = values.shape[:2]
    picture = pillow_heif.from_bytes(mode, (width, height), values.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, quality=100, chroma=444, **options)
    return buffer.getvalue()


def table(values: NDArray[Any], separator: str = ";", decimal: str = ",") -> bytes:
    rows = [separator.join(f"{one:.2f}".replace(".", decimal) for one in row) for row in values]
    return ("\n".join(rows) + "\n").encode()


def pam(values: Bytes, kind: str) -> bytes:
    height, width, depth = values.shape
    head = (
        f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL 255\nTUPLTYPE {kind}\nENDHDR\n"
    )
    return head.encode() + values.tobytes()


WIDTH_HEIGHT = f"{WIDTH} {HEIGHT}".encode()
TEXT_ROWS = b"\n".join(b" ".join(b"%d" % one for one in row.ravel()) for row in RGB)
EXACT |= {
    "pnm grey": (b"P5\n" + WIDTH_HEIGHT + b"\n255\n" + GREY.tobytes(), GREY, None),
    "pnm rgb": (b"P6 # c\n# 7 7\n" + WIDTH_HEIGHT + b" 255\n" + RGB.tobytes(), RGB, None),
    "pnm bits": (
        b"P4\n" + WIDTH_HEIGHT + b"\n" + b"".join(packed(1 - ONE_BIT, 1)),
        ONE_BIT * 255,
        None,
    ),
    "pnm text": (b"P3\n" + WIDTH_HEIGHT + b"\n255\n" + TEXT_ROWS, RGB, None),
    "pnm bits in text": (
        b"P1\n" + WIDTH_HEIGHT + b"\n" + (1 - ONE_BIT + ord("0")).tobytes(),
        ONE_BIT * 255,
        None,
    ),
    "pnm few levels": (
        b"P5\n" + WIDTH_HEIGHT + b"\n3\n" + INDEX.tobytes(),
        (INDEX * 85).astype(np.uint8),
        None,
    ),
    "pnm rgb alpha": (pam(rgba(RGB, ALPHA), "RGB_ALPHA"), RGB, ALPHA),
    "npy bytes": (npy(RGB), RGB, None),
    "jpeg2000 grey": (jpeg2000(GREY), GREY, None),
    "jpeg2000 rgb": (jpeg2000(RGB, codecformat="j2k"), RGB, None),
    "jpegxl grey": (jpegxl(GREY), GREY, None),
    "jpegxl rgb": (jpegxl(RGB), RGB, None),
    "jpegxl rgba": (jpegxl(rgba(RGB, ALPHA)), RGB, ALPHA),
    "avif grey": (avif(GREY), GREY, None),
    "avif rgb": (avif(RGB), RGB, None),
    "avif rgba": (avif(rgba(RGB, ALPHA)), RGB, ALPHA),
    "tiff jpeg 2000": (
        tiff(RGB, photometric="rgb", compression="jpeg2000", tile=(16, 16),
             compressionargs={"level": 0, "reversible": True}),
        RGB,
        None,
    ),
    "tiff jpeg xl": (
        tiff(RGB, photometric="rgb", compression="jpegxl", tile=(16, 16),
             compressionargs={"lossless": True}),
        RGB,
        None,
    ),
    "tiff webp": (
        tiff(RGB, photometric="rgb", compression="webp", rowsperstrip=7,
             compressionargs={"lossless": True}),
        RGB,
        None,
    ),
}  # fmt: skip
LOSSY |= {"heic grey": (heic(GREY), GREY, 6), "heic rgb": (heic(RGB), RGB, 8)}
DEGREES = np.round(GREY.astype(np.float64) / 7 - 9, 2)
DEEP |= {
    "pnm 16": (
        b"P5\n" + WIDTH_HEIGHT + b"\n65535\n" + DEEP_GREY.astype(">u2").tobytes(),
        DEEP_GREY, None, None,
    ),
    "pnm 12": (
        b"P6\n" + WIDTH_HEIGHT + b"\n4095\n" + (DEEP_RGB >> 4).astype(">u2").tobytes(),
        DEEP_RGB >> 4, None, 12,
    ),
    "pnm float": (
        b"Pf\n" + WIDTH_HEIGHT + b"\n-1.0\n" + DEGREES[::-1].astype("<f4").tobytes(),
        DEGREES.astype(np.float32), None, None,
    ),
    "npy 16 big endian": (npy(DEEP_GREY.astype(">u2")), DEEP_GREY, None, None),
    "npy float fortran": (npy(np.asfortranarray(DEGREES)), DEGREES, None, None),
    "npy int64": (npy(DEEP_GREY.astype(np.int64)[None]), DEEP_GREY.astype(np.int32), None, None),
    "csv semicolons": (table(DEGREES), DEGREES.astype(np.float32), None, None),
    "csv commas": (table(DEGREES, ",", "."), DEGREES.astype(np.float32), None, None),
    "csv spaces": (table(DEGREES, " "), DEGREES.astype(np.float32), None, None),
    "jpeg2000 16": (jpeg2000(DEEP_GREY), DEEP_GREY, None, None),
    "jpeg2000 12": (
        jpeg2000(DEEP_RGB >> 4, bitspersample=12), DEEP_RGB >> 4, None, 12,
    ),
    "jpegxl 16": (jpegxl(DEEP_RGB), DEEP_RGB, None, None),
    "jpegxl float": (
        jpegxl((GREY / 255).astype(np.float32)), (GREY / 255).astype(np.float32), None, None,
    ),
    "avif 10": (avif(DEEP_RGB >> 6, bitspersample=10), DEEP_RGB >> 6, None, 10),
    "tiff lerc": (
        tiff(DEGREES.astype(np.float32), compression="lerc"),
        DEGREES.astype(np.float32), None, None,
    ),
}  # fmt: skip
