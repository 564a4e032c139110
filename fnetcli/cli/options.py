"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fnetcli.errors import FnetError, UsageError

if TYPE_CHECKING:
    from fnetcli.engine import EngineOptions
    from fnetcli.formats import ReadOptions
    from fnetcli.imaging.intensity import Limits, ScalingOptions
    from fnetcli.inputs.pairing import Pairing

BOTH = ""  # key of a value that holds for both modalities
MOST_BITS, MOST_PAGES = 32, 1_000_000
MOST_DIGITS = 9  # of a number of pixels
DECIMAL = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

_IMAGES = "Images: exactly two that belong together"
_FILES = "Which files, and which belong together"
_NUMBERS = "From stored numbers to grey levels"
_ENGINE = "The network at work"

# --- images ---------------------------------------------------------------------------------------

Vis = Annotated[
    Path | None,
    typer.Option("--vis", help="Visible light, colour or grey.", rich_help_panel=_IMAGES),
]
Ir = Annotated[
    Path | None,
    typer.Option("--ir", help="Thermal infrared; goes with vis.", rich_help_panel=_IMAGES),
]
Nir = Annotated[
    Path | None,
    typer.Option("--nir", help="Near infrared; goes with vis.", rich_help_panel=_IMAGES),
]
Ct = Annotated[
    Path | None,
    typer.Option("--ct", help="CT; goes with mri, pet or spect.", rich_help_panel=_IMAGES),
]
Mri = Annotated[
    Path | None,
    typer.Option("--mri", help="MRI; goes with ct, pet or spect.", rich_help_panel=_IMAGES),
]
Pet = Annotated[
    Path | None,
    typer.Option("--pet", help="PET, colour kept; goes with mri or ct.", rich_help_panel=_IMAGES),
]
Spect = Annotated[
    Path | None,
    typer.Option(
        "--spect", help="SPECT, colour kept; goes with mri or ct.", rich_help_panel=_IMAGES
    ),
]


def given(**images: Path | None) -> dict[str, Path]:
    """Return the modalities that were given."""
    return {modality: path for modality, path in images.items() if path is not None}


# --- which files belong together ------------------------------------------------------------------

Pairs = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="FILE.csv",
        help="A list instead of two image options: its first line names two modalities, as "
        "vis,ir, and case if wanted; paths are relative to the list.",
        show_default=False,
        rich_help_panel=_FILES,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive", help="Look in sub-folders too; results keep them.", rich_help_panel=_FILES
    ),
]
Suffix = Annotated[
    list[str] | None,
    typer.Option(
        "--suffix",
        metavar="MODALITY=TEXT",
        help="Take only files whose names end so, and pair them without it: vis=_RGB, ir=_T.",
        show_default=False,
        rich_help_panel=_FILES,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit code 1 where files have no partner.", rich_help_panel=_FILES
    ),
]
Page = Annotated[
    list[str] | None,
    typer.Option(
        "--page",
        metavar="[MODALITY=]N",
        help="Which page of multi-page TIFF files, from 1 on.",
        show_default=False,
        rich_help_panel=_FILES,
    ),
]
MaxPixels = Annotated[
    float,
    typer.Option(
        "--max-pixels",
        metavar="MEGAPIXELS",
        help="Refuse larger images before they are decoded.",
        min=0.000001,
        rich_help_panel=_FILES,
    ),
]


def find_pairs(
    images: dict[str, Path], pairs: Path | None, suffix: list[str] | None, *, is_recursive: bool
) -> tuple[tuple[str, str], Pairing]:
    """Return the modalities in the network's order, and the cases. Raise UsageError."""
    from fnetcli.inputs.pairing import PairingOptions, pair_list, pair_paths
    from fnetcli.modalities import network_order

    if pairs is None:
        modalities = first, second = network_order(list(images))
        stripped = per_modality("--suffix", suffix, modalities)
        options = PairingOptions(is_recursive, (stripped.get(first, ""), stripped.get(second, "")))
        return modalities, pair_paths(images[first], images[second], options)
    unfit = {
        f"--{min(images, default='')}": images,
        "--suffix": suffix,
        "--recursive": is_recursive,
    }
    for option, value in unfit.items():
        if value:
            raise UsageError(f"{option} and --pairs: the list names the files; leave one out")
    return pair_list(pairs)


def require_pairs(pairing: Pairing, pairs: Path | None, *, is_recursive: bool) -> None:
    """Raise FnetError where there is no case."""
    if pairing.cases:
        return
    if pairs is not None:
        raise FnetError(f"{pairs}: no pairs below the first line, nothing to do; add them")
    first, second = pairing.roots
    deeper = "" if is_recursive else ", or look in sub-folders with --recursive"
    raise FnetError(
        f"{first} and {second}: nothing to do, no file of one folder has a partner of the same "
        f"name in the other; rename files, or name their endings with --suffix{deeper}"
    )


def read_options(
    page: list[str] | None, max_pixels: float, modalities: tuple[str, str]
) -> tuple[ReadOptions, ReadOptions]:
    """Return what is read of both images. Raise UsageError."""
    pages = per_modality("--page", page, modalities, has_default=True)
    of_each = {name: read_option(text, max_pixels) for name, text in pages.items()}
    of_all = of_each.get(BOTH) or read_option(None, max_pixels)
    first, second = modalities
    return of_each.get(first, of_all), of_each.get(second, of_all)


def read_option(page: str | None, max_pixels: float) -> ReadOptions:
    """Return what is read of one image. Raise UsageError."""
    from fnetcli.formats import ReadOptions

    if not math.isfinite(max_pixels):
        raise UsageError(f"--max-pixels {max_pixels}: give a number of megapixels")
    return ReadOptions(_number("--page", page, MOST_PAGES), round(max_pixels * 1e6))


# --- from stored numbers to grey levels -----------------------------------------------------------


class Scope(StrEnum):
    """Over what a stretch is measured."""

    image = "image"
    folder = "folder"


Bits = Annotated[
    list[str] | None,
    typer.Option(
        "--bits",
        metavar="MODALITY=N",
        help="White is 2^N - 1: vis=12. Default: 16-bit visible images that hold nothing above "
        "4095 (1023) have 12 (10) bits.",
        show_default=False,
        rich_help_panel=_NUMBERS,
    ),
]
Range = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="MODALITY=LO,HI",
        help="The stored numbers that become black and white: ir=29315,31315.",
        show_default=False,
        rich_help_panel=_NUMBERS,
    ),
]
Stretch = Annotated[
    list[str] | None,
    typer.Option(
        "--stretch",
        metavar="[MODALITY=]LO,HI",
        help="The percentiles that become black and white, or minmax, or none; of images that are "
        "neither 8-bit nor visible 16-bit, with MODALITY= of all its images. Default: 0.1,99.9.",
        show_default=False,
        rich_help_panel=_NUMBERS,
    ),
]
StretchScope = Annotated[
    Scope,
    typer.Option(
        "--stretch-scope",
        help="Stretch each image by itself, or all by one range (sequences: no flicker).",
        rich_help_panel=_NUMBERS,
    ),
]
Invert = Annotated[
    list[str] | None,
    typer.Option(
        "--invert",
        metavar="MODALITY",
        help="Exchange black and white: ir for black-hot thermal images.",
        show_default=False,
        rich_help_panel=_NUMBERS,
    ),
]


def scaling_options(
    modalities: tuple[str, str],
    bits: list[str] | None,
    ranges: list[str] | None,
    stretch: list[str] | None,
    invert: list[str] | None,
) -> tuple[ScalingOptions, ScalingOptions]:
    """Return how both modalities are scaled. Raise UsageError for what makes no sense."""
    from fnetcli.imaging.intensity import DEFAULT_STRETCH, ScalingOptions

    rules = {
        "--bits": per_modality("--bits", bits, modalities),
        "--range": per_modality("--range", ranges, modalities),
        "--stretch": per_modality("--stretch", stretch, modalities, has_default=True),
    }
    for modality in {*(invert or ())} - {*modalities}:
        raise UsageError(
            f"--invert {modality}: not one of the two images; use {' or '.join(modalities)}"
        )

    def one(modality: str) -> ScalingOptions:
        named = [option for option, values in rules.items() if modality in values]
        if len(named) > 1:
            raise UsageError(
                f"{named[0]} and {named[1]}: both say how {modality} is scaled; leave one out"
            )
        of_all, of_this = rules["--stretch"].get(BOTH), rules["--stretch"].get(modality)
        text = of_all if of_this is None else of_this
        return ScalingOptions(
            limits=_limits("--range", rules["--range"].get(modality)),
            bits=_number("--bits", rules["--bits"].get(modality), MOST_BITS),
            stretch=DEFAULT_STRETCH if text is None else _percentiles(text),
            stretches_all=of_this is not None,
            is_inverted=modality in (invert or ()),
        )

    first, second = modalities
    return one(first), one(second)


def _number(option: str, text: str | None, most: int) -> int | None:
    """Read a whole number from 1 to `most`."""
    if text is None:
        return None
    is_whole = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not is_whole or not 1 <= int(text) <= most:
        raise UsageError(f"{option} {text}: give a number from 1 to {most}")
    return int(text)


def _percentiles(text: str) -> Limits | None:
    """Read percentiles, minmax or none."""
    if text == "none":
        return None
    limits = (0.0, 100.0) if text == "minmax" else _limits("--stretch", text)
    if limits is None or limits[0] < 0 or limits[1] > 100:
        raise UsageError(f"--stretch {text}: percentiles lie between 0 and 100; or minmax, or none")
    return limits


def _limits(option: str, text: str | None) -> Limits | None:
    """Read ``LO,HI``."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{option} {text}: give two numbers, the lower first, as LO,HI")
    return low, high


def per_modality(
    option: str,
    values: list[str] | None,
    modalities: tuple[str, str],
    *,
    has_default: bool = False,
) -> dict[str, str]:
    """Read ``vis=12`` and the like; with `has_default` a value alone holds for both, key BOTH.

    Raise UsageError for a modality that is not fused, and for two values of one.
    """
    found: dict[str, str] = {}
    for text in values or []:
        name, mark, value = text.partition("=")
        if has_default and not mark:
            name, value = BOTH, text
        elif name not in modalities or not value:
            raise UsageError(
                f"{option} {text}: give it as {option} {modalities[0]}=VALUE or "
                f"{option} {modalities[1]}=VALUE" + f" or {option} VALUE" * has_default
            )
        if name in found:
            raise UsageError(f"{option} {text}: said twice; leave one out")
        found[name] = value
    return found


# --- mixing ---------------------------------------------------------------------------------------

LARGEST_GAIN = 10.0


def read_gains(values: list[str] | None, modalities: tuple[str, str]) -> tuple[float, float, float]:
    """Read ``unique_ir=1.3`` and the like; return the gains in the parts' order.

    Raise UsageError for what is not a part or not a number from 0 to LARGEST_GAIN.
    """
    gains = {f"unique_{modalities[0]}": 1.0, f"unique_{modalities[1]}": 1.0, "common": 1.0}
    given = set[str]()
    for text in values or []:
        name, _, number = text.partition("=")
        if name not in gains:
            raise UsageError(f"--gain {text}: give it as PART=NUMBER, PART {', '.join(gains)}")
        if name in given:
            raise UsageError(f"--gain {text}: said twice; leave one out")
        gain = float(number) if DECIMAL.fullmatch(number) else math.nan
        if not 0 <= gain <= LARGEST_GAIN:
            raise UsageError(f"--gain {text}: give a number from 0 to {LARGEST_GAIN:g}")
        given.add(name)
        gains[name] = gain
    first, second, common = gains.values()
    return first, second, common


# --- running --------------------------------------------------------------------------------------

Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:N or mps.",
        metavar="DEVICE",
        rich_help_panel=_ENGINE,
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        "--tile",
        metavar="auto|N|0",
        help="Side of the tiles that large images go through the network in; 0: whole. The result "
        "is the same.",
        rich_help_panel=_ENGINE,
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Memory that the network may take beside the images, as 500M or 2G. Default: what is "
        "free, on a CPU at most 1G.",
        show_default=False,
        rich_help_panel=_ENGINE,
    ),
]


class PrecisionChoice(StrEnum):
    """Of the network's multiplications."""

    fp32 = "fp32"
    bf16 = "bf16"


Precision = Annotated[
    PrecisionChoice,
    typer.Option(
        "--precision",
        help="bf16: faster on CUDA devices that have it, within one grey level nearly everywhere; "
        "elsewhere it brings nothing and fp32 is used.",
        rich_help_panel=_ENGINE,
    ),
]


def engine_options(tile: str, max_memory: str | None, precision: str) -> EngineOptions:
    """Return how the network is to be run; raise UsageError."""
    from fnetcli.engine import EngineOptions

    if tile != "auto" and not (tile.isdecimal() and len(tile) <= MOST_DIGITS):
        raise UsageError(f"--tile {tile}: not a number of pixels; use auto, 0 or a whole number")
    return EngineOptions(
        precision=PrecisionChoice(precision).value,
        tile=None if tile == "auto" else int(tile),
        max_memory=None if max_memory is None else _bytes(max_memory),
    )


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip(), re.IGNORECASE)
    count = float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " ") if found else 0
    if not 1 <= count < math.inf:
        raise UsageError(f"--max-memory {text}: not a size; write it as 500M or 2G")
    return int(count)


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more of every case.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
