"""The only place that prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import math
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, Self

import typer

from fnetcli.errors import ConfigError, FnetError, OutputError, UsageError
from fnetcli.quiet import native_silence
from fnetcli.runs.batch import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from fnetcli.text import escaped, number_of, without_numbers

if TYPE_CHECKING:
    from rich.table import Table

    from fnetcli.inputs.pairing import Pairing
    from fnetcli.runs.network import LoadedMethod

P = ParamSpec("P")
SHOWN_ALIKE = 3  # warnings that differ only in the case
SHOWN_UNPAIRED = 5
WIDEST = 10_000  # of a table that is not printed to a terminal


class Console:
    """Print messages; `is_quiet` leaves only errors and warnings."""

    def __init__(
        self, *, is_quiet: bool = False, is_verbose: bool = False, has_results: bool = True
    ) -> None:
        self.is_quiet = is_quiet
        self.is_verbose = is_verbose
        self.has_results = has_results  # False if stdout is used for something else

    def result(self, text: str) -> None:
        """Print one line of results: raw into a pipe, escaped on a terminal."""
        self.lines(on_stdout(text))

    def lines(self, text: str) -> None:
        """Print lines of results that hold no foreign text, or escaped text only."""
        if self.has_results and not self.is_quiet:
            to_stdout(f"{text}\n")

    @property
    def is_terminal(self) -> bool:
        """Whether results go to a terminal, which can show bold and underline."""
        return _is_terminal()

    @property
    def width(self) -> int | None:
        """The width of results in columns; None if stdout is not a terminal."""
        return shutil.get_terminal_size().columns if self.is_terminal else None

    def table(self, title: str, *tables: Table) -> None:
        """Print tables as a result, under a title; a table may be too wide but is never cut."""
        from rich.console import Console as Terminal
        from rich.measure import Measurement

        file = io.StringIO()
        terminal = Terminal(file=file, force_terminal=self.is_terminal, highlight=False)
        for i, table in enumerate(tables):
            least = Measurement.get(terminal, terminal.options.update_width(WIDEST), table).minimum
            terminal.width = max(self.width or WIDEST, least)
            terminal.print(*([""] if i else []), table, sep="\n")
        lines = file.getvalue().rstrip("\n").split("\n")
        self.lines("\n".join([on_stdout(title), *(line.rstrip() for line in lines)]))

    def notice(self, text: str) -> None:
        """Print something that is good to know."""
        if not self.is_quiet:
            self._stderr(text)

    def detail(self, text: str) -> None:
        """Print a detail, with -v only."""
        if self.is_verbose:
            self.notice(text)

    def warning(self, text: str) -> None:
        """Print something that is possibly not what the user wanted."""
        self._stderr(text, f"{_colored('warning', 'yellow')}: ")

    def tell_method(self, method: LoadedMethod) -> None:
        """Print what a user should know about a network or a baseline."""
        for text in method.notices:
            self.notice(text)
        for text in method.warnings:
            self.warning(text)

    def error(self, text: str) -> None:
        """Print one line about a failure."""
        self._stderr(text, f"{_colored('error', 'red')}: ")

    def _stderr(self, text: str, start: str = "") -> None:
        # With a closed terminal, or `2>&1 | head`, nobody can read it.
        with native_silence.lock, contextlib.suppress(OSError), _around_progress():
            typer.echo(start + escaped(text), err=True)


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def on_stdout(text: str) -> str:
    """Return one line of foreign text for stdout, escaped if that is a terminal."""
    return escaped(text) if _is_terminal() else text


def to_stdout(content: str | bytes) -> None:
    """Print content unchanged. Raise OutputError, or BrokenPipeError if the reader has gone."""
    try:
        with _around_progress():
            typer.echo(content, file=sys.stdout, nl=False, color=True)  # as it is
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_stdout()
        raise OutputError(
            f"standard output: cannot be written ({error.strerror}); check where it goes"
        ) from None


def _discard_stdout() -> None:
    """Send what stdout has buffered, and all that follows, nowhere.

    Else Python tries once more when it exits, prints a traceback and exits with 120.
    """
    with contextlib.suppress(OSError):  # no file, as in a notebook
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _colored(text: str, color: str) -> str:
    return text if os.environ.get("NO_COLOR") else typer.style(text, fg=color)


def tell_pairing(console: Console, pairing: Pairing) -> None:
    """Say how files were paired, and warn of those without a partner."""
    for notice in pairing.notices:
        console.notice(notice)
    files = pairing.unpaired
    if files:
        console.warning(
            f"{number_of(len(files), 'file')} without a partner: {listed(files, SHOWN_UNPAIRED)}"
        )


def is_news(text: str, told: Counter[str]) -> bool:
    """Count a text; return whether fewer than SHOWN_ALIKE like it, numbers aside, were shown."""
    alike = without_numbers(text)
    told[alike] += 1
    return told[alike] <= SHOWN_ALIKE


def listed(paths: Sequence[Path], most: int) -> str:
    """Return the first of some paths, and how many there are more."""
    more = len(paths) - most
    return ", ".join(map(str, paths[:most])) + (f" and {more} more" if more > 0 else "")


WIDE = 110  # columns that the usual bar needs beside the losses of a training
NARROW_BAR = "{percentage:3.0f}% {n_fmt}/{total_fmt}{unit} {remaining}{postfix}"  # no bar


class Progress:
    """A bar on a terminal; otherwise a plain line every few seconds; nothing if quiet."""

    SECONDS = 15.0  # between two plain lines

    def __init__(self, total: int | None, unit: str, console: Console) -> None:
        self.total, self.unit, self.console = total, unit, console
        self.count, self.started = 0, time.monotonic()
        self.last_line = self.started
        self._bar, self._room = None, math.inf
        if sys.stderr is not None and sys.stderr.isatty() and not console.is_quiet:
            from tqdm import tqdm

            columns = shutil.get_terminal_size().columns
            is_narrow = total is not None and columns < WIDE
            self._bar = tqdm(
                total=total,
                unit=f" {unit}",
                dynamic_ncols=True,
                leave=False,
                bar_format=NARROW_BAR if is_narrow else None,
            )
            if is_narrow:  # columns for the unit and what is told: the rest takes 2 numbers
                self._room = columns - len(f"100% {total}/{total} 0:00:00, ")

    def expect(self, total: int) -> None:
        """Set how many there will be in total, once that is known; time counts from now."""
        self.total, self.started = total, time.monotonic()
        if self._bar is not None:
            self._bar.reset(total)

    def tell(self, text: str, *, is_shown: bool = True) -> None:
        """Say on a terminal what is being done; without room for both the unit is left out."""
        if self._bar is not None:
            has_room = len(self.unit) + 1 + len(text) < self._room
            self._bar.unit = f" {self.unit}" if has_room else ""
            self._bar.set_postfix_str(escaped(text), refresh=is_shown)

    def step(self, text: str = "", count: int = 1) -> None:
        """Count `count` more as finished."""
        self.count += count
        if self._bar is not None:
            self.tell(text, is_shown=False)
            self._bar.update(count)
        elif time.monotonic() - self.last_line > self.SECONDS:
            self.last_line = time.monotonic()
            self.console.notice(self._line() + (f", {text}" if text else ""))

    def _line(self) -> str:
        elapsed = self.last_line - self.started
        if self.total is None:
            return f"{self.count} {self.unit}"
        left = _duration(elapsed / self.count * (self.total - self.count))
        return f"{self.count}/{self.total} {self.unit}, {_rate(self.count / elapsed)}, {left} left"

    def __enter__(self) -> Self:
        """Show the bar."""
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _rate(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{1 / per_second:.1f} s each"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Let an interrupt end the process at once, while nothing has been written yet.

    An exception in the middle of an import may be swallowed there, or surface as another one.
    """

    def leave(*_: object) -> None:
        Console().error("interrupted; nothing was written")
        os._exit(EXIT_INTERRUPTED)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_endings())}
    for number in before:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _around_progress:  # noqa: N801  used as a function
    """Print a line without tearing a progress bar, if tqdm is in use at all."""

    def __enter__(self) -> None:
        tqdm = sys.modules.get("tqdm")
        self._mode = tqdm.tqdm.external_write_mode() if tqdm else None
        if self._mode is not None:
            self._mode.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._mode is not None:
            self._mode.__exit__(None, None, None)


AS_FAR_AS_POSSIBLE = "fnet-as-far-as-possible"


def _as_far_as_possible(error: UnicodeError) -> tuple[bytes, int]:
    """Encode undecodable bytes of file names as they were, and unknown characters as "?"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return b"".join(
        bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff" else b"?"
        for letter in letters
    ), error.end


codecs.register_error(AS_FAR_AS_POSSIBLE, _as_far_as_possible)


def _endings() -> list[signal.Signals]:
    """Return the signals that end a run like Ctrl-C: a closed terminal too, except under nohup."""
    numbers = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def exits_properly(command: Callable[P, int]) -> Callable[P, None]:
    """Turn a command's return value or exception into an exit code and a line of error."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        for number in _endings():
            signal.signal(number, signal.default_int_handler)  # tidy up as after Ctrl-C
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors=AS_FAR_AS_POSSIBLE)
        try:
            code = command(*args, **kwargs)
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  no traceback for users
            if kwargs.get("debug"):
                traceback.print_exc()
            code = explain(error, Console(is_quiet=bool(kwargs.get("quiet"))))
        raise typer.Exit(code)

    return wrapped


def explain(error: BaseException, console: Console) -> int:
    """Print one line about the error that ended a command; return the exit code."""
    match error:
        case KeyboardInterrupt():
            console.error("interrupted; finished results are on disk")
            return EXIT_INTERRUPTED
        case BrokenPipeError():  # as with `| head`: nothing more can be printed on stdout
            _discard_stdout()
            console.error(
                "standard output: closed by its reader, so the run ended; finished results are on "
                "disk"
            )
            return EXIT_FAILED
        case OSError():  # such as a path that is too long, or a parent without permission
            console.error(
                f"{error.filename or 'a file or stream'}: {error.strerror}; check the path"
            )
            return EXIT_USAGE
        case UsageError() | ConfigError():
            console.error(str(error))
            return EXIT_USAGE
        case FnetError():
            console.error(str(error))
        case _:
            words = " ".join(str(error).split())
            console.error(f"unexpected {type(error).__name__}: {words}; --debug shows where")
    return EXIT_FAILED
