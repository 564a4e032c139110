"""What lies in a folder: images by their suffix, and why anything else is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fnetcli.errors import UsageError
from fnetcli.formats import IMAGE_SUFFIXES

HIDDEN, NO_IMAGE = "hidden", "no image by its suffix"
DEEPER, LINKED = "a folder; --recursive looks into it", "a link to a folder; it is not followed"


@dataclass(frozen=True)
class Ignored:
    """A file or folder that is no part of a pair, and why."""

    path: Path
    reason: str


def scan(folder: Path, *, is_recursive: bool) -> Iterator[Path | Ignored]:
    """Yield what looks like an image by its suffix, in order, and what is passed over.

    Links to folders are not followed. Raise UsageError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UsageError(
            f"{error.filename}: cannot be read ({error.strerror}); check permissions"
        ) from None

    for parent, folders, names in os.walk(folder, onerror=refuse):
        deeper = []
        for name in sorted(folders):
            path = Path(parent, name)
            if name.startswith("."):
                yield Ignored(path, HIDDEN)
            elif path.is_symlink():
                yield Ignored(path, LINKED)
            elif is_recursive:
                deeper.append(name)
            else:
                yield Ignored(path, DEEPER)
        folders[:] = deeper
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith("."):
                yield Ignored(path, HIDDEN)
            else:
                is_image = path.suffix.lower() in IMAGE_SUFFIXES
                yield path if is_image else Ignored(path, NO_IMAGE)


def visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, in order, but what is hidden. Raise UsageError."""
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be read ({error.strerror}); check permissions"
        ) from None
