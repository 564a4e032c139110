"""Draw streets that two sensors see differently, with the class of every pixel.

    python examples/draw_labelled_streets.py FOLDER --count N --size S --seed K

writes, for each of N scenes of S x S pixels, `vis/NAME.png` (colour), `ir/NAME.png` (grey, white is
hot) and `label/NAME.png` (grey, pixel = class), and `instances.json`: the boxes of people, cars and
signs in COCO's form. Scene k depends on the seed and k alone. Classes: 0 unlabelled, 1 road, 2
building, 3 sky, 4 vegetation, 5 person, 6 car, 7 sign.

Drawn scenes are no substitute for labelled photographs: they exist so that training and tests of
label-guided fusion run where no labelled pairs are at hand. Each sensor sees what the other does
not. Signs have the temperature of what is behind them; many people stand in the dark; half of the
cars are cold. Lit windows, warm walls and hot vents look like something and are not. Surfaces,
figures and lamps are those of `draw_night_street.py`, placed anew for every scene.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from draw_night_street import (
    KERB,
    SODIUM,
    STANDING,
    STRIDING,
    STROLLING,
    Array,
    Camera,
    Car,
    Colour,
    House,
    Index,
    Light,
    Material,
    Person,
    Scene,
    Surface,
    bloom,
    build_car,
    build_dog,
    build_hedge,
    build_person,
    build_post,
    build_tree,
    dice,
    film,
    fractal,
    limb,
    masonry,
    quantise,
    shrink,
    smoothstep,
    tint,
    vignette,
    windows,
)
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

CLASSES = ("unlabelled", "road", "building", "sky", "vegetation", "person", "car", "sign")
UNLABELLED, ROAD, BUILDING, SKY, VEGETATION, PERSON, CAR, SIGN = range(len(CLASSES))
COUNTED = (PERSON, CAR, SIGN)  # classes whose instances get a box
OVER = 2  # subpixels along each side of a pixel
AIR = 10.0  # the temperature at which the borrowed surfaces are described
FAR = 85.0
WHITE: Colour = (0.95, 0.97, 1.0)
LED: Colour = (1.0, 0.90, 0.76)

Random = np.random.Generator
Temper = Callable[[Array], Array]


# --------------------------------------------------------------------------------------------------
# The buffer, with classes
# --------------------------------------------------------------------------------------------------


class LabelledScene(Scene):
    """The nearest surface behind every subpixel, its class and the number of its instance."""

    def __init__(self, camera: Camera, air: float) -> None:
        super().__init__(camera)
        self.label = np.zeros(len(self.ray), np.uint8)
        self.instance = np.zeros(len(self.ray), np.int32)
        self.air = air
        self.kinds: list[int] = [UNLABELLED]  # of the instances, by number
        self._kind, self._number = UNLABELLED, 0
        self._temper: Temper | None = self.outdoors

    def outdoors(self, temperature: Array) -> Array:
        """Bring a temperature described for `AIR` to that of this scene's air."""
        return temperature + np.float32(self.air - AIR)

    @contextmanager
    def painting(self, kind: int, temper: Temper | None = None) -> Iterator[None]:
        """Give what is put inside a class; things that are counted become a new instance."""
        before = self._kind, self._number, self._temper
        if kind in COUNTED:
            self.kinds.append(kind)
            self._number = len(self.kinds) - 1
        self._kind, self._temper = kind, temper or self.outdoors
        try:
            yield
        finally:
            self._kind, self._number, self._temper = before

    @contextmanager
    def as_warm_as_behind(self) -> Iterator[None]:
        """Leave the temperatures of what is behind."""
        before, self._temper = self._temper, None
        try:
            yield
        finally:
            self._temper = before

    def put(
        self, index: Index, depth: Array, normal: Array, surface: Surface, still: bool = False
    ) -> None:
        """Write a surface, its class and its instance where it is nearer than what is there."""
        depth = np.where(
            depth > 0.3, depth, np.inf
        )  # rims of planes seen edge-on can lie behind us
        target = index[depth < self.depth[index]]
        behind = self.temperature[target], self.emissivity[target]
        if self._temper is not None:
            warmth = self._temper(np.asarray(surface.temperature, np.float32))
            surface = replace(surface, temperature=warmth)
        super().put(index, depth, normal, surface, still)
        if self._temper is None:
            self.temperature[target], self.emissivity[target] = behind
        self.label[target], self.instance[target] = self._kind, self._number

    def shrink_labels(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return class and instance of every pixel: those of one of its subpixels, not mixed."""
        columns, rows = self.size
        label, instance = (each.reshape(rows, columns) for each in (self.label, self.instance))
        return label[::OVER, ::OVER], instance[::OVER, ::OVER]


# --------------------------------------------------------------------------------------------------
# The setting
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """When and where a scene plays."""

    air: float  # degrees Celsius
    daylight: float  # 0.01 at night to 1
    sun: float  # strength of direct light
    sun_from: tuple[float, float, float]
    fog: float  # share of light lost in a metre
    clouds: float
    left_kerb: float
    right_kerb: float
    left_wall: float | None  # metres from the kerb to the houses; none: a hedge or a field
    right_wall: float | None
    salt: float  # moves all textures


def choose_setting(random: Random) -> Setting:
    """Choose night (6 of 10), dusk (2) or day (2), and the width of the street."""
    time = random.random()
    if time < 0.6:
        daylight, sun = float(random.uniform(0.004, 0.03)), 0.0
    elif time < 0.8:
        daylight, sun = float(random.uniform(0.06, 0.25)), 0.0
    else:
        daylight, sun = float(random.uniform(0.5, 0.9)), float(random.uniform(0.0, 1.4))
    walls = [
        float(random.uniform(1.4, 4.5)) if random.random() < chance else None
        for chance in (0.45, 0.75)
    ]
    return Setting(
        air=float(random.uniform(-4.0, 17.0)) + 6.0 * (sun > 0),
        daylight=daylight,
        sun=sun,
        sun_from=(float(random.uniform(-1, 1)), float(random.uniform(0.5, 1.2)), -0.6),
        fog=float(random.choice([0.0, 0.0, 0.003, 0.008, 0.025])),
        clouds=float(random.random()),
        left_kerb=-float(random.uniform(2.2, 4.6)),
        right_kerb=float(random.uniform(2.2, 4.6)),
        left_wall=walls[0],
        right_wall=walls[1],
        salt=float(random.uniform(0, 200)),
    )


def choose_camera(random: Random, size: int) -> Camera:
    """Choose height, direction and lens of the camera."""
    eye = np.array([random.uniform(-1.2, 1.2), random.uniform(1.5, 2.9), 0.0], np.float32)
    return Camera(
        width=size,
        height=size,
        over=OVER,
        eye=eye,
        yaw=float(np.deg2rad(random.uniform(-7, 9))),
        focal=size * float(random.uniform(0.85, 1.5)),
        centre=size * 0.5,
        horizon=size * float(random.uniform(0.36, 0.58)),
    )


# --------------------------------------------------------------------------------------------------
# Sky, ground and walls
# --------------------------------------------------------------------------------------------------


def paint_sky(scene: LabelledScene, setting: Setting) -> None:
    """Fill everything with sky: as bright as the day, cold where it is clear."""
    high = np.clip(scene.ray[:, 1], 0.0, 2.0)
    x = scene.ray[:, 0]
    cover = fractal(x * 3 / (high + 0.6) + setting.salt, high * 7 + 0.5 * x)
    cloud = smoothstep(0.75 - 0.6 * setting.clouds, 1.0 - 0.5 * setting.clouds, cover)
    low = np.exp(-high / 0.25)
    blue = tint((0.30, 0.48, 0.85), 0.75 - 0.25 * high) + tint((0.5, 0.45, 0.35), 0.5 * low)
    grey = tint((0.85, 0.88, 0.92), 0.7 + 0.4 * cover)
    colour = blue * (1 - cloud[:, None]) + grey * cloud[:, None]
    town = tint((0.045, 0.030, 0.024), low * (0.4 + cloud) * (setting.daylight < 0.3))
    scene.emission[:] = colour * setting.daylight + town
    scene.temperature[:] = setting.air - 26.0 + 17.0 * low + 16.0 * cloud * (0.7 + 0.3 * low)
    scene.label[:] = SKY


def road(setting: Setting) -> Material:
    """Return asphalt with worn paint, tracks and patches."""
    left, right = setting.left_kerb, setting.right_kerb
    middle = (left + right) / 2

    def material(place: Array) -> Surface:
        x, z = place[:, 0], place[:, 2] + setting.salt
        grain, patches = fractal(x * 16, z * 16, 2), fractal(x * 0.5 + 3, z * 0.35)
        wet = smoothstep(0.5, 0.66, fractal(x * 0.8 + 40, z * 0.45))
        tone = (0.06 + 0.05 * grain + 0.05 * patches) * (1 - 0.35 * wet)
        worn = smoothstep(0.2, 0.4, fractal(x * 5, z * 5))
        centre = (np.abs(x - middle) < 0.08) & ((z % 5.0) < 2.6)
        edges = np.minimum(np.abs(x - left - 0.35), np.abs(x - right + 0.35)) < 0.07
        zebra = (np.abs((z % 60.0) - 14.0) < 1.7) & ((x % 1.0) < 0.5)
        paint = (centre | edges | zebra) * (0.35 + 0.65 * worn)
        albedo = tint((0.92, 0.96, 1.0), tone * (1 - paint)) + tint(WHITE, 0.5 * paint)
        tracks = np.exp(-(((np.abs(x - middle) - 1.5) / 0.5) ** 2))
        warmth = 11.5 + 2.5 * smoothstep(0.3, 0.7, patches) + 1.4 * grain + 1.2 * tracks
        lids = np.hypot(x - middle - 0.9, (z % 23.0) - 9.0) < 0.4
        return Surface(albedo, warmth + 6.0 * lids + 5.0 * setting.sun)

    return material


def pavement(setting: Setting) -> Material:
    """Return paving slabs."""

    def material(place: Array) -> Surface:
        x, z = place[:, 0], place[:, 2] + setting.salt
        joint = np.maximum(np.abs(x / 0.6 % 1 - 0.5), np.abs(z / 0.6 % 1 - 0.5)) > 0.46
        tone = (0.16 + 0.06 * dice(x / 0.6, z / 0.6, 3)) * np.where(joint, 0.5, 1.0)
        warmth = 10.0 + 1.4 * dice(x / 0.6, z / 0.6, 3) + 4.0 * setting.sun
        return Surface(tint((1.0, 0.96, 0.9), tone), warmth)

    return material


def grass(setting: Setting) -> Material:
    """Return a lawn."""

    def material(place: Array) -> Surface:
        blades = fractal(place[:, 0] * 5, place[:, 2] * 3 + setting.salt)
        green = tint((0.5, 0.8, 0.35), 0.06 + 0.10 * blades)
        return Surface(green, 6.0 + 3.0 * blades + 2.0 * setting.sun)

    return material


def facade(house: House, vents: float) -> Material:
    """Return a house's wall along the street: windows, some lit, some warm, and hot vents."""

    def material(place: Array) -> Surface:
        along, up = place[:, 2] - house.start + 0.2, place[:, 1]
        tone, heat = masonry(house, along, up)
        sash = windows(along, up - house.sill, house.lit, house.salt)
        albedo = tint(house.colour, tone)
        albedo[sash.frame | sash.ledge] = (0.38, 0.36, 0.33)
        albedo[sash.pane] = (0.02, 0.022, 0.028)
        lit = sash.glow.max(axis=1) > 0.02
        heat = np.where(sash.pane, np.where(lit, 13.0, 5.5) + 1.2 * fractal(along, up), heat)
        heat = np.where(sash.frame, 12.5, heat)
        cell = dice(along / 1.7, up / 1.9, house.salt + 9)
        vent = (cell < vents) & (np.abs(along / 1.7 % 1 - 0.5) < 0.17) & (up % 1.9 < 1.2)
        return Surface(albedo, np.where(vent & ~sash.pane, heat + 40 * cell, heat), 0.4 * sash.glow)

    return material


def front(house: House) -> Material:
    """Return the wall of a house that looks along the street."""

    def material(place: Array) -> Surface:
        across, up = place[:, 0] + 100.0, place[:, 1]
        tone, heat = masonry(house, across, up)
        sash = windows(across, up - house.sill, house.lit, house.salt, pitch=2.8)
        albedo = tint(house.colour, tone)
        albedo[sash.pane] = (0.02, 0.022, 0.028)
        heat = np.where(sash.pane, 7.0, heat)
        return Surface(albedo, heat, 0.35 * sash.glow)

    return material


def choose_house(random: Random, start: float, end: float, top: float) -> House:
    """Choose walls, windows and warmth of a house."""
    shade = float(random.uniform(0.12, 0.5))
    warm_tone, cool_tone = random.uniform(0.6, 1.0, 2)
    colour = (shade, shade * float(warm_tone), shade * float(warm_tone * cool_tone))
    return House(
        start,
        end,
        top,
        colour,
        lit=float(random.choice([0.0, 0.2, 0.45, 0.7])),
        brick=bool(random.random() < 0.5),
        sill=float(random.uniform(1.2, 4.6)),
        salt=int(random.integers(1000)),
        warm=float(random.choice([-2.0, 0.0, 1.5, 5.0])),
    )


def build_houses(scene: LabelledScene, random: Random, wall: float, side: int) -> None:
    """Put a row of houses along one side of the street, with gaps."""
    start = float(random.uniform(-8, 8))
    while start < FAR - 8:
        end = start + float(random.uniform(7, 22))
        house = choose_house(random, start, min(end, FAR), float(random.uniform(4.0, 16.0)))
        across = (wall, wall + 12.0) if side > 0 else (wall - 12.0, wall)
        vents = float(random.choice([0.0, 0.03, 0.08]))
        rows = (0.0, house.top)
        scene.plane(0, wall, facade(house, vents), y=rows, z=(start, house.end))
        scene.plane(2, start, front(house), x=across, y=rows)
        start = end + (float(random.uniform(2, 9)) if random.random() < 0.35 else 0.0)


def build_skyline(scene: LabelledScene, random: Random) -> None:
    """Put blocks across the end of the street, with sky between some."""
    start = -60.0
    while start < 60.0:
        end = start + float(random.uniform(8, 24))
        if random.random() < 0.7:
            z, top = float(random.uniform(60, FAR)), float(random.uniform(4, 20))
            scene.plane(
                2, z, front(choose_house(random, start, end, top)), x=(start, end), y=(0, top)
            )
        start = end


def build_ground(scene: LabelledScene, setting: Setting) -> None:
    """Put the road, the pavements and what lies beyond them."""
    left, right = setting.left_kerb, setting.right_kerb
    reach = (0.0, FAR + 30)
    with scene.painting(ROAD):
        scene.plane(1, 0.0, road(setting), x=(left, right), z=reach)
    for kerb, wall, side in ((left, setting.left_wall, -1), (right, setting.right_wall, 1)):
        end = kerb + side * (wall if wall is not None else 2.0)
        stone, lawn = ((end, kerb), (-90, end)) if side < 0 else ((kerb, end), (end, 90))
        with scene.painting(UNLABELLED):
            scene.plane(0, kerb, pavement(setting), y=(0, KERB), z=reach)
            scene.plane(1, KERB, pavement(setting), x=stone, z=reach)
        with scene.painting(VEGETATION):
            scene.plane(1, KERB - 0.01, grass(setting), x=lawn, z=reach)


# --------------------------------------------------------------------------------------------------
# Things
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """Something that stands at a depth; far ones are built first."""

    z: float
    build: Callable[[], None]


def place_person(
    scene: LabelledScene, random: Random, setting: Setting, x: float, z: float
) -> Thing:
    """Choose a person: half of them in dark clothes; 24-34 degrees warm, whatever the air is."""
    on_road = setting.left_kerb < x < setting.right_kerb
    dark = random.random() < 0.5
    tones = random.uniform(0.02, 0.07 if dark else 0.5, (3, 3))
    coat, trousers, hair = (tuple(float(t) for t in tone * (0.6, 1, 1)) for tone in tones)
    shade = float(random.uniform(0.25, 1.0)) * (0.35 if dark else 1.0)
    who = Person(
        x,
        z,
        float(random.uniform(1.45, 1.95)),
        (STANDING, STROLLING, STRIDING)[int(random.integers(3))],
        coat,
        trousers,
        ground=0.0 if on_road else KERB,
        hair=tuple(0.3 * tone for tone in hair),
        skin=(0.42 * shade, 0.28 * shade, 0.20 * shade),
        long_coat=bool(random.random() < 0.3),
        bag=bool(random.random() < 0.3),
    )
    cover = float(random.uniform(0.25, 0.6))  # how much of the body's warmth the clothes hide

    def warm(temperature: Array) -> Array:
        return np.asarray(np.clip(32.5 - cover * (32.5 - temperature), 24.0, 34.0), np.float32)

    def build() -> None:
        with scene.painting(PERSON, warm):
            build_person(scene, who)

    return Thing(z, build)


def place_car(
    scene: LabelledScene, random: Random, x: float, z: float, heading: int, *, runs: bool
) -> tuple[Thing, list[Light]]:
    """Choose a car and its lamps; a cold one is as warm as the air."""
    shade = float(random.uniform(0.02, 0.5))
    paint = tuple(float(c) for c in shade * random.uniform(0.45, 1.0, 3))
    engine = float(random.uniform(24, 42)) if runs else AIR
    lamps_on = runs and random.random() < 0.85
    car = Car(
        x,
        z,
        heading,
        paint,
        engine,
        tail=2.0 * lamps_on,
        beam=float(random.uniform(6, 22)) * lamps_on,
    )

    def warm(temperature: Array) -> Array:
        here = scene.outdoors(temperature)
        return here if runs else np.minimum(here, np.float32(scene.air + 2.0))

    def build() -> None:
        with scene.painting(CAR, warm):
            build_car(scene, car)

    return Thing(z, build), car_lights(car) if lamps_on else []


def car_lights(car: Car) -> list[Light]:
    """List the lamps that light a car's surroundings."""
    if car.heading > 0:
        return [
            Light(
                (car.x + side, 0.8, car.z - 0.15), (1.0, 0.05, 0.03), 0.28, (0, -0.3, -1), (0, 0.8)
            )
            for side in (-0.68, 0.68)
        ]
    return [
        Light((car.x + side, 0.68, car.z - 4.2), LED, 16.0, (0.04, -0.055, -1.0), (0.955, 0.998))
        for side in (-0.68, 0.68)
    ]


def place_sign(scene: LabelledScene, random: Random, x: float, z: float) -> Thing:
    """Choose a sign on a post: bright paint, as warm as what is behind it, some lit from within."""
    shape, wide = int(random.integers(4)), float(random.uniform(0.32, 0.62))
    high = float(random.uniform(1.9, 2.9))
    colours: tuple[Colour, ...] = ((0.75, 0.05, 0.04), (0.04, 0.12, 0.6), (0.75, 0.55, 0.03), WHITE)
    rim, face = colours[int(random.integers(3))], colours[int(random.integers(1, 4))]
    glow = float(random.choice([0.0, 0.02, 0.08, 0.35]))  # lit, or thrown back from our own lamps

    def build() -> None:
        c = scene.canvas(x, z, KERB, 2.8, high + 1.4)
        down = c.y - high
        plates = (
            np.hypot(c.x, down) - wide,
            np.maximum(np.abs(c.x), np.abs(down)) - wide,
            np.maximum(-0.6 * wide - down, 0.87 * np.abs(c.x) + 0.5 * down - 0.6 * wide),
            np.maximum(np.abs(c.x) - 1.9 * wide, np.abs(down) - 0.8 * wide),
        )
        plate = np.asarray(plates[shape], np.float32)
        mark = (np.abs(c.x) < 0.16 * wide) | (np.abs(down) < 0.12 * wide)
        inner = plate < -0.2 * wide
        albedo = np.where(inner[..., None], np.array(face), np.array(rim))
        albedo = np.where((inner & mark & (plate < -0.45 * wide))[..., None], 0.04, albedo)
        with scene.painting(UNLABELLED), scene.as_warm_as_behind():
            post = limb(c, (0.0, 0.0), (0.0, high), 0.04, 0.04)
            scene.figure(c, post, Surface((0.16, 0.17, 0.17), AIR), 1)
        with scene.painting(SIGN), scene.as_warm_as_behind():
            light = np.asarray(glow * albedo, np.float32)
            scene.figure(c, plate, Surface(np.asarray(albedo, np.float32), AIR, light), 2, 0.01)

    return Thing(z, build)


def place_lamp(scene: LabelledScene, x: float, z: float) -> Thing:
    """Stand a street lamp; its bulb is bright and hot, lit or not."""

    def build() -> None:
        with scene.painting(UNLABELLED):
            build_post(scene, x, z)

    return Thing(z, build)


def place_plants(scene: LabelledScene, random: Random, setting: Setting) -> list[Thing]:
    """Choose trees on both sides, and a hedge where no houses are."""
    things: list[Thing] = []
    for kerb, wall, side in (
        (setting.left_kerb, setting.left_wall, -1),
        (setting.right_kerb, setting.right_wall, 1),
    ):
        for _ in range(int(random.integers(0, 3 if wall is not None else 6))):
            x = kerb + side * float(random.uniform(0.9, 2.0) if wall else random.uniform(1.5, 12))
            z, tall = float(random.uniform(7, 45)), float(random.uniform(3.0, 8.5))
            salt = int(random.integers(200))
            things.append(Thing(z, lambda x=x, z=z, t=tall, s=salt: build_tree(scene, x, z, t, s)))
        if wall is None and side < 0 and random.random() < 0.6:
            for z in random.uniform(9, 45, 3):
                salt = int(random.integers(200))
                things.append(Thing(float(z), lambda z=float(z), s=salt: build_hedge(scene, z, s)))
    return [Thing(thing.z, plant(scene, thing)) for thing in things]


def plant(scene: LabelledScene, thing: Thing) -> Callable[[], None]:
    """Return how to build a thing that is vegetation."""

    def build() -> None:
        with scene.painting(VEGETATION):
            thing.build()

    return build


def place_people(scene: LabelledScene, random: Random, setting: Setting) -> list[Thing]:
    """Choose people: on the pavements, on the road, some in pairs."""
    things = []
    for _ in range(int(random.integers(1, 6))):
        z = float(np.exp(random.uniform(np.log(4.5), np.log(28))))
        spread = min(7.5, 0.42 * z + 1.5)
        x = float(random.uniform(-spread, spread))
        things.append(place_person(scene, random, setting, x, z))
        if random.random() < 0.25:
            beside = x + float(random.choice([-1, 1]) * random.uniform(0.35, 0.7))
            things.append(place_person(scene, random, setting, beside, z + 0.4))
    if random.random() < 0.15:
        z = float(random.uniform(5, 12))
        things.append(Thing(z, lambda: build_dog(scene, setting.right_kerb + 0.9, z)))
    return things


def place_cars(
    scene: LabelledScene, random: Random, setting: Setting
) -> tuple[list[Thing], list[Light]]:
    """Choose cars in both lanes and along both kerbs; half of them run."""
    things: list[Thing] = []
    lights: list[Light] = []
    lanes = (
        (setting.right_kerb - 1.1, 1),
        (setting.left_kerb + 1.1, -1),
        ((setting.left_kerb + setting.right_kerb) / 2 + 0.3, 1),
    )
    for lane, heading in lanes:
        z = float(random.uniform(5, 22))
        while z < 45 and random.random() < 0.55:
            x = lane + float(random.uniform(-0.3, 0.3))
            nose = z + 4.2 if heading < 0 else z  # a car that comes is placed by its far end
            thing, lamps = place_car(scene, random, x, nose, heading, runs=random.random() < 0.5)
            things.append(thing)
            lights += lamps
            z += float(random.uniform(6, 16))
    return things, lights


def place_signs(scene: LabelledScene, random: Random, setting: Setting) -> list[Thing]:
    """Choose signs along both kerbs."""
    things = []
    for _ in range(int(random.integers(1, 5))):
        side, z = int(random.choice([-1, 1])), float(np.exp(random.uniform(np.log(5), np.log(24))))
        kerb = setting.left_kerb if side < 0 else setting.right_kerb
        things.append(place_sign(scene, random, kerb + side * float(random.uniform(0.2, 1.3)), z))
    return things


# --------------------------------------------------------------------------------------------------
# The whole scene and its lamps
# --------------------------------------------------------------------------------------------------


def build_scene(random: Random, size: int) -> tuple[LabelledScene, Setting, list[Light]]:
    """Choose a street, its things and its lamps."""
    setting, camera = choose_setting(random), choose_camera(random, size)
    scene = LabelledScene(camera, setting.air)
    paint_sky(scene, setting)
    build_ground(scene, setting)
    with scene.painting(BUILDING):
        build_skyline(scene, random)
        if setting.left_wall is not None:
            build_houses(scene, random, setting.left_kerb - setting.left_wall, -1)
        if setting.right_wall is not None:
            build_houses(scene, random, setting.right_kerb + setting.right_wall, 1)
    things, lights = place_cars(scene, random, setting)
    things += place_people(scene, random, setting) + place_signs(scene, random, setting)
    things += place_plants(scene, random, setting)
    colour = SODIUM if random.random() < 0.5 else LED
    lamp_x, share = setting.right_kerb + 0.6, float(random.choice([0.2, 0.5, 0.9]))
    for z in np.arange(random.uniform(6, 14), 60, random.uniform(13, 22)):
        things.append(place_lamp(scene, lamp_x, float(z)))
        if setting.daylight < 0.3 and random.random() < share:
            power = float(random.uniform(6, 26))
            above = (lamp_x - 0.78, 5.3, float(z))
            lights.append(Light(above, colour, power, (0.05, -1.0, -0.02), (0.3, 0.9)))
    if setting.daylight < 0.1 and random.random() < 0.4:  # our own headlamps
        own = (float(camera.eye[0]), 0.8, -1.0)
        lights.append(
            Light(own, LED, float(random.uniform(8, 40)), (0.0, -0.04, 1.0), (0.93, 0.99))
        )
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.build()
    return scene, setting, lights


def light_surfaces(scene: LabelledScene, setting: Setting, lights: Sequence[Light]) -> Array:
    """Return the light that every subpixel sends to the camera, through the fog."""
    seen = np.flatnonzero(np.isfinite(scene.depth))
    depth = scene.depth[seen, None]
    place = scene.camera.eye + depth * scene.ray[seen]
    normal, albedo = scene.normal[seen], scene.albedo[seen]
    incoming = tint((0.9, 0.97, 1.1), setting.daylight * (0.65 + 0.35 * normal[:, 1]))
    if setting.sun > 0:
        way = np.array(setting.sun_from, np.float32)
        facing = np.clip(normal @ (way / np.linalg.norm(way)), 0.0, 1.0)
        incoming = incoming + tint((1.1, 1.0, 0.85), setting.sun * facing)
    for light in lights:
        towards, strength = light.reach(place)
        facing = np.clip(np.einsum("nk,nk->n", normal, towards), 0.0, 1.0)
        incoming = incoming + tint(light.colour, strength * (0.08 + 0.92 * facing))
    image = scene.emission.copy()
    total = scene.emission[seen] + albedo * incoming
    clear = np.exp(-setting.fog * depth)
    air = tint((0.9, 0.95, 1.0), 0.6 * setting.daylight + 0.012)
    image[seen] = total * clear + air * (1 - clear)
    return np.minimum(image, 30.0)


def render_visible(
    scene: LabelledScene, setting: Setting, lights: Sequence[Light], random: Random
) -> NDArray[np.uint8]:
    """Photograph the light: lens, exposure for the bright parts, photon noise, film."""
    camera = scene.camera
    image = bloom(shrink(light_surfaces(scene, setting, lights), camera)) * vignette(camera)
    bright = float(np.percentile(image.mean(axis=-1), 96))
    gain = float(np.clip(random.uniform(0.2, 0.7) / max(bright, 1e-3), 0.6, 5.0))
    exposed = gain * image
    shape = image.shape[:2]
    grain = random.normal(size=(*shape, 1)) + 0.7 * random.normal(size=(*shape, 3))
    noise = float(random.uniform(0.3, 1.6)) * np.sqrt(0.0005 * exposed + 0.000004 * gain)
    return film(np.asarray(exposed + grain * noise, np.float32))


def render_thermal(scene: LabelledScene, random: Random) -> NDArray[np.uint8]:
    """Photograph the temperatures: soft optics, gain set by the scene, a pattern and noise."""
    around = scene.air - 8.0
    radiated = scene.emissivity * scene.temperature + (1.0 - scene.emissivity) * around
    heat = shrink(radiated, scene.camera)[..., 0]
    soft = float(random.uniform(0.35, 0.85))
    heat = 0.85 * ndimage.gaussian_filter(heat, soft) + 0.15 * ndimage.gaussian_filter(heat, 2.4)
    low = float(np.percentile(heat, 2)) - float(random.uniform(0, 8))
    high = max(float(np.percentile(heat, 99.6)), scene.air + 14) + float(random.uniform(-3, 8))
    unit = np.clip((heat - low) / (high - low), 0.0, 1.0) ** float(random.uniform(0.75, 1.2))
    grey = float(random.uniform(0, 25)) + float(random.uniform(190, 250)) * unit
    rows, columns = heat.shape
    grey = grey + 0.9 * random.normal(size=(1, columns)) + 0.4 * random.normal(size=(rows, 1))
    return quantise(grey + float(random.uniform(0.8, 2.2)) * random.normal(size=heat.shape))


@dataclass(frozen=True)
class Picture:
    """One scene as two sensors see it, with the truth."""

    visible: NDArray[np.uint8]  # (S, S, 3)
    thermal: NDArray[np.uint8]  # (S, S)
    label: NDArray[np.uint8]  # (S, S), 0 ... 7
    instance: NDArray[np.int32]  # (S, S), 0: none
    kinds: tuple[int, ...]  # class of each instance, by number


def draw(seed: int, number: int, size: int) -> Picture:
    """Draw scene `number`; half of them are mirrored."""
    random = np.random.default_rng([seed, number])
    scene, setting, lights = build_scene(random, size)
    visible = render_visible(scene, setting, lights, random)
    thermal = render_thermal(scene, random)
    label, instance = scene.shrink_labels()
    turn = -1 if random.random() < 0.5 else 1
    images = (np.ascontiguousarray(a[:, ::turn]) for a in (visible, thermal, label, instance))
    return Picture(*images, kinds=tuple(scene.kinds))


def boxes(picture: Picture) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
    """Give class, pixels and box (left, top, width, height) of every instance in sight."""
    for number, place in enumerate(ndimage.find_objects(picture.instance), start=1):
        if place is None:
            continue
        rows, columns = place
        area = int((picture.instance[place] == number).sum())
        box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        yield picture.kinds[number], area, box


def main(arguments: Sequence[str]) -> int:
    """Write the scenes."""
    parser = argparse.ArgumentParser(description="Draw streets seen by two sensors, with labels.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="scenes (100)")
    parser.add_argument("--size", type=int, default=128, help="pixels of each side (128)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other scenes (1)")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.size < 32 or options.seed < 0:
        parser.error("give --count of at least 1, --size of at least 32 and --seed of at least 0")
    for part in ("vis", "ir", "label"):
        (options.folder / part).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(options.count):
        picture = draw(options.seed, number, options.size)
        name = f"{number:05d}.png"
        Image.fromarray(picture.visible).save(options.folder / "vis" / name)
        Image.fromarray(picture.thermal).save(options.folder / "ir" / name)
        Image.fromarray(picture.label).save(options.folder / "label" / name)
        size = {"width": options.size, "height": options.size}
        images.append({"id": number, "file_name": name, **size})
        for kind, area, box in boxes(picture):
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": kind}
            annotations.append({**entry, "bbox": list(box), "area": area, "iscrowd": 0})
    categories = [{"id": kind, "name": CLASSES[kind]} for kind in range(1, len(CLASSES))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (options.folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    print(f"{options.folder}: {options.count} scenes, {len(annotations)} boxes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
