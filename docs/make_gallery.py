"""Write docs/gallery.md and its pictures: every pair of modalities, and pairs that fail.

Run `python docs/make_gallery.py` after the weights or the fusion have changed. All that is shown
was drawn by programs in examples/: nobody was photographed or scanned.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("gallery.md")
PICTURES = Path(__file__).with_name("gallery")
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from draw_head_volumes import LPS, NAMES, scan  # noqa: E402
from draw_labelled_streets import draw  # noqa: E402

from fnetcli import ScalingOptions, fuse, load_network  # noqa: E402
from fnetcli.runs.network import LoadedNetwork  # noqa: E402

Picture = NDArray[Any]
Pair = Mapping[str, Picture]
GAP, TITLE, FONT = 4, 22, 16  # pixels
TITLE_GREY = (128, 128, 128)  # readable on a light page and on a dark one
SLICE = (LPS, (1.0, 1.0, 1.0), (176, 208, 5))  # of the head, 1 mm pixels
HEIGHT = 14.0  # mm, of the slice above the middle: through the tumour
LIMITS = {"ct": (-160.0, 240.0), "mri": (0.0, 900.0), "pet": (0.0, 10.0), "spect": (0.0, 10.0)}
SHOWN_AS_ZERO, SHOWN_PER_UNIT = 127.5, 255.0  # of a part
HEAD = """# Gallery

What `fnet` makes of every pair of modalities it knows, and of pairs that it cannot help. Everything
here was drawn by the programs in `examples/`: nobody was photographed or scanned, and near infrared
and SPECT are drawn as their physics suggests, not measured. `docs/make_gallery.py` makes all
pictures with the default weights, `fnet`, or `fnet-medical` for CT, MRI, PET and SPECT, but for one
that says so.

Each strip shows the two pictures, the fused one, and its three parts: two unique ones, computed
from one picture each, and the common one. In the parts grey is zero.
"""


@dataclass(frozen=True)
class Entry:
    """One strip: how its pair is made, and what is to be seen."""

    name: str
    title: str
    words: str
    pair: Callable[[], Pair]
    weights: str | None = None  # if not the default ones


# --- pairs ----------------------------------------------------------------------------------------


def night_street() -> Pair:
    """Return the example pair."""
    folder = ROOT / "examples" / "night-street"
    return {name: np.asarray(Image.open(folder / f"{name}.png")) for name in ("vis", "ir")}


def near_infrared() -> Pair:
    """Return a drawn street by day, and as near infrared shows it: leaves bright, sky dark."""
    scene = draw(3, 9, 256)
    brightness = scene.visible.mean(axis=2)
    factor = np.select([scene.label == 4, scene.label == 3], [2.2, 0.55], 1.0)
    softened = ndimage.gaussian_filter(factor, 0.7)
    return {"vis": scene.visible, "nir": np.clip(brightness * softened, 0, 255).astype(np.uint8)}


def head(first: str, second: str) -> Pair:
    """Return one slice of the drawn head, by two scanners."""
    return {name: _slice(name) for name in (first, second)}


def _slice(name: str) -> NDArray[np.float32]:
    steps, spacing, shape = SLICE
    volume = scan(NAMES.index(name), (steps, spacing, (*shape[:2], 33))).get_fdata(dtype="f4")
    found: NDArray[np.float32] = np.ascontiguousarray(volume[:, :, 16 + round(HEIGHT)].T)
    if name in {"pet", "spect"}:  # coarse, as its scanner is
        found = ndimage.gaussian_filter(found, 3.5 if name == "pet" else 6.0)
    return found


def misaligned() -> Pair:
    """Return the example pair, one picture displaced by nine pixels."""
    pair = night_street()
    return {**pair, "ir": np.roll(pair["ir"], (5, 9), (0, 1))}


def both_dark() -> Pair:
    """Return the example pair, both pictures at a thirtieth of their brightness."""
    return {name: (one // 30).astype(np.uint8) for name, one in night_street().items()}


def with_an_overlay() -> Pair:
    """Return the example pair with a camera's text and cross-hair in the thermal picture."""
    pair = night_street()
    shown = Image.fromarray(pair["ir"])
    pen = ImageDraw.Draw(shown)
    pen.text((6, 6), "31.4 C   e=0.95", fill=255, font=ImageFont.load_default(16))
    pen.line((150, 128, 170, 128), fill=255)
    pen.line((160, 118, 160, 138), fill=255)
    return {**pair, "ir": np.asarray(shown)}


ENTRIES = (
    Entry(
        "vis-ir",
        "Visible and thermal",
        "People, the cat and the manhole come from the thermal camera; signs, windows and "
        "colours from the other.",
        night_street,
    ),
    Entry(
        "vis-ir-parts",
        "The same, with the weights fnet-parts",
        "The unique parts hold less of what both cameras see, and are faint: the thermal one has "
        "what is warm, the visible one lamps, signs and markings. Much that one camera alone sees "
        "is in the common part, too.",
        night_street,
        "fnet-parts",
    ),
    Entry(
        "vis-nir",
        "Visible and near infrared (drawn)",
        "Leaves are bright in near infrared and the sky is dark.",
        near_infrared,
    ),
    Entry(
        "ct-mri",
        "CT and MRI (drawn)",
        "Grey and white matter are the MRI's, bone is the CT's. The calcification at the "
        "lower right, bright in the CT and dark in the MRI, stays bright.",
        lambda: head("ct", "mri"),
    ),
    Entry(
        "pet-mri",
        "PET and MRI (drawn)",
        "The anatomy of the MRI; uptake shows only as a little more light. Of volumes, fnet also "
        "writes a result with the uptake in colour.",
        lambda: head("pet", "mri"),
    ),
    Entry(
        "spect-mri",
        "SPECT and MRI (drawn)",
        "As with PET, but coarser.",
        lambda: head("spect", "mri"),
    ),
    Entry(
        "pet-ct",
        "PET and CT (drawn)",
        "The uptake of the PET, and bone of the CT.",
        lambda: head("pet", "ct"),
    ),
    Entry(
        "spect-ct", "SPECT and CT (drawn)", "The same, but coarser.", lambda: head("spect", "ct")
    ),
)
FAILURES = (
    Entry(
        "misaligned",
        "Not aligned",
        "The thermal picture is displaced by five pixels down and nine to the right. Contours "
        "are double. "
        "`fnet inspect` estimates the displacement; a network cannot mend it.",
        misaligned,
    ),
    Entry(
        "both-dark",
        "Both dark",
        "No fusion can show what neither camera saw. 8-bit pictures are used as stored: "
        "stretching would show noise; `--stretch` does it if you want it.",
        both_dark,
    ),
    Entry(
        "overlay",
        "Text in the picture",
        "Numbers and cross-hairs that the camera drew into its picture are edges like any "
        "other. Switch "
        "them off in the camera.",
        with_an_overlay,
    ),
)


# --- strips ---------------------------------------------------------------------------------------


def strip(pair: Pair, weights: str | None = None) -> Image.Image:
    """Return six panels in two rows: first, second, fused; unique, unique, common."""
    scaling = {name: ScalingOptions(limits=LIMITS[name]) for name in pair if name in LIMITS}
    first, second = pair
    fused = fuse(_network(weights, first, second), scaling=scaling, **pair)
    panels = {
        first: _grey(pair[first], LIMITS.get(first)),
        second: _grey(pair[second], LIMITS.get(second)),
        "fused": _bytes(255 * fused.image.pixels[0].squeeze()),
    }
    for name in (f"unique_{first}", f"unique_{second}", "common"):
        words = name.replace("_", " to ")
        panels[words] = _bytes(SHOWN_AS_ZERO + SHOWN_PER_UNIT * fused.parts[name][0])
    height, width = panels["fused"].shape[:2]
    sheet = Image.new("RGBA", (3 * width + 2 * GAP, 2 * (height + TITLE) + GAP))  # transparent
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for number, (name, panel) in enumerate(panels.items()):
        left, top = number % 3 * (width + GAP), number // 3 * (height + TITLE + GAP)
        pen.text((left, top), name, fill=TITLE_GREY, font=font)
        sheet.paste(Image.fromarray(panel).convert("RGB"), (left, top + TITLE))
    return sheet


@cache
def _network(weights: str | None, *modalities: str) -> LoadedNetwork:
    return load_network(weights, device="cpu", modalities=modalities)


def _grey(picture: Picture, limits: tuple[float, float] | None) -> NDArray[np.uint8]:
    if limits is None:
        return picture.astype(np.uint8)
    return _bytes(255 * (picture - limits[0]) / (limits[1] - limits[0]))


def _bytes(values: Picture) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, entries in (("## Pairs", ENTRIES), ("## Where it fails", FAILURES)):
        parts.append(f"{title}\n")
        for one in entries:
            shown = f"![{one.title}: two pictures, fused, and parts](gallery/{one.name}.webp)"
            parts.append(f"### {one.title}\n\n{shown}\n\n{one.words}\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page, and all pictures or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="strips to make (all)")
    names = parser.parse_args().names
    PICTURES.mkdir(exist_ok=True)
    for entry in (*ENTRIES, *FAILURES):
        if not names or entry.name in names:
            path = PICTURES / f"{entry.name}.webp"
            strip(entry.pair(), entry.weights).save(path, quality=85, method=6)
            print(path, path.stat().st_size)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
