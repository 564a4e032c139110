"""From stored numbers to the unit range and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fnetcli.errors import ImageError
from fnetcli.imaging.image import Image, Mask, Pixels, Stored, bands
from fnetcli.modalities import BY_NAME
from fnetcli.text import number_of, verb_of

PREVIEW_RANGE = 0.5  # the value shown as white; its negative is black
CELSIUS = "°C"  # unit of temperatures
DEFAULT_STRETCH = (0.1, 99.9)  # percentiles that become black and white
# The lowest and highest float32 and float64 stand for "no data" in many programs' files, often
# undeclared; no sensor measures that much.
BEYOND_MEASURE = 3e38

Limits = tuple[float, float]


# --- what becomes black, what white -------------------------------------------------------------


@dataclass(frozen=True)
class Scaling:
    """One image's way to [0, 1]: the stored numbers, or the percentiles, of black and white."""

    limits: Limits = (0.0, 255.0)
    are_percentiles: bool = False
    is_inverted: bool = False


@dataclass(frozen=True)
class Corrections:
    """What is known of the stored numbers of one modality that their files do not say.

    `imaging.corrections` applies it before anything is scaled. `nodata` are numbers that mean
    "nothing seen". None: undeclared ones are looked for in pictures of more than 8 bits; empty: no
    number means it, not even the one that a file declares. `palette` is the name of one, "auto" or
    "none".
    """

    nodata: tuple[float, ...] | None = None
    repairs_dead: bool = False
    palette: str = "none"


@dataclass(frozen=True)
class ScalingOptions:
    """How the images of one modality are scaled, whatever they hold.

    `limits` are in stored units and hold for every image. Without them 8-bit pictures are divided
    by 255, visible pictures of 16 bits by 2**bits - 1 or from what reflectance 0 to what 1 is
    stored as, and everything else (thermal counts, 32
    bits, float, signed) is stretched: `folder_limits` in stored units if they are known, else
    percentiles of the image itself; with `stretch` None the full range of the type, [0, 1] of
    floats.
    """

    limits: Limits | None = None
    bits: int | None = None  # that integers of more than 8 bits really use, whatever they say
    found_bits: int | None = None  # the same, for files that say nothing
    stretch: Limits | None = DEFAULT_STRETCH
    stretches_all: bool = False  # 8-bit and visible pictures too
    folder_limits: Limits | None = None
    is_inverted: bool = False
    corrections: Corrections = Corrections()
    in_celsius: bool = False  # `limits` are degrees Celsius, and fit no other numbers

    def choose(
        self,
        kind: np.dtype[Any],
        modality: str,
        bits: int | None = None,
        reflectance: Limits | None = None,
    ) -> Scaling:
        """Return the scaling of an image of this type.

        `bits` are those that its file declares, `reflectance` what it stores 0 and 1 as.
        """
        limits, are_percentiles = self._limits(kind, modality, bits, reflectance)
        return Scaling(limits, are_percentiles, self.is_inverted)

    def choose_for(self, image: Image, modality: str) -> Scaling:
        """Return the scaling of an image as it was read."""
        return self.choose(image.stored_type, modality, image.bits, image.reflectance)

    def is_chosen(self, kind: np.dtype[Any], modality: str) -> bool:
        """Whether its range was chosen for this image, or by hand for all; not by its type."""
        if self.limits is not None or (self.bits is not None and kind.itemsize > 1):
            return True
        if self.is_stretched(kind, modality):
            return self.folder_limits is None
        is_fixed = kind == np.uint8 or (kind == np.uint16 and BY_NAME[modality].fills_its_type)
        return self.stretch is None and not is_fixed

    def is_stretched(self, kind: np.dtype[Any], modality: str) -> bool:
        """Whether such an image is stretched, so that its own or its folder's numbers decide."""
        if self.limits is not None or self.stretch is None:
            return False
        if self.stretches_all:
            return True
        if kind == np.uint8 or (self.bits is not None and kind.kind == "u"):
            return False
        return not (kind == np.uint16 and BY_NAME[modality].fills_its_type)

    def _limits(
        self, kind: np.dtype[Any], modality: str, bits: int | None, reflectance: Limits | None
    ) -> tuple[Limits, bool]:
        if self.limits is not None:
            return self.limits, False
        if self.is_stretched(kind, modality) and self.stretch is not None:
            if self.folder_limits is not None:
                return self.folder_limits, False
            return self.stretch, True
        if kind.kind == "f":
            return (0.0, 1.0), False
        if kind.kind == "u":
            if reflectance is not None and not self.bits and BY_NAME[modality].fills_its_type:
                return reflectance, False
            most = 8 * kind.itemsize
            used = self.bits or bits or self.found_bits or most
            return (0.0, 2.0 ** (min(used, most) if most > 8 else most) - 1), False
        return (float(np.iinfo(kind).min), float(np.iinfo(kind).max)), False


def in_stored_numbers(options: ScalingOptions, image: Image, modality: str) -> ScalingOptions:
    """Return options whose limits are stored numbers of an image.

    Raise ImageError if they are degrees Celsius and the image does not say what its numbers are.
    """
    if not options.in_celsius or options.limits is None:
        return options
    low, high = options.limits
    if image.celsius is None:
        raise ImageError(
            f"the numbers of {modality} are not known to be temperatures, but --range "
            f"{modality}={low:g},{high:g}C gives degrees Celsius; leave out the C and give stored "
            "numbers"
        )
    gain, offset = image.celsius
    limits = ((low - offset) / gain, (high - offset) / gain)
    return replace(options, limits=limits, in_celsius=False)


@dataclass(frozen=True)
class Scaled:
    """An image, and the stored numbers that become 0 and 1 (exchanged if inverted).

    Its pixels stay as stored, which takes half of the memory of float32 or less, and `rows` scales
    what is asked for; where `is_unit`, they are in [0, 1] already.
    """

    image: Image
    low: float
    high: float
    invalid: int  # pixels without data, filled
    notices: tuple[str, ...] = ()
    is_inverted: bool = False
    facts: dict[str, Any] = field(default_factory=dict)  # what was corrected before, for manifests

    @property
    def is_unit(self) -> bool:
        """Whether the image's pixels are in [0, 1] already."""
        return self.image.is_unit

    def rows(self, band: slice) -> Pixels:
        """Return some rows, (slices, rows, W, C), as float32 in [0, 1]."""
        stored = self.image.pixels[:, band]
        if self.is_unit:
            return stored
        valid = None if self.image.valid is None else self.image.valid[:, band]
        unit = _scale(stored, self.low, self.high, valid)
        return 1 - unit if self.is_inverted and self.low < self.high else unit

    def in_full(self) -> Scaled:
        """Return the same with all pixels in [0, 1]."""
        if self.is_unit:
            return self
        pixels = np.empty(self.image.pixels.shape, np.float32)
        for band in self.image.grid.bands():
            pixels[:, band] = self.rows(band)
        return replace(self, image=replace(self.image, pixels=pixels, is_unit=True))


def to_unit(image: Image, scaling: Scaling) -> Scaled:
    """Return the image as float32 in [0, 1]; else as `scale` does."""
    return scale(image, scaling).in_full()


def scale(image: Image, scaling: Scaling) -> Scaled:
    """Find the way of an image to [0, 1]; fill holes from their nearest neighbours.

    A pixel is a hole where it is NaN, infinite or the file's nodata; `valid` is False there. What
    has no data at all, or is constant where the image's own range decides, becomes black: that
    leaves the other image as it is. An image that is scaled already comes back as it is.
    """
    if image.is_unit:
        return Scaled(image, 0.0, 1.0, 0)
    valid = valid_pixels(image)
    invalid = 0 if valid is None else int(valid.size - np.count_nonzero(valid))
    if valid is not None and not valid.any():
        black = np.zeros(image.pixels.shape, np.float32)
        largest = np.abs(image.pixels[np.isfinite(image.pixels)]).max(initial=0)
        is_beyond = float(largest) > BEYOND_MEASURE
        why = f" (beyond {BEYOND_MEASURE:g} there is none)" if is_beyond else ""
        notice = f"no pixel holds data{why}: it is taken as black"
        empty = replace(image, pixels=black, valid=valid, is_unit=True)
        low, high = (0.0, 0.0) if scaling.are_percentiles else scaling.limits
        return Scaled(empty, low, high, invalid, (notice,))
    (low, high), notices = _find_limits(_seen(image, valid), scaling)
    if valid is not None:
        share = percent(invalid / valid.size)
        notices.append(
            f"{number_of(invalid, 'pixel')} ({share}) {verb_of(invalid)} NaN, infinite or nodata: "
            "filled from the neighbours"
        )
    seen = replace(image, valid=valid)
    scaled = Scaled(seen, low, high, invalid, tuple(notices), scaling.is_inverted)
    return scaled if valid is None else _fill(scaled.in_full(), valid)


def valid_pixels(image: Image) -> Mask | None:
    """Return where (slices, H, W) the image holds data, or None where it does everywhere."""
    pixels = image.pixels
    holes: Mask | None = None
    if pixels.dtype.kind == "f":
        limit = BEYOND_MEASURE if pixels.itemsize > 2 else np.inf
        holes = np.asarray(~(np.abs(pixels) < limit).all(axis=-1))
    if image.nodata is not None and np.isfinite(image.nodata):
        with np.errstate(over="ignore"):
            kind = pixels.dtype if pixels.dtype.kind == "f" else np.dtype(np.float64)
            is_nodata = (pixels == np.asarray(image.nodata).astype(kind)).all(-1)
        holes = is_nodata if holes is None else holes | is_nodata
    if image.valid is not None:
        holes = ~image.valid if holes is None else holes | ~image.valid
    if holes is None or not holes.any():
        return None
    valid: Mask = ~holes
    return valid


def seen_pixels(image: Image) -> Stored:
    """Return what counts for ranges, (pixels, channels): data that are not fully transparent."""
    return _seen(image, valid_pixels(image))


def _seen(image: Image, valid: Mask | None) -> Stored:
    opaque = None if image.alpha is None else image.alpha > 0
    if opaque is not None and valid is not None:
        opaque &= valid
    if opaque is not None and opaque.any():
        return image.pixels[opaque]
    return (
        image.pixels.reshape(-1, image.pixels.shape[-1]) if valid is None else image.pixels[valid]
    )


def own_limits(image: Image, stretch: Limits) -> tuple[Limits, Limits] | None:
    """Return the stored numbers at two percentiles, and lowest and highest; None without data."""
    seen = seen_pixels(image)
    if not seen.size:
        return None
    return _percentiles(seen, stretch), (float(seen.min()), float(seen.max()))


def _percentiles(seen: Stored, stretch: Limits) -> Limits:
    values = seen.astype(_exact(seen.dtype), copy=False)
    low, high = np.percentile(values, stretch, overwrite_input=not np.shares_memory(values, seen))
    return float(low), float(high)


def _exact(kind: np.dtype[Any]) -> type[np.float64] | np.dtype[Any]:
    """Return a type that holds the numbers of this one and can be computed with."""
    return kind if kind == np.float32 else np.float64


def _find_limits(seen: Stored, scaling: Scaling) -> tuple[Limits, list[str]]:
    """Return the stored numbers of black and white, and what is to be said of them."""
    if not scaling.are_percentiles:
        return scaling.limits, []
    low, high = _percentiles(seen, scaling.limits)
    if low < high:
        return (low, high), []
    low, high = float(seen.min()), float(seen.max())
    if low < high:
        notice = "almost all pixels are equal: stretched from its lowest to its highest value"
        return (low, high), [notice]
    return (low, low), [f"all pixels are equal ({low:g}): it is taken as black"]


def _scale(pixels: Stored, low: float, high: float, valid: Mask | None) -> Pixels:
    """Map low..high to 0..1, clipped; everything to 0 where there is no span."""
    if not low < high:
        return np.zeros(pixels.shape, np.float32)
    # float32 holds 16-bit integers exactly, and resolves float32 no worse than the file does.
    is_enough = (pixels.itemsize <= 2 or pixels.dtype == np.float32) and high - low < 1e38
    work = np.dtype(np.float32 if is_enough else np.float64)
    if valid is not None:
        pixels = np.where(valid[..., None], pixels, pixels.dtype.type(0))
    unit = pixels.astype(work)
    np.clip(unit, work.type(low), work.type(high), out=unit)  # first, so that nothing overflows
    unit -= work.type(low)
    unit /= work.type(high - low)
    clipped: Pixels = np.clip(unit, 0, 1, out=unit).astype(np.float32, copy=False)
    return clipped


def _fill(scaled: Scaled, valid: Mask) -> Scaled:
    """Give every hole, in place, the value of the nearest pixel with data in its slice."""
    for values, mask in zip(scaled.image.pixels, valid, strict=True):
        if mask.all():
            continue
        if not mask.any():
            values[:] = 0
            continue
        from scipy import ndimage  # slow to import, and most images have no holes

        nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
        values[~mask] = values[tuple(nearest[:, ~mask])]
    return scaled


def percent(share: float) -> str:
    """Return a share as people write it."""
    return "under 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


# --- back to stored numbers ----------------------------------------------------------------------


def to_stored(unit: Pixels, kind: DTypeLike = np.uint8) -> NDArray[Any]:
    """Return unit values as they are stored: clipped to [0, 1], scaled, rounded; one axis or more.

    White is 255 in uint8, 65535 in uint16, 1 in float32. Exact halves go to the even neighbour.
    Raise ImageError for NaN and infinity, which clipping would hide, ValueError for other types.
    """
    kind = np.dtype(kind)
    if kind not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"results are stored as uint8, uint16 or float32, not {kind}")
    white = np.float32(1 if kind == np.float32 else np.iinfo(kind).max)

    def convert(values: Pixels) -> Pixels:
        clipped = np.clip(values, 0, 1)
        return clipped if kind == np.float32 else np.rint(clipped * white)

    return _by_bands(unit, kind, convert)


def mark_nodata(stored: Stored, valid: Mask | None, nodata: float) -> Stored:
    """Return pixels (H, W, C) with `nodata` where `valid` (H, W) is False, and nowhere else.

    What happens to be `nodata` in a channel of other pixels moves by one level: many programs ask
    every channel by itself.
    """
    marked, value = stored.copy(), stored.dtype.type(nodata)
    if stored.dtype.kind == "u":
        neighbour = value - 1 if value == np.iinfo(stored.dtype).max else value + 1
        marked[stored == value] = neighbour
    if valid is not None:
        marked[~valid] = value
    return marked


def preview(part: Pixels) -> NDArray[np.uint8]:
    """Return an 8-bit view of a signed map, of one or more axes, on one fixed scale.

    grey = round(127.5 + 127.5 * value / PREVIEW_RANGE), clipped: -0.5 and less is black,
    0 is 128, +0.5 and more is white. Fixed, so that maps of different images compare. Raise
    ImageError for NaN and infinity.
    """

    def convert(values: Pixels) -> Pixels:
        grey: Pixels = np.rint(127.5 + 127.5 * np.clip(values / PREVIEW_RANGE, -1, 1))
        return grey

    return _by_bands(part, np.dtype(np.uint8), convert)


def _by_bands(
    values: Pixels, kind: np.dtype[Any], convert: Callable[[Pixels], Pixels]
) -> NDArray[Any]:
    """Convert finite values to numbers of another kind; raise ImageError for others.

    Without arrays of the same size in between.
    """
    converted = np.empty(values.shape, kind)
    for band in bands(values.shape):
        if not np.isfinite(values[band]).all():
            raise ImageError("the result holds NaN or infinity; check the weights and the input")
        converted[band] = convert(values[band])
    return converted
