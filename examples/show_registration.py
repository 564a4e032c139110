"""Show two cameras that are not aligned, before and after, fused: docs/registration.jpg.

    python examples/show_registration.py WORK docs/registration.jpg

The drawn night street is seen by a second, coarser thermal camera beside the first: rotated, with
another field of view and size. The commands that docs/cameras.md names are run in the folder WORK;
the picture shows both sources, checkerboards before and after, and both fused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from scipy import ndimage

from fnetcli.imaging.planar import resizing
from fnetcli.reports.registered import checkerboard

GAP, LINE, FONT = 6, 22, 16  # pixels between panels, of a caption, of its letters
SIZE = (260, 208)  # of the second camera
LINEAR = np.array([[0.80, 0.045], [-0.045, 0.80]])  # pixels of the visible picture per pixel
SHIFT = (58.0, 44.0)
COMMON = ("--view", "common")


def main() -> None:
    """Warp the thermal picture, register, fuse, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for the results")
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    street = Path(__file__).parent / "night-street"
    given.work.mkdir(parents=True, exist_ok=True)
    thermal = given.work / "ir.png"
    second_camera(street / "ir.png").save(thermal)
    pair = ["--vis", str(street / "vis.png"), "--ir", str(thermal)]
    as_they_are = fused(given.work / "before", *pair, "--resize", "vis")[0]
    registered, record = fused(given.work / "after", *pair, "--register", "similarity", *COMMON)
    visible = PIL.Image.open(street / "vis.png").convert("RGB")
    left, top, width, height = record["alignment"]["window"]
    box = left, top, left + width, top + height

    def enlarged(picture: PIL.Image.Image) -> PIL.Image.Image:
        return picture.resize(visible.size, PIL.Image.Resampling.LANCZOS)

    before, after = (
        checkerboard(
            np.asarray(enlarged(visible.crop(box))),
            np.asarray(enlarged(onto(np.array(matrix), thermal, visible.size).crop(box))),
        )
        for matrix in (resizing(SIZE, visible.size), record["alignment"]["matrix"])
    )
    panels = {
        "visible": visible,
        "infrared, another camera": PIL.Image.open(thermal).convert("RGB"),
        "before: both in turn, where both see": before,
        "after: both in turn": after,
        "before: fused": enlarged(as_they_are.crop(box)),
        "after: fused": enlarged(registered),
    }
    sheet_of(panels, visible.size).save(given.picture, quality=88, optimize=True)
    print(given.picture)


def fused(out: Path, *options: str) -> tuple[PIL.Image.Image, dict[str, Any]]:
    """Fuse the only pair that these options name; return the picture and its record."""
    command = ["fuse", *options, "-o", str(out), "--existing", "overwrite"]
    subprocess.run([sys.executable, "-m", "fnetcli", *command], check=True)  # noqa: S603  our own
    record = json.loads((out / "manifest.jsonl").read_text().splitlines()[-1])
    picture = next((out / "fused").iterdir())
    return PIL.Image.open(picture).convert("RGB"), record


def second_camera(path: Path) -> PIL.Image.Image:
    """Return the thermal picture as a coarser camera beside the first would see it."""
    image = np.asarray(PIL.Image.open(path).convert("L"), np.float32)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]].astype(float)
    x = LINEAR[0, 0] * columns + LINEAR[0, 1] * rows + SHIFT[0]
    y = LINEAR[1, 0] * columns + LINEAR[1, 1] * rows + SHIFT[1]
    return PIL.Image.fromarray(sampled(image, x, y))


def onto(
    matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]], path: Path, size: tuple[int, int]
) -> PIL.Image.Image:
    """Return a picture warped onto another one of this size."""
    image = np.asarray(PIL.Image.open(path).convert("L"), np.float32)
    rows, columns = np.mgrid[: size[1], : size[0]].astype(float)
    back = np.linalg.inv(matrix)
    x, y, w = (back[i, 0] * columns + back[i, 1] * rows + back[i, 2] for i in range(3))
    return PIL.Image.fromarray(sampled(image, x / w, y / w))


def sampled(
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    x: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    y: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return an image at points, black outside."""
    values = ndimage.map_coordinates(image, (y, x), order=1, mode="constant")
    levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.rint(values).astype(np.uint8)
    return levels


def sheet_of(panels: Mapping[str, PIL.Image.Image], size: tuple[int, int]) -> PIL.Image.Image:
    """Return pictures in rows of two, with captions."""
    across, down = size[0] + GAP, size[1] + LINE + GAP
    sheet = PIL.Image.new("RGB", (2 * across - GAP, (len(panels) + 1) // 2 * down - GAP), "white")
    pen, font = PIL.ImageDraw.Draw(sheet), PIL.ImageFont.load_default(FONT)
    for i, (words, panel) in enumerate(panels.items()):
        left, top = i % 2 * across, i // 2 * down
        pen.text((left, top), words, fill="black", font=font)
        sheet.paste(panel, (left, top + LINE))
    return sheet


if __name__ == "__main__":
    main()
