"""Put the example pair and what `fnet fuse` made of it into one picture: docs/example.png.

fnet fuse --vis examples/night-street/vis.png --ir examples/night-street/ir.png -o demo-out
python examples/show_result.py demo-out docs/example.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import PIL.Image

GAP = 4  # pixels of white between the panels


def main() -> None:
    """Read six pictures, write one: two rows of three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the folder that fnet fuse wrote")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    inputs, results = Path(__file__).parent / "night-street", arguments.results
    paths = [inputs / "vis.png", inputs / "ir.png", results / "fused" / "vis.png"]
    paths += [results / name / "vis.png" for name in ("unique_ir", "unique_vis", "common")]
    panels = [PIL.Image.open(path).convert("RGB") for path in paths]
    width, height = panels[0].size
    sheet = PIL.Image.new("RGB", (3 * width + 2 * GAP, 2 * height + GAP), "white")
    for i, panel in enumerate(panels):
        sheet.paste(panel, (i % 3 * (width + GAP), i // 3 * (height + GAP)))
    sheet.save(arguments.picture, optimize=True)
    print(arguments.picture)


if __name__ == "__main__":
    main()
