"""How the parts of a fused image are weighed."""

from __future__ import annotations

NO_GAINS = (1.0, 1.0, 1.0)
