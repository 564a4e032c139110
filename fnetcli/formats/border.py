"""Turn errors of the readers of volumes into one line that names a file.

Messages of other packages about a file are neither shown nor kept: they may quote a patient's data.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fnetcli.errors import FnetError, ReadError
from fnetcli.files.guarded import RefusedError, system_reason
from fnetcli.formats.base import COPY_AGAIN, open_image
from fnetcli.formats.codecs import silence
from fnetcli.formats.pillow import our_rules

for name in (
    "nibabel.global",
    "pydicom",
    "pydicom.pixels.decoders.base",
    "pydicom.pixels.decoders.rle",
    "pydicom.pixels.processing",
    "pydicom.pixels.utils",
):
    logging.getLogger(name).addFilter(silence)


class _Quiet:
    """Silence warnings of pydicom and nibabel while any thread is inside.

    The filters are nested in those of `our_rules`, which tracks the first and the last thread.
    """

    def __enter__(self) -> None:
        our_rules.__enter__()
        silence.__enter__()
        warnings.filterwarnings("ignore", module=r"(pydicom|nibabel|numpy)(\.|$)")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        silence.__exit__(kind, error, trace)
        our_rules.__exit__(kind, error, trace)


quiet = _Quiet()


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception inside, except our own errors, into a ReadError for `path`."""
    try:
        with quiet:
            yield
    except FnetError:
        raise
    except RefusedError as refused:
        raise ReadError(f"{path}: {refused}") from None
    except MemoryError:
        raise ReadError(f"{path}: needs more memory than is free; make it smaller") from None
    except Exception as error:  # noqa: BLE001 - decoders of untrusted files raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise ReadError(f"{path}: {system_reason(error)}") from None
        if isinstance(error, EOFError):
            raise ReadError(f"{path}: not a complete {kind} (ends early); {COPY_AGAIN}") from None
        raise ReadError(f"{path}: not a readable {kind}; {COPY_AGAIN}") from None


@contextmanager
def opened(path: Path, kind: str) -> Iterator[BinaryIO]:
    """Open an ordinary file that is not empty, inside `reading`."""
    with reading(path, kind), open_image(path) as file:
        yield file
