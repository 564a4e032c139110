"""Parts of recipes for trainings that take a moment."""

from __future__ import annotations

from pathlib import Path

PAIRS = """
[data]
vis = "data/vis"
ir = "data/ir"
[validation]
vis = "data/vis"
ir = "data/ir"
"""
FNET_SHAPE = """
atoms = 4
kernel_size = 3
iterations = 2
"""
FNET_NETWORKS = f"""
[network]{FNET_SHAPE}
[inverse]{FNET_SHAPE.replace("iterations = 2", "iterations = 1")}
"""
CDDFUSE_NETWORK = """
[network]
dim = 8
heads = 2
encoder_blocks = 1
decoder_blocks = 1
"""
UAAFUSION_NETWORK = """
[classes]
names = ["left", "right"]
[network]
stages = 2
channels = 4
path_steps = 2
segmentation = "small"
"""


def change(recipe: Path, *pairs: tuple[str, str]) -> None:
    """Replace texts of a recipe: each before, after, the first place."""
    text = recipe.read_text()
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after, 1)
    recipe.write_text(text)
