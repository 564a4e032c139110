"""Draw what two cameras on one stand take: photographs, and thermal numbers beside them.

    python examples/draw_two_cameras.py FOLDER --count N --size S

writes, for each of N scenes of `draw_labelled_streets.py`, `visible/DATE_TIME.jpg` of S x S pixels,
and `thermal/DATE_TIME.tif`, half as large and a second later: 16-bit numbers in hundredths
of a kelvin, as many thermal cameras store them. The thermal camera sees a little less of the scene,
is turned by one degree and looks past the photograph's centre, the same in every pair:
`ROTATION`, `SCALE` and `SHIFT` say how. Nothing was photographed.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from draw_labelled_streets import draw
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SEED = 8
START = datetime(2026, 3, 1, 21, 0, 0)
STAMP = "%Y%m%d_%H%M%S"
ROTATION = 1.0  # degrees, about the centre
SCALE = 1.8  # pixels of the photograph per thermal pixel
SHIFT = (-0.02, 0.03)  # rows, columns; in sides of the photograph
COLDEST, STEP = 27315 - 1500, 24  # of grey 0; per grey level


def matrix() -> NDArray[np.float64]:
    """Return how a step in thermal (row, column) goes in the photograph."""
    angle = np.deg2rad(ROTATION)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return SCALE * turn


def as_seen_beside(thermal: NDArray[np.uint8], size: int) -> NDArray[np.uint16]:
    """Return what the thermal camera stores of a scene that lies on the photograph."""
    step = matrix()
    centre = (np.array(thermal.shape) - 1) / 2 + np.array(SHIFT) * len(thermal)
    blurred = ndimage.gaussian_filter(thermal.astype(np.float64), SCALE / 3)
    seen = ndimage.affine_transform(
        blurred, step, centre - step @ np.full(2, (size - 1) / 2), (size, size), mode="nearest"
    )
    return np.rint(COLDEST + STEP * seen).astype(np.uint16)


def main(arguments: Sequence[str]) -> int:
    """Write the two folders."""
    parser = argparse.ArgumentParser(description="Draw the pictures of two cameras on one stand.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=3, help="scenes (3)")
    parser.add_argument("--size", type=int, default=320, help="sides of a photograph (320)")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.size < 64:
        parser.error("give --count of at least 1 and --size of at least 64")
    visible, thermal = options.folder / "visible", options.folder / "thermal"
    for folder in (visible, thermal):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        scene = draw(SEED, number, options.size)
        moment = START + number * timedelta(seconds=10)
        Image.fromarray(scene.visible).save(visible / f"{moment:{STAMP}}.jpg", quality=95)
        seen = as_seen_beside(scene.thermal, options.size // 2)
        later = moment + timedelta(seconds=1)
        Image.fromarray(seen).save(thermal / f"{later:{STAMP}}.tif")
    print(f"{options.folder}: {options.count} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
