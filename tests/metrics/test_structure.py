from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from skimage.metrics import structural_similarity as skimage_similarity

from fnetcli.metrics.structure import structural_similarity
from tests.metrics.images import Triple, scene, triples


@settings(deadline=None, max_examples=40)
@given(triples(7, 30))
def test_agrees_with_scikit_image(images: Triple) -> None:
    first, second, fused = (image.astype(np.float64) for image in images)
    expected = sum(
        skimage_similarity(fused, source, win_size=7, data_range=2) for source in (first, second)
    )
    # Cancellation in scikit-image's running means limits the agreement where an image is flat.
    assert structural_similarity(*images) == pytest.approx(expected, abs=1e-8)


def test_inverted_detail_scores_below_zero() -> None:
    image = (scene(30, 30, 1) // 4 + 96).astype(np.uint8)
    assert structural_similarity(image, image, 255 - image) < 0


def test_six_pixels_are_too_few() -> None:
    image = scene(6, 30, 1)
    with pytest.raises(ValueError, match="SSIM: images are 30x6 pixels; it needs at least 7x7"):
        structural_similarity(image, image, image)
