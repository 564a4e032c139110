"""What `make release-check` asks of versions and of CHANGELOG, before it builds anything."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from fnetcli import load_network
from fnetcli.engine.executors.fnet import COMPILED
from tests.paths import ROOT


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "release"))
    return importlib.import_module("check")


@pytest.fixture
def project(tmp_path: Path, check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a small project that is ready to be released."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1.2.3"\n')
    (tmp_path / "CITATION.cff").write_text("title: x\nversion: 1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n")
    (tmp_path / "fnetcli").mkdir()
    (tmp_path / "fnetcli" / "a.py").write_text("from importlib.metadata import version\n")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path


def test_ready(project: Path, check: ModuleType) -> None:
    assert project.is_dir()
    assert check.problems() == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("CITATION.cff", "version: 1.2.2\n", "CITATION.cff: version is not 1.2.3"),
        ("CITATION.cff", "title: x\n", "CITATION.cff: version is not 1.2.3"),
        ("CHANGELOG.md", "## [Unreleased]\n", "no entry '## [1.2.3] - YYYY-MM-DD'"),
        ("CHANGELOG.md", "## [1.2.3]\n", "no entry '## [1.2.3] - YYYY-MM-DD'"),
        ("fnetcli/a.py", 'VERSION = "1.2.3"\n', "ask importlib.metadata for it"),
    ],
)
def test_not_ready(project: Path, check: ModuleType, name: str, text: str, problem: str) -> None:
    (project / name).write_text(text)
    (found,) = check.problems()
    assert problem in found


def test_how_a_package_computed(check: ModuleType) -> None:
    """As `fnet fuse -v` says it, on this machine and where there is no compiler."""
    engine = load_network(device="cpu").engine
    assert check.is_compiled(f"{engine.path}, fp32") == (engine.path == COMPILED)
    assert check.is_compiled(f"{COMPILED}, fp32")
    assert not check.is_compiled("torch (the compiled path, several times faster: none), fp32")


def test_versions_of_this_project_agree(check: ModuleType) -> None:
    assert [one for one in check.problems() if not one.startswith("CHANGELOG")] == []
