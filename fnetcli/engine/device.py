"""Choose the device that a network runs on."""

from __future__ import annotations

import re

import torch

from fnetcli.errors import UsageError


def choose_device(text: str) -> torch.device:
    """Turn auto, cpu, cuda, cuda:N or mps into a device that is there; raise UsageError.

    TF32 is switched off: float32 means float32 on every device.
    """
    torch.backends.cudnn.allow_tf32 = False
    if text == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", text):
        raise UsageError(f"--device {text}: not a device; use auto, cpu, cuda, cuda:N or mps")
    name, _, number = text.partition(":")
    if name == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {text}: {torch.cuda.device_count()} CUDA devices here; use cpu or auto"
        )
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: no Metal device here; use cpu or auto")
    return torch.device(text)
