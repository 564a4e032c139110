"""Write pictures: encode them in memory, so that a full disk is reported as such, then write.

Equal input gives equal bytes: files hold no time, author or program.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fnetcli.errors import WriteError
from fnetcli.files.durable import atomic_write
from fnetcli.formats.tiff import ICC_TAG, NODATA_TAG
from fnetcli.imaging.image import Georeference

UINT8, UINT16, FLOAT32 = (np.dtype(name) for name in ("uint8", "uint16", "float32"))
COLOR_SPACES = {1: b"GRAY", 3: b"RGB "}  # in an ICC profile, by number of channels
PNG_HEAD_BYTES = 33  # signature and first chunk
# Several times faster than libpng's default, and files of photographs are a tenth smaller.
PNG_STRATEGY, PNG_FILTER = imagecodecs.PNG.STRATEGY.RLE, imagecodecs.PNG.FILTER.PAETH
JPEG_QUALITY = 95
PLAIN_TIFF_BYTES = 2**32 - 2**25  # for larger files 32-bit offsets may not suffice

Encoded = tuple[bytes | memoryview, ...]  # the parts of a file's content, in order


@dataclass(frozen=True)
class Details:
    """Metadata that is written with the pixels."""

    georeference: Georeference | None = None
    nodata: float | None = None
    color_profile: bytes | None = None


@dataclass(frozen=True)
class PictureKind:
    """A file format that can be written, and what it can hold.

    All `suffixes` mean this format. `encode` takes (H, W, 1-4) of one of `dtypes`: grey, grey and
    alpha, RGB, RGBA. `longest_side` is in pixels.
    """

    name: str
    suffixes: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    longest_side: int
    encode: Callable[[NDArray[Any], Details], Encoded]
    keeps_alpha: bool = True
    keeps_nodata: bool = False
    keeps_georeference: bool = False

    @property
    def suffix(self) -> str:
        """The suffix that fnet uses for such files."""
        return self.suffixes[0]


def kind_of_suffix(path: Path) -> str | None:
    """Return the format of PICTURE_KINDS that a path's suffix means; None if there is none."""
    suffix = path.suffix.lower()
    kinds = (kind.name for kind in PICTURE_KINDS.values() if suffix in kind.suffixes)
    return next(kinds, None)


def write_picture(
    path: Path,
    kind: str,
    pixels: NDArray[Any],
    *,
    alpha: NDArray[Any] | None = None,
    georeference: Georeference | None = None,
    nodata: float | None = None,
    color_profile: bytes | None = None,
) -> None:
    """Write pixels (H, W, 1 or 3) in a format of PICTURE_KINDS, completely or not at all.

    Create missing folders.

    `alpha` (H, W) has the type of the pixels and is not multiplied into them. Metadata that the
    format cannot hold (alpha, nodata, georeference) is omitted, and so is an ICC profile for
    another number of channels. Raise WriteError if the picture is too large for its format, what
    `atomic_write` raises, and ValueError for other arrays.
    """
    chosen = PICTURE_KINDS.get(kind)
    if chosen is None:
        raise ValueError(f"no kind of picture: {kind}")
    _require_array(chosen, pixels, alpha)
    _require_room(path, chosen, pixels.shape)
    channels = pixels.shape[2]
    if color_profile is not None and color_profile[16:20] != COLOR_SPACES[channels]:
        color_profile = None
    planes = pixels
    if alpha is not None and chosen.keeps_alpha:
        planes = np.concatenate([pixels, alpha[..., None]], axis=-1)
    _store(path, *chosen.encode(planes, Details(georeference, nodata, color_profile)))


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write 8-bit pixels, completely or not at all; create missing folders.

    `pixels` is grey (H, W) or (H, W, 1), grey and alpha (H, W, 2), RGB (H, W, 3) or RGBA (H, W, 4);
    alpha is 0..255. Raise what `atomic_write` raises, and ValueError for other arrays.
    """
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    fits = planes.ndim == 3 and 1 <= planes.shape[2] <= 4 and planes.size > 0
    if pixels.dtype != np.uint8 or not fits:
        raise ValueError(f"a PNG takes uint8 (H, W[, 1-4]), not {pixels.dtype} {pixels.shape}")
    _require_room(path, PICTURE_KINDS["png"], planes.shape)
    _store(path, *_encode_png(planes, Details()))


def write_tiff_float(
    path: Path,
    values: NDArray[np.float32],
    *,
    georeference: Georeference | None = None,
    nodata: float | None = None,
) -> None:
    """Write float32 (H, W) as a one-page TIFF (deflate), completely or not at all; create folders.

    Raise what `atomic_write` raises, and ValueError for other arrays.
    """
    if values.dtype != np.float32 or values.ndim != 2 or values.size == 0:
        raise ValueError(f"a float TIFF takes float32 (H, W), not {values.dtype} {values.shape}")
    _store(path, *_encode_tiff(values[..., None], Details(georeference, nodata)))


def _require_array(kind: PictureKind, pixels: NDArray[Any], alpha: NDArray[Any] | None) -> None:
    fits = pixels.ndim == 3 and pixels.shape[2] in COLOR_SPACES and pixels.size > 0
    if pixels.dtype not in kind.dtypes or not fits:
        names = ", ".join(one.name for one in kind.dtypes)
        raise ValueError(
            f"{kind.name} takes {names} (H, W, 1 or 3), not {pixels.dtype} {pixels.shape}"
        )
    if alpha is not None and (alpha.dtype, alpha.shape) != (pixels.dtype, pixels.shape[:2]):
        raise ValueError(
            f"alpha is {alpha.dtype} {alpha.shape}, pixels are {pixels.dtype} {pixels.shape}"
        )


def _require_room(path: Path, kind: PictureKind, shape: tuple[int, ...]) -> None:
    if max(shape[:2]) > kind.longest_side:
        raise WriteError(
            f"{path}: {shape[1]}x{shape[0]} pixels are too many for {kind.name}, which holds at "
            f"most {kind.longest_side} per side; choose another format with --format"
        )


def _store(path: Path, *content: bytes | memoryview) -> None:
    atomic_write(path, lambda file: file.writelines(content))


# --- encoders -------------------------------------------------------------------------------------


def _encode_png(planes: NDArray[Any], details: Details) -> Encoded:
    planes = planes[..., 0] if planes.shape[2] == 1 else planes  # the last stride matters to it
    encoded = memoryview(
        imagecodecs.png_encode(
            np.ascontiguousarray(planes), strategy=PNG_STRATEGY, filter=PNG_FILTER
        )
    )
    if details.color_profile is None:
        return (encoded,)
    body = b"ICC profile\0\0" + zlib.compress(details.color_profile)
    checksum = zlib.crc32(b"iCCP" + body)
    chunk = struct.pack(">I4s", len(body), b"iCCP") + body + struct.pack(">I", checksum)
    return encoded[:PNG_HEAD_BYTES], chunk, encoded[PNG_HEAD_BYTES:]


def _encode_tiff(planes: NDArray[Any], details: Details) -> Encoded:
    import tifffile  # slow to import

    channels = planes.shape[2]
    is_color, has_alpha = channels >= 3, channels in {2, 4}
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        planes[..., 0] if channels == 1 else np.ascontiguousarray(planes),
        photometric="rgb" if is_color else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if has_alpha else None,
        compression="zlib",
        predictor=planes.dtype.kind == "u",  # few programs read it for floats
        bigtiff=planes.nbytes > PLAIN_TIFF_BYTES,
        byteorder="<",
        metadata=None,
        software=False,
        extratags=_tags(details),
    )
    return (buffer.getbuffer(),)


def _tags(details: Details) -> list[tuple[int, int, int, Any, bool]]:
    """Return tags for tifffile: code, TIFF data type, count, value, on every page."""
    from tifffile import DATATYPE

    kept = [] if details.georeference is None else list(details.georeference.tags)
    tags = [(code, kind, len(value), value, True) for code, kind, value in kept]
    if details.nodata is not None:
        text = _number_text(details.nodata)
        tags.append((NODATA_TAG, DATATYPE.ASCII, len(text), text, True))
    if details.color_profile is not None:
        profile = details.color_profile
        tags.append((ICC_TAG, DATATYPE.UNDEFINED, len(profile), profile, True))
    return tags


def _number_text(value: float) -> str:
    """Return a number in GDAL's notation: "nan", "-9999", "0.1"."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def _encode_jpeg(planes: NDArray[Any], details: Details) -> Encoded:
    return _encode_by_pillow(planes, "JPEG", details, quality=JPEG_QUALITY, subsampling=0)


def _encode_webp(planes: NDArray[Any], details: Details) -> Encoded:
    if planes.shape[2] < 3:  # WebP has no grey
        planes = planes[..., [0, 0, 0, 1] if planes.shape[2] == 2 else [0, 0, 0]]
    return _encode_by_pillow(planes, "WEBP", details, lossless=True, exact=True)


def _encode_by_pillow(planes: NDArray[Any], name: str, details: Details, **options: Any) -> Encoded:
    picture = PIL.Image.fromarray(
        np.ascontiguousarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    )
    if details.color_profile is not None:
        options["icc_profile"] = details.color_profile
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return (buffer.getbuffer(),)


PICTURE_KINDS: Mapping[str, PictureKind] = MappingProxyType(
    {
        one.name: one
        for one in (
            PictureKind("png", (".png",), (UINT8, UINT16), 1_000_000, _encode_png),  # libpng's
            PictureKind(
                "tiff",
                (".tif", ".tiff"),
                (UINT8, UINT16, FLOAT32),
                2**31 - 1,
                _encode_tiff,
                keeps_nodata=True,
                keeps_georeference=True,
            ),
            PictureKind(
                "jpeg", (".jpg", ".jpeg"), (UINT8,), 65_500, _encode_jpeg, keeps_alpha=False
            ),
            PictureKind("webp", (".webp",), (UINT8,), 16_383, _encode_webp),
        )
    }
)
