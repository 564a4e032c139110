"""Choose the device for a network; torch is imported only if there may be a GPU."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from fnetcli.cores import THREADS, core_quota, usable_cores
from fnetcli.errors import UsageError
from fnetcli.text import number_of

if TYPE_CHECKING:
    import torch

# Device files of a GPU driver: NVIDIA's, AMD's, NVIDIA's under WSL.
TRACES = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Device:
    """A CPU, a CUDA device or Apple's Metal."""

    kind: str = "cpu"  # cpu, cuda or mps
    index: int | None = None

    def __str__(self) -> str:
        """Return the text for `--device`."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    def in_torch(self) -> torch.device:
        """Return the torch device. Switch TF32 off, so that float32 means float32 everywhere."""
        import torch

        _allow_tf32(allowed=False)
        return torch.device(str(self))

    @contextmanager
    def at_work(self, *, with_tf32: bool = False) -> Iterator[None]:
        """Compute here: on a GPU make it this thread's, whose copies then need no other GPU."""
        if self.kind != "cuda":
            yield
            return
        import torch

        with torch.cuda.device(self.in_torch()):
            _allow_tf32(allowed=with_tf32)
            try:
                yield
            finally:
                _allow_tf32(allowed=False)

    def has_tensor_cores(self) -> bool:
        """Whether it multiplies TF32 and bfloat16 in hardware (not emulated)."""
        if self.kind != "cuda":
            return False
        import torch

        with torch.cuda.device(self.in_torch()):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def choose_device(text: str) -> Device:
    """Return the available device for auto, cpu, cuda, cuda:N or mps; raise UsageError."""
    if text == "auto":
        return _best()
    if text == "all" or "," in text:
        raise UsageError(
            f"--device {text}: only fnet fuse and fnet eval use several devices; name one"
        )
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", text):
        raise UsageError(f"--device {text}: not a device; use auto, cpu, cuda, cuda:N or mps")
    name, _, number = text.partition(":")
    if name == "cuda":
        count = _cuda_devices()
        if int(number or 0) >= count:
            raise UsageError(
                f"--device {text}: {number_of(count, 'CUDA device')} here; use cpu or auto"
            )
    if name == "mps" and not _has_metal():
        raise UsageError("--device mps: no Metal device here; use cpu or auto")
    return Device(name, int(number) if number else None)


def choose_devices(text: str) -> list[str]:
    """Return the devices for `all`, every CUDA device, a list such as cuda:0,cuda:1, or one.

    A device may be named twice: two processes share it. Raise UsageError.
    """
    if text == "all":
        count = _cuda_devices() if _may_have_cuda() else 0
        if not count:
            raise UsageError("--device all: no CUDA devices here; use cpu or auto")
        return [f"cuda:{index}" for index in range(count)]
    names = text.split(",")
    for name in names:
        if name != "auto" or len(names) > 1:
            choose_device(name if name != "auto" else "")
    return names


def count_threads() -> int:
    """Return the number of computing threads: torch's, else OMP_NUM_THREADS, else all cores.

    A container's quota bounds what torch chose: it counts the cores of the machine.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return min(int(torch.get_num_threads()), _quota() or sys.maxsize)
    told = os.environ.get(THREADS, "").split(",")[0].strip()
    if told.isdecimal() and int(told) > 0:
        return int(told)
    usable = usable_cores()
    return min(usable, psutil.cpu_count(logical=False) or usable)


# Asked for every image, and a handful of files to read.
_quota = functools.cache(core_quota)


def _allow_tf32(*, allowed: bool) -> None:
    """Set the precision of float32 convolutions and products on CUDA devices.

    `allow_tf32 = False` alone would leave convolutions to ``torch.backends.fp32_precision``, where
    torch has it and a program has set it; with the new switches alone, torch refuses to read the
    old ones.
    """
    import torch

    backends: Any = torch.backends  # some of its attributes are hidden from type checkers
    backends.cudnn.allow_tf32 = allowed
    backends.cuda.matmul.allow_tf32 = allowed
    if not allowed and hasattr(backends, "fp32_precision"):
        for operation in (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul):
            operation.fp32_precision = "ieee"


def _best() -> Device:
    if _may_have_cuda() and _cuda_devices():
        return Device("cuda")
    return Device("mps" if _has_metal() else "cpu")


def _may_have_cuda() -> bool:
    """Whether a driver is installed; asking torch takes a second and a half."""
    return sys.platform == "win32" or any(Path(trace).exists() for trace in TRACES)


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_metal() -> bool:
    if sys.platform != "darwin":
        return False
    import torch

    return torch.backends.mps.is_available()
