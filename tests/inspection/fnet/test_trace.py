"""What the trace shows is what models/fnet/network.py computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fnetcli.engine import Engine, EngineOptions
from fnetcli.files.scratch import scratch_array
from fnetcli.formats import write_npz
from fnetcli.inspection.features import strongest
from fnetcli.inspection.fnet.trace import (
    PairTrace,
    TraceOptions,
    count_steps,
    features_arrays,
    trace_pair,
)
from fnetcli.models.fnet.network import Codes, Parts, Trace
from tests.inspection.fnet.traces import small_module, small_network, small_pair, small_trace
from tests.networks import engine_of

EVERYTHING = TraceOptions(with_codes=True, with_iterations=True)
CONFIGS: list[dict[str, Any]] = [
    {},
    {"kernel_size": 9, "iterations": 4},
    {"threshold": "soft"},
    {"threshold": "hard"},
    {"momentum": "none"},
    {"momentum": "polyak"},
    {"momentum": "quasi-hyperbolic"},
    {"shared_kernels": True},
    {"shared_kernels": True, "momentum": "none", "iterations": 1},
    {"alpha": 0.5, "gamma": 20.0},
    {"atoms": 1, "iterations": 1},
]


@torch.inference_mode()
def plain(**config: Any) -> tuple[Trace, Codes, Parts]:
    """Return what the plain network does; in double precision, since thresholds jump."""
    network, trace = small_module(**config).double(), Trace()
    x, y = (torch.from_numpy(image)[None, None].double() for image in small_pair())
    codes = network.separate(x, y, trace)
    return trace, codes, network.combine(codes)


def assert_close(found: NDArray[Any], wanted: torch.Tensor) -> None:
    """Compare up to float16."""
    np.testing.assert_allclose(found.astype(np.float64), wanted.numpy(), rtol=1e-3, atol=1e-7)


@pytest.fixture(params=["compiled", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setenv("FNET_NATIVE", "0")
    elif not Engine(small_network()).path.startswith("compiled"):
        pytest.skip("no compiled path here")
    return str(request.param)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_everything_agrees_with_the_plain_network(config: dict[str, Any]) -> None:
    wanted, codes, parts = plain(**config)
    found = trace_pair(engine_of(small_module(**config).double()), *small_pair(), EVERYTHING)
    for letter, code in codes._asdict().items():
        block = found.blocks[letter]
        assert block.code is not None
        assert_close(block.code, code[0])
        estimates = getattr(wanted, letter)
        assert len(estimates) == len(block.steps)
        for step, estimate in zip(block.steps, estimates, strict=True):
            assert step.code_before is not None
            assert step.code_after is not None
            assert_close(step.code_before, estimate.before[0])
            assert_close(step.code_after, estimate.after[0])
    for part, tensor in zip(found.parts, parts, strict=True):
        np.testing.assert_allclose(part, tensor[0, 0].numpy(), atol=1e-6)
    assert wanted.residuals is not None
    for residual, tensor in zip(found.residuals, wanted.residuals, strict=True):
        np.testing.assert_allclose(residual, tensor[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("config", [{}, {"threshold": "hard"}, {"alpha": 0.5, "gamma": 20.0}])
def test_statistics_are_those_of_the_plain_network(config: dict[str, Any]) -> None:
    network = small_module(**config)
    wanted, codes, _ = plain(**config)
    found = trace_pair(engine_of(network.double()), *small_pair(), EVERYTHING)
    for letter, code in codes._asdict().items():
        trace, block = found.blocks[letter], getattr(network, f"encode_{letter}")
        for step, estimate in zip(trace.steps, getattr(wanted, letter), strict=True):
            theta = float(block.theta(step.k))
            assert step.theta == pytest.approx(theta)
            for measured, values in ((step.before, estimate.before), (step.after, estimate.after)):
                assert measured is not None
                share = float((values.abs() < theta / 100).float().mean())
                assert measured.nearly_zero == pytest.approx(share, abs=5e-4)
                assert measured.counts.sum() == values.numel()
                assert (np.diff(measured.values) >= 0).all()
                mean = (measured.values * measured.counts).sum() / values.numel()
                assert mean == pytest.approx(float(values.mean()), abs=1e-5)
        energies = code.double().square().sum((0, 2, 3)).numpy()
        np.testing.assert_allclose(trace.energies, energies, rtol=1e-4)
        np.testing.assert_allclose(
            trace.energy_map, code.square().sum(1)[0].numpy(), rtol=1e-3, atol=1e-6
        )
        np.testing.assert_allclose(trace.peaks, code.abs().amax((0, 2, 3)).numpy(), rtol=1e-3)
        assert (np.diff(trace.energies[trace.order]) <= 0).all()


def test_only_the_last_iteration_is_measured_unless_asked() -> None:
    found = small_trace()
    for block in found.blocks.values():
        assert block.code is None
        assert [step.after is not None for step in block.steps] == [False, False, False, True]
        assert block.last.before is not None
        assert all(step.code_before is None and step.code_after is None for step in block.steps)
        assert [step.rho is None for step in block.steps] == [True, False, False, False]


def test_the_parts_are_those_of_fusing_to_the_bit() -> None:
    engine, pair = Engine(small_network()), small_pair()
    fused = engine.run(pair[0][None], pair[1][None])
    for part, wanted in zip(trace_pair(engine, *pair).parts, fused.parts.values(), strict=True):
        assert np.array_equal(part, wanted[0])


def test_tiles_change_nothing() -> None:
    network, pair = small_network(kernel_size=3, iterations=2), small_pair(120, 90)
    whole = trace_pair(Engine(network, options=EngineOptions(tile=0)), *pair, EVERYTHING)
    tiled = trace_pair(Engine(network, options=EngineOptions(tile=64)), *pair, EVERYTHING)
    for letter, block in whole.blocks.items():
        for one, other in zip(block.steps, tiled.blocks[letter].steps, strict=True):
            assert one.code_before is not None
            assert other.code_before is not None
            np.testing.assert_allclose(
                one.code_before.astype(np.float32), other.code_before, atol=1e-3
            )
    for residual, same in zip(whole.residuals, tiled.residuals, strict=True):
        np.testing.assert_allclose(residual, same, atol=1e-5)


def test_steps_are_told_and_codes_go_where_they_should(tmp_path: Path) -> None:
    shapes: list[tuple[int, ...]] = []
    steps: list[int] = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
        shapes.append(shape)
        return scratch_array(tmp_path / "features.npz", shape, np.float16)

    engine = Engine(small_network())
    for options in (TraceOptions(), EVERYTHING):
        steps.clear()
        trace_pair(engine, *small_pair(), options, allocate, lambda: steps.append(1))
        assert len(steps) == count_steps(engine.network.config, options)
    assert set(shapes) == {(1, 5, 40, 52)}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 70), (300, 20)])
def test_any_size(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    pair = random.random((2, height, width), np.float32)
    found = trace_pair(Engine(small_network()), *pair)
    factor = -(-max(height, width) // 256)
    for block in found.blocks.values():
        assert block.thumbnails.shape == (5, -(-height // factor), -(-width // factor))


def test_what_float16_does_not_know_is_limited_and_said() -> None:
    network = small_module()
    network.encode_z.iteration(3).encode.weight[0].mul_(1e6)  # of atom 0
    found = trace_pair(engine_of(network), *small_pair(), EVERYTHING)
    code = found.blocks["z"].code
    assert code is not None
    is_limited = np.abs(code) == 65504
    assert 0 < is_limited.mean() <= 0.2
    assert np.isfinite(code).all()
    last = found.blocks["z"].last
    assert last.after is not None
    assert last.after.beyond == pytest.approx(is_limited.mean(), rel=0.01)
    (notice,) = found.notices()
    assert notice.startswith("code z: ")
    assert small_trace().notices() == []


@pytest.mark.parametrize("gamma", [1e-9, 1e6, 1e300])
def test_any_steepness(gamma: float) -> None:
    found = small_trace(EVERYTHING, gamma=gamma)
    for block in found.blocks.values():
        for step in block.steps:
            assert step.code_before is not None
            assert np.isfinite(step.code_before).all()


def test_thumbnails_show_the_strongest_value() -> None:
    values = np.zeros((5, 6), np.float32)
    values[0, 1], values[1, 0], values[4, 5] = 0.5, -0.75, 0.1
    wanted = np.zeros((3, 3), np.float32)
    wanted[0, 0], wanted[2, 2] = -0.75, 0.1
    assert np.array_equal(strongest(values, 2), wanted)


class TestFeaturesFile:
    def test_it_holds_what_was_asked_for(self, tmp_path: Path) -> None:
        trace = small_trace(EVERYTHING)
        found = self.written(trace, tmp_path)
        assert found["u"].dtype == np.float16
        assert found["u"].shape == (5, 40, 52)
        for k in range(4):
            for letter in "uvz":
                assert found[f"{letter}_{k}_before"].shape == (5, 40, 52)
                assert found[f"{letter}_{k}_after"].dtype == np.float16
        assert np.array_equal(found["u"], found["u_3_after"])
        total = found["unique_first"] + found["unique_second"] + found["common"]
        assert np.array_equal(total, trace.fusion.fused[0])
        assert np.array_equal(found["p2"], trace.residuals[1])
        assert found["p1"].dtype == np.float32
        assert found["v_energy"].shape == (5,)
        assert found["v_energy_map"].shape == (40, 52)
        assert found["z_theta"].shape == (4,)
        assert found["z_rho"].shape == (3,)

    def test_and_nothing_else(self, tmp_path: Path) -> None:
        found = self.written(small_trace(momentum="none"), tmp_path)
        each = ("energy", "energy_map", "theta")
        names = {f"{letter}_{name}" for letter in "uvz" for name in each}
        assert found.keys() == {"unique_first", "unique_second", "common", "p1", "p2", *names}

    @staticmethod
    def written(trace: PairTrace, folder: Path) -> dict[str, NDArray[Any]]:
        write_npz(folder / "features.npz", features_arrays(trace))
        with np.load(folder / "features.npz", allow_pickle=False) as file:
            return dict(file)
