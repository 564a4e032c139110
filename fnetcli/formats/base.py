"""What a file format is, and the border at which every foreign error becomes one of ours."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from fnetcli.errors import ReadError
from fnetcli.image import Image

HEAD_BYTES = 256  # enough for every signature, also for those that do not start at byte 0
LONGEST_DETAIL = 80  # characters; what a decoder says at greater length is not for users
COPY_AGAIN = "copy or export the file again"


class ContentError(Exception):
    """A reader's own words: what is wrong with the content, and what to do about it.

    Readers see a stream, not a path; `read_with` puts the path in front.
    """

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(f"{what}; {todo}")


@dataclass(frozen=True)
class Format:
    """One kind of file.

    `starts` tells from the first HEAD_BYTES whether a file is of this kind; suffixes are only for
    scanning folders. `read` turns the open file into an Image; it raises ContentError for what it
    recognises as wrong, and may let any exception of its decoder through.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: Callable[[bytes], bool]
    read: Callable[[BinaryIO], Image]


def read_with(formats: tuple[Format, ...], path: Path) -> Image:
    """Read an image with the first of `formats` that recognises its content.

    Raise ReadError, and nothing else, for whatever is wrong with the path or the content.
    """
    try:
        _require_content(path)
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(0)
            return _read_as(_recognise(formats, head), file)
    except ContentError as refused:
        raise ReadError(f"{path}: {refused}") from refused
    except OSError as error:
        raise ReadError(f"{path}: {_system_reason(error)}") from error


def _require_content(path: Path) -> None:
    try:
        status = path.stat()
    except ValueError:  # a zero byte in the name
        raise ContentError("not a possible file name", "check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise ContentError("a folder, not an image", "name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ContentError("not an ordinary file", "save it as a file first")
    if status.st_size == 0:
        raise ContentError("the file is empty", COPY_AGAIN)


def _recognise(formats: tuple[Format, ...], head: bytes) -> Format:
    for one in formats:
        if one.starts(head):
            return one
    names = ", ".join(one.name for one in formats)
    raise ContentError(f"not an image of a known kind ({names})", "convert it to PNG or TIFF")


def _read_as(kind: Format, file: BinaryIO) -> Image:
    try:
        return kind.read(file)
    except ContentError:
        raise
    except MemoryError:
        raise ContentError("needs more memory than there is", "make the image smaller") from None
    except Exception as error:  # decoders of untrusted files raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the content
        _refuse_broken(kind.name, error)


def _refuse_broken(name: str, error: Exception) -> NoReturn:
    words = " ".join(str(error).split())
    if "truncated" in words.lower():
        raise ContentError(f"not a complete {name} (ends early)", COPY_AGAIN) from error
    detail = f" ({words})" if _helps(error, words) else ""
    raise ContentError(f"not a readable {name}{detail}", COPY_AGAIN) from error


def _helps(error: Exception, words: str) -> bool:
    """Whether a decoder's words are a message, not a wrapped slip such as "buffer of 2 bytes"."""
    is_message = isinstance(error, OSError | SyntaxError | ValueError) and error.args[:1] == (
        words,
    )
    is_vague = "not identified" in words
    return is_message and words.isprintable() and len(words) <= LONGEST_DETAIL and not is_vague


def _system_reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "no such file; check the path"
        case PermissionError():
            return "no permission to read it; change the file's permissions"
    return f"cannot be read ({error.strerror or type(error).__name__}); check the path and the disk"
