"""Do one thing for many cases: one failure never stops the rest; the report owns the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from fnetcli.errors import FnetError, ImageError

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


class HasName(Protocol):
    """A case of any kind."""

    @property
    def name(self) -> str:
        """Its name, for messages."""


CaseT = TypeVar("CaseT", bound=HasName)


@dataclass
class Report(Generic[CaseT]):
    """What became of every case."""

    done: list[CaseT] = field(default_factory=list)
    failed: list[tuple[CaseT, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 where everything was done, 1 where something failed or there was nothing to do."""
        return EXIT_DONE if self.done and not self.failed else EXIT_FAILED


def run_cases(
    cases: Iterable[CaseT],
    work: Callable[[CaseT], None],
    on_done: Callable[[CaseT], None],
    on_failed: Callable[[CaseT, str], None],
    *,
    is_debug: bool = False,
) -> Report[CaseT]:
    """Call `work` for every case in order; with `is_debug` let unexpected exceptions through."""
    report: Report[CaseT] = Report()
    for case in cases:
        try:
            work(case)
        except FnetError as error:
            if not isinstance(error, ImageError):
                raise
            report.failed.append((case, str(error)))
            on_failed(case, str(error))
        except Exception as error:  # the one broad except: per case, so that the rest goes on
            if is_debug:
                raise
            text = f"{case.name}: unexpected {type(error).__name__} ({error}); --debug shows more"
            report.failed.append((case, text))
            on_failed(case, text)
        else:
            report.done.append(case)
            on_done(case)
    return report
