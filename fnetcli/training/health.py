"""Signs that a run is of no use: losses that rise, averages that lag, a best that is the first."""

from __future__ import annotations

import math
from dataclasses import dataclass

SMOOTHING = 0.1  # weight of the newest loss in the running mean
MEASURED_FROM = 10  # iterations: the running mean of fewer is not trusted
DIVERGED = 10.0  # times the lowest running mean
LAGGING = 0.5  # share of a stage's initial weights in the averages
FEWEST_VALIDATIONS = 3  # for the first to be suspicious


@dataclass
class Health:
    """What is kept of a stage's losses and validations to judge it; part of a run's state."""

    seen: int = 0  # losses
    running: float = 0.0  # mean of the last losses
    first: float = 0.0  # running mean of the first ones
    lowest: float = math.inf  # running mean so far
    initial_share: float = 1.0  # of the stage's initial weights in the averages
    validations: int = 0  # that could become the best, over all stages
    best: int = 0  # number of the best of them, from 1 on
    since_best: int = 0  # validations of this stage after the best
    is_lagging_told: bool = False
    is_diverging_told: bool = False

    def enter_stage(self) -> None:
        """Forget the losses of the stage before, which are others."""
        self.seen, self.running, self.lowest, self.initial_share = 0, 0.0, math.inf, 1.0
        self.since_best = 0
        self.is_lagging_told = self.is_diverging_told = False

    def see_loss(self, loss: float, average_decay: float) -> None:
        """Take in the total loss of an iteration, and the decay of the averages in it."""
        weight = max(SMOOTHING, 1 / (self.seen + 1))
        self.seen, self.running = self.seen + 1, self.running + weight * (loss - self.running)
        if self.seen <= MEASURED_FROM:
            self.first = self.running
        if self.seen >= MEASURED_FROM:
            self.lowest = min(self.lowest, self.running)
        self.initial_share *= average_decay

    def see_validation(self, *, is_best: bool) -> None:
        """Take in a validation, and whether it is the best so far."""
        self.validations += 1
        self.since_best = 0 if is_best else self.since_best + 1
        self.best = self.validations if is_best else self.best

    @property
    def has_diverged(self) -> bool:
        """Whether the loss stands far above its lowest mean, and above what it began with."""
        return self.running > max(DIVERGED * self.lowest, self.first)

    @property
    def is_lagging(self) -> bool:
        """Whether the averaged weights are mostly those that the stage started with."""
        return self.initial_share > LAGGING

    @property
    def best_is_first(self) -> bool:
        """Whether no validation is better than the first one."""
        return self.validations >= FEWEST_VALIDATIONS and self.best == 1

    def lag(self) -> str:
        """Return what is wrong with the averages."""
        return (
            f"the weights that the stage started with still make up {self.initial_share:.0%} of "
            "the averaged ones, which are validated and saved"
        )

    def rise(self) -> str:
        """Return what is wrong with the losses."""
        return f"the loss has risen to {self.running / self.lowest:.0f} times its lowest"
