"""Decode the pixel data of DICOM files frame by frame: stored numbers, before any rescale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID, JPEGExtended12Bit, RLELossless

from fnetcli.formats.base import COPY_AGAIN, ContentError
from fnetcli.formats.dicom import codecs
from fnetcli.formats.dicom.attributes import text
from fnetcli.formats.dicom.claims import require_short_palette
from fnetcli.formats.dicom.files import read_whole, transfer_syntax

EXTRA = "pip install 'fnetcli[dicom-codecs]'"
END_OF_IMAGE = b"\xff\xd9"  # of JPEG and JPEG-LS; it cannot occur elsewhere in a compressed stream
VIDEOS = ("MPEG", "HEVC", "SMPTE")

for _syntax in codecs.SYNTAXES:
    if codecs.PLUGIN not in get_decoder(_syntax).available_plugins:
        get_decoder(_syntax).add_plugin(
            codecs.PLUGIN, (codecs.__name__, codecs.decode_frame.__name__)
        )


class FrameDecoder:
    """Decodes the frames of one file; use it inside `border.reading`."""

    def __init__(self, path: Path, size: tuple[int, int], frames: int) -> None:
        """Read the file. `size` (rows, columns) and `frames` are those of its header."""
        self._size, self._frames = size, frames
        self._header: FileDataset = read_whole(path, 8 * 3 * frames * size[0] * size[1])
        self._syntax = transfer_syntax(self._header)
        self._decoder = self._find_decoder()
        self._header.file_meta.TransferSyntaxUID = self._syntax

    def stored(self, frame: int) -> NDArray[Any]:
        """Return frame `frame`, counted from 1: (rows, columns) or, in RGB, (rows, columns, 3).

        Unused bits are cleared or sign-extended; palettes and YBR are converted to RGB.
        """
        header = self._header
        self._require_size(frame)
        plugin = codecs.PLUGIN if self._prefers_ours() else ""
        found, _ = self._decoder.as_array(header, index=frame - 1, decoding_plugin=plugin)
        if found.shape[:2] != self._size or found.ndim not in {2, 3}:
            raise ContentError("the number of its pixels differs from its header", COPY_AGAIN)
        if text(header, "PhotometricInterpretation") == "PALETTE COLOR":
            require_short_palette(header)
            found = apply_color_lut(found, header)
        return np.asarray(found)

    def _find_decoder(self) -> Decoder:
        name = UID(self._syntax).name
        if any(one in name for one in VIDEOS):
            raise ContentError("a video, not images", "export its frames as images")
        try:
            decoder = get_decoder(self._syntax)
        except NotImplementedError:
            raise ContentError(
                "its compression is unknown", "export it without compression"
            ) from None
        if not decoder.is_available:
            raise ContentError(f"there is no decoder for {name} here", EXTRA)
        return decoder

    def _prefers_ours(self) -> bool:
        """Whether to prefer our plugin: results must not depend on other installed packages."""
        has_ours = codecs.PLUGIN in self._decoder.available_plugins
        return has_ours and self._syntax != JPEGExtended12Bit  # which may be of 8 bits: Pillow's

    def _require_size(self, frame: int) -> None:
        """Refuse streams that end early, or that claim another size than the header."""
        pixels = self._header.get("PixelData")
        if pixels is None:
            return
        if not self._syntax.is_encapsulated:
            bits = int(self._header.BitsAllocated) * int(self._header.SamplesPerPixel)
            is_subsampled = text(self._header, "PhotometricInterpretation") == "YBR_FULL_422"
            needed = self._frames * self._size[0] * self._size[1] * bits / 8
            if len(pixels) < needed * (2 / 3 if is_subsampled else 1):
                raise EOFError
            return
        if self._syntax == RLELossless:
            return
        table = (
            self._header.get("ExtendedOffsetTable"),
            self._header.get("ExtendedOffsetTableLengths"),
        )
        stream = get_frame(
            pixels,
            frame - 1,
            number_of_frames=self._frames,
            extended_offsets=table if all(table) else None,
        )
        claimed = codecs.codestream_size(stream)
        if self._syntax in codecs.JLS and END_OF_IMAGE not in stream:
            raise EOFError  # the decoder would search beyond the end for many seconds
        if claimed is not None and claimed[:2] != self._size:
            raise ContentError(
                f"its compressed pixels are {claimed[1]}x{claimed[0]}, "
                f"but its header says {self._size[1]}x{self._size[0]}",
                COPY_AGAIN,
            )
