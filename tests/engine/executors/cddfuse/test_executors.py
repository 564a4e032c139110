"""CDDFuse through the engine: exact where memory allows, seamless where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fnetcli.engine import Device, Engine, EngineOptions, Wanted
from fnetcli.engine.executors.base import Inner, SceneExecutor
from fnetcli.engine.executors.cddfuse.bands import Banded, Lean
from fnetcli.engine.executors.cddfuse.executors import Exact, Setting
from fnetcli.errors import NotFiniteError, PairError, UsageError
from fnetcli.models.base import Network
from fnetcli.models.cddfuse.config import CDDFuseConfig
from tests.drawn_pictures import smooth_noise
from tests.small_cddfuse import NAMES, SMALL, small_module, small_network

CPU = Device()
FUSED, FEATURES = Wanted(), Wanted(features=True)
MEGABYTE = 1 << 20

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def scene(height: int, width: int, count: int = 1) -> Pair:
    """Return a pair that differs from place to place, in brightness and in contrast."""
    images = [
        np.stack([smooth_noise(height, width, seed + 2 * i) / 255 for i in range(count)])
        for seed in (1, 2)
    ]
    first, second = (np.asarray(image, np.float32) for image in images)
    return first, second * np.linspace(0, 1, width, dtype=np.float32)


def expected(pair: Pair) -> Any:
    x, y = (torch.from_numpy(image)[:, None] for image in pair)
    return small_module()(x, y, FEATURES)


def needs(engine: Engine, height: int, width: int) -> list[int]:
    return [one.bytes_needed(1, height, width, FUSED) for one in engine._executors]


def engine_with(bytes_: int, said: list[str] | None = None) -> Engine:
    on_notice: Callable[[str], None] = (said if said is not None else []).append
    return Engine(small_network(), CPU, EngineOptions(max_memory=bytes_), on_notice)


def test_it_has_three_ways() -> None:
    engine = Engine(small_network(), CPU)
    assert engine.path == "torch, layer by layer"
    assert [one.margin for one in engine._executors] == [None, None, SMALL.frozen_reach]
    assert [isinstance(one, SceneExecutor) for one in engine._executors] == [False, False, True]


def test_whole_images_are_exact_and_nothing_is_said() -> None:
    pair = scene(640, 560)
    exact = expected(pair)
    in_need = needs(Engine(small_network(), CPU), 640, 560)
    assert in_need[1] < in_need[0]
    for kind in (0, 1):
        said = list[str]()
        engine = engine_with(in_need[kind], said)
        assert engine._plan(1, 640, 560, FUSED).executor is engine._executors[kind]
        found = engine.run(*pair, FEATURES)
        np.testing.assert_allclose(found.fused, exact.fused[:, 0], atol=3e-6)
        assert list(found.features) == list(NAMES)
        for name, feature in exact.features.items():
            assert found.features[name].dtype == np.float16
            np.testing.assert_allclose(found.features[name], feature, atol=2e-3, rtol=1e-3)
        assert not said


def test_tiles_have_no_seams_and_are_announced() -> None:
    pair, said = scene(300, 200), list[str]()
    engine = Engine(small_network(), CPU, EngineOptions(tile=64), said.append)
    whole, tiled = expected(pair).fused[:, 0].numpy(), engine.run(*pair).fused
    engine.run(*pair)
    (notice,) = said
    assert notice.startswith("200x300: this network's attention depends on the whole image")
    assert "the result differs from that of the whole image" in notice
    difference = (tiled - whole)[0]
    assert 0 < np.abs(difference).max() < 0.1
    for image, axis in ((tiled[0], 0), (tiled[0], 1), (difference, 0), (difference, 1)):
        steps = np.moveaxis(np.abs(np.diff(image, axis=axis)), axis, 0)
        at_borders = np.zeros(len(steps), bool)
        at_borders[63::64] = True
        assert steps[at_borders].max() <= steps[~at_borders].max() + 1 / 255


def test_tiles_of_any_size_give_the_same() -> None:
    pair = scene(150, 170)
    one, other = (
        Engine(small_network(), CPU, EngineOptions(tile=tile)).run(*pair, FEATURES)
        for tile in (64, 97)
    )
    np.testing.assert_allclose(one.fused, other.fused, atol=3e-6)
    for name in NAMES:
        np.testing.assert_allclose(one.features[name], other.features[name], atol=2e-3, rtol=1e-3)


def test_tiles_of_several_images_each_see_their_own_scene() -> None:
    first, second = scene(100, 120, 3)
    engine = Engine(small_network(), CPU, EngineOptions(tile=64))
    together = engine.run(first, second).fused
    for i in range(3):
        alone = engine.run(first[i : i + 1], second[i : i + 1]).fused
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)


def test_an_image_of_one_tile_is_exact_whatever_the_tile() -> None:
    pair, said = scene(50, 60), list[str]()
    engine = Engine(small_network(), CPU, EngineOptions(tile=64), said.append)
    np.testing.assert_allclose(engine.run(*pair).fused, expected(pair).fused[:, 0], atol=3e-6)
    assert not said


def test_less_and_less_memory_is_enough() -> None:
    engine = Engine(small_network(), CPU)
    of_tiles = needs(engine, 64, 64)[2]
    for side in (1000, 3000):
        ways = []
        for budget in (*needs(engine, side, side)[:2], of_tiles + MEGABYTE):
            plan = engine_with(budget)._plan(1, side, side, FUSED)
            assert plan.executor.bytes_needed(1, *plan.tiling.largest, FUSED) <= budget
            ways.append(len(plan.tiling) > 1)
        assert ways == [False, False, True]


def test_many_images_go_in_groups_that_fit() -> None:
    engine = Engine(small_network(), CPU)
    two = engine._executor.bytes_needed(2, 30, 40, FUSED)
    pair = scene(30, 40, 5)
    frugal = engine_with(two)
    assert frugal._plan(5, 30, 40, FUSED).images == 2
    np.testing.assert_allclose(frugal.run(*pair).fused, expected(pair).fused[:, 0], atol=3e-6)


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--max-memory: the smallest tile .* needs \d+ MB;"):
        engine_with(1000).run(*scene(300, 300))
    with pytest.raises(UsageError, match=r"--max-memory"):
        engine_with(1000).require_memory()


def test_memory_that_runs_out_means_the_next_way(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, said, tried = scene(90, 100), list[str](), list[type[Banded]]()
    run = Setting.run

    def limited(setting: Setting, runner: Banded, *given: Any) -> Any:
        tried.append(type(runner))
        if type(runner) is Banded:
            raise MemoryError
        return run(setting, runner, *given)

    monkeypatch.setattr(Setting, "run", limited)
    engine = Engine(small_network(SMALL), CPU, on_notice=said.append)
    monkeypatch.setattr(Exact, "bytes_needed", lambda one, *_: 1000 if one._kind is Lean else 3000)
    np.testing.assert_allclose(engine.run(*pair).fused, expected(pair).fused[:, 0], atol=3e-6)
    assert tried == [Banded, Lean]
    assert said == ["100x90: memory ran out on cpu; continuing with smaller tiles"]


def test_no_memory_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(Setting, "run", none)
    with pytest.raises(PairError, match="100x90: not enough memory on cpu, the smallest tile"):
        Engine(small_network(), CPU).run(*scene(90, 100))


@pytest.mark.parametrize("config", [CDDFuseConfig(dim=16, heads=4), SMALL])
def test_the_estimate_holds_what_is_held(config: CDDFuseConfig) -> None:
    """Whatever the sizes, the maps are in the estimate; the work on a piece hardly matters."""
    network: Network[CDDFuseConfig] = small_network(config)
    engine = Engine(network, CPU)
    by_layers, lean, _ = needs(engine, 3000, 4000)
    map_ = config.dim * 4 * 3000 * 4000
    assert 3 * map_ < by_layers < 3.3 * map_ + 40 * 3000 * 4000
    assert map_ < lean < 1.3 * map_ + 40 * 3000 * 4000


@pytest.mark.parametrize("tile", [0, 64])
@pytest.mark.parametrize("name", ["encoder.detail.0.rho.reduce", "decoder.output"])
def test_what_is_not_finite_is_refused(name: str, tile: int) -> None:
    network = small_network()
    network.arrays[f"{name}.weight"][...] = 1e38
    with pytest.raises(NotFiniteError, match="not finite; check the weights"):
        Engine(network, CPU, EngineOptions(tile=tile)).run(*scene(80, 70))


def test_rounded_to_bfloat16_it_stays_near() -> None:
    pair = scene(90, 80)
    setting = Setting(small_network(), CPU, is_rounded=True)
    exact = Setting(small_network(), CPU, is_rounded=False)
    inner = Inner(slice(None), slice(None))
    rounded, full = (
        one.run(Banded(one.module), *pair, inner, {}).fused for one in (setting, exact)
    )
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - full).max() < 0.05
