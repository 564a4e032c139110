"""What makes a run useless."""

from __future__ import annotations

import pytest

from fnetcli.training.health import Health


def seen(*losses: float, decay: float = 0.5) -> Health:
    health = Health()
    for loss in losses:
        health.see_loss(loss, decay)
    return health


def test_falling_and_noisy_losses_are_well() -> None:
    assert not seen(*(10 / (i + 1) for i in range(100))).has_diverged
    assert not seen(*(5, 1, 9) * 30).has_diverged
    assert not seen(*[1.0] * 9, 1e6).has_diverged  # too few to be trusted


def test_a_loss_that_rises_by_orders_of_magnitude_has_diverged() -> None:
    health = seen(*[3.0] * 20, *[300.0] * 30)
    assert health.has_diverged
    assert health.rise().startswith("the loss has risen to ")


def test_far_above_a_tiny_loss_but_below_the_first_is_no_divergence() -> None:
    assert not seen(*[3.0] * 20, *[1e-6] * 300, *[0.1] * 20).has_diverged
    assert not seen(*[0.0] * 50).has_diverged


@pytest.mark.parametrize(("decay", "count", "lags"), [(0.999, 80, True), (0.999, 800, False)])
def test_averages_that_lag(decay: float, count: int, *, lags: bool) -> None:
    health = seen(*[1.0] * count, decay=decay)
    assert health.is_lagging == lags
    assert f"still make up {decay**count:.0%} of the averaged ones" in health.lag()


def test_the_best_is_the_first() -> None:
    health = Health()
    for is_best in (True, False):
        health.see_validation(is_best=is_best)
    assert not health.best_is_first  # two are few
    health.enter_stage()
    health.see_validation(is_best=False)
    assert health.best_is_first
    assert health.since_best == 1  # in this stage
    health.see_validation(is_best=True)
    assert not health.best_is_first
