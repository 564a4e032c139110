"""Draw the file of a camera that holds both images, and fuse it: docs/one-file.jpg.

    python examples/show_one_file.py WORK docs/one-file.jpg

writes `WORK/IR_0001.jpg`, a radiometric JPEG as FLIR cameras make it: counts, constants, a visible
picture, the factory alignment, and the rendering that viewers show. It is written byte by byte by
the functions that the tests use (`tests/flir_files.py`). The scene is a switch cabinet, nearer than
the factory assumed: one breaker and its cable are hot. Nothing in it was photographed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from show_registration import fused, onto, sheet_of

from fnetcli.reports.registered import checkerboard
from tests import flir_files
from tests.formats.files import encode

WIDTH, HEIGHT = 480, 360  # of the visible picture
THERMAL = (160, 120)
RATIO, OFFSET = 1.3, (6, -9)  # of the factory
PARALLAX = (-15.0, 4.0)  # visible pixels by which the cabinet lies elsewhere
OVER = 2  # subpixels along each side
AIR, HOT = 22.0, 64.0  # degrees Celsius
RAILS, BREAKERS = (70, 200), 9  # rows; of each rail
HOT_ONE = (1, 5)  # rail, breaker
LANCZOS = PIL.Image.Resampling.LANCZOS
IRON = ((0, 0, 20), (90, 0, 150), (210, 50, 80), (255, 160, 0), (255, 255, 210))

Array = NDArray[np.float64]
Colour = tuple[int, int, int]


@dataclass
class Canvas:
    """What both sensors see of the same shapes: paint and temperatures."""

    paint: PIL.ImageDraw.ImageDraw
    warmth: PIL.ImageDraw.ImageDraw

    def box(self, place: tuple[float, float, float, float], colour: Colour, warm: float) -> None:
        """Draw left, top, right, bottom."""
        corners = [OVER * one for one in place]
        self.paint.rectangle(corners, fill=colour)
        self.warmth.rectangle(corners, fill=warm)

    def cable(self, x: float, top: float, bottom: float, colour: Colour, warm: float) -> None:
        """Draw a cable that hangs down and is colder further down."""
        for y in np.arange(top, bottom):
            bow = 6 * np.sin(np.pi * (y - top) / (bottom - top))
            share = (bottom - y) / (bottom - top)
            left = x + bow - 3
            self.box((left, y, left + 5, y + 1), colour, AIR + 2 + (warm - AIR - 2) * share)


def draw() -> tuple[Array, Array]:
    """Return the visible picture, (H, W, 3) up to 255, and the temperatures, (H, W)."""
    size = OVER * WIDTH, OVER * HEIGHT
    painted, warm = PIL.Image.new("RGB", size, (46, 50, 54)), PIL.Image.new("F", size, AIR)
    canvas = Canvas(PIL.ImageDraw.Draw(painted), PIL.ImageDraw.Draw(warm))
    random = np.random.default_rng(5)
    canvas.box((22, 14, 458, 350), (150, 153, 150), AIR + 0.8)  # the frame
    canvas.box((34, 26, 446, 338), (92, 97, 98), AIR + 1.6)
    canvas.box((48, 308, 432, 330), (128, 130, 126), AIR + 1.0)  # the duct of the cables
    for row, top in enumerate(RAILS):
        canvas.box((48, top + 26, 432, top + 40), (176, 180, 184), AIR + 1.2)
        for i in range(BREAKERS):
            is_hot = (row, i) == HOT_ONE
            left = 56 + 41 * i
            own = HOT - 14 if is_hot else AIR + random.uniform(4, 8)
            end = (RAILS[1] - 8) if row == 0 else 308
            colour = ((120, 70, 40), (40, 80, 160), (130, 130, 126))[i % 3]
            canvas.cable(left + 16, top + 62, end, colour, HOT - 8 if is_hot else own)
            canvas.box((left, top, left + 34, top + 64), (222, 222, 216), own)
            canvas.box((left + 9, top + 18, left + 25, top + 42), (58, 60, 62), own + 1)
            canvas.box((left + 11, top + 20, left + 23, top + 29), (24, 88, 160), own + 0.5)
            canvas.box((left + 4, top + 55, left + 30, top + 61), (70, 72, 72), own + 4)
            if is_hot:
                canvas.box((left + 5, top + 53, left + 29, top + 63), (60, 58, 56), HOT)
            canvas.paint.text(
                (OVER * (left + 10), OVER * (top + 4)),
                f"F{row * BREAKERS + i + 1}",
                fill=(20, 20, 20),
                font_size=OVER * 11,
            )
    canvas.paint.polygon(
        [(OVER * x, OVER * y) for x, y in ((404, 40), (392, 62), (416, 62))], fill=(240, 200, 30)
    )
    canvas.paint.text(
        (OVER * 48, OVER * 45), "DISTRIBUTION  B2", fill=(235, 235, 230), font_size=OVER * 15
    )
    colours = np.asarray(painted.reduce(OVER), float)
    temperatures = np.asarray(warm.reduce(OVER), float)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 0.38 + 0.75 * np.exp(-(((x - 170) / 230) ** 2) - ((y - 90) / 210) ** 2)
    return (
        np.clip(colours * light[..., None] + random.normal(0, 3, colours.shape), 0, 255),
        temperatures,
    )


def as_thermal_camera(temperatures: Array) -> Array:
    """Return what the coarser camera beside the visible one measures."""
    step = WIDTH / RATIO / THERMAL[0]
    begin = [
        side * (1 - 1 / RATIO) / 2 + offset + moved + (step - 1) / 2
        for side, offset, moved in zip((WIDTH, HEIGHT), OFFSET, PARALLAX, strict=True)
    ]
    rows, columns = np.mgrid[: THERMAL[1], : THERMAL[0]]
    places = begin[1] + step * rows, begin[0] + step * columns
    measured = ndimage.map_coordinates(ndimage.gaussian_filter(temperatures, step / 2), places)
    noise = np.random.default_rng(6).normal(0, 0.08, measured.shape)
    return np.asarray(measured + noise)


def rendering(celsius: Array) -> NDArray[np.uint8]:
    """Return false colours, three times as large, as the camera shows them."""
    share = (celsius - celsius.min()) / np.ptp(celsius)
    share = ndimage.zoom(share, 3, order=1, grid_mode=True, mode="nearest")
    stops = np.linspace(0, 1, len(IRON))
    bands = [np.interp(share, stops, [colour[i] for colour in IRON]) for i in range(3)]
    return np.rint(np.stack(bands, axis=-1)).astype(np.uint8)


def write_file(path: Path) -> PIL.Image.Image:
    """Write the camera's file; return its rendering."""
    visible, temperatures = draw()
    celsius = as_thermal_camera(temperatures)
    records = {
        flir_files.PICTURE: flir_files.picture(np.rint(visible).astype(np.uint8)),
        flir_files.CAMERA: flir_files.camera(),
        flir_files.COUNTS: flir_files.png_counts(flir_files.counts_of(celsius)),
        flir_files.ALIGNMENT: flir_files.alignment(RATIO, *OFFSET),
    }
    shown = rendering(celsius)
    payloads = flir_files.chunks(flir_files.block(records))
    path.write_bytes(flir_files.with_segments(encode(shown, "JPEG", quality=92), payloads))
    return PIL.Image.fromarray(shown)


def main() -> None:
    """Write the file, fuse it by the factory alignment and as it is fused by default, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for the results")
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    file = given.work / "IR_0001.jpg"
    shown = write_file(file)
    factory, before = fused(
        given.work / "before", "--flir", str(file), "--register", "none", "--view", "reference"
    )
    refined, after = fused(given.work / "after", "--flir", str(file))
    visible = PIL.Image.fromarray(np.rint(draw()[0]).astype(np.uint8))
    left, top, width, height = after["alignment"]["window"]
    box = left, top, left + width, top + height
    grey = given.work / "thermal.png"
    shown.convert("L").resize(THERMAL, PIL.Image.Resampling.BOX).save(grey)
    boards = [
        checkerboard(
            np.asarray(visible.crop(box)),
            np.asarray(onto(np.array(one["alignment"]["matrix"]), grey, visible.size).crop(box)),
        )
        for one in (before, after)
    ]
    panels = {
        "what viewers show: the rendering": shown,
        "also in the file: a visible picture": visible,
        "before, by the factory alignment: both in turn": boards[0],
        "after: both in turn": boards[1],
        "before: fused (--register none)": factory.crop(box),
        "after: fused (the default)": refined,
    }
    size = 360, 270
    sheet = sheet_of({words: one.resize(size, LANCZOS) for words, one in panels.items()}, size)
    sheet.save(given.picture, quality=88, optimize=True)
    print(given.picture)


if __name__ == "__main__":
    main()
