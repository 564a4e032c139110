"""The user's cache folder, for everything that can be computed again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Return the cache folder, which may not exist yet.

    $XDG_CACHE_HOME/fnet, else ~/.cache/fnet; None if the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()
    except RuntimeError:
        return None
    return cache / "fnet"
