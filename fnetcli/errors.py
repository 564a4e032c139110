"""Every error that fnet raises on purpose.

::

    FnetError                  one line for the user: "path: what is wrong; what to do"
    |-- UsageError             wrong options, missing path, impossible combination (exit code 2)
    |-- ImageError             one image file or pair of images (the batch continues without it)
    |   |-- ReadError          cannot be opened, decoded or understood
    |   |-- PairError          both are valid alone, but do not fit together
    |   |   `-- NotFiniteError the network's result has NaN or infinity
    |   |-- WriteError         this result cannot be written
    |   `-- WorkerDiedError    every worker that tried it has died
    |-- OutputError            no further result can be written: disk full, no permission, ...
    |-- CheckpointError        a weights file is damaged or does not fit
    |-- ConfigError            a training recipe has a mistake
    |-- TrainingError          training cannot start or continue
    |-- EvaluationError        scoring cannot continue, or found nothing to score
    `-- ClusterError           workers cannot start or be reached
"""

from __future__ import annotations


class FnetError(Exception):
    """Base of all errors whose text is written for the user; exit code 1."""


class UsageError(FnetError):
    """The command is wrong or impossible; exit code 2."""


class ImageError(FnetError):
    """One image or pair failed; others may still succeed."""


class ReadError(ImageError):
    """A file is missing, unreadable, damaged or of an unknown format."""


class PairError(ImageError):
    """Two images cannot be fused with each other as they are."""


class NotFiniteError(PairError):
    """What a network made of a pair holds NaN or infinity: its weights are damaged or unfit."""


class WriteError(ImageError):
    """One result cannot be written: its name is too long, or a folder has its name."""


class WorkerDiedError(ImageError):
    """Every worker that tried to process a case has died."""


class OutputError(FnetError):
    """No further result can be written; existing ones are intact."""


class CheckpointError(FnetError):
    """A weights file is missing, damaged, unsafe or has the wrong tensors."""


class ConfigError(FnetError):
    """A training recipe has an unknown key or an impossible value; exit code 2."""


class TrainingError(FnetError):
    """Training cannot start or continue."""


class EvaluationError(FnetError):
    """Scoring cannot continue, or found nothing to score."""


class ClusterError(FnetError):
    """Workers cannot start, or the cluster cannot be reached any more; finished results stay."""
