"""Who imports whom, where import-linter does not look: each model stays below its own name.

And docs/architecture.md tells the layers that import-linter checks.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import fnetcli
from tests.paths import ROOT

PACKAGE = Path(fnetcli.__file__).parent
# Whoever works with any model learns what it can do from a table, by its name.
OF_FNET = tuple(
    f"fnetcli.{room}.fnet"
    for room in ("models", "engine.executors", "inspection", "reports", "training")
)
# Exceptions that are known, and are to go.
KNOWN: set[str] = set()


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of all that a file imports, wherever in it, for types too."""
    package = list(path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def is_at_home(path: Path) -> bool:
    return path.name == "table.py" or "fnet" in path.relative_to(PACKAGE).parts[:-1]


def offenders(paths: Iterator[Path]) -> dict[str, list[str]]:
    found = {}
    for path in paths:
        names = [
            name
            for name in imported(path)
            if any(f"{name}.".startswith(f"{one}.") for one in OF_FNET)
        ]
        if names and not is_at_home(path):
            found[path.relative_to(PACKAGE).as_posix()] = names
    return found


def test_fnet_is_imported_below_its_own_name_and_by_tables_only() -> None:
    found = offenders(PACKAGE.rglob("*.py"))
    assert {path: names for path, names in found.items() if path not in KNOWN} == {}
    assert found.keys() >= KNOWN  # what has gone from here goes from the list


@pytest.mark.parametrize(
    "line",
    [
        "import fnetcli.models.fnet.network",
        "from fnetcli.models import fnet",
        "from fnetcli.inspection.fnet.trace import trace_pair",
        "from ..models.fnet import FNET",
        "from ..models import base, fnet",
        "def late() -> None:\n    from fnetcli.training.fnet import losses",
    ],
)
def test_it_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    package = tmp_path / "fnetcli"
    monkeypatch.setattr("tests.test_layers.PACKAGE", package)
    for name in ("cli/some.py", "cli/table.py", "engine/executors/some.py", "models/fnet/some.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(line)
    wanted = {"cli/some.py", "engine/executors/some.py"}
    if line.startswith("from .."):
        wanted = {"cli/some.py"}  # elsewhere it means something else
    assert offenders(package.rglob("*.py")).keys() == wanted


def test_the_page_lists_the_layers_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    layers = [layer.split(" | ") for layer in contract["layers"] if layer != "__main__"]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\S+) \| (.*?) \|", page.split("## Layers of packages")[1], re.MULTILINE
    )
    rows = [row for row in rows if row[0] not in {"layer", "---"}]
    assert [number for number, _ in rows] == [str(i) for i in reversed(range(len(layers)))]
    for (_, packages), layer in zip(rows, layers, strict=True):
        assert {f"`{name}" for name in layer} <= {*re.findall(r"`\w+", packages)}
