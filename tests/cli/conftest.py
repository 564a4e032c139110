"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest

from fnetcli.models.fnet import shaped


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without compiling, which takes longer than tiny runs; tests/models compares both."""
    monkeypatch.setattr(shaped, "compile_threshold", lambda: None)
