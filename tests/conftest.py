"""Settings for the whole run."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest
import typer.main

from fnetcli.files.cache import cache_folder

# Threads of torch that wait for work keep a core busy, which small networks on a busy machine pay
# for dearly. Set before torch is imported; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests start hundreds of processes, and importing torch without bytecode takes seconds. Where none
# may be written, a folder of this session keeps it: for child processes, and for the workers of
# pytest-xdist, which inherit the environment of the process that starts them.
if os.environ.get("PYTHONDONTWRITEBYTECODE") and not os.environ.get("PYTHONPYCACHEPREFIX"):
    bytecode = tempfile.mkdtemp(prefix="fnet-bytecode-")
    atexit.register(shutil.rmtree, bytecode, ignore_errors=True)
    os.environ["PYTHONPYCACHEPREFIX"] = bytecode
    del os.environ["PYTHONDONTWRITEBYTECODE"]

# What torch compiles is kept between tests and runs, where `fnet train` keeps it: a variant takes
# seconds, also for tests with a cache of their own.
cache = cache_folder()
if cache is not None:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))

# A shell that starts the tests in its background lets them ignore Ctrl-C, nohup a closed terminal,
# and so would every child.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No deadlines: times vary on shared machines. Derandomised: a red run can be repeated.
hypothesis.settings.register_profile("fnet", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("fnet")


@pytest.fixture(scope="session", autouse=True)
def _scoring_in_this_process() -> Iterator[None]:
    """Let `fnet eval` start processes only for --workers: that takes longer than tiny pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fnetcli.cli.eval.usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_power_cuts() -> Iterator[None]:
    """Do not wait for the disk: commands in this process sync a dozen times, some ms each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """Keep what typer makes of the app: runners of tests build it anew for every command line."""
    with pytest.MonkeyPatch.context() as patch:
        kept = functools.cache(typer.main.get_command)
        patch.setattr("typer.testing._get_command", kept, raising=False)
        yield
