"""Check that a built site loads nothing from elsewhere: `python docs/check_site.py site`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# What a browser loads by itself; links that people follow may lead anywhere.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload|icon))[^>]*\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)",
    re.IGNORECASE,
)
IN_STYLES = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')\s]+)")


def loaded(site: Path) -> list[str]:
    """Return every address that a page or a style sheet would load."""
    found = []
    for path in sorted(site.rglob("*")):
        pattern = {".html": LOADED, ".css": IN_STYLES}.get(path.suffix)
        if pattern:
            for one in pattern.finditer(path.read_text(encoding="utf-8")):
                address = next(group for group in one.groups() if group)
                found.append(f"{path.relative_to(site)}: {address}")
    return found


if __name__ == "__main__":
    if not (Path(sys.argv[1]) / "index.html").is_file():
        sys.exit(f"{sys.argv[1]}: no site; run make docs")
    sys.exit("\n".join(loaded(Path(sys.argv[1]))) or 0)
