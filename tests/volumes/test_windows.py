"""Windows are exact numbers; percentiles are those of tissue, not of air."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fnetcli.errors import ImageError, UsageError
from fnetcli.imaging.image import Grid, Image
from fnetcli.imaging.intensity import scale
from fnetcli.volumes import windows
from fnetcli.volumes.windows import body_mask, otsu, parse_window, window_of


def volume(values: NDArray[Any], unit: str | None = None, **details: Any) -> Image:
    shape = values.shape
    return Image(
        values[..., None], Grid((shape[0], shape[1], shape[2]), np.eye(4)), unit=unit, **details
    )


def ball(shape: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    index = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return np.asarray(np.square(index).sum(axis=0) < radius**2)


SHAPE = (20, 40, 40)
INSIDE = ball(SHAPE, 12) & (np.indices(SHAPE)[0] > 3)
CORE = ball(SHAPE, 5)


def head(air: float = 10, tissue: tuple[float, float] = (450, 900), seed: int = 0) -> NDArray[Any]:
    """Return noise around a ball of tissue with an empty core (a sinus)."""
    random = np.random.default_rng(seed)
    values = np.abs(random.normal(0, air, SHAPE))
    values[INSIDE] = random.uniform(*tissue, int(INSIDE.sum()))
    values[CORE] = np.abs(random.normal(0, air, int(CORE.sum())))
    return values


class TestParse:
    @pytest.mark.parametrize(
        ("text", "limits"),
        [
            ("soft", (-160, 240)),
            ("brain", (0, 80)),
            ("bone", (-500, 1300)),
            ("lung", (-1350, 150)),
            ("400,40", (-160, 240)),
            ("1.5, -2", (-2.75, -1.25)),
            ("auto", None),
        ],
    )
    def test_limits(self, text: str, limits: tuple[float, float] | None) -> None:
        assert parse_window(text) == limits

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "kidney",
            "400",
            "0,40",
            "-1,2",
            "1,2,3",
            "nan,1",
            "inf,0",
            "1.7e308,1.7e308",
            "1e-320,0",
        ],
    )
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"--window ct=.*use soft, brain, .*, liver, auto or"):
            parse_window(text)

    def test_names_are_those_of_ct(self) -> None:
        with pytest.raises(UsageError, match="--window mri=soft: not a window; use auto or WIDTH"):
            parse_window("soft", "mri")
        assert parse_window("10,5", "mri") == (0, 10)


class TestCt:
    hounsfield = volume(np.linspace(-1024, 2000, 4000).reshape(10, 20, 20).astype(np.int16), "HU")

    def test_default_is_soft_tissue(self) -> None:
        window = window_of(self.hounsfield, "ct")
        assert window.limits == (-160, 240)
        assert window.sentence == "CT window soft: -160 to 240 HU"
        assert window.notices == ()

    def test_becomes_the_unit_range(self) -> None:
        image = volume(np.array([[[-1000, -160, 40, 240, 3000]]], np.int16), "HU")
        options = window_of(image, "ct").scaling()
        scaled = scale(image, options.choose(image.stored_type, "ct")).in_full()
        np.testing.assert_allclose(scaled.image.pixels.ravel(), [0, 0, 0.5, 1, 1])

    def test_range_overrides(self) -> None:
        window = window_of(self.hounsfield, "ct", "bone", limits=(-10, 90))
        assert window.limits == (-10, 90)
        assert window.sentence == "CT range as given: -10 to 90 HU"

    def test_numbers_without_a_unit_that_look_like_hu(self) -> None:
        window = window_of(volume(self.hounsfield.pixels[..., 0]), "ct", "brain")
        assert window.limits == (0, 80)
        assert window.notices == (
            "no unit in the file: its numbers (-1024 to 2000) are taken as HU",
        )

    @pytest.mark.parametrize("offset", [0, 24])
    def test_numbers_that_cannot_be_hu(self, offset: int) -> None:
        image = volume(head().astype(np.int16) + offset)  # 0..900: no air of -1000
        window = window_of(image, "ct")
        assert window.notices[0].startswith("the numbers (")
        assert "do not look like HU: stretched by percentiles" in window.notices[0]
        assert offset <= window.limits[0] < window.limits[1] < 900 + offset
        assert window_of(image, "ct", "400,200").limits == (0, 400)
        assert window_of(image, "ct", "400,200").notices == ()
        with pytest.raises(ImageError, match=r"do not look like HU.*use --window ct=auto"):
            window_of(image, "ct", "bone")

    def test_auto(self) -> None:
        values = np.full(SHAPE, -1000.0)
        values[INSIDE] = np.linspace(-100, 300, int(INSIDE.sum()))
        window = window_of(volume(values.astype(np.float32), "HU"), "ct", "auto")
        low, high = window.limits
        assert low == pytest.approx(-98, abs=1)
        assert high == pytest.approx(298, abs=1)
        assert window.sentence.startswith("CT percentiles 0.5 to 99.5 within the body: -98")
        assert window.sentence.endswith(" HU")


class TestMri:
    @pytest.mark.parametrize("value", [32_767, 20_000, 65_535])
    def test_stuck_numbers_in_the_body_are_said(self, value: int) -> None:
        values = head()
        stuck = INSIDE & (np.random.default_rng(1).random(SHAPE) < 0.02)
        window = window_of(volume(np.where(stuck, value, values)), "mri")
        assert window.limits[1] == value
        (notice,) = window.notices
        assert "of the range" in notice
        assert "hold almost no voxels" in notice
        assert "--range mri=" in notice
        assert window_of(volume(values), "mri").notices == ()

    def test_percentiles_of_tissue_whatever_the_field_of_view(self) -> None:
        values = head().astype(np.float32)
        wide = np.pad(values, ((2, 2), (60, 60), (60, 60)))
        window, wider = (window_of(volume(one), "mri") for one in (values, wide))
        expected = np.percentile(values[INSIDE], (0.5, 99.5))
        np.testing.assert_allclose(window.limits, expected)
        np.testing.assert_allclose(wider.limits, expected)
        assert window.sentence == (
            f"MRI percentiles 0.5 to 99.5 within the body: {expected[0]:.6g} to {expected[1]:.6g}"
        )

    def test_one_bright_voxel_does_not_matter(self) -> None:
        values = head().astype(np.float32)
        before = window_of(volume(values), "mri").limits
        values[10, 20, 2:5] = 1e6
        after = window_of(volume(values), "mri").limits
        np.testing.assert_allclose(after, before, rtol=0.02)

    def test_no_data_does_not_matter(self) -> None:
        values = head().astype(np.float32)
        before = window_of(volume(values), "mri").limits
        padded, broken = values.copy(), values.copy()
        padded[:2], broken[:2] = -2000, np.nan
        for image in (volume(padded, nodata=-2000), volume(broken)):
            np.testing.assert_allclose(window_of(image, "mri").limits, before, rtol=1e-6)
        valid = np.ones(SHAPE, bool)
        valid[:2] = False
        masked = volume(padded, valid=valid)
        np.testing.assert_allclose(window_of(masked, "mri").limits, before, rtol=1e-6)

    def test_large_volumes_are_sampled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = head().astype(np.float32)
        whole = window_of(volume(values), "mri").limits
        monkeypatch.setattr(windows, "SAMPLES", 5000)
        np.testing.assert_allclose(window_of(volume(values), "mri").limits, whole, rtol=0.1)

    @pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
    def test_constant_volumes(self, kind: type[np.generic]) -> None:
        window = window_of(volume(np.full(SHAPE, 7, kind)), "mri")
        assert window.limits == (7, 7)
        assert window.notices == (
            "almost all voxels are equal: stretched from the lowest to the highest value",
        )

    def test_nothing_at_all(self) -> None:
        window = window_of(volume(np.full(SHAPE, np.nan, np.float32)), "mri")
        assert window.limits == (0, 0)

    def test_window_in_stored_numbers(self) -> None:
        window = window_of(volume(head()), "mri", "600,400")
        assert window.limits == (100, 700)
        assert window.sentence == "MRI window 600,400: 100 to 700"


class TestEmission:
    def test_suv(self) -> None:
        window = window_of(volume(head() / 100, "SUVbw"), "pet")
        assert window.limits == (0, 10)
        assert window.sentence == "PET window: 0 to 10 SUVbw"
        assert window_of(volume(head() / 100, "SUVbw"), "pet", "auto").limits[1] < 9.1

    @pytest.mark.parametrize("modality", ["pet", "spect"])
    def test_other_units_from_zero_to_a_percentile_of_the_body(self, modality: str) -> None:
        values = head()
        values[10, 20, 15:18] = 50_000  # the bladder
        window = window_of(volume(values.astype(np.float32), "counts"), modality)
        low, high = window.limits
        assert low == 0
        assert 850 < high < 1000
        assert window.sentence.startswith(
            f"{modality.upper()} 0 to percentile 99.5 within the body: 0 to 89"
        )
        assert window.sentence.endswith(" counts")

    def test_colours_stay(self) -> None:
        image = Image(np.zeros((2, 3, 4, 3), np.uint8), Grid((2, 3, 4), np.eye(4)))
        assert window_of(image, "pet").limits == (0, 255)


class TestBody:
    def test_a_ball_with_a_hole(self) -> None:
        np.testing.assert_array_equal(body_mask(head()), INSIDE)

    def test_dark_tissue_beside_bright(self) -> None:
        """Fat, muscle and tumour of T1: Otsu would take the fat alone for the body."""
        values = head()
        values[INSIDE & (np.indices(SHAPE)[2] < 22)] *= 0.2
        np.testing.assert_array_equal(body_mask(values), INSIDE)

    def test_air_and_tissue_of_ct(self) -> None:
        values = np.random.default_rng(0).normal(-1000, 30, SHAPE)
        values[INSIDE], values[CORE] = -80, -900
        np.testing.assert_array_equal(body_mask(values, modality="ct"), INSIDE)

    def test_the_largest_piece(self) -> None:
        values = head()
        values[:, 2:5, 2:5] = 800  # a marker beside the head
        np.testing.assert_array_equal(body_mask(values), INSIDE)

    def test_nothing_that_stands_out(self) -> None:
        assert body_mask(np.zeros(SHAPE)).all()
        lonely = np.zeros(SHAPE)
        lonely[3, 3, 3] = 1
        assert body_mask(lonely).all()

    def test_otsu_as_scikit_image(self) -> None:
        filters = pytest.importorskip("skimage.filters")
        for seed in range(3):
            values = head(seed=seed)
            step = np.ptp(values) / 256
            assert math.isclose(otsu(values), filters.threshold_otsu(values), abs_tol=1.01 * step)
