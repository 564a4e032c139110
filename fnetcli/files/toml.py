"""Read TOML that a user names, in bounded time."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from fnetcli.files.guarded import FileKind, read_text

# tomllib needs time and memory in proportion to the square of a key's parts. Texts are left out:
# a quotation that is not closed ends with its line.
TEXT = re.compile(r""""(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?""")
NUL = re.compile(r"\\(?:u0000|U00000000)")
DEEP_KEY = re.compile(r"(?:\.[\w-]++){32}")


def read_toml(path: Path, kind: FileKind) -> dict[str, Any]:
    """Return the table of a TOML file of a kind; raise the kind's errors, in one line."""
    text = read_text(path, kind, "utf-8-sig")
    if NUL.search(text):
        raise kind.error(f"{path}: holds a NUL character (\\u0000); remove it")
    try:
        _require_flat(text)
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise kind.error(f"{path}: not valid TOML ({error}); correct that line") from None
    except (ValueError, RecursionError):
        raise kind.error(
            f"{path}: not {kind.name} (a number too long, or keys or lists too deep); {kind.todo}"
        ) from None


def _require_flat(text: str) -> None:
    """Raise RecursionError for a key of very many parts."""
    plain = TEXT.sub("q", text).replace(" ", "").replace("\t", "")
    if DEEP_KEY.search(plain):
        raise RecursionError
