"""Large arrays lie in files without a name."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fnetcli.errors import OutputError
from fnetcli.files.scratch import scratch_array


class TestScratchArray:
    SHAPE = (1, 3, 50, 70)

    @pytest.fixture
    def is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fnetcli.files.scratch.MAX_IN_MEMORY", 1000)

    def test_a_small_one_is_in_memory(self, tmp_path: Path) -> None:
        array = scratch_array(tmp_path / "new" / "a.npz", self.SHAPE, np.float16)
        assert array.shape == self.SHAPE
        assert array.dtype == np.float16
        assert not isinstance(array, np.memmap)
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("is_large")
    def test_a_large_one_lies_in_a_file_without_a_name(self, tmp_path: Path) -> None:
        values = np.arange(np.prod(self.SHAPE)).reshape(self.SHAPE).astype(np.float16)
        arrays = [scratch_array(tmp_path / "new" / "a.npz", self.SHAPE, np.float16) for _ in "ab"]
        for array in arrays:
            assert isinstance(array, np.memmap)
            array[...] = values + len(arrays)
        np.testing.assert_array_equal(arrays[0], values + 2)
        assert not list((tmp_path / "new").iterdir())

    @pytest.mark.usefixtures("is_large")
    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken otherwise")
    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
    def test_where_space_cannot_be_reserved_it_is_filled(
        self, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        assert not scratch_array(tmp_path / "a.npz", self.SHAPE, np.float16).any()
        assert not list(tmp_path.iterdir())

    @pytest.mark.usefixtures("is_large")
    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken otherwise")
    def test_a_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        message = re.escape(f"{tmp_path / 'a.npz'}: cannot be written (No space left on device)")
        with pytest.raises(OutputError, match=message):
            scratch_array(tmp_path / "a.npz", self.SHAPE, np.float16)
        assert not list(tmp_path.iterdir())

    def test_a_real_refusal_and_a_kill_leave_nothing(self, tmp_path: Path) -> None:
        script = (
            "import os, resource, signal, sys\nfrom pathlib import Path\nimport numpy as np\n"
            "from fnetcli.errors import WriteError\n"
            "from fnetcli.files.scratch import scratch_array\n"
            "path, large = Path(sys.argv[1]), 1 << 27\n"
            "array = scratch_array(path, (large,), np.uint8)\n"
            "array[::4096] = 1\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
            "try:\n    scratch_array(path, (large,), np.uint8)\n"
            "except WriteError as error:\n    print(error, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        path = tmp_path / "a.npz"
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
        )
        assert done.stdout.startswith(f"{path}: cannot be written (File too large)")
        assert not list(tmp_path.iterdir())
