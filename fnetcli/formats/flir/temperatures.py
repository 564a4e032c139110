"""From thermal counts to degrees Celsius, by the constants that a camera stores with them.

A count S is what the sensor receives: the object's radiation, dimmed by its emissivity, by the air
and by a window before the camera, and what is reflected and radiated by these:
S = e t w S(object) + (1 - e) t w S(reflected) + (1 - t) w S(air) + (1 - w) S(window), with
S(T) = R1 / (R2 (exp(B / T) - F)) - O. (The measurement formula of FLIR's manuals, with the window
as in "external optics"; Minkina and Dudzik, Infrared Thermography, 2009, chapter 2.)
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fnetcli.formats.counts import Counts
from fnetcli.formats.flir.block import CAMERA, Block, record_order
from fnetcli.imaging.image import Pixels

ZERO = 273.15  # degrees Celsius in kelvin
MARKS = (2,)
FLOATS = {
    "emissivity": 0x20,
    "distance": 0x24,  # m
    "reflected": 0x28,  # K, as all temperatures
    "air": 0x2C,
    "window": 0x30,
    "window_share": 0x34,  # that the window lets through
    "humidity": 0x3C,  # relative, 0 to 1
    "r1": 0x58,
    "b": 0x5C,
    "f": 0x60,
    "alpha1": 0x70,
    "alpha2": 0x74,
    "beta1": 0x78,
    "beta2": 0x7C,
    "x": 0x80,
    "r2": 0x30C,
}
OFFSET = 0x308  # int32
MAX_LENGTH = 1 << 16
MIN_KELVIN, MAX_KELVIN = 50.0, 5000.0  # of what surrounds a camera or is seen by one
MAX_DISTANCE = 1e5  # m
# Water in the air by its temperature (degrees Celsius), from the same formula.
WATER = (1.5587, 6.939e-2, -2.7816e-4, 6.8455e-7)


@dataclass(frozen=True)
class Constants:
    """What a camera says of itself and of what it looks at; temperatures in kelvin."""

    emissivity: float
    distance: float
    reflected: float
    air: float
    window: float
    window_share: float
    humidity: float
    r1: float
    b: float
    f: float
    alpha1: float
    alpha2: float
    beta1: float
    beta2: float
    x: float
    r2: float
    o: float

    def are_sound(self) -> bool:
        """Whether temperatures can be computed with them."""
        numbers = list(vars(self).values())
        if not all(map(math.isfinite, numbers)):
            return False
        are_warm = all(
            MIN_KELVIN <= one <= MAX_KELVIN for one in (self.reflected, self.air, self.window)
        )
        are_shares = 0 < self.emissivity <= 1 and 0 < self.window_share <= 1
        is_planck = min(self.r1, self.r2, self.b) > 0 and self.f > 0
        is_place = 0 <= self.distance <= MAX_DISTANCE and 0 <= self.humidity <= 1
        return are_warm and are_shares and is_planck and is_place and 0 < self.air_share() <= 1

    def air_share(self) -> float:
        """Return the share of radiation that the air lets through."""
        celsius = self.air - ZERO
        water = self.humidity * math.exp(sum(c * celsius**i for i, c in enumerate(WATER)))
        length, moist = math.sqrt(self.distance), math.sqrt(water)
        try:
            return self.x * math.exp(-length * (self.alpha1 + self.beta1 * moist)) + (
                1 - self.x
            ) * math.exp(-length * (self.alpha2 + self.beta2 * moist))
        except OverflowError:
            return math.nan

    def signal(self, kelvin: float) -> float:
        """Return the count that a black body of this temperature gives."""
        return self.r1 / (self.r2 * (math.exp(self.b / kelvin) - self.f)) - self.o

    def celsius(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the temperatures of what gives these counts; NaN where no temperature does."""
        air, window, emitted = self.air_share(), self.window_share, self.emissivity
        others = (
            (1 - emitted) * air * window * self.signal(self.reflected)
            + (1 - air) * window * self.signal(self.air)
            + (1 - window) * self.signal(self.window)
        )
        own = (counts - others) / (emitted * air * window)
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = self.r1 / (self.r2 * (own + self.o)) + self.f
            kelvin = self.b / np.log(inner)
        return np.where((inner > 1) & (kelvin <= MAX_KELVIN), kelvin - ZERO, np.nan)

    def sentence(self) -> str:
        """Return the constants that a person can set, in words."""
        return (
            f"emissivity {self.emissivity:.3g}, distance {self.distance:.3g} m, reflected "
            f"{self.reflected - ZERO:.3g} °C, air {self.air - ZERO:.3g} °C, humidity "
            f"{100 * self.humidity:.3g} %"
        )


def read_constants(block: Block) -> Constants | None:
    """Return the camera's constants, or None if it has none that make sense."""
    content = block.read(CAMERA, "camera constants", MAX_LENGTH)
    if content is None or len(content) < FLOATS["r2"] + 4:
        return None
    order = record_order(content, MARKS)
    if order is None:
        return None
    numbers = {
        name: float(struct.unpack_from(f"{order}f", content, place)[0])
        for name, place in FLOATS.items()
    }
    if 1 < numbers["humidity"] <= 100:  # some write percent
        numbers["humidity"] /= 100
    (offset,) = struct.unpack_from(f"{order}i", content, OFFSET)
    constants = Constants(**numbers, o=float(offset))
    try:
        return constants if constants.are_sound() else None
    except (OverflowError, ZeroDivisionError, ValueError):
        return None


def to_celsius(counts: Counts, constants: Constants) -> Pixels:
    """Return counts as degrees Celsius; a table of all counts is quicker than all pixels."""
    table = constants.celsius(np.arange(1 << 16, dtype=np.float64)).astype(np.float32)
    celsius: Pixels = table[counts]
    return celsius
