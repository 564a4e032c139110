"""Pieces, one map and samples of a scene against the network on the whole image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fnetcli.engine.executors.cddfuse.bands import (
    SAMPLE,
    SAMPLES,
    Banded,
    Given,
    Lean,
    Place,
    Sampled,
    Samples,
)
from fnetcli.models.base import Wanted
from fnetcli.models.cddfuse.config import SKIPS, CDDFuseConfig, Skip
from fnetcli.models.cddfuse.frozen import frozen
from fnetcli.models.cddfuse.network import CDDFuse
from tests.models.cddfuse.published import load_network, load_numbers, needs_reference
from tests.models.cddfuse.test_network import TINY, UNEVEN, make, matrices_of, pair


def lean(network: CDDFuse, side: int) -> Lean:
    return Lean(network, side, tile=7)


BOTH = pytest.mark.parametrize("kind", [Banded, lean])


@BOTH
class TestExact:
    @settings(max_examples=25)
    @given(
        height=st.integers(1, 14),
        width=st.integers(1, 14),
        side=st.integers(1, 16),
        batch=st.integers(1, 2),
    )
    def test_pieces_of_any_size_are_the_whole(
        self, kind: Any, height: int, width: int, side: int, batch: int
    ) -> None:
        network = make(UNEVEN)
        images = pair(height, width, batch)
        found = kind(network, side)(*images)
        torch.testing.assert_close(found, network(*images).fused, rtol=0, atol=3e-6)

    @pytest.mark.parametrize("skip", SKIPS)
    def test_every_skip(self, kind: Any, skip: Skip) -> None:
        network = make(CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, couplings=1, skip=skip))
        images = pair(13, 9)
        found = kind(network, 4)(*images)
        torch.testing.assert_close(found, network(*images).fused, rtol=0, atol=2e-6)

    @pytest.mark.parametrize(
        "nothing", ["encoder_blocks", "decoder_blocks", "couplings", "fuse_couplings"]
    )
    def test_networks_without_some_blocks(self, kind: Any, nothing: str) -> None:
        config = CDDFuseConfig(dim=8, heads=2, decoder_blocks=1)
        network = make(replace(config, **{nothing: 0}))  # type: ignore[arg-type]
        images = pair(11, 9)
        found = kind(network, 4)(*images)
        torch.testing.assert_close(found, network(*images).fused, rtol=0, atol=3e-6)

    def test_float64_stays_float64(self, kind: Any) -> None:
        network = make().double()
        first, second = (image.double() for image in pair(13, 9))
        found = kind(network, 5)(first, second)
        torch.testing.assert_close(found, network(first, second).fused, rtol=0, atol=1e-13)

    def test_features_are_those_of_the_network(self, kind: Any) -> None:
        network, images = make(UNEVEN), pair(13, 17, 2)
        found: dict[str, Tensor] = {}

        def take(name: str, place: Place, values: Tensor) -> None:
            room = found.setdefault(name, torch.full((2, 12, 13, 17), torch.nan))
            assert room[place].isnan().all()  # each place once
            room[place] = values

        kind(network, 5)(*images, take)
        expected = network(*images, Wanted(features=True)).features
        assert found.keys() == expected.keys()
        for name, feature in expected.items():
            torch.testing.assert_close(found[name], feature, rtol=0, atol=1e-4)

    def test_the_network_is_itself_again_afterwards(self, kind: Any) -> None:
        network, images = make(), pair(9, 8)
        before = network(*images).fused
        kind(network, 4)(*images)
        assert torch.equal(network(*images).fused, before)

    @needs_reference
    def test_agrees_with_the_published_program(self, kind: Any) -> None:
        numbers = load_numbers("io")
        vis, ir = (torch.from_numpy(numbers[f"b_{side}"]) for side in ("vis", "ir"))
        found = kind(load_network(), 6)(ir, vis)
        expected = torch.from_numpy(numbers["b_fused_skip_vis"])
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)


def test_memory_grows_with_the_maps() -> None:
    for kind, maps in ((Banded, 3), (Lean, 1)):
        small, large = (kind(make()).numbers_needed(2, side, 1000) for side in (1000, 2000))
        assert large - small == 2 * maps * 8 * 1000 * 1000


class TestFrozen:
    def test_frozen_on_itself_is_the_network(self) -> None:
        network, images = make(), pair(12, 10)
        expected = network(*images).fused
        with frozen(*matrices_of(network, *images)):
            torch.testing.assert_close(network(*images).fused, expected, rtol=0, atol=1e-6)

    def test_the_network_is_itself_again_after_an_error(self) -> None:
        network, images = make(), pair(12, 10)
        attentions, matrices = matrices_of(network, *images)
        with pytest.raises(RuntimeError), frozen(attentions, matrices):
            network(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8))
        assert all(attention.frozen is None for attention in attentions)


class TestSamples:
    def test_one_sample_of_everything_is_the_network(self) -> None:
        network, images = make(UNEVEN), pair(12, 10)
        samples = Samples(12, 10, margin=UNEVEN.frozen_reach)
        assert samples.margins == (0, 0)
        runner = Sampled(network, samples.margins, 5)
        expected = network(*images).fused
        samples_of_both = (samples.of(images[0]), samples.of(images[1]))
        torch.testing.assert_close(runner(*samples_of_both), expected, rtol=0, atol=3e-6)
        found = Given(network, runner.matrices, 5)(*images)
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)

    def test_tiles_with_the_margin_are_seamless(self) -> None:
        network = make(TINY).double()
        first, second = (image.double() for image in pair(60, 30))
        margin, cut = TINY.frozen_reach, 30
        samples = Samples(60, 30, margin)
        runner = Sampled(network, samples.margins)
        runner(samples.of(first), samples.of(second))

        def fused(rows: slice) -> Tensor:
            given = Given(network, runner.matrices, 16)
            return given(first[..., rows, :], second[..., rows, :])

        whole = fused(slice(None))
        upper, lower = fused(slice(cut + margin)), fused(slice(cut - margin, None))
        tiled = torch.cat((upper[..., :cut, :], lower[..., margin:, :]), dim=2)
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-13)
        assert not torch.allclose(whole, network(first, second).fused, rtol=0, atol=1e-9)

    def test_a_repeated_scene_is_known_from_samples(self) -> None:
        """Where every sample sees the same, its sums are those of the whole but for a factor."""
        network, margin = make(TINY), TINY.frozen_reach
        tile = torch.rand(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        first, second = tile.repeat(1, 1, 1, 50, 50)
        samples = Samples(200, 200, margin)
        runner = Sampled(network, samples.margins)
        runner(samples.of(first), samples.of(second))
        found = Given(network, runner.matrices)(first, second)
        torch.testing.assert_close(found, network(first, second).fused, rtol=0, atol=2e-3)

    @given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 30))
    def test_samples_lie_in_the_scene(self, height: int, width: int, margin: int) -> None:
        samples = Samples(height, width, margin)
        count, rows, columns = samples.shape
        most, side, _ = samples.most
        assert 1 <= count <= most == SAMPLES**2
        assert rows <= side
        assert columns <= side == SAMPLE + 2 * margin
        image = torch.empty(1, 1, height, width, device="meta")
        assert samples.of(image).shape == (count, 1, rows, columns)
        for length, found in zip((height, width), samples.margins, strict=True):
            assert found == (margin if length > side else 0)

    def test_samples_are_spread(self) -> None:
        places = np.arange(1000.0 * 4, dtype=np.float32).reshape(1, 1, 1000, 4)
        found = Samples(1000, 4, 5).of(torch.from_numpy(places))
        first = (found[:, 0, 0, 0] / 4).tolist()
        gaps = np.diff(first)
        assert len(first) == SAMPLES
        assert gaps.max() - gaps.min() <= 1
        assert abs(first[0] - (1000 - first[-1] - 42)) <= 1
