"""The report counts, and owns the exit code."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fnetcli.batch import Report, run_cases
from fnetcli.errors import CheckpointError, ReadError


@dataclass(frozen=True)
class Named:
    name: str


def run(work: dict[str, Exception | None], *, is_debug: bool = False) -> Report[Named]:
    def do(case: Named) -> None:
        error = work[case.name]
        if error is not None:
            raise error

    cases = [Named(name) for name in work]
    return run_cases(cases, do, lambda _: None, lambda *_: None, is_debug=is_debug)


def test_one_failure_does_not_stop_the_rest() -> None:
    report = run({"a": None, "b": ReadError("b.png: broken"), "c": ValueError("?"), "d": None})
    assert [case.name for case in report.done] == ["a", "d"]
    assert [(case.name, text) for case, text in report.failed] == [
        ("b", "b.png: broken"),
        ("c", "c: unexpected ValueError (?); --debug shows more"),
    ]
    assert report.exit_code == 1


def test_exit_codes() -> None:
    assert run({"a": None}).exit_code == 0
    assert run({}).exit_code == 1


def test_what_concerns_every_case_stops_the_batch() -> None:
    with pytest.raises(CheckpointError):
        run({"a": CheckpointError("no weights"), "b": None})
    with pytest.raises(ZeroDivisionError):
        run({"a": ZeroDivisionError()}, is_debug=True)
