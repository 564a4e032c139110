"""The kinds of images that fnet knows, and which two belong together."""

from __future__ import annotations

from fnetcli.errors import UsageError

MODALITIES = ("vis", "ir", "nir", "ct", "mri", "pet", "spect")

# (first, second) as the network takes them: it was trained with infrared first, and the structural
# image (nir, mri, else ct) takes that place in the other pairs.
PAIRS = (
    ("ir", "vis"),
    ("nir", "vis"),
    ("mri", "ct"),
    ("mri", "pet"),
    ("mri", "spect"),
    ("ct", "pet"),
    ("ct", "spect"),
)

# Only these carry colour that means something; a coloured thermal picture is a palette.
WITH_COLOR = ("vis", "pet", "spect")


def network_order(given: list[str]) -> tuple[str, str]:
    """Return the two given modalities as (first, second); raise UsageError for any other choice."""
    for pair in PAIRS:
        if sorted(pair) == sorted(given):
            return pair
    allowed = ", ".join(f"{second}+{first}" for first, second in PAIRS)
    count = {0: "no image given", 1: f"only --{given[0]} given" if given else ""}
    problem = count.get(len(given), f"{' + '.join(f'--{name}' for name in given)} given")
    raise UsageError(f"{problem}; give exactly two that belong together: {allowed}")


# These come as volumes too.
VOLUMETRIC = ("ct", "mri", "pet", "spect")


def shown_name(role: str, modalities: tuple[str, str]) -> str:
    """Return a part's or map's name for people: `unique_first` of (ir, vis) is `unique_ir`."""
    for word, modality in zip(("first", "second"), modalities, strict=True):
        if role.endswith(f"_{word}"):
            return f"{role.removesuffix(word)}{modality}"
    return role
