"""Files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from fnetcli.errors import FnetError, OutputError, WriteError
from fnetcli.files.durable import atomic_write
from fnetcli.formats import (
    read_image,
    write_png,
    write_tiff_float,
)
from tests.formats.files import (
    GREY,
    RGB,
)


def _fill_the_disk(file: BinaryIO) -> None:
    file.write(b"half a picture")
    with Path("/dev/full").open("wb") as full:
        full.write(b"x")


class TestAtomicWrite:
    def test_makes_folders_and_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "deep" / "a.png"
        write_png(path, GREY)
        write_png(path, RGB)
        np.testing.assert_array_equal(read_image(path).pixels[0], RGB)
        assert [one.name for one in path.parent.iterdir()] == ["a.png"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
    def test_full_disk_is_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(b"old")
        with pytest.raises(OutputError, match="No space left on device") as caught:
            atomic_write(path, _fill_the_disk)
        assert str(caught.value).startswith(f"{path}: ")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_failing_writer_leaves_the_old_file_alone(
        self, error: type[BaseException], tmp_path: Path
    ) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(b"old")

        def fail(file: BinaryIO) -> None:
            file.write(b"half a picture")
            raise error

        with pytest.raises(error):
            atomic_write(path, fail)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_bytes(b"x")
        with pytest.raises(OutputError, match="a file is where a folder is needed"):
            write_png(tmp_path / "out" / "a.png", RGB)
        assert (tmp_path / "out").read_bytes() == b"x"

    def test_folder_where_the_file_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").mkdir()
        with pytest.raises(WriteError, match="cannot be written"):
            write_png(tmp_path / "a.png", RGB)
        assert [one.name for one in tmp_path.iterdir()] == ["a.png"]

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that is always closed")
    def test_folder_that_takes_no_files(self) -> None:
        with pytest.raises(FnetError, match="cannot be written"):
            write_tiff_float(Path("/proc/fnet/a.tif"), np.zeros((2, 2), np.float32))

    @pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
    def test_read_only_folder(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="Permission denied"):
            write_png(tmp_path / "a.png", RGB)
        tmp_path.chmod(0o700)
        assert not list(tmp_path.iterdir())
