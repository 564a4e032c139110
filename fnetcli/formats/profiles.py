"""Colour profiles (ICC): keep those that differ from sRGB."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import PIL.ImageCms

SAME_COLOR = 3  # levels of 255; a profile that changes no colour by more is sRGB, whatever its name
LONGEST_NAME = 60  # characters
BROKEN = "its colour profile cannot be read: colours are used as if they were sRGB"


def check_profile(profile: bytes | None, is_color: bool) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the profile if it is worth keeping, and what a user should know about it.

    Profiles of grey pictures only shift the tone curve a little, and are dropped without a notice.
    """
    if not profile or not is_color:
        return None, ()
    try:
        opened = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = _name(opened)
        if opened.profile.xcolor_space.strip() != "RGB":
            return None, (f"its colour profile {name} is not for RGB, and is not used",)
        if _is_srgb(opened):
            return None, ()
    except Exception:  # noqa: BLE001 - a profile that no one can read must not cost us the pixels
        return None, (BROKEN,)
    return profile, (f"its colour profile is {name}, not sRGB: colours are used as stored",)


def _name(opened: PIL.ImageCms.ImageCmsProfile) -> str:
    words = " ".join((opened.profile.profile_description or "").split())
    readable = "".join(letter for letter in words if letter.isprintable())[:LONGEST_NAME]
    return f"'{readable}'" if readable else "without a name"


def _is_srgb(opened: PIL.ImageCms.ImageCmsProfile) -> bool:
    """Whether colours all over the cube hardly change when converted to sRGB."""
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(6, 36, 3)
    converted = PIL.ImageCms.profileToProfile(
        PIL.Image.fromarray(cube), opened, PIL.ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    moved = np.asarray(converted).astype(np.int16) - cube
    return bool(np.abs(moved).max() <= SAME_COLOR)
