"""What the commands of a snapshot read: drawn files, the repository's examples, copies of data."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import safetensors.numpy
import tifffile
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

Numbers = NDArray[Any]

HERE = Path(__file__).parents[2]  # the checkout
HEIGHT, WIDTH = 60, 84
MAX_SLICES = 4  # pairs of one kind of medical pictures
STEM = "1.2.826.0.1.3680043.8.498"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from RAS+

RECIPE = """
seed = 5
precision = "fp32"
optimizer = "{optimizer}"
validate_every = 4
checkpoint_every = 3
[data]
vis = "../pairs/vis"
ir = "../pairs/ir"
[validation]
vis = "../pairs/vis"
ir = "../pairs/ir"
[network]
atoms = 4
kernel_size = 3
iterations = 2
[inverse]
atoms = 4
kernel_size = 3
iterations = 1
[stage_1]
iterations = 4
batch = 2
crop = 16
learning_rate = 1e-3
[stage_2]
iterations = {iterations}
batch = 2
crop = 16
learning_rate = 1e-3
warmup = 2
decay = 3
"""


class MissingInputError(Exception):
    """What a case reads is not at hand: the case is left out."""


@dataclass(frozen=True)
class Sources:
    """What the user named."""

    data: Path | None = None
    authors: Path | None = None  # weights in the published layout


# --- pictures -------------------------------------------------------------------------------------


def draw(seed: int, channels: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Numbers:
    """Return soft waves with some noise, float64 in [0, 1], (H, W) or (H, W, channels)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = []
    for _ in range(channels):
        a, b, c = random.uniform(3, 12, 3)
        wave = np.sin(rows / height * a + c) + np.cos(columns / width * b)
        planes.append((wave + 2) / 4 + random.normal(0, 0.02, wave.shape))
    found: Numbers = np.clip(np.stack(planes, axis=-1), 0, 1)
    return found[..., 0] if channels == 1 else found


def bytes_of(unit: Numbers) -> NDArray[np.uint8]:
    """Return 8-bit grey levels."""
    levels: NDArray[np.uint8] = np.rint(255 * unit).astype(np.uint8)
    return levels


def write_picture(path: Path, pixels: Numbers, **options: Any) -> None:
    """Write what Pillow can write, by the suffix; make folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)


def write_tiff(path: Path, pixels: Numbers, **options: Any) -> None:
    """Write a TIFF without dates; make folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, metadata=None, **options)


def draw_pairs(folder: Path) -> None:
    """Draw pairs of 8 bits: plain, in sub-folders with suffixes, partly broken, of other sizes."""
    for i in range(4):
        write_picture(folder / f"pairs/vis/{i}.png", bytes_of(draw(2 * i, 3)))
        write_picture(folder / f"pairs/ir/{i}.png", bytes_of(draw(2 * i + 1)))
    for i in range(2):
        write_picture(folder / f"nested/day/{i}_RGB.jpg", bytes_of(draw(20 + i, 3)), quality=95)
        write_picture(folder / f"nested/day/{i}_T.png", bytes_of(draw(30 + i)))
        write_picture(folder / f"nested/night/{i}_RGB.jpg", bytes_of(draw(40 + i, 3)), quality=95)
        write_picture(folder / f"nested/night/{i}_T.png", bytes_of(draw(50 + i)))
    shutil.copytree(folder / "pairs", folder / "partly")
    (folder / "partly/vis/1.png").write_bytes(b"junk")
    (folder / "partly/ir/2.png").unlink()
    write_picture(folder / "sizes/small.png", bytes_of(draw(60, height=30, width=42)))
    write_picture(folder / "sizes/wide.png", bytes_of(draw(61, height=60, width=120)))
    (folder / "empty").mkdir()


def draw_odd_pictures(folder: Path) -> None:
    """Draw transparency, a palette, pages, a turned JPEG, a thermal picture in colours."""
    alpha = np.where(np.mgrid[:HEIGHT, :WIDTH][1] < WIDTH // 3, 0, 255)[..., None]
    colours = bytes_of(draw(70, 3))
    write_picture(folder / "odd/alpha.png", np.dstack([colours, alpha.astype(np.uint8)]))
    PIL.Image.fromarray(colours).quantize(32, dither=PIL.Image.Dither.NONE).save(
        folder / "odd/palette.png"
    )
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    upright = bytes_of(draw(71, 3, height=WIDTH, width=HEIGHT))
    write_picture(folder / "odd/turned.jpg", upright, quality=95, exif=turned)
    write_picture(folder / "odd/colours.png", bytes_of(draw(72, 3)))
    with tifffile.TiffWriter(folder / "odd/pages.tif") as file:
        for i in range(3):
            file.write(bytes_of(draw(73 + i)), metadata=None)


def draw_deep_pictures(folder: Path) -> None:
    """Draw 12-bit colours, 16-bit counts of another range in each, floats, NaN, signed numbers."""
    for i in range(3):
        write_tiff(
            folder / f"deep/vis/{i}.tif",
            np.rint(4095 * draw(80 + i, 3)).astype(np.uint16),
            photometric="rgb",
        )
        counts = 29315 + 400 * i + np.rint((900 + 300 * i) * draw(90 + i))
        write_tiff(folder / f"deep/ir/{i}.tif", counts.astype(np.uint16))
    floats = draw(95).astype(np.float32) * 40 - 7
    write_tiff(folder / "deep/float.tif", floats)
    floats[5:9, 10:30] = np.nan
    write_tiff(folder / "deep/nan.tif", floats)
    write_tiff(folder / "deep/signed.tif", np.rint(600 * draw(96) - 300).astype(np.int16))
    write_tiff(folder / "deep/rgbfloat.tif", draw(97, 3).astype(np.float32), photometric="rgb")


def draw_maps(folder: Path, _: Sources) -> None:
    """Draw a pair of GeoTIFF files, one with nodata."""
    try:
        import rasterio  # noqa: PLC0415  GDAL is for tests only
    except ImportError:
        raise MissingInputError("rasterio is not installed") from None
    place = rasterio.Affine(10, 0, 500_000, 0, -20, 5_000_000)
    thermal = np.rint(2000 * draw(101)).astype(np.uint16) + 1
    thermal[:6, :9] = 0
    for name, pixels, nodata in (
        ("vis", np.moveaxis(bytes_of(draw(100, 3)), -1, 0), None),
        ("ir", thermal[None], 0),
    ):
        options: dict[str, Any] = {"crs": "EPSG:32633", "transform": place, "nodata": nodata}
        with rasterio.open(
            folder / f"{name}.tif",
            "w",
            driver="GTiff",
            height=HEIGHT,
            width=WIDTH,
            count=len(pixels),
            dtype=pixels.dtype,
            **options,
        ) as file:
            file.write(pixels)


# --- volumes --------------------------------------------------------------------------------------


def phantom(seed: int, shape: tuple[int, int, int]) -> Numbers:
    """Return a ball with waves in it, float64 in [0, 1]."""
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    random = np.random.default_rng(seed)
    waves = np.sin(places * random.uniform(3, 9, (3, 1, 1, 1))).sum(0) / 6 + 0.5
    found: Numbers = np.clip(waves, 0, 1) * (np.square(places).sum(0) < 0.9)
    return found


def affine(spacing: Sequence[float], shape: Sequence[int]) -> Numbers:
    """Return the axial grid (i, j, k) -> RAS+ about the origin."""
    found = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    found[:3, 3] = -found[:3, :3] @ [(size - 1) / 2 for size in shape]
    return found


SCANS: dict[str, tuple[tuple[int, int, int], tuple[float, float, float], float, float]] = {
    "ct": ((48, 44, 9), (2.0, 2.0, 6.0), -300, 700),  # shape, mm, value of 0, of 1 more
    "mri": ((40, 40, 11), (2.2, 2.2, 5.0), 0, 900),
    "pet": ((24, 22, 9), (4.0, 4.0, 6.0), 0, 12),
}


def draw_volumes(folder: Path) -> None:
    """Draw CT, MRI and PET as NIfTI, CT and MRI as DICOM too, and a NIfTI file of two volumes."""
    (folder / "nifti").mkdir()
    for seed, (name, (shape, spacing, low, span)) in enumerate(SCANS.items()):
        values = low + span * phantom(seed, shape)
        kind = np.float32 if name == "pet" else np.int16
        grid = affine(spacing, shape)
        image = nib.Nifti1Image(values.astype(kind), grid)
        image.header.set_xyzt_units("mm")
        image.set_sform(grid, 1)
        image.set_qform(grid, 1)
        nib.save(image, folder / f"nifti/{name}.nii.gz")
        if name != "pet":
            draw_series(folder / f"dicom/{name}", name, values.astype(np.int16), grid)
    four = np.stack([phantom(7, (40, 40, 11)), phantom(8, (40, 40, 11))], axis=-1) * 500
    nib.save(
        nib.Nifti1Image(four.astype(np.int16), affine((2.2, 2.2, 5.0), (40, 40, 11))),
        folder / "nifti/four.nii.gz",
    )


def draw_series(folder: Path, name: str, values: Numbers, grid: Numbers) -> None:
    """Write an axial DICOM series with fixed UIDs; `values` is int16 (columns, rows, slices)."""
    folder.mkdir(parents=True)
    there = LPS @ grid
    storage = "1.2.840.10008.5.1.4.1.1." + ("2" if name == "ct" else "4")
    for k in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(storage)
        meta.MediaStorageSOPInstanceUID = UID(f"{STEM}.{len(name)}.{k + 1}")
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID = meta.MediaStorageSOPClassUID
        header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        header.Modality = "CT" if name == "ct" else "MR"
        header.PatientName, header.PatientID = "Drawn^Phantom", "DRAWN"
        header.StudyInstanceUID, header.FrameOfReferenceUID = f"{STEM}.1", f"{STEM}.9"
        header.SeriesInstanceUID = f"{STEM}.{len(name)}"
        header.SeriesNumber, header.InstanceNumber = len(name), k + 1
        header.SeriesDescription = f"drawn {name}"
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.ImagePositionPatient = [float(x) for x in (there @ (0, 0, k, 1))[:3]]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.PixelSpacing = [float(abs(grid[1, 1])), float(abs(grid[0, 0]))]
        header.SliceThickness = float(grid[2, 2])
        header.RescaleSlope, header.RescaleIntercept = 1, 0
        header.Rows, header.Columns = values.shape[1], values.shape[0]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 1
        header.PixelData = np.ascontiguousarray(values[..., k].T).tobytes()
        header["PixelData"].VR = "OW"
        pydicom.dcmwrite(folder / f"{k + 1:03}.dcm", header, enforce_file_format=True)


# --- texts and weights ----------------------------------------------------------------------------


def write_texts(folder: Path) -> None:
    """Write lists of pairs, recipes and an ITK transform, right and wrong ones."""
    texts = {
        "lists/list.csv": "vis,ir,case\n../pairs/vis/0.png,../pairs/ir/0.png,first\n"
        "../pairs/vis/1.png,../pairs/ir/1.png,sub/second\n",
        "lists/wrong.csv": "left,right\n../pairs/vis/0.png,../pairs/ir/0.png\n",
        "lists/gone.csv": "vis,ir\n../pairs/vis/0.png,../pairs/ir/none.png\n",
        "lists/twice.csv": "vis,ir,case\n../pairs/vis/0.png,../pairs/ir/0.png,a\n"
        "../pairs/vis/1.png,../pairs/ir/1.png,a\n",
        "recipes/tiny.toml": RECIPE.format(optimizer="muon", iterations=8),
        "recipes/longer.toml": RECIPE.format(optimizer="muon", iterations=11),
        "recipes/adam.toml": RECIPE.format(optimizer="adam", iterations=5),
        "recipes/wrong.toml": RECIPE.format(optimizer="muon", iterations=8).replace(
            "crop = 16", "crob = 16"
        ),
        "recipes/large.toml": RECIPE.format(optimizer="muon", iterations=8).replace(
            "crop = 16", "crop = 512"
        ),
        "move.tfm": "#Insight Transform File V1.0\n#Transform 0\n"
        "Transform: Euler3DTransform_double_3_3\nParameters: 0 0 0.05 2 -1 0.5\n"
        "FixedParameters: 0 0 0\n",
        "notes.txt": "no picture\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def write_weights(folder: Path) -> None:
    """Write unusable weights: NaN, cut off, without a tensor, junk, a pickle that runs code."""
    shipped = HERE / "weights" / "fnet.safetensors"
    folder = folder / "weights"
    folder.mkdir()
    content = shipped.read_bytes()
    size = int.from_bytes(content[:8], "little")
    (folder / "nan.safetensors").write_bytes(
        content[: 8 + size] + b"\xff" * (len(content) - 8 - size)
    )
    (folder / "short.safetensors").write_bytes(content[:-99])
    tensors = safetensors.numpy.load_file(shipped)
    del tensors[min(tensors)]
    safetensors.numpy.save_file(tensors, folder / "lacking.safetensors")
    (folder / "junk.pth").write_bytes(b"junk" * 99)
    (folder / "pickle.pth").write_bytes(b"\x80\x04cos\nsystem\n(S'exit'\ntR.")


def draw_all(folder: Path, _: Sources) -> None:
    """Draw everything that needs no data and no further package."""
    draw_pairs(folder)
    draw_odd_pictures(folder)
    draw_deep_pictures(folder)
    draw_volumes(folder)
    write_texts(folder)
    write_weights(folder)


def draw_list(folder: Path, _: Sources) -> None:
    """Draw two pairs, and lists that lie above them: a right one, two wrong ones."""
    for i, name in enumerate(("day", "night")):
        write_picture(folder / f"{name}/rgb.png", bytes_of(draw(110 + i, 3)))
        write_picture(folder / f"{name}/thermal.png", bytes_of(draw(120 + i)))
    head, day = "vis,ir,case\n", "day/rgb.png,day/thermal.png"
    texts = {
        "list.csv": f"{head}{day},first\nnight/rgb.png,night/thermal.png,second\n",
        "gone.csv": f"{head}{day},first\nnight/rgb.png,night/none.png,second\n",
        "twice.csv": f"{head}{day},first\nnight/rgb.png,night/thermal.png,first\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


# --- copies ---------------------------------------------------------------------------------------


def copy_examples(folder: Path, _: Sources) -> None:
    """Copy the example pair of the repository."""
    for name in ("vis.png", "ir.png"):
        shutil.copyfile(HERE / "examples" / "night-street" / name, folder / name)


def copy_authors(folder: Path, sources: Sources) -> None:
    """Copy weights in the published layout."""
    if sources.authors is None:
        raise MissingInputError("weights in the published layout: name them with --authors")
    if not sources.authors.is_file():
        raise MissingInputError(f"{sources.authors.name}: no such file")
    shutil.copyfile(sources.authors, folder / "authors.pth")


def copy_data(inside: str, names: Sequence[str], count: int | None = None) -> Maker:
    """Return what copies folders of the data; of each `count` files of equal stems, spread out."""

    def make(folder: Path, sources: Sources) -> None:
        if sources.data is None:
            raise MissingInputError(f"{inside}: name the data with --data")
        for name in names:
            source = sources.data / inside / name
            if not source.is_dir():
                raise MissingInputError(f"{inside}/{name}: not in the data")
            files = sorted(path for path in source.iterdir() if path.is_file())
            if count is not None:
                files = files[:: max(1, len(files) // count)][:count]
            (folder / name).mkdir()
            for path in files:
                shutil.copyfile(path, folder / name / path.name)

    return make


Maker = Callable[[Path, Sources], None]
MAKERS: dict[str, Maker] = {
    "drawn": draw_all,
    "maps": draw_maps,
    "list": draw_list,
    "example": copy_examples,
    "authors": copy_authors,
    "visir": copy_data("visir/val", ("vis", "ir")),
    "visir5": copy_data("visir/val", ("vis", "ir"), 5),
    "visnir": copy_data("visnir/val", ("vis", "nir")),
    "ct_mri": copy_data("medical/ct_mri/val", ("ct", "mri"), MAX_SLICES),
    "pet_mri": copy_data("medical/pet_mri/val", ("pet", "mri"), MAX_SLICES),
    "spect_mri": copy_data("medical/spect_mri/val", ("spect", "mri"), MAX_SLICES),
    "sts": copy_data("volumes/STS_002", ("CT", "MR_T1", "PET")),
}
