"""What a worse picture must lose, and what it must keep."""

import numpy as np
import pytest

from data_pipeline import quality
from data_pipeline.quality import QualityLoss, degrade


@pytest.mark.parametrize("kind", quality.KINDS)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_worse_picture_loses_detail_and_keeps_its_place(kind, strength):
    """A bright disc on noise: its middle stays, the noise fades, the more the stronger."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:224, :224]
    disc = 120 * (((x - 100) ** 2 + (y - 130) ** 2) < 30**2)
    image = np.clip(40 + disc[..., None] + rng.normal(0, 12, (224, 224, 3)), 0, 255)
    image = image.astype(np.uint8)
    worse = degrade(image, QualityLoss(kind, strength, 0.7))
    assert (worse.shape, worse.dtype) == (image.shape, np.uint8)
    assert abs(float(worse.mean()) - float(image.mean())) < 2
    bright = np.argwhere(worse.mean(axis=2) > 100)
    np.testing.assert_allclose(bright.mean(axis=0), (130, 100), atol=1)
    corner, before = (part[:60, :60].astype(float).std() for part in (worse, image))
    assert corner < (0.95 if strength == 0 else 0.6) * before


def test_motion_blurs_along_its_way_only():
    image = np.zeros((101, 101, 3), np.uint8)
    image[50] = 255  # a horizontal line
    along = degrade(image, QualityLoss("motion", 1.0, 0.0))
    across = degrade(image, QualityLoss("motion", 1.0, np.pi / 2))
    np.testing.assert_array_equal(along[:, 20:80], image[:, 20:80])
    assert across[50, 50, 0] < 100


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="one of defocus, motion, size, jpeg, got 'rain'"):
        degrade(np.zeros((8, 8, 3), np.uint8), QualityLoss("rain", 0, 0))
