"""Draw a made head as four scanners see it: CT, MRI, PET and SPECT, each on a grid of its own.

    python examples/draw_head_volumes.py FOLDER      # ct, mri, pet, spect: .nii.gz
    fnet fuse --ct FOLDER/ct.nii.gz --mri FOLDER/mri.nii.gz --reference ct -o OUT/ct
    fnet fuse --pet FOLDER/pet.nii.gz --mri FOLDER/mri.nii.gz -o OUT/pet
    python examples/draw_head_volumes.py FOLDER OUT  # medical.png, the figure of docs/medical.md

Nobody was scanned: the head is a few ellipsoids, so it is free of any rights but this project's
own. The CT is axial and thick-sliced, the MRI oblique, nearly sagittal and with a smaller field of
view, the PET coarse, the SPECT coarser; all are computed from one description of the head, in
millimetres, so how well they come together shows in the figure. Each tissue has three numbers; PET
and SPECT share the third.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Array = NDArray[np.float32]
Grid = tuple[NDArray[np.float64], tuple[float, float, float], tuple[int, int, int]]

# Centre, half axes (mm, RAS+); then Hounsfield units, T1 signal, SUV. Later ones lie over earlier.
TISSUES: tuple[tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]], ...] = (
    ((0, 0, 0), (77, 98, 92), (-60, 800, 0.4)),  # skin and fat
    ((0, 0, 0), (73, 94, 88), (1000, 60, 0.4)),  # skull
    ((0, 0, 0), (67, 88, 82), (8, 160, 0.6)),  # fluid around the brain
    ((0, 0, 0), (65, 86, 80), (38, 430, 6.5)),  # grey matter
    ((0, 0, 0), (56, 77, 71), (28, 620, 3.0)),  # white matter
    ((-19, 0, 8), (9, 15, 9), (38, 450, 7.0)),  # deep nuclei
    ((19, 0, 8), (9, 15, 9), (38, 450, 7.0)),
    ((-9, 6, 14), (5, 30, 13), (6, 150, 0.8)),  # ventricles
    ((9, 6, 14), (5, 30, 13), (6, 150, 0.8)),
    ((30, 34, 14), (19, 17, 16), (20, 300, 3.5)),  # a tumour's surroundings,
    ((30, 34, 14), (12, 11, 11), (42, 760, 9.5)),  # the tumour
    ((31, 31, 14), (4, 4, 4), (12, 200, 1.0)),  # and its dead middle
    ((-34, -44, 12), (4, 5, 5), (260, 120, 3.0)),  # a calcification: bright in CT alone
)
NAMES = ("ct", "mri", "pet", "spect")
NUMBERS = (0, 1, 2, 2)  # of a tissue, by scanner
NOISE = (9.0, 25.0, 0.25, 0.5)
BLUR = ((0.3, 0.5, 0.5), (0.4, 0.4, 0.4), (1.0, 1.0, 1.0), (1.2, 1.2, 1.2))  # voxels
AIR = (-1000.0, 5.0, 0.0)
GAP = 6
HEIGHT = 40  # of the axial slice that is shown: z in mm is about 14


def turn(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return a rotation about x, y, z in degrees."""
    found = np.eye(3)
    for axis, angle in enumerate(np.radians([x, y, z])):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        found = one @ found
    return found


def grid(
    steps: NDArray[np.float64], spacing: tuple[float, ...], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the affine (i, j, k) -> RAS+ of a grid about the middle of the head."""
    affine = np.eye(4)
    affine[:3, :3] = steps * spacing
    affine[:3, 3] = -affine[:3, :3] @ [(size - 1) / 2 for size in shape]
    return affine


LPS = np.diag([-1.0, -1.0, 1.0])  # columns to the left, rows to the back, slices to the head
SAGITTAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # rows down, slices to the right
GRIDS: tuple[Grid, ...] = (
    (LPS, (0.9, 0.9, 4.0), (200, 236, 50)),
    (turn(6, -9, 11) @ SAGITTAL, (1.2, 1.2, 1.4), (140, 150, 110)),
    (LPS, (3.5, 3.5, 3.3), (56, 64, 62)),
    (LPS, (5.5, 5.5, 5.5), (36, 41, 38)),
)


def scan(index: int, where: Grid | None = None) -> nib.Nifti1Image:
    """Return what one scanner makes of the head, on its own grid or another."""
    steps, spacing, shape = where or GRIDS[index]
    affine = grid(steps, spacing, shape)
    number = NUMBERS[index]
    places = np.moveaxis(np.indices(shape, np.float32), 0, -1)
    places = places @ affine[:3, :3].T.astype(np.float32) + affine[:3, 3].astype(np.float32)
    values: Array = np.full(shape, AIR[number], np.float32)
    for centre, radii, numbers in TISSUES:
        folds = 2.2 * np.sin(places[..., 1] / 4) * np.sin(places[..., 2] / 5 + places[..., 0] / 6)
        depth = np.sqrt(np.square((places - np.float32(centre)) / np.float32(radii)).sum(axis=-1))
        is_folded = numbers[1] == 620  # the border of grey and white matter
        inside = depth < (1 + folds / 60 if is_folded else 1)
        values[inside] = numbers[number]
    values = ndimage.gaussian_filter(values, BLUR[index])
    values += np.random.default_rng(index).normal(0, NOISE[index], shape).astype(np.float32)
    if NAMES[index] != "ct":
        values = np.maximum(values, 0)
    kind = np.float32 if number == 2 else np.int16
    image = nib.Nifti1Image(values.astype(kind), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    return image


# --- the figure -----------------------------------------------------------------------------------


def unit(values: Array, low: float, high: float) -> NDArray[np.uint8]:
    """Return grey levels."""
    return np.rint(255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)


def tile(image: nib.Nifti1Image, axis: int, low: float, high: float) -> Image.Image:
    """Return the slice through the tumour, as stored, rows down."""
    middle = [30.0, 34.0, 14.0, 1.0]
    index = round(float((np.linalg.inv(image.affine) @ middle)[axis]))
    stored = np.asarray(image.dataobj)
    zooms = [float(zoom) for i, zoom in enumerate(image.header.get_zooms()[:3]) if i != axis]
    if stored.dtype.names:
        planes = [stored[channel].take(index, axis).T for channel in "RGB"]
        shown = Image.fromarray(np.stack(planes, axis=-1))
    else:
        shown = Image.fromarray(unit(stored.take(index, axis).T, low, high)).convert("RGB")
    size = round(shown.width * zooms[0]), round(shown.height * zooms[1])
    return shown.resize(size, Image.Resampling.BILINEAR)


def draw_figure(folder: Path, out: Path) -> None:
    """Write docs' figure into the folder of volumes."""
    ct, mri, pet = (nib.load(folder / f"{name}.nii.gz") for name in NAMES[:3])
    first, second = out / "ct", out / "pet"

    def result(where: Path, name: str) -> nib.Nifti1Image:
        return nib.load(next((where / name).glob("*.nii.gz")))

    rows = (
        (
            ("CT, axial, 4 mm", tile(ct, 2, -160, 240)),
            ("fused, on the CT's grid", tile(result(first, "fused"), 2, 0, 1)),
            ("unique to the MRI", tile(result(first, "unique_mri"), 2, -0.5, 0.5)),
            ("unique to the CT", tile(result(first, "unique_ct"), 2, -0.5, 0.5)),
        ),
        (
            ("MRI, oblique, 1.2 mm", tile(mri, 2, 0, 900)),
            ("PET, axial, 3.5 mm", tile(pet, 2, 0, 10)),
            ("PET with MRI, fused", tile(result(second, "fused"), 2, 0, 1)),
            ("PET in colour over it", tile(result(second, "fused_color"), 2, 0, 1)),
        ),
    )
    font = ImageFont.load_default(13)
    widths = [max(row[i][1].width for row in rows) for i in range(4)]
    heights = [max(one[1].height for one in row) + 20 for row in rows]
    sheet = Image.new("RGB", (sum(widths) + 3 * GAP, sum(heights) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for (words, shown), width in zip(row, widths, strict=True):
            draw.text((left, top), words, fill="black", font=font)
            sheet.paste(shown, (left, top + 20))
            left += width + GAP
        top += height + GAP
    sheet.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        folder / "medical.png", optimize=True
    )


def main() -> None:
    """Write the volumes, or the figure of their fusion."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) == 3:
        draw_figure(folder, Path(sys.argv[2]))
        return
    for index, name in enumerate(NAMES):
        nib.save(scan(index), folder / f"{name}.nii.gz")


if __name__ == "__main__":
    main()
