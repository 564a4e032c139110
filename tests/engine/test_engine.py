"""Any size in bounded memory: tiles, batches, memory that runs out."""

from __future__ import annotations

import re
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fnetcli.checkpoints.loading import load_weights
from fnetcli.engine import Device, Engine, EngineOptions, Wanted, memory
from fnetcli.engine.executors.base import NOWHERE, Executor, Inner, Into
from fnetcli.engine.executors.fnet import native
from fnetcli.engine.executors.fnet.building import NoLibraryError
from fnetcli.engine.options import Precision
from fnetcli.errors import PairError, UsageError
from fnetcli.models.base import Network
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet
from tests.networks import plainly, resting

CPU = Device()
PARTS, CODES = Wanted(), Wanted(features=True)


@pytest.fixture(params=["compiled", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(native, "load_library", _no_library)
    elif not Engine(small_network(), CPU).path.startswith("compiled"):
        pytest.skip("no compiled path here")
    return str(request.param)


def _no_library(*_: object) -> Any:
    raise NoLibraryError("switched off")


def small_module() -> FNet:
    """Its reach is 4 (2 (1 + 4) + 2) = 48 pixels."""
    torch.manual_seed(0)
    return FNet(FNetConfig(atoms=6, kernel_size=9, iterations=2))


def small_network() -> Network[FNetConfig]:
    return resting(small_module())


def random_pair(count: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    first, second = np.random.default_rng(0).random((2, count, height, width), dtype=np.float32)
    return first, second


@pytest.mark.parametrize("tile", [64, 71, 100, 200])
def test_tiles_give_what_the_whole_gives(path: str, tile: int) -> None:
    pair = random_pair(2, 150, 211)
    whole = Engine(small_network(), CPU, EngineOptions(tile=0)).run(*pair, CODES)
    tiled = Engine(small_network(), CPU, EngineOptions(tile=tile)).run(*pair, CODES)
    assert [*tiled.parts] == [*whole.parts] == ["unique_first", "unique_second", "common"]
    for name, part in whole.parts.items():
        np.testing.assert_allclose(tiled.parts[name], part, atol=1e-5)
    assert [*tiled.features] == [*whole.features] == ["u", "v", "z"]
    for name, code in whole.features.items():
        assert code.dtype == np.float16
        assert code.shape == (2, 6, 150, 211)
        difference = np.abs(tiled.features[name].astype(np.float32) - code)
        assert (difference < 1e-4).mean() > 0.999
        assert difference.max() < 1e-2
    if path == "compiled":  # tiles start where whole images round alike
        assert (tiled.fused == whole.fused).all()


def test_the_first_image_is_u_the_second_v(path: str) -> None:
    first, second = random_pair(1, 30, 40)
    found = Engine(small_network(), CPU).run(first, second)
    x, y = (torch.from_numpy(image)[:, None] for image in (first, second))
    parts, _ = plainly(small_module(), x, y)
    for name, wanted in parts._asdict().items():
        np.testing.assert_allclose(found.parts[name], wanted[:, 0], atol=1e-4, err_msg=path)


def test_codes_go_where_the_caller_wants_them(path: str) -> None:
    made = []

    def allocate(shape: tuple[int, ...]) -> NDArray[np.float16]:
        made.append(np.full(shape, np.nan, np.float16))
        return made[-1]

    pair = random_pair(1, 90, 100)
    found = Engine(small_network(), CPU, EngineOptions(tile=64)).run(*pair, CODES, allocate)
    assert list(found.features) == ["u", "v", "z"]
    assert all(a is b for a, b in zip(found.features.values(), made, strict=True)), path
    assert all(np.isfinite(code).all() for code in made)
    assert not Engine(small_network(), CPU).run(*pair).features


def test_codes_beyond_float16_are_limited(path: str) -> None:
    module = small_module()
    with torch.no_grad():
        module.encode_z.iteration(0).encode.weight *= 1e7
    codes = Engine(resting(module), CPU).run(*random_pair(1, 20, 30), CODES).features
    assert np.abs(codes["z"]).max() == np.finfo(np.float16).max, path


def _needs(engine: Engine, count: int, height: int, width: int) -> int:
    return engine._executor.bytes_needed(count, height, width, PARTS)


def test_little_memory_means_tiles(path: str) -> None:
    whole = Engine(small_network(), CPU)
    budget = _needs(whole, 1, 400, 500) // 2
    frugal = Engine(small_network(), CPU, EngineOptions(max_memory=budget))
    tiling = frugal._plan(1, 400, 500, PARTS).tiling
    assert len(tiling) > 1, path
    assert _needs(frugal, 1, *tiling.largest) <= budget
    pair = random_pair(1, 400, 500)
    np.testing.assert_allclose(frugal.run(*pair).fused, whole.run(*pair).fused, atol=1e-5)


def test_little_free_memory_is_no_reason_to_fail(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, messages = random_pair(1, 200, 300), list[str]()
    whole = Engine(small_network(), CPU).run(*pair)
    monkeypatch.setattr(memory, "budget", lambda *_, **__: 0)
    tight = Engine(small_network(), CPU, on_notice=messages.append)
    for _ in range(2):
        np.testing.assert_allclose(tight.run(*pair).fused, whole.fused, atol=1e-5, err_msg=path)
    (notice,) = messages
    assert re.fullmatch(
        r"300x200: tiles .* mostly margin, \d\.\d times the work; more memory.*", notice
    )


@pytest.mark.parametrize("size", [(1, 300_000), (3_000_000, 1), (40_000, 40_000)])
def test_tiles_of_any_shape_fit(path: str, size: tuple[int, int]) -> None:
    engine = Engine(small_network(), CPU, EngineOptions(max_memory=1 << 26))
    tiling = engine._plan(1, *size, PARTS).tiling
    assert _needs(engine, 1, *tiling.largest) <= 1 << 26, path
    assert tiling.computed < 3 * size[0] * size[1]


def test_narrow_images_take_what_their_padding_takes() -> None:
    engine = Engine(small_network(), CPU)
    if engine.path.startswith("compiled"):
        assert _needs(engine, 1, 5000, 1) > 0.7 * _needs(engine, 1, 5000, 60)


def test_too_little_memory_is_refused(path: str) -> None:
    engine = Engine(small_network(), CPU, EngineOptions(max_memory=1000))
    with pytest.raises(UsageError, match=r"^--max-memory: .* needs (\d) MB; give at least \1M$"):
        engine.run(*random_pair(1, 30, 40))
    with pytest.raises(UsageError, match=r"needs (\d+) MB; give at least \1M$") as caught:
        engine.require_memory()
    enough = int(caught.value.args[0].split()[-1][:-1]) << 20
    frugal = Engine(small_network(), CPU, EngineOptions(max_memory=enough))
    frugal.require_memory()
    with pytest.raises(UsageError, match="with its features"):
        frugal.require_memory(CODES)
    for size in ((127, 191), (128, 300), (1000, 1001)):
        tiling = frugal._plan(1, *size, PARTS).tiling
        assert _needs(frugal, 1, *tiling.largest) <= enough, path


def test_max_memory_holds_after_memory_ran_out(path: str) -> None:
    budget = _needs(Engine(small_network(), CPU), 1, 300, 300)
    engine = Engine(small_network(), CPU, EngineOptions(max_memory=budget))
    engine._learned = 1 << 40
    tiling = engine._plan(1, 400, 500, PARTS).tiling
    assert _needs(engine, 1, *tiling.largest) <= budget, path


def test_nothing_is_compiled_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load(*given: object) -> Any:
        asked.append(given)
        raise NoLibraryError("no compiler")

    monkeypatch.setattr(native, "load_library", load)
    engine = Engine(small_network(), CPU)
    assert not asked
    assert engine.path == "torch (the compiled path, several times faster: no compiler)"
    engine.run(*random_pair(1, 8, 8))
    assert len(asked) == 1


def test_many_images_go_in_groups_that_fit(path: str) -> None:
    engine = Engine(small_network(), CPU)
    pair = random_pair(5, 30, 40)
    together = engine.run(*pair).fused
    frugal = Engine(small_network(), CPU, EngineOptions(max_memory=_needs(engine, 2, 30, 40)))
    images = frugal._plan(5, 30, 40, PARTS).images
    assert 1 <= images < 5, path
    np.testing.assert_allclose(frugal.run(*pair).fused, together, atol=1e-5)


class Greedy:
    """An executor that runs out of memory above so many pixels."""

    name, margin, grain, smaller = "greedy", 48, (4, 64), None

    def __init__(self, inner: Executor, most: int, error: Exception) -> None:
        self.inner, self.most, self.error = inner, most, error
        self.bytes_needed = inner.bytes_needed
        self.least = 1 << 62  # pixels of a tile that was tried

    def run(
        self, x: NDArray[Any], y: NDArray[Any], inner: Inner, wanted: Wanted, into: Into = NOWHERE
    ) -> Any:
        self.least = min(self.least, x.size)
        if x.size > self.most:
            raise self.error
        return self.inner.run(x, y, inner, wanted, into)


def test_memory_that_runs_out_means_smaller_tiles(path: str) -> None:
    pair = random_pair(1, 500, 520)
    expected = Engine(small_network(), CPU).run(*pair).fused
    messages: list[str] = []
    engine = Engine(small_network(), CPU, on_notice=messages.append)
    engine._executor = Greedy(engine._executor, 100_000, MemoryError())
    np.testing.assert_allclose(engine.run(*pair).fused, expected, atol=1e-4, err_msg=path)
    margins = [text for text in messages if "mostly margin" in text]
    assert len(margins) <= 1
    assert {*messages} - {*margins} == {
        "520x500: memory ran out on cpu; continuing with smaller tiles"
    }
    tries = len(messages)
    engine.run(*pair)  # it has learned how much there is
    assert len(messages) == tries


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("could not create a primitive"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_memory_that_is_not_there_at_all(path: str, error: Exception) -> None:
    engine = Engine(small_network(), CPU)
    engine._executor = greedy = Greedy(engine._executor, 0, error)
    with pytest.raises(
        PairError, match=r"^520x500: not enough memory on cpu, the smallest tile needs \d+ MB; "
    ):
        engine.run(*random_pair(1, 500, 520))
    assert greedy.least <= (64 + 2 * (48 + 63)) ** 2, path  # it was tried


def test_what_ran_out_of_memory_lets_go_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback would hold its arrays while the cache of a device is emptied."""

    errors: list[weakref.ref[MemoryError]] = []

    class HeldError(MemoryError):
        def __init__(self) -> None:
            errors.append(weakref.ref(self))

    def fail(*_: object) -> None:
        raise HeldError

    engine = Engine(small_network(), CPU)
    monkeypatch.setattr(engine, "_run_tiles", fail)
    go_smaller, was_alive = engine._go_smaller, []

    def look(*given: Any) -> None:
        was_alive.append(errors[-1]() is not None)
        go_smaller(*given)

    monkeypatch.setattr(engine, "_go_smaller", look)
    with pytest.raises(PairError, match="not enough memory"):
        engine.run(*random_pair(1, 8, 8))
    assert was_alive
    assert not any(was_alive)


def test_no_thread_to_be_had_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    pair = random_pair(1, 30, 40)
    expected = Engine(small_network(), CPU).run(*pair).fused
    monkeypatch.setattr(threading.Thread, "start", none)
    assert (Engine(small_network(), CPU).run(*pair).fused == expected).all()


def test_other_errors_are_not_taken_for_memory() -> None:
    engine = Engine(small_network(), CPU)
    engine._executor = Greedy(engine._executor, 0, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        engine.run(*random_pair(1, 8, 8))


def test_weights_that_are_not_finite(path: str) -> None:
    module = small_module()
    with torch.no_grad():
        module.reconstruct_z.weight.fill_(float("inf"))
    with pytest.raises(PairError, match="not finite; check the weights"):
        Engine(resting(module), CPU).run(*random_pair(1, 8, 8))
    assert path


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_rounding_on_a_processor_is_left_out_and_said(precision: Precision) -> None:
    engine = Engine(small_network(), CPU, EngineOptions(precision=precision))
    assert engine.precision == "fp32"
    assert engine.notices == [
        f"--precision {precision}: no faster than float32 on this cpu device; float32 is used"
    ]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_each_network_in_the_precisions_that_it_has(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "has_tensor_cores", lambda _: True)
    options, device = EngineOptions(precision=precision), Device("cuda")
    assert Engine(small_network(), device, options).precision == precision
    other = Engine(load_weights("uaafusion").network, device, options)
    is_left_out = precision == "bf16"
    assert other.precision == ("fp32" if is_left_out else precision)
    said = "--precision bf16: not for this network; float32 is used"
    assert other.notices == [said] * is_left_out


def test_options_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="--tile 20: too small"):
        EngineOptions(tile=20)
    with pytest.raises(UsageError, match="give one of them"):
        EngineOptions(tile=100, max_memory=1)


def test_the_budget_is_what_a_container_allows(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fnetcli.memory.CGROUP", tmp_path)
    free = memory.budget(CPU)
    assert 0 < free <= memory.MOST
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        (tmp_path / limit).parent.mkdir(exist_ok=True)
        (tmp_path / limit).write_text("200000000\n")
        (tmp_path / used).write_text("190000000\n")
        assert memory.budget(CPU) == 5_000_000
        (tmp_path / limit).with_name("memory.stat").write_text(
            "inactive_file 60000000\ntotal_inactive_file 90000000\nslab_reclaimable 30000000\n"
        )
        assert memory.budget(CPU) == 50_000_000
        for nothing in ("max\n", "9223372036854771712\n", "odd", ""):
            (tmp_path / limit).write_text(nothing)
            assert memory.budget(CPU) == pytest.approx(free, rel=0.5)
