"""One table of what fnet knows of images, and the names that people read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnetcli.modalities import BY_NAME, MODALITIES, PAIRS, partners, shown_name
from fnetcli.products import Products, gain_list

PAIR = st.sampled_from(PAIRS)


def test_pairs_and_partners_agree() -> None:
    for name in MODALITIES:
        assert partners(name), name
        for other in partners(name):
            assert name in partners(other)
            assert (name, other) in PAIRS or (other, name) in PAIRS


def test_what_dicom_knows_comes_as_volumes() -> None:
    volumes = {name for name in MODALITIES if BY_NAME[name].is_volumetric}
    assert volumes == {"ct", "mri", "mri2", "pet", "spect"}
    for first, second in PAIRS:
        assert (first in volumes) == (second in volumes)


@given(PAIR)
def test_parts_are_named_after_their_image(pair: tuple[str, str]) -> None:
    first, second = pair
    assert shown_name("unique_first", pair) == f"unique_{first}"
    assert shown_name("unique_second", pair) == f"unique_{second}"
    assert shown_name("weight_first", pair) == f"weight_{first}"
    assert shown_name("first", pair) == first


@pytest.mark.parametrize("role", ["common", "first_stage", "thefirst", "", "second_", "base"])
def test_other_names_stay(role: str) -> None:
    assert shown_name(role, ("ir", "vis")) == role


def test_gains_by_role_are_listed_in_the_order_of_the_parts() -> None:
    products = Products(("unique_first", "unique_second", "common"), ("weight_first",), {"u": 4})
    assert gain_list({"common": 0.5}, products.parts) == [1, 1, 0.5]
    assert products.shown_parts(("ir", "vis")) == {
        "unique_ir": "unique_first",
        "unique_vis": "unique_second",
        "common": "common",
    }
    assert products.images == (*products.parts, "weight_first")
    assert products.feature_channels == 4
