"""Losses, scores and pictures of a training run as TensorBoard shows them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image

from fnetcli.errors import UsageError
from fnetcli.files.guarded import FileKind, open_file

FOLDER = "tensorboard"
STRIP = FileKind("a picture", 1 << 30, "train again")


def require_tensorboard() -> None:
    """Raise UsageError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: TensorBoard is not installed; pip install 'fnetcli[tensorboard]'"
        )


class Board:
    """Writes to the folder `tensorboard` of a run; each stage has curves of its own."""

    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / FOLDER))

    def add(self, stage: int, iteration: int, values: Mapping[str, float], group: str) -> None:
        """Add a point to the curve of each value."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/stage {stage}/{name}", value, iteration)

    def add_strip(self, stage: int, iteration: int, picture: Path) -> None:
        """Add the picture of a validation."""
        with open_file(picture, STRIP) as file:
            levels = np.asarray(PIL.Image.open(file))
        self._writer.add_image(f"validation/stage {stage}", levels[None], iteration)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
