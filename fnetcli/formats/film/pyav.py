"""PyAV, imported with the first film; and how a film is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fnetcli.errors import ReadError, UsageError
from fnetcli.files.guarded import RefusedError, system_reason
from fnetcli.formats.base import COPY_AGAIN, open_image

if TYPE_CHECKING:
    from av.container import InputContainer

FILM_SUFFIXES = (
    *(".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".asf", ".flv", ".ogv", ".3gp", ".mxf", ".y4m", ".nut"),
)
# What FFmpeg may take a file for. Playlists are not among it: they name other files.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,asf,flv,ogg,mxf,yuv4mpegpipe,nut,ivf"
)


def is_film(path: Path) -> bool:
    """Whether a name ends like that of a film."""
    return path.suffix.lower() in FILM_SUFFIXES


def load_av() -> Any:
    """Return the PyAV module. Raise UsageError if it is not installed."""
    try:
        import av
        import av.error
    except ImportError:
        raise UsageError(
            "films need PyAV, which is not installed; pip install 'fnetcli[video]'"
        ) from None
    return av


def ffmpeg_versions() -> list[list[int]]:
    """Return the versions of FFmpeg's parts, which decide over the bytes of a film."""
    load_av()
    from av import library_versions

    return [list(version) for version in library_versions.values()]


@contextmanager
def opened_film(path: Path) -> Iterator[InputContainer]:
    """Open a film for reading. Raise ReadError for whatever is wrong with it, also later."""
    av = load_av()
    try:
        with (
            open_image(path) as file,
            av.open(
                file, container_options={"format_whitelist": DEMUXERS}, io_open=_refuse_others
            ) as container,
        ):
            yield container
    except RefusedError as refused:
        raise ReadError(f"{path}: {refused}") from None
    except av.error.FFmpegError as error:
        if isinstance(error.__context__, OSError):  # of the file that FFmpeg reads
            raise ReadError(f"{path}: {system_reason(error.__context__)}") from None
        raise ReadError(f"{path}: {_words(error)}; {COPY_AGAIN}") from None
    except OSError as error:
        raise ReadError(f"{path}: {system_reason(error)}") from None


def _refuse_others(*_: object) -> NoReturn:
    raise PermissionError("a film may not open other files")


def _words(error: Exception) -> str:
    reason = str(getattr(error, "strerror", None) or type(error).__name__)
    if reason in {"Invalid argument", "Invalid data found when processing input"}:
        return "not a readable film (damaged, not complete, or of an unknown kind)"
    return f"not a readable film ({reason})"
