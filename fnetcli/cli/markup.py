"""Text for rich's tables: square brackets are text, not markup."""

from __future__ import annotations

import re

MARKUP = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])")  # what rich takes for markup


def literal(text: str) -> str:
    """Escape rich markup in a text, like `rich.markup.escape` but without importing rich."""
    return MARKUP.sub(lambda found: f"{found[1] * 2}\\{found[2]}", text)
