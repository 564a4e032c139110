"""Settings for the whole run."""

from __future__ import annotations

import hypothesis

# No deadlines: times vary on shared machines. Derandomised: a red run can be repeated.
hypothesis.settings.register_profile("fnet", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fnet")
