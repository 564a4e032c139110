"""One small file of every kind that `fnet fuse` reads."""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.drawn_pictures import smooth_noise, write
from tests.drawn_volumes import LPS, phantom, save, slices, write_nifti
from tests.flir_files import block, flir_jpeg, records
from tests.formats.files import DEEP, EXACT, HEIGHT, LOSSY, WIDTH


@dataclass(frozen=True)
class Seed:
    """A file, and the options that fuse it."""

    name: str
    content: bytes
    suffix: str = ".bin"
    option: str = "--vis"  # --vis, --flir or --ct


def all_seeds() -> list[Seed]:
    """Return the seeds, in a fixed order."""
    pictures = {name: one[0] for name, one in (EXACT | LOSSY | DEEP).items()}
    found = [Seed(name, content) for name, content in sorted(pictures.items())]
    found.append(Seed("flir", flir_jpeg(records()), ".jpg", "--flir"))
    found.append(Seed("fff", block(records()), ".fff", "--flir"))
    found.append(Seed("csv", _table(), ".csv", "--ir"))
    return found + [Seed(name, content, suffix, "--ct") for name, suffix, content in _volumes()]


def _table() -> bytes:
    rows = 20 + np.arange(HEIGHT)[:, None] / 2 + np.arange(WIDTH) / 4
    return "\n".join(";".join(f"{one:.2f}" for one in row) for row in rows).encode()


def _volumes() -> list[tuple[str, str, bytes]]:
    pixels = phantom()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        nifti = write_nifti(folder / "a.nii", pixels, LPS).read_bytes()
        dicom = next(iter(sorted(save(slices(pixels, LPS), folder / "dicom").iterdir())))
        head = "type: short\ndimension: 3\nsizes: 6 7 5\nspace: left-posterior-superior\n"
        vectors = "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
        numbers = np.ascontiguousarray(pixels.astype("<i2")).tobytes()
        nrrd = f"NRRD0004\n{head}{vectors}endian: little\nencoding: raw\n\n".encode() + numbers
        meta = (
            b"ObjectType = Image\nNDims = 3\nDimSize = 6 7 5\nElementType = MET_SHORT\n"
            b"ElementSpacing = 1 1 1\nOffset = 0 0 0\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
            b"ElementDataFile = LOCAL\n"
        ) + numbers
        return [
            ("nifti", ".nii", nifti),
            ("nifti-gz", ".nii.gz", gzip.compress(nifti, mtime=0)),
            ("dicom", ".dcm", dicom.read_bytes()),
            ("nrrd", ".nrrd", nrrd),
            ("mha", ".mha", meta),
        ]


def partners(folder: Path) -> dict[str, Path]:
    """Write the sound file that each option's damaged one is fused with."""
    grey = write(folder / "partner.png", smooth_noise(HEIGHT, WIDTH, 1))
    mri = write_nifti(folder / "mri.nii", phantom(seed=1), LPS)
    return {"--ir": grey, "--mri": mri, "--vis": grey}
