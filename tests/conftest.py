"""Settings for the whole run."""

from __future__ import annotations

import os

import hypothesis

# Threads of torch that wait for work keep a core busy, which small networks on a busy machine pay
# for dearly. Set before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadlines: times vary on shared machines. Derandomised: a red run can be repeated.
hypothesis.settings.register_profile("fnet", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("fnet")
