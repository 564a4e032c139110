"""The words for an FNet on the page."""

from __future__ import annotations

from fnetcli.inspection.base import Words

BLOCK_LABELS = {"u": "unique to {first}", "v": "unique to {second}", "z": "common"}

_CODES = (
    "FNet explains both pictures with learned patterns, its atoms. The code u holds where and how "
    "strongly each atom is needed for the first picture, {first}; v for the second, {second}; z "
    "for what they leave unexplained. The paper calls them unique and common. But u is computed "
    "from {first} alone and cannot know what {second} shows: the table of separation tells what "
    "the parts hold. Few values of a code are far from zero. Each code is turned back into an "
    "image by its own atoms, and the three parts are summed:"
)
_RESIDUALS = (
    "The residuals p1 = {first} \u2212 Wu \u2217 u and p2 = {second} \u2212 Wv \u2217 v are what u "
    "and v leave unexplained; z is computed from them. Luminance ranges from 0, black, to 1, "
    "white. Parts and residuals are signed: zero is in the middle of their scale."
)

PAGE_WORDS = Words(
    maps="What the network separated",
    fused="the sum of the three parts",
    reading=(_CODES, "fused = Gu \u2217 u + Gv \u2217 v + Gz \u2217 z", _RESIDUALS),
    channel="atom",
    channels="Atoms",
    channels_hint="Every atom has a map of where, and how strongly, its pattern is needed. Choose "
    "one to see it enlarged, with its kernel.",
    kernel_hint="The kernel is the pattern that one unit of this atom adds to the fused picture. "
    "Signs multiply: where map and kernel are both negative, light is added.",
)

PLOTS = {
    "features.png": "Unique and common features",
    "histograms.png": "Codes before and after the last thresholding",
    "schedules.png": "Thresholds and momentum over the iterations",
}
