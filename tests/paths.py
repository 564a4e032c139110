"""Where tests find what lies beside them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "night-street"
SHARED = ROOT.parent / "shared"  # beside the project, and not part of it: tests do without
