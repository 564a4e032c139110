"""Every error that fnet raises on purpose.

::

    FnetError                  one line for the user: "path: what is wrong; what to do"
    |-- UsageError             wrong options, missing path, impossible combination (exit code 2)
    |-- ImageError             one image file or pair of images (the batch goes on without it)
    |   |-- ReadError          cannot be opened, decoded or understood
    |   |-- PairError          both are fine alone, but they do not fit together
    |   |   `-- NotFiniteError what the network made of them is no image
    |   `-- WriteError         this result cannot be stored
    |-- OutputError            nothing more can be stored: disk full, no permission, folder gone
    |-- CheckpointError        a weights file is not what it should be
    |-- ConfigError            a training recipe is not what it should be
    |-- TrainingError          training cannot start or go on
    `-- EvaluationError        scoring cannot go on, or found nothing to score
"""

from __future__ import annotations


class FnetError(Exception):
    """Base of all errors whose text is written for the user; exit code 1."""


class UsageError(FnetError):
    """The command cannot be understood or does not make sense; exit code 2."""


class ImageError(FnetError):
    """One image or pair failed; others may still succeed."""


class ReadError(ImageError):
    """A file is missing, unreadable, damaged or of an unknown kind."""


class PairError(ImageError):
    """Two images cannot be fused with each other as they are."""


class NotFiniteError(PairError):
    """What a network made of a pair holds NaN or infinity: its weights are damaged or unfit."""


class WriteError(ImageError):
    """One result cannot be stored: a name that is too long, a folder where the file should be."""


class OutputError(FnetError):
    """The folder for the results takes nothing more; what is in it stays whole."""


class CheckpointError(FnetError):
    """A weights file is missing, damaged, unsafe or has the wrong tensors."""


class ConfigError(FnetError):
    """A training recipe has an unknown key or an impossible value; exit code 2."""


class TrainingError(FnetError):
    """Training cannot start or cannot go on."""


class EvaluationError(FnetError):
    """Scoring cannot go on, or found nothing to score."""
