"""Bands of rows and frozen attention against the network on the whole image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fnetcli.models.cddfuse.bands import Banded
from fnetcli.models.cddfuse.config import SKIPS, CDDFuseConfig, Skip
from fnetcli.models.cddfuse.frozen import frozen_attention
from fnetcli.models.cddfuse.network import ChannelAttention
from tests.models.cddfuse.published import load_network, load_numbers, needs_reference
from tests.models.cddfuse.test_network import TINY, UNEVEN, make, pair


class TestBands:
    @given(st.integers(1, 14), st.integers(1, 5), st.integers(1, 16), st.integers(1, 2))
    def test_bands_of_any_height_are_the_whole(
        self, height: int, width: int, rows: int, batch: int
    ) -> None:
        network = make(UNEVEN)
        images = pair(height, width, batch)
        found = Banded(network, rows)(*images)
        torch.testing.assert_close(found, network(*images), rtol=0, atol=2e-6)

    @pytest.mark.parametrize("skip", SKIPS)
    def test_every_skip(self, skip: Skip) -> None:
        network = make(CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, couplings=1, skip=skip))
        images = pair(13, 9)
        found = Banded(network, 4)(*images)
        torch.testing.assert_close(found, network(*images), rtol=0, atol=2e-6)

    def test_float64_stays_float64(self) -> None:
        network = make().double()
        first, second = (image.double() for image in pair(13, 9))
        found = Banded(network, 5)(first, second)
        torch.testing.assert_close(found, network(first, second), rtol=0, atol=1e-13)

    def test_half_storage_stays_near(self) -> None:
        network, images = make(), pair(16, 12)
        found = Banded(network, 5, torch.float16)(*images)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, network(*images), rtol=0, atol=5e-3)

    @needs_reference
    def test_agrees_with_the_published_program(self) -> None:
        numbers = load_numbers("io")
        vis, ir = (torch.from_numpy(numbers[f"b_{side}"]) for side in ("vis", "ir"))
        found = Banded(load_network(), rows=6)(ir, vis)
        expected = torch.from_numpy(numbers["b_fused_skip_vis"])
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)

    def test_memory_grows_with_the_maps(self) -> None:
        small, large = (Banded(make()).bytes_needed(side, 1000) for side in (1000, 2000))
        assert large - small == 3 * 8 * 4 * 1000 * 1000


class TestFrozen:
    def test_frozen_on_itself_is_the_network(self) -> None:
        network, images = make(), pair(12, 10)
        expected = network(*images)
        with frozen_attention(network, *images):
            assert torch.equal(network(*images), expected)

    def test_tiles_with_the_margin_are_seamless(self) -> None:
        network = make(TINY).double()
        first, second = (image.double() for image in pair(40, 30))
        margin, cut = TINY.frozen_reach, 20
        with frozen_attention(network, first[..., ::2, ::2], second[..., ::2, ::2]):
            whole = network(first, second)
            upper = network(*(image[..., : cut + margin, :] for image in (first, second)))
            lower = network(*(image[..., cut - margin :, :] for image in (first, second)))
        tiled = torch.cat((upper[..., :cut, :], lower[..., margin:, :]), dim=2)
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-13)
        assert not torch.allclose(whole, network(first, second), rtol=0, atol=1e-9)

    def test_the_network_is_itself_again_afterwards(self) -> None:
        network = make()
        broken = torch.zeros(1, 2, 8, 8)  # two channels: the network refuses it
        with pytest.raises(RuntimeError), frozen_attention(network, broken, broken):
            pass
        for module in network.modules():
            if isinstance(module, ChannelAttention):
                assert module.frozen is None
                assert not module.is_recording

    def test_takes_one_pair(self) -> None:
        images = pair(4, 4, batch=2)
        with pytest.raises(ValueError, match="one pair"), frozen_attention(make(), *images):
            pass
