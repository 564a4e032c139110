"""Draw a short film of a yard at night, visible and thermal, fuse it and draw a strip of frames.

    python examples/draw_film.py FOLDER docs/film.jpg

writes `vis.mp4` (25 frames per second), `ir.mkv` (counts of 16 bits, 9 frames per second), the film
that `fnet fuse` makes of them, `fused.mp4`, and the strip: visible, thermal and fused at five
moments. Nothing in it was photographed. A person walks through the light of a lamp and out of it;
the camera sees the lamp, the sign and the wall, the thermal camera the person everywhere.
"""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 192, 144
SECONDS, VISIBLE_RATE, THERMAL_RATE = 4, 25, 9
MOMENTS = (0.2, 1.0, 1.8, 2.6, 3.4)  # seconds, of the strip
GROUND = 104  # the row where the wall stands
LAMP = (62.0, 40.0)
KELVIN, PER_KELVIN = 273.15, 100  # counts are centikelvin
GAP = 6

Array = NDArray[np.float64]
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(float)


def blurred_box(left: float, top: float, right: float, bottom: float, soft: float = 0.8) -> Array:
    """Return how much of each pixel a box covers, with soft edges."""

    def side(distance: Array) -> Array:
        return np.clip(distance / soft + 0.5, 0, 1)

    across = np.minimum(side(COLUMNS - left), side(right - COLUMNS))
    down = np.minimum(side(ROWS - top), side(bottom - ROWS))
    return np.minimum(across, down)


def disc(x: float, y: float, radius: float) -> Array:
    """Return how much of each pixel a disc covers."""
    return np.clip(radius - np.hypot(COLUMNS - x, ROWS - y) + 0.5, 0, 1)


def person(time: float) -> dict[str, Array]:
    """Return where head, coat and legs of the walker are."""
    x = 18 + 40 * time
    swing = 5 * np.sin(2 * np.pi * 1.4 * time)
    return {
        "head": disc(x, 76, 4.2),
        "coat": blurred_box(x - 5, 81, x + 5, 104),
        "legs": np.maximum(
            blurred_box(x - 4 - swing / 2, 104, x - 1 - swing / 2, 124),
            blurred_box(x + 1 + swing / 2, 104, x + 4 + swing / 2, 124),
        ),
    }


def light() -> Array:
    """Return how bright the lamp makes every place."""
    distance = np.hypot(COLUMNS - LAMP[0], (ROWS - LAMP[1] - 30) * 0.9)
    return 0.05 + 1.1 * np.exp(-((distance / 42) ** 2))


def visible(time: float, noise: np.random.Generator) -> NDArray[np.uint8]:
    """Return what the camera sees: colours in the light of the lamp, and noise."""
    bricks = 0.55 + 0.12 * (((ROWS // 6) + (COLUMNS // 12 + (ROWS // 6) % 2 * 0.5)) % 2 < 1)
    wall = ROWS < GROUND
    colour = np.where(wall[..., None], bricks[..., None] * (0.75, 0.5, 0.42), (0.34, 0.34, 0.36))
    sign = blurred_box(118, 52, 156, 72)
    colour = colour * (1 - sign[..., None]) + sign[..., None] * np.array((0.2, 0.45, 0.8))
    stripes = sign * ((COLUMNS // 4) % 2 == 0) * (np.abs(ROWS - 62) < 5)
    colour = colour * (1 - stripes[..., None]) + stripes[..., None]
    for part, paint in (("coat", (0.16, 0.17, 0.2)), ("legs", (0.1, 0.1, 0.14))):
        colour = colour * (1 - (cover := person(time)[part][..., None])) + cover * np.array(paint)
    head = person(time)["head"][..., None]
    colour = colour * (1 - head) + head * np.array((0.75, 0.58, 0.48))
    lit = colour * light()[..., None] * (1.0, 0.88, 0.66)
    glow = disc(*LAMP, 4)[..., None] + np.exp(-np.hypot(COLUMNS - 62, ROWS - 40) / 6)[..., None]
    lit = lit + glow * (1.0, 0.9, 0.7) + sign[..., None] * (0.05, 0.1, 0.18)
    shown = 255 * np.clip(lit, 0, 1) ** 0.8 + noise.normal(0, 4, (HEIGHT, WIDTH, 3))
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def thermal(time: float, noise: np.random.Generator) -> NDArray[np.uint16]:
    """Return what the thermal camera counts: warm things, whatever the light."""
    celsius = np.where(ROWS < GROUND, 9 + 0.01 * (GROUND - ROWS), 6.0)
    celsius = celsius + 3 * blurred_box(20, 30, 40, 70, 3) + 14 * disc(*LAMP, 4)
    for part, degrees in (("legs", 18.0), ("coat", 20.0), ("head", 31.0)):
        cover = person(time)[part]
        celsius = celsius * (1 - cover) + cover * degrees
    counts = PER_KELVIN * (celsius + KELVIN) + noise.normal(0, 6, (HEIGHT, WIDTH))
    return np.rint(counts).astype(np.uint16)


def write_film(path: Path, frames: list[NDArray], rate: int, codec: str, kind: str) -> None:
    """Write frames of equal duration."""
    plain = "rgb24" if frames[0].ndim == 3 else kind
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=rate, options={"crf": "14"} if plain != kind else {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, kind
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format=plain).reformat(format=kind)
            frame.pts = i
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def frame_at(path: Path, seconds: float) -> Image.Image:
    """Return the frame of a film that is shown at a time."""
    with av.open(str(path)) as film:
        shown = None
        for frame in film.decode(video=0):
            if shown is not None and frame.pts * Fraction(frame.time_base) > seconds:
                break
            shown = frame
    if shown is None:
        raise SystemExit(f"{path}: no frame at {seconds} s")
    if shown.format.name == "gray16le":
        counts = shown.to_ndarray().astype(float)
        low, high = PER_KELVIN * (5 + KELVIN), PER_KELVIN * (32 + KELVIN)
        grey = np.clip(255 * (counts - low) / (high - low), 0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    return Image.fromarray(shown.to_ndarray(format="rgb24"))


def draw_strip(folder: Path, picture: Path) -> None:
    """Draw visible, thermal and fused frames below each other."""
    films = ("vis.mp4", "ir.mkv", "fused.mp4")
    size = (len(MOMENTS) * (WIDTH + GAP) + GAP, len(films) * (HEIGHT + GAP) + GAP)
    strip = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(strip)
    for row, name in enumerate(films):
        for column, moment in enumerate(MOMENTS):
            corner = GAP + column * (WIDTH + GAP), GAP + row * (HEIGHT + GAP)
            strip.paste(frame_at(folder / name, moment), corner)
            if row == 0:
                pen.text((corner[0] + 4, corner[1] + 2), f"{moment:.1f} s", fill="white")
    strip.save(picture, quality=90, optimize=True)


def main() -> None:
    """Draw, fuse, show."""
    folder, picture = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(7)
    seen = [visible(i / VISIBLE_RATE, noise) for i in range(SECONDS * VISIBLE_RATE)]
    felt = [thermal(i / THERMAL_RATE, noise) for i in range(SECONDS * THERMAL_RATE)]
    write_film(folder / "vis.mp4", seen, VISIBLE_RATE, "libx264", "yuv420p")
    write_film(folder / "ir.mkv", felt, THERMAL_RATE, "ffv1", "gray16le")
    films = ["--vis", str(folder / "vis.mp4"), "--ir", str(folder / "ir.mkv")]
    command = [sys.executable, "-m", "fnetcli", "fuse", *films, "-o", str(folder / "fused.mp4")]
    subprocess.run(command, check=True)  # noqa: S603  our own program
    draw_strip(folder, picture)


if __name__ == "__main__":
    main()
