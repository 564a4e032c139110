"""Small files under the names that the pages use for a reader's own."""

from __future__ import annotations

import runpy
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import rasterio
import tifffile
import torch
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.models.fnet import IFNET
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig
from fnetcli.models.fnet.network import FNet, IFNet
from fnetcli.models.torch_arrays import at_rest
from tests import drawn_films, flir_files
from tests.checkpoints.test_loading import published
from tests.drawn_pictures import write
from tests.drawn_scenes import other_modality, scene
from tests.drawn_volumes import write_series
from tests.networks import resting
from tests.paths import ROOT

HEIGHT, WIDTH = 112, 144  # of pictures that are registered
SMALL = 48  # pixels along both sides of all others
PAIRS = (("VIS_DIR", "IR_DIR"), ("VIS_FRAMES", "IR_FRAMES"))
SCENES = ("TRAIN", "HELD", "TEST", "VAL", "SCENES", "data/train", "train", "held", "test")
PICTURES = ("VAL/{}", "data/ct_mri/train/{}", "data/pet_mri/train/{}", "data/spect_mri/train/{}")
LISTS = {  # list.csv, which differs from page to page
    "docs/folders": "vis,ir\nphoto.jpg,thermal.png\n",
    "docs/evaluating": "vis,ir,CDDFuse\nphoto.jpg,thermal.png,photo.png\n",
    "docs/medical": "ct,mri,case\nCT_DIR,scan.nii.gz,P1\na.nii.gz,b.nii.gz,P2\n",
}
SETS = {"TNO": ("street", "1"), "MSRS": ("00537D", "1")}
CLASSES = 3  # of labels
# Voxels of the drawn head, in millimetres and in number: CT, MRI, PET.
SPACING, SHAPE = (6.0, 6.0, 6.0), (28, 34, 32)


def draw(folder: Path) -> None:
    """Write all of them."""
    _pictures(folder)
    _scenes(folder)
    _bands(folder)
    _thermal_cameras(folder)
    _films(folder)
    _volumes(folder)
    _weights(folder)


def variables() -> dict[str, Any]:
    """Return what the programs of the pages take for granted."""
    small, large = (luminances(0, *shape) for shape in ((SMALL, SMALL), (HEIGHT, WIDTH)))
    visible, infrared = ((image / 255).astype(np.float32) for image in luminances(0, 176, 208))
    ct: Any = nib.load("a.nii.gz")
    return {
        "thermal": _counts(small[1]),
        "counts": np.stack([_counts(large[1])] * 2),
        "photos": torch.from_numpy(_colored(small[0])).movedim(-1, 0).expand(2, -1, -1, -1),
        "thermals": torch.from_numpy(small[1])[None, None].expand(2, -1, -1, -1),
        "array": ct.get_fdata(),
        "affine": ct.affine,
        "visible": visible,
        "infrared": infrared,
        "a": visible,
        "b": infrared,
        "fused": (visible + infrared) / 2,
        "rows": [{"vis": "VIS/0.png", "ir": "IR/0.png"}],
    }


def luminances(seed: int, height: int = SMALL, width: int = SMALL) -> tuple[Any, Any]:
    """Return two grey pictures of one scene, uint8."""
    one = scene(seed)[:height, :width]
    both = (np.clip(255 * image, 0, 255).astype(np.uint8) for image in (one, other_modality(one)))
    return tuple(both)  # type: ignore[return-value]


def _colored(grey: NDArray[Any]) -> NDArray[np.uint8]:
    return np.stack([grey, grey // 2 + 60, 255 - grey], axis=-1).astype(np.uint8)


def _counts(grey: NDArray[Any]) -> NDArray[np.uint16]:
    """Return counts, in hundredths of a kelvin."""
    return (28_000 + 12 * grey.astype(np.uint16)).astype(np.uint16)


def _pictures(folder: Path) -> None:
    visible, thermal = luminances(0)
    write(folder / "photo.jpg", _colored(visible))
    write(folder / "photo.png", _colored(visible))
    write(folder / "thermal.png", thermal)
    tifffile.imwrite(folder / "thermal.tif", _counts(thermal))
    (folder / "frame.y16").write_bytes(_counts(thermal).tobytes())
    for i in range(2):
        visible, thermal = luminances(i)
        for vis, ir in PAIRS:
            write(folder / vis / f"{i}.png", _colored(visible))
            write(folder / ir / f"{i}.png", thermal)
        write(folder / "DIR" / f"{i}_RGB.png", _colored(visible))
        write(folder / "DIR" / f"{i}_T.png", thermal)
        write(folder / "DIR" / f"{i}.png", thermal)
        (folder / "FRAMES").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "FRAMES" / f"{i}.tif", _counts(thermal))
        visible, thermal = luminances(i, HEIGHT, WIDTH)
        write(folder / "VIS" / f"{i}.png", _colored(visible))
        write(folder / "IR" / f"{i}.png", thermal)
        for name in ("FUSED", "THEIRS", "OURS"):
            write(folder / name / f"{i}.png", thermal)
    write(folder / "a.jpg", _colored(visible))
    write(folder / "a.png", _colored(visible))
    write(folder / "b.png", thermal)


def _scenes(folder: Path) -> None:
    """Write pairs that are trained on or scored, with labels and fused pictures."""
    for name, i in product(SCENES, range(2)):
        visible, thermal = luminances(i + len(name))
        write(folder / name / "vis" / f"{i}.png", _colored(visible))
        write(folder / name / "ir" / f"{i}.png", thermal)
        write(folder / name / "label" / f"{i}.png", 1 + thermal // (256 // CLASSES + 1))
    for (name, cases), i in product(SETS.items(), range(2)):
        visible, thermal = luminances(i)
        for place in (name, f"data/{name.lower()}"):
            write(folder / place / "vis" / f"{cases[i]}.png", _colored(visible))
            write(folder / place / "ir" / f"{cases[i]}.png", thermal)
        for place in (f"{name}/cddfuse", f"fused/u2fusion/{name.lower()}"):
            write(folder / place / f"{cases[i]}.png", visible)
    for i in range(2):
        write(folder / "CDDFUSE" / f"{i}.png", luminances(i)[0])
    for place, i in product(PICTURES, range(2)):
        second, first = luminances(i)
        write(folder / place.format("mri") / f"{i}.png", first)
        for modality in ("ct", "pet", "spect"):
            write(folder / place.format(modality) / f"{i}.png", second)


def _bands(folder: Path) -> None:
    visible, thermal = luminances(0)
    write(folder / "00001D.png", np.dstack([_colored(visible), thermal]))
    (folder / "TILES").mkdir()
    bands = {"blue": visible, "green": visible, "red": visible, "nir": thermal}
    with rasterio.open(
        folder / "TILES" / "0.tif", "w", driver="GTiff", height=SMALL, width=SMALL,
        count=len(bands), dtype="uint8", crs="EPSG:32633",
        transform=rasterio.Affine(2, 0, 0, 0, -2, 0),
    ) as file:  # fmt: skip
        for i, (name, values) in enumerate(bands.items(), 1):
            file.write(values, i)
            file.set_band_description(i, name)


def _thermal_cameras(folder: Path) -> None:
    (folder / "CAMERA_DIR").mkdir()
    content = flir_files.flir_jpeg(flir_files.records())
    for name in ("IR_0001.jpg", "CAMERA_DIR/IR_0001.jpg", "CAMERA_DIR/IR_0002.jpg"):
        (folder / name).write_bytes(content)
    frames = [
        flir_files.block(flir_files.records(camera=flir_files.camera(taken=taken, rate=30)))
        for taken in (0, 33)
    ]
    (folder / "walk.seq").write_bytes(b"".join(frames))


def _films(folder: Path) -> None:
    visible = [drawn_films.visible(place) for place in range(3)]
    counts = [drawn_films.thermal(place) for place in range(3)]
    grey = [(frame // 40).astype(np.uint8) for frame in counts]
    drawn_films.write_film(folder / "a.mp4", visible, sound="aac")
    drawn_films.write_film(folder / "b.mp4", grey)
    drawn_films.write_film(folder / "thermal.mkv", counts, coded=drawn_films.COUNTS)


def _volumes(folder: Path) -> None:
    head = runpy.run_path(str(ROOT / "examples" / "draw_head_volumes.py"))
    where = (head["LPS"], SPACING, SHAPE)
    ct, mri, pet = (head["scan"](i, where) for i in range(3))
    for place, volume in {
        "a": ct,
        "b": mri,
        "scan": mri,
        "t1": mri,
        "P1/t1": mri,
        "IN/A_ct": ct,
        "IN/A_T1w": mri,
        "BIDS/sub-01/ct/sub-01_ct": ct,
        "BIDS/sub-01/anat/sub-01_T1w": mri,
        "BIDS/sub-02/pet/sub-02_pet": pet,
        "BIDS/sub-02/anat/sub-02_acq-mprage_run-1_T1w": mri,
        "BIDS/sub-03/anat/sub-03_T1w": mri,
        "BIDS/sub-03/anat/sub-03_ce-gd_T1w": ct,
        "CTS/P1": ct,
        "PETS/P1": pet,
    }.items():
        path = folder / f"{place}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(volume, path)
    series = {
        "CT_DIR": ("CT", ct),
        "P1/CT": ("CT", ct),
        "PATIENT/CT": ("CT", ct),
        "STUDY/A": ("CT", ct),
        "STUDY/B": ("MR", mri),
        "PATIENT/MR": ("MR", mri),
        "STUDIES/P1/CT": ("CT", ct),
        "STUDIES/P1/MR_T1": ("MR", mri),
        "T1_DIR": ("MR", mri),
        "FLAIR_DIR": ("MR", mri),
        "PET_DIR": ("PT", pet),
    }
    for number, (place, (modality, volume)) in enumerate(series.items(), 1):
        _series(folder / place, modality, volume, 2 if place == "STUDY/A" else 100 + number)
    for time in (1, 2):
        _series(folder / f"DYNAMIC/{time}", "PT", pet, 20, time)
    (folder / "BIDS" / "dataset_description.json").write_text(
        '{"Name": "drawn", "BIDSVersion": "1.10.0"}'
    )


def _series(folder: Path, modality: str, volume: Any, number: int, time: int = 0) -> None:
    """Write slices as DICOM: series of one patient and study, which share a frame of reference."""
    pixels = np.rint(np.asarray(volume.dataobj)).astype(np.int16).T
    matrix = volume.affine @ np.eye(4)[[2, 1, 0, 3]]
    further: dict[str, Any] = {"Units": "BQML"} if modality == "PT" else {}
    further |= {"TemporalPositionIdentifier": time} if time else {}
    write_series(
        folder, pixels, matrix, modality,
        SeriesInstanceUID=f"1.2.826.0.1.3680043.8.498.2.{number}", SeriesNumber=number,
        SeriesDescription="T1 axial" if modality == "MR" else modality, **further,
    )  # fmt: skip


def _weights(folder: Path) -> None:
    """Write two small networks, one in the published layout too, and an inverse of one."""
    torch.manual_seed(0)
    network = resting(FNet(FNetConfig(atoms=4, kernel_size=3, iterations=2)))
    for name in ("FNet.pth", "mine.pth"):
        torch.save({"params": published(network)}, folder / name)
    for name in ("mine", "ours", "ae02"):
        path = folder / "runs" / name / "best.safetensors"
        path.parent.mkdir(parents=True)
        save_weights(path, network, {})
    mine = folder / "runs" / "mine" / "best.safetensors"
    config = IFNetConfig(atoms=4, kernel_size=3, iterations=1)
    owner = {"name": mine.name, "sha256": load_weights(mine).sha256}
    inverse = at_rest(IFNET, config, IFNet(config))
    save_weights(mine.with_name("best-inverse.safetensors"), inverse, {"belongs_to": owner})
