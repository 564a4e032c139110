"""Put what the three networks make of the example pair into one picture: docs/models.jpg.

PAIR="--vis examples/night-street/vis.png --ir examples/night-street/ir.png"
for N in fnet cddfuse uaafusion; do
    fnet fuse $PAIR --weights $N -o OUT/$N
    fnet inspect $PAIR --weights $N -o OUT/$N
done
python examples/show_networks.py OUT docs/models.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

GAP, LINE, FONT = 4, 28, 20  # pixels between panels, of a caption, of its letters
FUSED = ("fused", "fused/vis.png")
ROWS = {
    "fnet": (
        FUSED,
        ("unique, infrared", "unique_ir/vis.png"),
        ("unique, visible", "unique_vis/vis.png"),
        ("common", "common/vis.png"),
    ),
    "cddfuse": (
        FUSED,
        ("base, infrared", "base_first"),
        ("detail, infrared", "detail_first"),
        ("detail, visible", "detail_second"),
    ),
    "uaafusion": (
        FUSED,
        ("weight of infrared", "weight_ir/vis.png"),
        ("attention, last stage", "attention_4/vis.png"),
        ("segmentation", "segmentation/vis.png"),
    ),
}


def main() -> None:
    """Read what the commands wrote, write one picture: two sources, then a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the folder OUT of the commands above")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    inputs = Path(__file__).parent / "night-street"
    rows = [[("visible", _opened(inputs / "vis.png")), ("infrared", _opened(inputs / "ir.png"))]]
    for name, panels in ROWS.items():
        folder = arguments.results / name
        rows.append([(f"{name}: {words}", _panel(folder, what)) for words, what in panels])
    width, height = rows[0][0][1].size
    across, down = width + GAP, height + LINE + GAP
    sheet = PIL.Image.new("RGB", (4 * across - GAP, len(rows) * down - GAP), "white")
    pen, font = PIL.ImageDraw.Draw(sheet), PIL.ImageFont.load_default(FONT)
    for i, row in enumerate(rows):
        for j, (words, panel) in enumerate(row):
            sheet.paste(panel, (j * across, i * down + LINE))
            pen.text((j * across, i * down), words, fill="black", font=font)
    sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), PIL.Image.Resampling.LANCZOS).save(
        arguments.picture, quality=88, optimize=True
    )
    print(arguments.picture)


def _panel(folder: Path, what: str) -> PIL.Image.Image:
    """Return a picture of a file, or of the L2 norm over channels of a feature."""
    if what.endswith(".png"):
        return _opened(folder / what)
    with np.load(folder / "features.npz") as arrays:
        norm = np.sqrt(np.square(arrays[what].astype(np.float32)).sum(axis=-3))
    low, high = np.percentile(norm, (1, 99))
    levels = np.clip((norm.squeeze() - low) / (high - low), 0, 1) * 255
    return PIL.Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def _opened(path: Path) -> PIL.Image.Image:
    return PIL.Image.open(path).convert("RGB")


if __name__ == "__main__":
    main()
