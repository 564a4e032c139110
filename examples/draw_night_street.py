"""Draw the example pair: one night street, seen by a camera and by a thermal camera.

    python examples/draw_night_street.py [FOLDER]

writes `vis.png` (colour) and `ir.png` (grey, white is hot) into FOLDER, by default the folder
`night-street` beside this script. Nothing in the pair was photographed, so it is free of any rights
but this project's own; and both pictures come from one description of the street, so they are
aligned to the pixel.

How it is made: `build_scene` fills one buffer with the nearest surface behind every (sub)pixel:
where it is, which way it faces, what colour it has and how warm it is. `render_visible` lights that
buffer with the lamps of the street; `render_thermal` reads off its temperatures and never looks at
the lamps. Lengths are metres, temperatures degrees Celsius; x runs to the right across the street,
y up, z along the street away from the camera.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Array = NDArray[np.float32]
Index = NDArray[np.intp]
Span = tuple[float, float]
Colour = tuple[float, float, float]

WIDTH, HEIGHT = 320, 256
OVER = 4  # subpixels along each side of a pixel
SEED = 20240
EYE = np.array([0.0, 2.25, 0.0], np.float32)
UP = np.array([0.0, 1.0, 0.0], np.float32)

# The street.
LEFT_KERB, RIGHT_KERB, KERB = -3.0, 3.4, 0.14
WALL, FACADE = -5.3, 6.6
EVERYWHERE = (-1e9, 1e9)
AIR, CLEAR_SKY = 10.0, -9.0

SODIUM: Colour = (1.0, 0.66, 0.32)
PINK: Colour = (1.0, 0.16, 0.42)
CYAN: Colour = (0.12, 0.80, 1.0)


# --------------------------------------------------------------------------------------------------
# Texture
# --------------------------------------------------------------------------------------------------


def generator(stream: int) -> np.random.Generator:
    """Return the generator of one purpose, so that a change to one leaves the others alone."""
    return np.random.default_rng([SEED, stream])


LATTICE = generator(0).random((256, 256)).astype(np.float32)


def noise(a: ArrayLike, b: ArrayLike) -> Array:
    """Return smooth noise in 0..1 with features about one unit wide."""
    where = np.stack(np.broadcast_arrays(np.asarray(a), np.asarray(b)))
    read = ndimage.map_coordinates(LATTICE, where, order=1, mode="grid-wrap")
    return np.asarray(read, np.float32)


def fractal(a: ArrayLike, b: ArrayLike, octaves: int = 4) -> Array:
    """Return noise in 0..1 with ever finer detail."""
    a, b = np.asarray(a), np.asarray(b)
    total, weight = np.zeros(np.broadcast(a, b).shape, np.float32), 0.0
    for k in range(octaves):
        total += 0.5**k * noise(a * 2.0**k + 17.3 * k, b * 2.0**k + 5.9 * k)
        weight += 0.5**k
    return total / weight


def dice(a: Array, b: Array, salt: int = 0) -> Array:
    """Return one random number in 0..1 for each whole cell of the plane."""
    rows, columns = np.floor(a).astype(int) + salt, np.floor(b).astype(int) * 7
    return np.asarray(LATTICE[rows % 256, columns % 256], np.float32)


def smoothstep(low: float, high: float, value: ArrayLike) -> Array:
    """Go smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((np.asarray(value) - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def tint(colour: Colour, strength: ArrayLike) -> Array:
    """Return `colour` times a strength for each point."""
    return np.asarray(strength, np.float32)[..., None] * np.array(colour, np.float32)


def lettering(text: str, upright: bool = False) -> Array:
    """Return a picture, 0..1, of a line of text, or of its letters one below the other."""
    font = ImageFont.load_default(size=96)
    lines = "\n".join(text) if upright else text
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
        (0, 0), lines, font=font, align="center", spacing=14, stroke_width=2
    )
    size = (int(box[2] - box[0]) + 1, int(box[3] - box[1]) + 1)
    image = Image.new("L", size)
    ImageDraw.Draw(image).multiline_text(
        (-box[0], -box[1]),
        lines,
        fill=255,
        font=font,
        align="center",
        spacing=14,
        stroke_width=2,
    )
    return np.asarray(image, np.float32) / 255.0


def sample(picture: Array, across: Array, down: Array) -> Array:
    """Read a picture at places given as fractions of its size; 0 outside."""
    rows, columns = picture.shape
    where = np.stack([down * rows - 0.5, across * columns - 0.5])
    read = ndimage.map_coordinates(picture, where, order=1, mode="constant")
    return np.asarray(read, np.float32)


# --------------------------------------------------------------------------------------------------
# The buffer both sensors read
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Camera:
    """An upright pinhole camera; both sensors look through it."""

    width: int
    height: int
    over: int  # subpixels along each side of a pixel
    eye: Array
    yaw: float  # to the right
    focal: float  # pixels, as are the column of the middle and the row of the horizon
    centre: float
    horizon: float

    @property
    def forward(self) -> Array:
        """The way it looks."""
        return np.array([np.sin(self.yaw), 0.0, np.cos(self.yaw)], np.float32)

    @property
    def right(self) -> Array:
        """The way its rows run."""
        return np.array([np.cos(self.yaw), 0.0, -np.sin(self.yaw)], np.float32)

    def rays(self) -> Array:
        """Return the direction of every subpixel, row by row, one metre ahead."""
        rows, columns = np.mgrid[0 : self.height * self.over, 0 : self.width * self.over]
        across = ((columns + 0.5) / self.over - self.centre) / self.focal
        above = (self.horizon - (rows + 0.5) / self.over) / self.focal
        across, above = across.astype(np.float32), above.astype(np.float32)
        rays = across[..., None] * self.right + above[..., None] * UP + self.forward
        return np.asarray(rays.reshape(-1, 3), np.float32)

    def project(self, points: Array) -> Array:
        """Return the (column, row), in subpixels, at which points in space appear."""
        seen = points - self.eye
        depth = seen @ self.forward
        columns = self.over * (self.centre + self.focal * (seen @ self.right) / depth)
        rows = self.over * (self.horizon - self.focal * seen[:, 1] / depth)
        return np.stack([columns, rows], axis=1)


# Turned a little to the right, its horizon a little below the middle.
CAMERA = Camera(WIDTH, HEIGHT, OVER, EYE, np.deg2rad(8.5), 250.0, 160.0, 134.0)


@dataclass
class Surface:
    """What a patch of something is, one value for all of it or one for each point."""

    albedo: ArrayLike
    temperature: ArrayLike
    emission: ArrayLike = (0.0, 0.0, 0.0)
    gloss: ArrayLike = 0.0
    emissivity: ArrayLike = 0.95

    def at(self, mask: NDArray[np.bool_]) -> "Surface":
        """Return the surface of the points that a mask picks."""
        parts = (self.albedo, self.temperature, self.emission, self.gloss, self.emissivity)
        each = (np.asarray(part, np.float32) for part in parts)
        return Surface(*(p[mask] if p.shape[: mask.ndim] == mask.shape else p for p in each))


Material = Callable[[Array], Surface]


@dataclass
class Canvas:
    """A window of the buffer with its own metres: `x` to the right, `y` up from the ground."""

    index: Index
    x: Array
    y: Array
    depth: float
    metre: float  # subpixels


class Scene:
    """The nearest surface behind every subpixel."""

    def __init__(self, camera: Camera = CAMERA) -> None:
        self.camera = camera
        self.ray = camera.rays()
        count = len(self.ray)
        self.depth = np.full(count, np.inf, np.float32)
        self.normal = np.zeros((count, 3), np.float32)
        self.albedo = np.zeros((count, 3), np.float32)
        self.emission = np.zeros((count, 3), np.float32)
        self.temperature = np.zeros(count, np.float32)
        self.gloss = np.zeros(count, np.float32)
        self.emissivity = np.ones(count, np.float32)
        self.still = np.zeros(count, bool)  # part of the street itself: shadows fall on it
        self.blockers: list[tuple[float, float, float, float]] = []  # spheres that throw shadows

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of subpixels."""
        return self.camera.width * self.camera.over, self.camera.height * self.camera.over

    def put(
        self, index: Index, depth: Array, normal: Array, surface: Surface, still: bool = False
    ) -> None:
        """Write a surface where it is nearer than what is there."""
        near = depth < self.depth[index]
        target = index[near]
        self.depth[target] = depth[near]
        self.normal[target] = normal[near] if normal.ndim == 2 else normal
        self.still[target] = still
        for name in ("albedo", "emission", "temperature", "gloss", "emissivity"):
            value, buffer = np.asarray(getattr(surface, name), np.float32), getattr(self, name)
            buffer[target] = value[near] if value.ndim == buffer.ndim else value

    def meet(
        self, axis: int, at: float, x: Span, y: Span, z: Span
    ) -> tuple[Index, Array, NDArray[np.float32]]:
        """Find the subpixels that look at part of an axis-aligned plane, their depth and place."""
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = (at - self.camera.eye[axis]) / self.ray[:, axis]
        index = np.flatnonzero((depth > 0.3) & (depth < self.depth))
        place = self.camera.eye + depth[index, None] * self.ray[index]
        inside = np.ones(len(index), bool)
        for k, (low, high) in enumerate((x, y, z)):
            if k != axis:
                inside &= (place[:, k] >= low) & (place[:, k] < high)
        index = index[inside]
        return index, depth[index], place[inside]

    def plane(
        self,
        axis: int,
        at: float,
        material: Material,
        *,
        x: Span = EVERYWHERE,
        y: Span = EVERYWHERE,
        z: Span = EVERYWHERE,
    ) -> None:
        """Put a part of an axis-aligned plane, facing the camera."""
        index, depth, place = self.meet(axis, at, x, y, z)
        normal = np.zeros(3, np.float32)
        normal[axis] = np.sign(self.camera.eye[axis] - at)
        self.put(index, depth, normal, material(place), still=True)

    def glaze(self, axis: int, at: float, temperature: float, y: Span, z: Span) -> None:
        """Put a pane: the visible camera looks through it, the thermal one sees the glass."""
        index, _, place = self.meet(axis, at, EVERYWHERE, y, z)
        self.temperature[index] = temperature + 1.6 * fractal(place[:, 1] * 0.9, place[:, 2] * 0.9)
        self.emissivity[index] = 0.86
        self.normal[index] = np.eye(3, dtype=np.float32)[axis] * np.sign(self.camera.eye[axis] - at)

    def polygon(self, corners: ArrayLike, surface: Surface, bulge: float = 0.0) -> None:
        """Put a flat polygon in space, shaded as if it bulged to its left and right."""
        points = np.asarray(corners, np.float32)
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        normal /= np.linalg.norm(normal)
        towards = float(normal @ (self.camera.eye - points[0]))
        normal = normal if towards > 0 else -normal
        pixels = self.camera.project(points)
        low = np.maximum(np.floor(pixels.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(pixels.max(0)).astype(int) + 1, self.size)
        if (high <= low).any():
            return
        image = Image.new("1", (int(high[0] - low[0]), int(high[1] - low[1])))
        ImageDraw.Draw(image).polygon([tuple(map(float, p)) for p in pixels - low], fill=1)
        rows, columns = np.nonzero(np.asarray(image))
        index = (rows + low[1]) * self.size[0] + columns + low[0]
        depth = ((points[0] - self.camera.eye) @ normal) / (self.ray[index] @ normal)
        side = (
            self.camera.eye + depth[:, None] * self.ray[index] - points.mean(0)
        ) @ self.camera.right
        turned = normal + bulge * side[:, None] * self.camera.right
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        self.put(index, depth.astype(np.float32), turned, surface)

    def canvas(self, x: float, z: float, y: float, wide: float, high: float) -> Canvas:
        """Open a window for a flat figure that stands at (x, z) and faces the camera."""
        foot = np.array([[x, y, z]], np.float32)
        depth = float(((foot - self.camera.eye) @ self.camera.forward)[0])
        metre = self.camera.focal * self.camera.over / depth
        column, row = self.camera.project(foot)[0]
        left, right = column - wide / 2 * metre, column + wide / 2 * metre
        top, bottom = row - high * metre, row + 0.1 * metre
        columns = np.arange(max(int(left), 0), min(int(right) + 1, self.size[0]))
        rows = np.arange(max(int(top), 0), min(int(bottom) + 1, self.size[1]))
        index = rows[:, None] * (self.size[0]) + columns
        across = np.broadcast_to((columns + 0.5 - column) / metre, index.shape)
        above = np.broadcast_to(((row - rows - 0.5) / metre)[:, None], index.shape)
        return Canvas(index, across.astype(np.float32), above.astype(np.float32), depth, metre)

    def figure(
        self, canvas: Canvas, shape: Array, surface: Surface, step: int = 0, relief: float = 0.06
    ) -> None:
        """Put a flat figure, shaded as if it were round; of two, the higher step is in front.

        `shape` is a signed distance, negative inside; arrays of `surface` follow the canvas.
        """
        inside = shape < 0.0
        if not inside.any():
            return
        height = ndimage.gaussian_filter(
            np.minimum(ndimage.distance_transform_edt(inside) / canvas.metre, relief),
            0.012 * canvas.metre,
        )
        down, across = np.gradient(height * canvas.metre)
        normal = (
            -across[..., None] * self.camera.right
            + down[..., None] * UP
            - 0.55 * self.camera.forward
        )
        normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)
        depth = np.full(int(inside.sum()), canvas.depth - 0.004 * step, np.float32)
        self.put(canvas.index[inside], depth, normal[inside], surface.at(inside))


# --------------------------------------------------------------------------------------------------
# Ground, walls and sky
# --------------------------------------------------------------------------------------------------


def asphalt(place: Array) -> Surface:
    """Pave the damp road; its paint and puddles do not show in its temperature."""
    x, z = place[:, 0], place[:, 2]
    grain = fractal(x * 22, z * 22, 2)
    patches = fractal(x * 0.5 + 3, z * 0.35 + 9)
    albedo = tint((0.92, 0.96, 1.0), 0.05 + 0.05 * grain + 0.035 * patches)
    worn = smoothstep(0.22, 0.36, fractal(x * 6, z * 6))
    centre = (np.abs(x - 0.2) < 0.07) & ((z % 5.0) < 2.6) & ((z < 15.2) | (z > 20.2))
    edge = (np.abs(x - LEFT_KERB - 0.3) < 0.05) & ((z < 15.2) | (z > 20.2))
    bay = (np.abs(x - 1.35) < 0.05) & (z < 14.4) & ((z % 1.0) < 0.55)
    zebra = (np.abs(z - 17.7) < 1.7) & (((x + 0.2) % 1.0) < 0.52)
    stop = (np.abs(z - 20.9) < 0.2) & (x < 0.1)
    paint = (centre | edge | bay | zebra | stop) * (0.35 + 0.65 * worn)
    albedo = albedo * (1 - paint[:, None]) + tint((1.0, 0.98, 0.92), 0.50 * paint)
    tracks = np.exp(-(((np.abs(x + 1.5) - 0.75) / 0.28) ** 2))
    warmth = 12.0 + 3.0 * smoothstep(0.3, 0.7, patches) + 1.6 * grain + 1.2 * tracks
    warmth += 5.5 * under_car(x, z)
    hole = np.hypot(x + 1.3, z - 7.6)
    lid = smoothstep(0.40, 0.37, hole)
    rings = (hole < 0.38) & ((hole % 0.09) < 0.035)
    albedo = albedo * (1 - 0.5 * lid[:, None]) + tint((1, 1, 1), 0.06 * rings)
    warmth = warmth + 7.0 * lid + 1.6 * smoothstep(0.75, 0.40, hole)
    wet = smoothstep(0.46, 0.66, fractal(x * 0.8 + 40, z * 0.45 + 2))
    gloss = (0.22 + 0.55 * wet) * (0.65 + 0.7 * grain) * (1 - 0.5 * paint)
    return Surface(albedo * (1 - 0.35 * wet[:, None]), warmth, gloss=gloss)


def under_car(x: Array, z: Array) -> Array:
    """Return how much of the parked car's engine and exhaust the ground at (x, z) has felt."""
    engine = np.exp(-(((x - 2.45) / 0.7) ** 2) - ((z - 12.6) / 0.9) ** 2)
    exhaust = 0.6 * np.exp(-(((x - 1.95) / 0.25) ** 2) - ((z - 8.7) / 0.45) ** 2)
    return np.asarray(engine + exhaust, np.float32)


def slabs(place: Array) -> Surface:
    """Lay paving slabs, with a kerb stone along the road."""
    x, z = place[:, 0], place[:, 2]
    row = np.floor(z / 0.6)
    a, b = (x + 0.3 * (row % 2)) / 0.6, z / 0.6
    joint = np.maximum(np.abs(a % 1 - 0.5), np.abs(b % 1 - 0.5)) > 0.465
    tone = 0.15 + 0.06 * dice(a, b, 3) + 0.06 * fractal(x * 14, z * 14, 2)
    stain = smoothstep(0.5, 0.7, fractal(x * 0.9, z * 0.7 + 30))
    tone = tone * (1 - 0.25 * stain) * np.where(joint, 0.45, 1.0)
    kerb = np.minimum(np.abs(x - LEFT_KERB), np.abs(x - RIGHT_KERB)) < 0.2
    tone = np.where(kerb, 0.27 - 0.12 * ((z % 1.0) < 0.04), tone)
    warmth = 10.0 + 1.4 * dice(a, b, 3) + 1.0 * stain - 1.2 * joint - 1.2 * kerb
    return Surface(tint((1.0, 0.96, 0.9), tone), warmth, gloss=0.05 + 0.16 * stain)


def kerb_face(place: Array) -> Surface:
    """Show the upright side of the kerb."""
    seam = (place[:, 2] % 1.0) < 0.04
    return Surface(tint((1.0, 0.97, 0.92), 0.24 - 0.12 * seam), 12.0)


def lawn(place: Array) -> Surface:
    """Grow grass behind the garden wall."""
    blades = fractal(place[:, 0] * 6, place[:, 2] * 3)
    return Surface(tint((0.5, 0.8, 0.35), 0.05 + 0.05 * blades), 6.0 + 2.5 * blades)


def garden_wall(place: Array) -> Surface:
    """Pile up a low wall of rough stones."""
    y, z = place[:, 1], place[:, 2]
    row = np.floor(y / 0.24)
    joint = ((y / 0.24) % 1 < 0.14) | (((z + 0.27 * (row % 2)) / 0.55) % 1 < 0.07)
    rough = fractal(z * 9, y * 9, 3)
    tone = (0.08 + 0.09 * rough + 0.03 * dice(z / 0.55, y / 0.24)) * np.where(joint, 0.5, 1.0)
    return Surface(tint((1.0, 0.93, 0.84), tone), 10.6 + 1.0 * rough - 0.5 * joint)


@dataclass(frozen=True)
class House:
    """One house of the row on the right."""

    start: float
    end: float
    top: float
    colour: Colour
    lit: float  # share of its windows
    brick: bool
    sill: float = 4.6  # height of the first row of windows
    salt: int = 0
    warm: float = 0.0  # how much warmer its walls are


HOUSES = (
    House(0.0, 16.4, 10.5, (0.36, 0.19, 0.13), 0.42, brick=True, salt=5, warm=0.6),
    House(16.4, 26.0, 12.5, (0.33, 0.31, 0.27), 0.5, brick=False, sill=1.6, salt=11, warm=-0.9),
    House(26.0, 38.0, 9.3, (0.26, 0.22, 0.20), 0.45, brick=True, sill=1.5, salt=23, warm=0.9),
    House(38.0, 54.0, 13.5, (0.30, 0.27, 0.25), 0.4, brick=False, sill=1.6, salt=31, warm=-0.6),
    House(54.0, 80.0, 10.0, (0.24, 0.22, 0.22), 0.4, brick=True, sill=1.6, salt=47),
)
SHOP_WINDOW: tuple[Span, Span] = ((0.65, 2.75), (8.3, 12.6))  # y, z
SHOP_DOOR: tuple[Span, Span] = ((0.2, 2.6), (13.2, 14.3))
SHOP_SIGN: tuple[Span, Span] = ((3.02, 3.92), (8.9, 13.6))


@dataclass(frozen=True)
class Windows:
    """Where the windows of a wall are, and what is behind each of its points."""

    pane: NDArray[np.bool_]
    frame: NDArray[np.bool_]
    ledge: NDArray[np.bool_]
    glow: Array


def windows(along: Array, up: Array, share: float, salt: int, pitch: float = 2.5) -> Windows:
    """Lay a grid of sash windows over a wall; `share` of them is lit."""
    storey = 3.0
    cell, floor = along / pitch, up / storey
    a, b = (cell % 1.0 - 0.5) * pitch, (floor % 1.0) * storey
    opening = (np.abs(a) < 0.62) & (b < 1.75) & (up > 0)
    bars = (np.abs(a) < 0.045) | (np.abs(b - 1.15) < 0.05) | (np.abs(a) > 0.54) | (b > 1.67)
    bars |= b < 0.08
    ledge = (np.abs(a) < 0.8) & (b > 2.88) & (up > -0.2)
    chance, kind = dice(cell, floor, salt), dice(cell, floor, salt + 101)
    bright = np.where(chance < share, 0.25 + 1.0 * dice(cell, floor, salt + 57), 0.0)
    curtain = np.abs(a) > 0.16 + 0.5 * kind
    blind = b > 0.7 + 1.6 * dice(cell, floor, salt + 77)
    folds = 0.75 + 0.25 * np.sin(a * 60.0)
    inside = np.where(curtain, 0.55 * folds, 1.0) * np.where(blind, 0.5, 1.0)
    inside *= 0.55 + 0.45 * smoothstep(0.0, 1.6, b)
    pane = opening & ~bars
    colours = np.array([(1.0, 0.56, 0.20), (1.0, 0.68, 0.34), (0.95, 0.42, 0.13)], np.float32)
    colour = colours[(kind * 2.999).astype(int)]
    colour = np.where((kind > 0.93)[:, None], np.array([0.45, 0.65, 1.0], np.float32), colour)
    return Windows(pane, opening & bars, ledge, colour * (bright * inside * pane)[:, None])


def masonry(house: House, along: Array, up: Array) -> tuple[Array, Array]:
    """Return the tone and the temperature of a house's bare wall."""
    rough = fractal(along * 5, up * 5)
    if house.brick:
        row = np.floor(up / 0.15)
        joint = ((up / 0.15) % 1 < 0.16) | (((along + 0.2 * (row % 2)) / 0.4) % 1 < 0.06)
        tone = 0.75 + 0.35 * dice(along / 0.4 + 0.5 * (row % 2), up / 0.15) - 0.3 * joint
    else:
        tone = 0.75 + 0.5 * rough
    tone = tone * (0.8 + 0.4 * fractal(along * 0.5, up * 0.4 + 8))
    slab = np.exp(-(((up - house.sill + 0.7) % 3.0 - 0.3) ** 2) / 0.05)
    damp = fractal(along * 0.6 + house.salt, up * 0.3)
    heat = 6.9 + 2.6 * rough + 1.8 * slab + 3.2 * damp + 1.2 * tone + house.warm
    return tone, heat


def row_of_houses(place: Array) -> Surface:
    """Face the houses on the right; a lit window is a little warmer than a dark one."""
    y, z = place[:, 1], place[:, 2]
    albedo, glow = np.zeros_like(place), np.zeros_like(place)
    warmth, gloss = np.zeros_like(y), np.zeros_like(y)
    for house in HOUSES:
        here = (z >= house.start) & (z < house.end)
        along, up = z[here] - house.start + 0.2, y[here]
        tone, heat = masonry(house, along, up)
        sash = windows(along, up - house.sill, house.lit, house.salt)
        base = tint(house.colour, tone)
        trim = (np.abs(up - house.top + 0.3) < 0.3) | (np.abs(up - 4.15) < 0.12) | sash.ledge
        trim |= (up < 0.6) | ((along < 0.5) & (not house.brick))
        base = np.where(trim[:, None], tint((0.30, 0.28, 0.25), tone), base)
        base = np.where(sash.frame[:, None], np.array([0.38, 0.36, 0.33], np.float32), base)
        albedo[here] = np.where(sash.pane[:, None], np.array([0.02, 0.022, 0.028]), base)
        night = tint((0.5, 0.7, 1.0), 0.012 * sash.pane * (0.5 + fractal(along, up)))
        glow[here] = 0.40 * sash.glow + night
        lit = sash.glow.max(axis=1) > 0.02
        heat = np.where(sash.pane, np.where(lit, 9.6, 6.6) + 1.2 * fractal(along, up), heat)
        heat = np.where(sash.frame, 12.6, heat) + 0.7 * trim
        radiator = windows(along, up - house.sill + 1.15, 0.0, house.salt)
        heat += 1.3 * (radiator.pane & ~sash.pane & ~sash.frame)
        warmth[here], gloss[here] = heat, 0.3 * sash.pane
    return Surface(albedo, warmth, glow, gloss, np.where(gloss > 0, 0.86, 0.94))


def shop_interior(place: Array) -> Surface:
    """Furnish the cafe behind its window: a warm room with shelves and hanging lamps."""
    y, z = place[:, 1], place[:, 0] + place[:, 2]
    shelf = (np.abs((y - 0.25) % 0.55 - 0.27) < 0.03) & (y > 0.9) & (y < 2.3)
    bottle_row = ((y - 0.25) % 0.55 < 0.24 - 0.16 * dice(z / 0.13, y / 0.55)) & (y > 1.15)
    bottle = bottle_row & (y < 2.3) & (np.abs(z / 0.13 % 1 - 0.5) < 0.36)
    pick = dice(z / 0.13, y / 0.55, 9)[:, None]
    bottles = np.where(pick < 0.4, (0.25, 0.6, 0.3), np.where(pick < 0.7, (1.3, 0.4, 0.1), 0.35))
    wall = tint((1.0, 0.38, 0.085), 0.18 + 0.22 * fractal(z * 2, y * 2))
    glow = np.where(bottle[:, None], wall * bottles, wall)
    glow = np.where(shelf[:, None], wall * 0.35, glow)
    lamp = np.exp(-((((z + 0.3) % 1.3 - 0.65) / 0.35) ** 2) - ((y - 2.3) / 0.45) ** 2)
    bulb = np.hypot((z + 0.3) % 1.3 - 0.65, y - 2.36) < 0.09
    glow *= (0.62 + 0.40 * smoothstep(0.2, 2.2, y) + 1.1 * lamp)[:, None]
    glow += tint((1.0, 0.7, 0.35), 2.0 * bulb)
    return Surface(0.0, 14.0, glow)  # lit by its own lamps only


def shop_floor(place: Array) -> Surface:
    """Board the floor and the ceiling of the cafe."""
    board = 0.7 + 0.3 * dice(place[:, 2] / 0.2, place[:, 0] * 0)
    return Surface(0.0, 14.0, tint((0.75, 0.40, 0.18), 0.16 * board))


def shop_sign(place: Array) -> Surface:
    """Paint the board over the cafe; its neon letters are as warm as the board."""
    (low, high), (near, far) = SHOP_SIGN
    across, down = (far - place[:, 2]) / (far - near), (high - place[:, 1]) / (high - low)
    text = ndimage.gaussian_filter(lettering("CAFE"), 1.0)
    text = np.pad(text, ((30, 30), (40, 40)))
    tube = sample(text, across, down)
    halo = sample(ndimage.gaussian_filter(text, 14.0), across, down)
    rim = np.maximum(np.abs(across - 0.5) - 0.478, (np.abs(down - 0.5) - 0.43) * 0.3)
    line = smoothstep(0.012, 0.002, np.abs(rim))
    glow = tint(PINK, 2.6 * tube + 0.35 * halo) + tint(
        (1.0, 0.55, 0.7), 1.0 * smoothstep(0.6, 1, tube)
    )
    return Surface((0.03, 0.03, 0.035), 11.0, glow + tint(CYAN, 1.1 * line), 0.1)


def hotel_sign(place: Array) -> Surface:
    """Paint the sign that stands out from the second house and faces the camera."""
    across, down = (place[:, 0] - 5.45) / 0.95, (7.6 - place[:, 1]) / 3.9
    text = np.pad(lettering("HOTEL", upright=True), ((26, 26), (34, 34)))
    tube = sample(text, across, down)
    edge = np.maximum(np.abs(across - 0.5) - 0.44, (np.abs(down - 0.5) - 0.485) * 4.0)
    line = smoothstep(0.05, 0.01, np.abs(edge))
    glow = tint(CYAN, 1.5 * tube) + tint((0.6, 0.9, 1.0), 0.8 * tube) + tint(PINK, 0.7 * line)
    return Surface((0.03, 0.03, 0.04), 10.2, glow)


def far_block(start: float, salt: int) -> Material:
    """Return the material of a house across the end of the street."""

    def material(place: Array) -> Surface:
        x, y = place[:, 0] - start, place[:, 1]
        sash = windows(x, y - 1.5, 0.4, salt, pitch=2.8)
        tone = 0.12 + 0.08 * fractal(x, y)
        heat = np.where(sash.pane, 7.5, 9.8) + fractal(x, y)
        return Surface(tint((0.9, 0.9, 1.0), tone), heat, 0.30 * sash.glow)

    return material


def paint_sky(scene: Scene) -> None:
    """Fill what is left: dark blue above, the glow of the town below; cold for the other camera."""
    sky = np.flatnonzero(~np.isfinite(scene.depth))
    ray = scene.ray[sky]
    high = np.clip(ray[:, 1], 0.0, 1.0)
    cloud = smoothstep(
        0.45, 0.75, fractal(ray[:, 0] * 5 / (high + 0.35), 3.0 / (high + 0.3) + ray[:, 0])
    )
    low = np.exp(-high / 0.16)
    glow = tint((0.010, 0.017, 0.042), 1.0 - 0.4 * high) + tint((0.085, 0.052, 0.046), low)
    glow += tint((0.030, 0.022, 0.024), cloud * (0.35 + low))
    moon, bite = ray - (0.045, 0.40, 0.99), ray - (0.056, 0.409, 0.99)
    disc = smoothstep(0.0195, 0.0175, np.hypot(moon[:, 0], moon[:, 1]))
    disc *= smoothstep(0.0175, 0.0205, np.hypot(bite[:, 0], bite[:, 1]))
    scene.emission[sky] = glow + tint((1.0, 0.95, 0.82), 0.55 * disc)
    scene.temperature[sky] = CLEAR_SKY + 9.0 * low + 9.0 * cloud * (0.6 + 0.4 * low)
    stars = generator(1)
    for _ in range(46):
        column, row = int(stars.integers(WIDTH * OVER)), int(stars.integers(90 * OVER))
        spot = [(row + r) * WIDTH * OVER + column + c for r in (0, 1, 2) for c in (0, 1, 2)]
        spot = [p for p in spot if p < len(scene.depth) and not np.isfinite(scene.depth[p])]
        scene.emission[spot] += float(stars.random()) ** 3 * 0.3


def build_street(scene: Scene) -> None:
    """Put the road, the pavements, the houses and the garden wall."""
    scene.plane(1, 0.0, asphalt, x=(LEFT_KERB, RIGHT_KERB), z=(0, 82))
    scene.plane(0, LEFT_KERB, kerb_face, y=(0, KERB), z=(0, 82))
    scene.plane(0, RIGHT_KERB, kerb_face, y=(0, KERB), z=(0, 82))
    scene.plane(1, KERB, slabs, x=(WALL, LEFT_KERB), z=(0, 82))
    scene.plane(1, KERB, slabs, x=(RIGHT_KERB, FACADE), z=(0, 82))
    scene.plane(0, WALL, garden_wall, y=(0, 1.05), z=(0, 60))
    scene.plane(1, 1.05, garden_wall, x=(WALL - 0.3, WALL), z=(0, 60))
    scene.plane(1, KERB, lawn, x=(-60, WALL), z=(0, 82))
    for house in HOUSES:
        scene.plane(2, house.start, far_block(FACADE, house.salt), x=(FACADE, 30), y=(0, house.top))
    build_facade(scene)
    for start, end, top, at, salt in (
        (-70.0, -33.0, 9.0, 78.0, 50),
        (-37.0, -17.0, 13.0, 80.0, 60),
        (-19.0, -4.0, 10.5, 76.0, 70),
        (-5.0, 8.0, 15.5, 79.0, 80),
    ):
        scene.plane(2, at, far_block(start, salt), x=(start, end), y=(0, top))


def build_facade(scene: Scene) -> None:
    """Put the row of houses with the cafe cut into the first of them."""
    holes = (SHOP_WINDOW, SHOP_DOOR)
    top = max(house.top for house in HOUSES)
    across, up, along = (FACADE, 9.4), (KERB, 3.0), (7.4, 14.9)
    scene.plane(0, across[1], shop_interior, y=up, z=along)
    scene.plane(2, along[1], shop_interior, x=across, y=up)
    for level in up:
        scene.plane(1, level, shop_floor, x=across, z=along)
    build_guest(scene, 7.8, 9.75)
    build_guest(scene, 8.0, 11.9)
    index, depth, place = scene.meet(0, FACADE, EVERYWHERE, (0, top), (0, 80))
    y, z = place[:, 1], place[:, 2]
    wall = np.ones(len(index), bool)
    for (low, high), (near, far) in holes:
        bars = ((z - near) % ((far - near) / 3) < 0.07) | (far - z < 0.07) | (high - y < 0.07)
        bars |= (np.abs(y - low - 1.62) < 0.03) | (y - low < 0.07)
        wall &= ~((y > low) & (y < high) & (z > near) & (z < far) & ~bars)
    for house in HOUSES:
        wall &= ~((z >= house.start) & (z < house.end) & (y > house.top))
    surface = row_of_houses(place)
    normal = np.array([-1.0, 0.0, 0.0], np.float32)
    for ys, zs in holes:
        scene.glaze(0, FACADE, 14.6, ys, zs)
    scene.put(index[wall], depth[wall], normal, surface.at(wall), still=True)
    ys, zs = SHOP_SIGN
    scene.plane(0, FACADE - 0.12, shop_sign, y=ys, z=zs)
    scene.plane(2, 16.2, hotel_sign, x=(5.45, 6.4), y=(3.7, 7.6))


def build_guest(scene: Scene, x: float, z: float) -> None:
    """Put a guest of the cafe, a dark shape against the warm room."""
    canvas = scene.canvas(x, z, 0.6, 2.0, 1.6)
    body = smooth_union(
        limb(canvas, (0.02, 0.15), (-0.02, 0.50), 0.16, 0.15),
        limb(canvas, (-0.13, 0.56), (0.12, 0.56), 0.07, 0.07),
        limb(canvas, (0.0, 0.62), (0.03, 0.74), 0.06, 0.05),
        soft=0.06,
    )
    arm = np.minimum(
        limb(canvas, (0.14, 0.54), (0.32, 0.32), 0.06, 0.05),
        limb(canvas, (0.32, 0.32), (0.38, 0.46), 0.045, 0.05),
    )
    head = limb(canvas, (0.04, 0.80), (0.05, 0.88), 0.095, 0.105)
    table = limb(canvas, (0.22, 0.24), (0.85, 0.24), 0.03, 0.03)
    leg = limb(canvas, (0.55, -0.1), (0.55, 0.24), 0.03, 0.03)
    dark = Surface(0.0, 14.0, (0.022, 0.010, 0.005))
    scene.figure(canvas, np.minimum.reduce((body, arm, head, table, leg)), dark)


# --------------------------------------------------------------------------------------------------
# Figures
# --------------------------------------------------------------------------------------------------

Point = tuple[float, float]


def limb(canvas: Canvas, start: Point, end: Point, first: float, last: float) -> Array:
    """Return the signed distance to a tapered stroke."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = canvas.x - start[0], canvas.y - start[1]
    t = np.clip((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-9), 0.0, 1.0)
    return np.asarray(np.hypot(px - t * dx, py - t * dy) - (first + t * (last - first)), np.float32)


def smooth_union(*shapes: Array, soft: float = 0.03) -> Array:
    """Join shapes with rounded inner corners."""
    joined = shapes[0]
    for shape in shapes[1:]:
        h = np.clip(0.5 + 0.5 * (joined - shape) / soft, 0.0, 1.0)
        joined = joined * (1 - h) + shape * h - soft * h * (1 - h)
    return joined


@dataclass(frozen=True)
class Pose:
    """The joints of a figure, in its own height: elbow and hand, knee and foot, of both sides."""

    elbows: tuple[Point, Point]
    hands: tuple[Point, Point]
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]
    shoulders: float = 0.095
    hips: float = 0.045
    toes: tuple[float, float] = (-0.02, 0.02)


STANDING = Pose(
    elbows=((-0.142, 0.645), (0.158, 0.635)),
    hands=((-0.143, 0.505), (0.115, 0.515)),
    knees=((-0.052, 0.285), (0.068, 0.29)),
    feet=((-0.055, 0.035), (0.092, 0.035)),
)
STROLLING = Pose(
    elbows=((-0.115, 0.64), (0.085, 0.635)),
    hands=((-0.05, 0.515), (0.20, 0.56)),
    knees=((-0.035, 0.285), (0.065, 0.29)),
    feet=((-0.125, 0.055), (0.105, 0.03)),
    shoulders=0.06,
    hips=0.02,
    toes=(0.05, 0.055),
)
STRIDING = Pose(
    elbows=((0.10, 0.64), (-0.10, 0.63)),
    hands=((0.04, 0.52), (-0.19, 0.55)),
    knees=((0.03, 0.285), (-0.085, 0.30)),
    feet=((0.14, 0.06), (-0.13, 0.03)),
    shoulders=0.06,
    hips=0.02,
    toes=(-0.05, -0.055),
)


@dataclass(frozen=True)
class Person:
    """Someone in the street."""

    x: float
    z: float
    tall: float
    pose: Pose
    coat: Colour
    trousers: Colour
    ground: float = KERB
    hair: Colour = (0.04, 0.03, 0.025)
    skin: Colour = (0.42, 0.28, 0.20)
    long_coat: bool = False
    bag: bool = False


MURK: Colour = (0.085, 0.08, 0.075)  # as dark as the wall behind it
PEOPLE = (
    Person(
        -3.85, 10.2, 1.80, STANDING, MURK, (0.13, 0.13, 0.12), hair=MURK, skin=(0.12, 0.10, 0.09)
    ),
    Person(4.75, 10.1, 1.72, STROLLING, (0.40, 0.10, 0.07), (0.06, 0.08, 0.14), long_coat=True),
    Person(0.95, 17.6, 1.76, STRIDING, (0.10, 0.13, 0.17), (0.05, 0.05, 0.06), ground=0.0),
    Person(5.2, 21.5, 1.70, STANDING, (0.16, 0.15, 0.12), (0.05, 0.05, 0.07), bag=True),
    Person(4.5, 21.9, 1.80, STANDING, (0.06, 0.08, 0.10), (0.06, 0.06, 0.06)),
)


def build_person(scene: Scene, who: Person) -> None:
    """Put a person: cool coat, warmer where it is thin, bare head and hands the warmest."""
    canvas = scene.canvas(who.x, who.z, who.ground, 1.3, who.tall + 0.1)
    unit = Canvas(
        canvas.index,
        canvas.x / who.tall,
        canvas.y / who.tall,
        canvas.depth,
        canvas.metre * who.tall,
    )
    pose, folds = who.pose, fractal(canvas.x * 9 + who.z, canvas.y * 6)
    limbs = zip((-1, 1), pose.elbows, pose.hands, pose.knees, pose.feet, pose.toes, strict=True)
    step = 1
    for side, elbow, hand, knee, foot, toe in limbs:
        hip = (side * pose.hips, 0.50)
        leg = smooth_union(
            limb(unit, hip, knee, 0.062, 0.042), limb(unit, knee, foot, 0.042, 0.030), soft=0.02
        )
        shoe = limb(unit, (foot[0], foot[1] - 0.008), (foot[0] + toe, 0.018), 0.027, 0.020)
        warm_leg = 16.5 + 4.0 * folds + 2.0 * smoothstep(0.3, 0.5, unit.y)
        scene.figure(unit, leg, Surface(who.trousers, warm_leg), step)
        scene.figure(unit, shoe, Surface((0.03, 0.025, 0.02), 16.5), step + 1)
        far_side = 2 if side < 0 and pose.shoulders < 0.08 else 9
        shoulder = (side * pose.shoulders, 0.785)
        arm = smooth_union(
            limb(unit, shoulder, elbow, 0.042, 0.034),
            limb(unit, elbow, hand, 0.034, 0.026),
            soft=0.02,
        )
        scene.figure(unit, arm, Surface(who.coat, 18.0 + 4.0 * folds), far_side)
        palm = limb(unit, hand, (hand[0], hand[1] - 0.03), 0.021, 0.017)
        scene.figure(unit, palm, Surface(who.skin, 30.5), far_side + 1)
    build_trunk(scene, unit, who, folds)
    lump = 0.14 * who.tall / 1.75
    for up in (0.12, 0.35, 0.58, 0.85, 1.1, 1.35, 1.6):
        scene.blockers.append((who.x, who.ground + up * who.tall / 1.75, who.z, lump))


def build_trunk(scene: Scene, unit: Canvas, who: Person, folds: Array) -> None:
    """Put the coat, the head and what the person carries."""
    pose = who.pose
    hem = 0.36 if who.long_coat else 0.485
    trunk = smooth_union(
        limb(unit, (-pose.shoulders, 0.79), (pose.shoulders, 0.79), 0.042, 0.042),
        limb(unit, (0.0, 0.74), (0.0, 0.58), 0.085 + 0.3 * (pose.shoulders - 0.06), 0.078),
        limb(unit, (0.0, 0.60), (0.0, hem + 0.06), 0.080, 0.088),
        soft=0.05,
    )
    trunk = np.maximum(trunk, hem - unit.y)
    warm = (
        18.5 + 4.0 * folds + 3.0 * np.exp(-((unit.x / 0.06) ** 2)) * smoothstep(0.5, 0.75, unit.y)
    )
    scene.figure(unit, trunk, Surface(who.coat, warm), 6)
    lean = 0.012 * np.sign(pose.toes[0] + pose.toes[1])
    neck = limb(unit, (0.0, 0.82), (lean, 0.88), 0.032, 0.030)
    head = limb(unit, (lean, 0.905), (lean, 0.938), 0.047, 0.053)
    scene.figure(unit, neck, Surface(who.skin, 31.0), 7)
    scene.figure(unit, head, Surface(who.skin, 32.5 + 2.0 * folds), 11)
    crown = np.maximum(head - 0.006, 0.945 - unit.y - 0.6 * lean / 0.012 * 0.5 * unit.x)
    scene.figure(unit, crown, Surface(who.hair, 26.5), 12)
    collar = limb(unit, (-0.04, 0.835), (0.04, 0.835), 0.020, 0.020)
    scene.figure(unit, collar, Surface(who.coat, 25.0), 13)
    if who.bag:
        bag = limb(unit, (0.17, 0.43), (0.19, 0.36), 0.05, 0.055)
        scene.figure(unit, bag, Surface((0.3, 0.25, 0.1), 13.5), 14)


def build_dog(scene: Scene, x: float, z: float) -> None:
    """Put a dog on the pavement, looking to the right."""
    c = scene.canvas(x, z, KERB, 1.5, 1.1)
    body = smooth_union(
        limb(c, (-0.24, 0.37), (0.0, 0.37), 0.105, 0.11),
        limb(c, (0.0, 0.37), (0.20, 0.38), 0.11, 0.135),
        limb(c, (0.22, 0.43), (0.30, 0.55), 0.10, 0.085),
        soft=0.05,
    )
    head = smooth_union(
        limb(c, (0.32, 0.60), (0.35, 0.60), 0.10, 0.09),
        limb(c, (0.38, 0.575), (0.49, 0.555), 0.055, 0.042),
        soft=0.03,
    )
    head = np.minimum(head, limb(c, (0.27, 0.66), (0.23, 0.52), 0.035, 0.032))
    tail = smooth_union(
        limb(c, (-0.30, 0.42), (-0.42, 0.52), 0.035, 0.028),
        limb(c, (-0.42, 0.52), (-0.44, 0.64), 0.028, 0.016),
    )
    legs = [
        smooth_union(
            limb(c, (top, 0.34), (knee, 0.18), 0.07, 0.04),
            limb(c, (knee, 0.18), (paw, 0.03), 0.038, 0.034),
            soft=0.02,
        )
        for top, knee, paw in (
            (-0.25, -0.31, -0.27),
            (-0.22, -0.20, -0.15),
            (0.18, 0.20, 0.25),
            (0.14, 0.11, 0.09),
        )
    ]
    fur = fractal(c.x * 20, c.y * 20)
    coat = tint((0.34, 0.22, 0.11), 0.7 + 0.6 * fur)
    scene.figure(c, np.minimum.reduce(legs), Surface(coat * 0.8, 24.0 + 2 * fur), 1, relief=0.03)
    scene.figure(c, np.minimum(body, tail), Surface(coat, 24.5 + 3.0 * fur), 2)
    scene.figure(c, head, Surface(coat, 28.5 + 3.0 * fur), 3, relief=0.04)
    lead = limb(c, (-0.36, 0.90), (0.24, 0.52), 0.013, 0.013)
    scene.figure(c, lead, Surface((0.5, 0.08, 0.06), 14.0), 4)
    scene.blockers += [(x + d, KERB + 0.42, z, 0.14) for d in (-0.25, 0.0, 0.22)]


def build_cat(scene: Scene, x: float, z: float) -> None:
    """Put a black cat that sits in the dark."""
    c = scene.canvas(x, z, KERB if x < LEFT_KERB else 0.0, 0.9, 0.6)
    body = smooth_union(
        limb(c, (-0.03, 0.10), (0.02, 0.25), 0.10, 0.065),
        limb(c, (0.06, 0.05), (0.06, 0.22), 0.035, 0.04),
        soft=0.05,
    )
    tail = np.minimum(
        limb(c, (-0.10, 0.03), (-0.26, 0.04), 0.026, 0.022),
        limb(c, (-0.26, 0.04), (-0.33, 0.13), 0.022, 0.016),
    )
    head = limb(c, (0.04, 0.345), (0.055, 0.345), 0.062, 0.060)
    ears = np.minimum(
        limb(c, (0.005, 0.39), (-0.005, 0.435), 0.024, 0.006),
        limb(c, (0.085, 0.39), (0.10, 0.435), 0.024, 0.006),
    )
    fur = fractal(c.x * 25, c.y * 25)
    black = (0.045, 0.045, 0.045)
    scene.figure(c, np.minimum(body, tail), Surface(black, 23.5 + 3 * fur), 1)
    scene.figure(c, np.minimum(head, ears), Surface(black, 28.5 + 2.5 * fur), 2, relief=0.03)


def build_tree(scene: Scene, x: float, z: float, tall: float, salt: int) -> None:
    """Put a tree: a black shape to one camera, textured foliage to the other."""
    c = scene.canvas(x, z, KERB, tall * 1.15, tall * 1.1)
    trunk = limb(c, (0.0, -0.1), (0.05, tall * 0.5), 0.20, 0.12)
    for dx, dy, base in ((-1.3, 0.72, 0.33), (1.2, 0.70, 0.38), (0.3, 0.85, 0.45)):
        trunk = np.minimum(trunk, limb(c, (0.04, tall * base), (dx, tall * dy), 0.09, 0.03))
    leaves = fractal(c.x * 1.5 + salt * 13.7, c.y * 1.5 + salt * 7.1, 6)
    middle = tall * 0.66
    round_ = np.hypot(c.x / (tall * 0.38), (c.y - middle) / (tall * 0.36))
    crown = np.asarray(round_ + 1.35 * (0.5 - leaves) - 0.88, np.float32)
    light = fractal(c.x * 3.2 + salt, c.y * 3.2, 3)
    bark = Surface((0.05, 0.042, 0.035), 10.4 + fractal(c.x * 9, c.y * 3))
    green = tint((0.55, 0.8, 0.4), 0.030 + 0.05 * light)
    foliage = Surface(green, 6.2 + 9.0 * (light - 0.4) + 6.0 * (leaves - 0.5))
    scene.figure(c, trunk, bark, 1)
    scene.figure(c, crown, foliage, 2, relief=0.25)


def build_hedge(scene: Scene, z: float, salt: int) -> None:
    """Put a stretch of bushes behind the garden wall."""
    c = scene.canvas(-7.6, z, KERB, 9.0, 3.4)
    leaves = fractal(c.x * 1.6 + salt * 3.3, c.y * 1.6 + salt, 5)
    shape = np.asarray(c.y - 1.2 - 2.4 * (leaves - 0.35), np.float32)
    shape = np.maximum(shape, c.x - 1.9 - 0.8 * (leaves - 0.5))
    light = fractal(c.x * 4, c.y * 4, 3)
    green = tint((0.55, 0.8, 0.4), 0.028 + 0.04 * light)
    scene.figure(c, shape, Surface(green, 4.5 + 8.0 * light), 0, relief=0.2)


def build_post(scene: Scene, x: float, z: float) -> None:
    """Put a street lamp on the right pavement; its arm reaches over the road."""
    c = scene.canvas(x, z, KERB, 3.2, 6.2)
    metal = Surface((0.10, 0.11, 0.11), 10.0, gloss=0.25)
    post = np.minimum(
        limb(c, (0.0, 0.0), (0.0, 4.9), 0.075, 0.045), limb(c, (0.0, 0.0), (0.0, 0.7), 0.11, 0.09)
    )
    for start, end in (
        ((0.0, 4.85), (-0.12, 5.15)),
        ((-0.12, 5.15), (-0.38, 5.30)),
        ((-0.38, 5.30), (-0.62, 5.32)),
    ):
        post = np.minimum(post, limb(c, start, end, 0.04, 0.035))
    scene.figure(c, post, metal, 1)
    shade = np.maximum(limb(c, (-0.95, 5.28), (-0.55, 5.32), 0.13, 0.10), 5.25 - c.y)
    scene.figure(c, shade, Surface((0.12, 0.13, 0.13), 19.0), 2)
    bulb = np.maximum(limb(c, (-0.90, 5.24), (-0.66, 5.26), 0.085, 0.075), c.y - 5.27)
    scene.figure(c, bulb, Surface(0.1, 33.0, tint(SODIUM, 16.0)), 3)


def build_signal(scene: Scene, x: float, z: float) -> None:
    """Put a traffic light that shows red."""
    c = scene.canvas(x, z, KERB, 1.2, 3.9)
    post = limb(c, (0.0, 0.0), (0.0, 2.6), 0.06, 0.05)
    scene.figure(c, post, Surface((0.08, 0.08, 0.08), 10.0), 1)
    case = np.maximum(np.abs(c.x) - 0.20, np.abs(c.y - 3.05) - 0.50)
    scene.figure(c, case, Surface((0.025, 0.025, 0.025), 13.0), 2, relief=0.03)
    lamps: tuple[tuple[float, Colour, float, float], ...] = (
        (3.36, (1.0, 0.05, 0.03), 7.0, 22.0),
        (3.05, (1.0, 0.5, 0.05), 0.02, 13.0),
        (2.74, (0.1, 1.0, 0.4), 0.02, 13.0),
    )
    for y, colour, power, heat in lamps:
        lens = limb(c, (0.0, y), (0.0, y), 0.125, 0.125)
        scene.figure(c, lens, Surface(0.03, heat, np.array(colour) * power), 3)


# --------------------------------------------------------------------------------------------------
# Cars
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Car:
    """A car: where the middle of its rear bumper is, which way it looks, and its paint."""

    x: float
    z: float
    heading: int  # 1 looks away from the camera, -1 towards it
    paint: Colour
    engine: float  # temperature of the bonnet
    tail: float = 0.0
    beam: float = 0.0


CARS = (
    Car(2.42, 8.9, 1, (0.05, 0.10, 0.22), 29.0, tail=2.0),
    Car(-1.35, 26.0, -1, (0.25, 0.25, 0.26), 29.0, beam=22.0),
)

# The outline of a car from its rear to its nose: along, up, how far the side leans in there,
# and what lies between this corner and the next.
OUTLINE: tuple[tuple[float, float, float, str], ...] = (
    (0.06, 0.30, 0.06, "bumper"),
    (0.00, 0.56, 0.02, "paint"),
    (0.05, 0.98, 0.05, "glass"),
    (0.50, 1.40, 0.20, "paint"),
    (1.05, 1.49, 0.23, "paint"),
    (2.10, 1.47, 0.22, "glass"),
    (2.95, 1.02, 0.08, "bonnet"),
    (3.95, 0.84, 0.08, "grille"),
    (4.12, 0.58, 0.04, "bumper"),
    (4.08, 0.28, 0.08, "end"),
)
HALF = 0.86


def build_car(scene: Scene, car: Car) -> None:
    """Put a car: paint and lamps for one camera, engine, tyres and exhaust for the other."""

    def at(side: float, along: float, up: float) -> tuple[float, float, float]:
        return (car.x + side, up, car.z + car.heading * along)

    glass = Surface((0.02, 0.022, 0.026), 6.5, (0.004, 0.004, 0.005), 0.5, 0.84)
    paint = Surface(car.paint, 12.2, gloss=0.5, emissivity=0.9)
    skins = {
        "paint": paint,
        "glass": glass,
        "bumper": Surface((0.05, 0.05, 0.055), 12.8, gloss=0.15),
        "bonnet": Surface(car.paint, car.engine - 7.0, gloss=0.5),
        "grille": Surface((0.05, 0.05, 0.05), car.engine + 2.0, gloss=0.2),
    }
    for (a, b, lean, skin), (a2, b2, lean2, _) in pairwise(OUTLINE):
        w, w2 = HALF - lean, HALF - lean2
        quad = [at(-w, a, b), at(w, a, b), at(w2, a2, b2), at(-w2, a2, b2)]
        scene.polygon(quad, skins[skin], bulge=0.35)
        if skin == "glass":
            rim = [at(-w, a, b), at(-w2, a2, b2), at(-w2 + 0.07, a2, b2), at(-w + 0.07, a, b)]
            scene.polygon(nudge(rim), paint)
            scene.polygon(nudge([(2 * car.x - p[0], p[1], p[2]) for p in rim]), paint)
    for side in (-1, 1):
        build_flank(scene, car, side, skins, at)
    build_lamps(scene, car, at)
    for along in (0.7, 1.5, 2.3, 3.1, 3.6):
        scene.blockers.append((*at(0.0, along, 0.62), 0.62))
        scene.blockers.append((*at(0.0, along, 0.3), 0.75))


Placer = Callable[[float, float, float], tuple[float, float, float]]


def nudge(corners: Sequence[tuple[float, float, float]], by: float = 0.015) -> Array:
    """Move a polygon a little towards the camera, so that it lies on the surface below it."""
    points = np.asarray(corners, np.float32)
    towards = EYE - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return np.asarray(points + by * towards, np.float32)


def build_flank(scene: Scene, car: Car, side: int, skins: dict[str, Surface], at: Placer) -> None:
    """Put one side of a car with its windows and wheels."""
    lower = [at(side * HALF, a, b) for a, b in ((0.06, 0.3), (0.0, 0.56), (0.05, 0.98))]
    lower += [at(side * HALF, a, b) for a, b in ((2.95, 1.02), (3.95, 0.84), (4.12, 0.58))]
    lower += [at(side * HALF, 4.08, 0.28)]
    scene.polygon(lower, skins["paint"])
    upper = [at(side * (HALF - lean), a, b) for a, b, lean, _ in OUTLINE[2:7]]
    scene.polygon(upper, skins["paint"])
    for first, last in ((0.55, 1.32), (1.42, 2.4)):
        top = 1.40
        corners = [(first, 1.02), (last + 0.25, 1.02), (last - 0.05, top), (first + 0.25, top)]
        pane = [at(side * (HALF - (0.06 if b < 1.2 else 0.19)), a, b) for a, b in corners]
        scene.polygon(nudge(pane, 0.03), skins["glass"])
    for axle in (0.78, 3.28):
        turn = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
        for radius, skin, by in (
            (0.37, Surface(0.008, 11.0), 0.02),
            (0.31, Surface(0.02, 22.0), 0.03),
            (0.19, Surface((0.3, 0.3, 0.31), 26.0, gloss=0.4), 0.04),
        ):
            rim = [
                at(side * HALF, axle + radius * np.cos(t), 0.31 + radius * np.sin(t)) for t in turn
            ]
            scene.polygon(nudge(rim, by), skin)
        edge = HALF - 0.22
        tread_at = axle - 0.28 if car.heading > 0 else axle + 0.28
        tread = [at(side * s, tread_at, u) for s, u in ((edge, 0), (HALF, 0), (HALF, 0.36))]
        tread += [at(side * edge, tread_at, 0.36)]
        scene.polygon(tread, Surface(0.012, 24.0))


def build_lamps(scene: Scene, car: Car, at: Placer) -> None:
    """Put the lamps, the number plate and the exhaust."""
    underside = [at(s, 0.4 if car.heading > 0 else 3.8, u) for s, u in ((-0.7, 0.16), (0.7, 0.16))]
    underside += [at(s, 0.4 if car.heading > 0 else 3.8, 0.34) for s in (0.7, -0.7)]
    scene.polygon(underside, Surface(0.006, 17.0))
    for side in (-1, 1):
        rear = [at(side * s, 0.01, u) for s, u in ((0.80, 0.66), (0.80, 0.92), (0.56, 0.90))]
        rear += [at(side * 0.60, 0.01, 0.70)]
        front = [at(side * s, 4.05, u) for s, u in ((0.78, 0.60), (0.78, 0.76), (0.50, 0.74))]
        front += [at(side * 0.54, 4.05, 0.60)]
        if car.heading > 0:
            red = Surface((0.25, 0.01, 0.01), 13.5, tint((1.0, 0.02, 0.012), car.tail))
            scene.polygon(nudge(rear, 0.03), red)
        else:
            white = Surface(0.3, 21.0, tint((1.0, 0.93, 0.80), car.beam))
            scene.polygon(nudge(front, 0.05), white)
    end = 0.0 if car.heading > 0 else 4.1
    low = 0.60 if car.heading > 0 else 0.40
    plate = [at(s, end, u) for s, u in ((-0.26, low), (0.26, low), (0.26, low + 0.12))]
    plate += [at(-0.26, end, low + 0.12)]
    scene.polygon(nudge(plate, 0.03), Surface((0.55, 0.53, 0.42), 12.2, (0.035, 0.033, 0.025)))
    if car.heading > 0:
        turn = np.linspace(0.0, 2 * np.pi, 14, endpoint=False)
        pipe = [at(-0.45 + 0.055 * np.cos(t), 0.0, 0.30 + 0.055 * np.sin(t)) for t in turn]
        scene.polygon(nudge(pipe, 0.05), Surface((0.2, 0.2, 0.2), 48.0))


# --------------------------------------------------------------------------------------------------
# The whole street
# --------------------------------------------------------------------------------------------------

LAMPS = ((4.1, 11.6), (4.1, 26.5), (4.1, 41.0), (4.1, 56.0))  # x, z of their posts
SIGNAL = (-3.45, 20.6)


def build_scene() -> Scene:
    """Describe the street once, for both sensors."""
    scene = Scene()
    build_street(scene)
    for z, salt in ((16.0, 1), (23.0, 2), (31.0, 3), (44.0, 4)):
        build_hedge(scene, z, salt)
    trees = ((-7.0, 14.2, 7.6), (-7.3, 20.5, 7.6), (-7.2, 28.0, 8.0), (-7.0, 38.0, 7.6))
    for salt, (x, z, tall) in enumerate(trees):
        build_tree(scene, x, z, tall, salt)
    for x, z in LAMPS:
        build_post(scene, x, z)
    build_signal(scene, *SIGNAL)
    for car in CARS:
        build_car(scene, car)
    for who in PEOPLE:
        build_person(scene, who)
    build_dog(scene, 5.45, 9.9)
    build_cat(scene, -2.0, 7.3)
    paint_sky(scene)
    return scene


# --------------------------------------------------------------------------------------------------
# The visible camera
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Light:
    """A point light; with an `aim`, it shines into a cone."""

    place: tuple[float, float, float]
    colour: Colour
    power: float
    aim: tuple[float, float, float] | None = None
    cone: Span = (0.2, 0.8)  # cosines at the edge and where it has its full strength
    haze: float = 0.0  # how much of it the air shows
    shadows: bool = False
    shine: float = 1.0  # how much of it wet and polished things reflect

    def reach(self, place: Array) -> tuple[Array, Array]:
        """Return the unit vector to the light and its strength, at places in space."""
        towards = np.array(self.place, np.float32) - place
        square = np.einsum("...k,...k->...", towards, towards)
        towards /= np.sqrt(square)[..., None]
        strength = self.power / (square + 0.12)
        if self.aim is not None:
            aim = np.array(self.aim, np.float32)
            aim /= np.linalg.norm(aim)
            strength = strength * smoothstep(*self.cone, -(towards @ aim))
        return towards, strength


def street_lights() -> list[Light]:
    """List what lights the street."""
    lights = [
        Light(
            (x - 0.78, 5.32, z),
            SODIUM,
            24.0,
            (0.05, -1.0, -0.02),
            (0.50, 0.90),
            0.0030,
            shadows=True,
        )
        for x, z in LAMPS
    ]
    lights += [Light((x - 0.78, 5.3, z), SODIUM, 2.0, (1, 0, 0), (0, 0.9)) for x, z in LAMPS]
    for z in (8.8, 10.4, 12.0):
        lights.append(
            Light((FACADE - 0.1, 1.9, z), (1.0, 0.6, 0.28), 2.2, (-1, -0.25, 0), (0, 0.9))
        )
    lights.append(Light((FACADE - 0.1, 1.6, 13.75), (1.0, 0.6, 0.28), 0.8, (-1, -0.3, 0), (0, 0.9)))
    for z in (9.6, 11.2, 12.8):
        lights.append(Light((FACADE - 0.5, 3.4, z), PINK, 0.55, haze=0.002))
    for y in (4.3, 5.6, 6.9):
        lights.append(Light((5.9, y, 15.8), CYAN, 0.45, haze=0.002))
    lights.append(Light((SIGNAL[0], 3.5, SIGNAL[1] - 0.4), (1.0, 0.05, 0.03), 0.5, haze=0.004))
    parked, coming = CARS
    for side in (-0.68, 0.68):
        lights.append(
            Light(
                (parked.x + side, 0.8, parked.z - 0.15),
                (1.0, 0.05, 0.03),
                0.28,
                (0, -0.3, -1),
                (0.0, 0.8),
                haze=0.004,
            )
        )
        lights.append(
            Light(
                (coming.x + side, 0.68, coming.z - 4.2),
                (1.0, 0.93, 0.8),
                24.0,
                (0.04, -0.055, -1.0),
                (0.955, 0.998),
                haze=0.0022,
                shine=0.35,
            )
        )
    return lights


def shadow(scene: Scene, light: Light, index: Index, place: Array) -> Array:
    """Return how much of a light reaches the street past people and cars."""
    clear = np.ones(len(index), np.float32)
    centre = np.array(light.place, np.float32)
    way = centre - place
    length = np.einsum("nk,nk->n", way, way)
    for x, y, z, radius in scene.blockers:
        ball = np.array([x, y, z], np.float32)
        if np.linalg.norm(ball - centre) > 12.0:
            continue
        t = np.clip(np.einsum("nk,nk->n", ball - place, way) / length, 0.0, 1.0)
        gap = place + t[:, None] * way - ball
        miss = np.sqrt(np.einsum("nk,nk->n", gap, gap))
        clear *= smoothstep(0.7 * radius, 1.25 * radius, miss)
    return 0.12 + 0.88 * clear


def beyond_trees(place: Array) -> Array:
    """Return how much light reaches a place past the crowns of the trees on the left."""
    reach = smoothstep(-3.5, -2.7, place[:, 0])
    past = 0.5 * smoothstep(17.0, 26.0, place[:, 2])
    return np.asarray(np.maximum(np.maximum(reach, past), 0.05), np.float32)


def light_surfaces(scene: Scene, lights: Sequence[Light]) -> Array:
    """Return the light that every subpixel sends to the camera."""
    seen = np.flatnonzero(np.isfinite(scene.depth))
    place = EYE + scene.depth[seen, None] * scene.ray[seen]
    view = EYE - place
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    normal, albedo, gloss = scene.normal[seen], scene.albedo[seen], scene.gloss[seen]
    open_sky = beyond_trees(place)
    sky = (0.6 + 0.4 * normal[:, 1]) * (0.25 + 0.75 * open_sky)
    total = scene.emission[seen] + albedo * tint((0.010, 0.013, 0.022), sky)
    for light in lights:
        towards, strength = light.reach(place)
        facing = np.clip(np.einsum("nk,nk->n", normal, towards), 0.0, 1.0)
        on = np.flatnonzero(strength * facing > 2e-4)
        strength, facing, towards = strength[on] * open_sky[on], facing[on], towards[on]
        if light.shadows:
            street = scene.still[seen[on]]
            strength[street] *= shadow(scene, light, seen[on][street], place[on][street])
        half = towards + view[on]
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        spark = np.clip(np.einsum("nk,nk->n", normal[on], half), 0.0, 1.0) ** 90
        reflected = albedo[on] * facing[:, None]
        reflected += (2.2 * light.shine * gloss[on] * spark * np.sqrt(facing))[:, None]
        total[on] += tint(light.colour, strength) * reflected
    image = scene.emission.copy()
    image[seen] = total
    return image


def haze(scene: Scene, lights: Sequence[Light]) -> Array:
    """Return the light that the damp air itself sends to the camera, for every pixel."""
    rays = scene.ray.reshape(HEIGHT, OVER, WIDTH, OVER, 3)[:, OVER // 2, :, OVER // 2]
    depth = scene.depth.reshape(HEIGHT, OVER, WIDTH, OVER)[:, OVER // 2, :, OVER // 2]
    steps, far = 110, 62.0
    width = (far - 2.0) / steps
    shift = generator(2).random((HEIGHT, WIDTH)).astype(np.float32)
    air = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for step in range(steps):
        distance = 2.0 + (step + shift) * width
        clear = (distance < depth).astype(np.float32)
        place = EYE + distance[..., None] * rays
        for light in lights:
            if light.haze > 0 and abs(light.place[2] - 2.0 - step * width) < 16.0:
                _, strength = light.reach(place)
                air += tint(light.colour, np.minimum(strength, 25.0) * clear * light.haze * width)
    return np.stack([ndimage.gaussian_filter(air[..., k], 0.9) for k in range(3)], axis=-1)


def shrink(image: Array, camera: Camera = CAMERA) -> Array:
    """Average the subpixels of every pixel."""
    tiles = image.reshape(camera.height, camera.over, camera.width, camera.over, -1)
    return np.asarray(tiles.mean(axis=(1, 3)), np.float32)


def bloom(image: Array) -> Array:
    """Spread a little of the brightest light, as a lens does."""
    bright = np.maximum(image - 0.5, 0.0)
    spread = np.zeros_like(image)
    for sigma, share in ((1.2, 0.10), (3.5, 0.05), (9.0, 0.022), (24.0, 0.010)):
        for k in range(3):
            spread[..., k] += share * ndimage.gaussian_filter(bright[..., k], sigma)
    return image + spread


def vignette(camera: Camera = CAMERA) -> Array:
    """Return the share of the light that reaches each pixel of the sensor."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float32)
    across = (columns - camera.width / 2) / (camera.width / 2)
    radius = np.hypot(across, (rows - camera.height / 2) / (camera.height / 2))
    return np.asarray(1.0 - 0.17 * radius**2, np.float32)[..., None]


def film(exposed: Array) -> NDArray[np.uint8]:
    """Develop: a film's curve, then the gamma of a screen."""
    exposed = np.maximum(exposed, 0.0)
    curve = (exposed * (2.51 * exposed + 0.03)) / (exposed * (2.43 * exposed + 0.59) + 0.14)
    return quantise(255.0 * np.clip(curve, 0.0, 1.0) ** (1 / 2.2))


def render_visible(scene: Scene) -> NDArray[np.uint8]:
    """Photograph the scene at night: light, haze, lens, photon noise and film curve."""
    lights = street_lights()
    image = shrink(np.minimum(light_surfaces(scene, lights), 40.0)) + haze(scene, lights)
    image = bloom(image) * vignette()
    rng = generator(3)
    exposed = 2.3 * image
    grain = rng.normal(size=(HEIGHT, WIDTH, 1)) + 0.7 * rng.normal(size=(HEIGHT, WIDTH, 3))
    exposed = exposed + grain * np.sqrt(0.00022 * exposed + 0.0000030)
    return film(exposed)


# --------------------------------------------------------------------------------------------------
# The thermal camera
# --------------------------------------------------------------------------------------------------


def render_thermal(scene: Scene) -> NDArray[np.uint8]:
    """Photograph the temperatures: soft optics, a pattern of the detector and a little noise."""
    view = -scene.ray / np.linalg.norm(scene.ray, axis=1, keepdims=True)
    facing = np.clip(np.einsum("nk,nk->n", scene.normal, view), 0.0, 1.0)
    facing[~np.isfinite(scene.depth)] = 1.0
    emitted = scene.emissivity * (1.0 - 0.55 * (1.0 - facing) ** 5)
    around = 0.55 * CLEAR_SKY + 0.45 * AIR
    heat = shrink(emitted * scene.temperature + (1.0 - emitted) * around)[..., 0]
    heat = 0.82 * ndimage.gaussian_filter(heat, 0.75) + 0.18 * ndimage.gaussian_filter(heat, 2.6)
    degrees = (-12.0, -4.0, 4.0, 7.0, 10.0, 13.0, 18.0, 24.0, 32.0, 46.0)
    greys = (8.0, 20.0, 38.0, 58.0, 86.0, 114.0, 160.0, 210.0, 250.0, 255.0)
    grey = np.interp(heat, degrees, greys)
    rng = generator(4)
    grey += 0.9 * rng.normal(size=(1, WIDTH)) + 0.35 * rng.normal(size=(HEIGHT, 1))
    grey += 0.7 * rng.normal(size=(HEIGHT, WIDTH)) + 1.1 * rng.normal(size=(HEIGHT, WIDTH))
    return quantise(grey)


def quantise(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Round to 8 bits."""
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def main(arguments: Sequence[str]) -> int:
    """Write the pair into the folder that was named, or beside this script."""
    if len(arguments) > 1 or any(a.startswith("-") for a in arguments):
        print("usage: draw_night_street.py [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else Path(__file__).parent / "night-street"
    folder.mkdir(parents=True, exist_ok=True)
    scene = build_scene()
    for name, picture in (("vis", render_visible(scene)), ("ir", render_thermal(scene))):
        path = folder / f"{name}.png"
        Image.fromarray(picture).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
