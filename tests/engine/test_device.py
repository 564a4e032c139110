"""What a device promises: float32 that is float32, and how much memory is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fnetcli.engine import Device, memory

backends: Any = torch.backends


@pytest.fixture
def precisions() -> Iterator[None]:
    yield
    if hasattr(backends, "fp32_precision"):
        backends.fp32_precision = "none"
    Device().in_torch()


@pytest.mark.usefixtures("precisions")
def test_float32_is_float32_whatever_the_program_chose() -> None:
    if not hasattr(backends, "fp32_precision"):
        pytest.skip("this torch has one switch only")
    backends.fp32_precision = "tf32"  # as a program does that calls the Python API
    Device().in_torch()
    assert backends.cudnn.conv.fp32_precision == "ieee"
    assert backends.cuda.matmul.fp32_precision == "ieee"
    assert not backends.cudnn.allow_tf32  # torch refuses to tell if switches contradict each other
    assert not backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("precisions")
def test_tf32_while_the_network_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[torch.device] = []

    class Guard:
        def __init__(self, device: torch.device) -> None:
            entered.append(device)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", Guard)
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda _: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1_000, 100_000))
    device = Device("cuda", 1)
    for is_asked_for in (True, False):
        with device.at_work(with_tf32=is_asked_for):
            memory.budget(device)  # as executors of large scenes ask for it
            assert backends.cudnn.allow_tf32 == is_asked_for
            assert backends.cuda.matmul.allow_tf32 == is_asked_for
        assert not backends.cudnn.allow_tf32
        assert not backends.cuda.matmul.allow_tf32
    assert entered == 2 * [torch.device("cuda:1")]


def test_memory_that_torch_keeps_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large image all but a little of a device is reserved, and nearly none in use."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1_000, 100_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 90_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5_000)
    assert memory.budget(Device("cuda")) == int(0.8 * 86_000)
