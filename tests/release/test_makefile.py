"""`make demo` brings a compiler where there is none, and says nothing of it elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize("compiler", ["", "g++", "clang++"])
def test_a_compiler_comes_where_there_is_none(tmp_path: Path, compiler: str) -> None:
    for name in ("sh", "python3"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    if compiler:
        (tmp_path / compiler).write_text("#!/bin/sh\n")
        (tmp_path / compiler).chmod(0o755)
    told = subprocess.run(
        [str(shutil.which("make")), "--dry-run", "--always-make", ".venv/.ready"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert ("--editable '.[compiler]'" in told) == (not compiler)
    assert ("--editable '.'" in told) == bool(compiler)
