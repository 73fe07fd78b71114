"""OSTrack's numbers for grey and brightness; its rules for draws, by 20,000 of them.

Each statistical test rejects right draws with probability ALARM, all of them together with less
than 1 in 1,000; the seed is fixed.
"""

import pathlib

import numpy as np
import pytest
from scipy import stats

import detweights
from data_pipeline import augment, quality
from data_pipeline.augment import AugmentRule, CropDraw, CropRule
from data_pipeline.crop import CropGeometry
from data_pipeline.decoding import DecodedFrame
from data_pipeline.pairs import make_rng

CROPS = np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "crops.npz")
NOISE = detweights.noise_image("crop/N", 150, 200)[:64, :64]
OSTRACK = AugmentRule(gray=0.05, frame_flip=0.5, crop_flip=0.5, brightness_jitter=0.2)
SEARCH = CropRule(384, 5.0, 4.5, 0.5)
TEMPLATE = CropRule(192, 2.0, 0.0, 0.0)
ALARM = 1e-5
DRAWS = 20_000


@pytest.fixture(scope="module")
def draws():
    return [augment.draw_sample(make_rng(0, 0, i), OSTRACK, 2) for i in range(DRAWS)]


def assert_share(flags, probability):
    assert stats.binomtest(int(np.sum(flags)), len(flags), probability).pvalue > ALARM


def assert_independent(first, second):
    """Of pairs of bools, all four combinations as often as their shares say."""
    table = np.histogram2d(first, second, bins=(2, 2), range=((-0.5, 1.5),) * 2)[0]
    assert stats.chi2_contingency(table, correction=False).pvalue > ALARM


def test_gray_equals_the_reference():
    gray = augment.gray_image(NOISE)
    for channel in range(3):
        np.testing.assert_array_equal(gray[..., channel], CROPS["gray_N64"])
    assert gray.shape == NOISE.shape


def test_a_gray_frame_has_the_form_of_a_frame_and_turns_regions_gray():
    frame = augment.GrayFrame(DecodedFrame(NOISE))
    assert (frame.height, frame.width, frame.reduced) == (64, 64, False)
    region = frame.region(slice(3, 9), slice(5, 64))
    np.testing.assert_array_equal(region[..., 1], CROPS["gray_N64"][3:9, 5:64])


def test_brightness_equals_the_reference():
    ours = augment.brighten(NOISE, float(CROPS["bright_factor"])).transpose(2, 0, 1)[:, ::4, ::4]
    np.testing.assert_array_equal(ours, CROPS["bright_N64"])


def test_gray_and_joint_flip_have_their_shares(draws):
    assert_share([draw.gray for draw in draws], 0.05)
    assert_share([draw.flip for draw in draws], 0.5)
    assert_independent([draw.gray for draw in draws], [draw.flip for draw in draws])


def test_every_crop_is_flipped_on_its_own(draws):
    flips = [
        [draw.flip for draw in draws],
        [draw.template.flip for draw in draws],
        [draw.search[0].flip for draw in draws],
        [draw.search[1].flip for draw in draws],
    ]
    for place, flip in enumerate(flips):
        assert_share(flip, 0.5)
        for other in flips[:place]:
            assert_independent(flip, other)


def test_every_crop_has_a_brightness_of_its_own(draws):
    numbers = [
        [draw.template.brightness for draw in draws],
        [draw.search[0].brightness for draw in draws],
        [draw.search[1].brightness for draw in draws],
    ]
    for place, brightness in enumerate(numbers):
        assert stats.kstest(brightness, "uniform", args=(0.8, 0.4)).pvalue > ALARM
        for other in numbers[:place]:
            assert stats.pearsonr(brightness, other).pvalue > ALARM


def test_search_crops_are_jittered_as_the_rule_says(draws):
    """Read off the target's place in the crop, which is what the network learns from."""
    box_xywh = np.array([3000.0, 2000.0, 1600.0, 900.0])
    root = 1200.0
    seen = []
    for draw in draws:
        box, geometry = augment.jittered_geometry(
            box_xywh, 8000, SEARCH, draw.search[0], flip=False
        )
        cx, cy, w, h = geometry.frame_to_crop(box)
        half = (SEARCH.size - 1) / 2 / SEARCH.size
        seen.append((root * 5 / geometry.side, (cx - half) * 5, (cy - half) * 5, w / h))
    area, shift_x, shift_y, aspect = np.array(seen).T
    # sqrt(w'h') = sqrt(wh) exp(sigma (n1 + n2) / 2) and crop side = 5 sqrt(w'h').
    assert stats.kstest(-np.log(area), "norm", args=(0, 0.5 / np.sqrt(2))).pvalue > ALARM
    for shift in (shift_x, shift_y):
        assert stats.kstest(shift, "uniform", args=(-2.25, 4.5)).pvalue > ALARM
    assert stats.pearsonr(shift_x, shift_y).pvalue > ALARM
    np.testing.assert_allclose(aspect, 1600 / 900)  # the true box, not the jittered one


def test_the_four_jitter_numbers_are_independent_and_of_their_kinds(draws):
    crops = [draw.search[1] for draw in draws]
    normals = np.array([crop.normals for crop in crops]).T
    uniforms = np.array([crop.uniforms for crop in crops]).T
    for row in normals:
        assert stats.kstest(row, "norm").pvalue > ALARM
    for row in uniforms:
        assert stats.kstest(row, "uniform").pvalue > ALARM
    rows = [*normals, *uniforms, [draw.search[0].normals[0] for draw in draws]]
    for place, row in enumerate(rows):
        for other in rows[:place]:
            assert stats.pearsonr(row, other).pvalue > ALARM


def test_the_template_is_cut_around_the_true_box(draws):
    box_xywh = np.array([100.25, 40.5, 31.0, 57.0])
    for draw in draws[:50]:
        _, geometry = augment.jittered_geometry(box_xywh, 640, TEMPLATE, draw.template, flip=False)
        true = CropGeometry.from_box(box_xywh, 2.0, 192)
        assert (geometry.x1, geometry.y1, geometry.side) == (true.x1, true.y1, true.side)
        np.testing.assert_allclose(geometry.center_xy, true.center_xy)


def test_validation_keeps_the_joint_draws_and_leaves_single_crops_alone():
    rule = OSTRACK.for_validation()
    draws = [augment.draw_sample(make_rng(0, 0, i), rule, 1) for i in range(DRAWS)]
    assert_share([draw.gray for draw in draws], 0.05)
    assert_share([draw.flip for draw in draws], 0.5)
    crops = [crop for draw in draws for crop in (draw.template, *draw.search)]
    assert {crop.flip for crop in crops} == {False}
    assert {crop.brightness for crop in crops} == {1.0}
    assert np.std([crop.normals[0] for crop in crops]) > 0.9  # jitter stays


def still_draw(uniforms=(0.5, 0.5), flip=False):
    return CropDraw(np.zeros(2), np.array(uniforms), 1.0, flip)


def test_the_joint_flip_moves_the_box_by_the_width_minus_one():
    box_xywh, geometry = augment.jittered_geometry(
        np.array([10.0, 20, 8, 6]), 100, TEMPLATE, still_draw(), flip=True
    )
    np.testing.assert_array_equal(box_xywh, [100 - 1 - 10 - 8, 20, 8, 6])
    assert geometry.center_xy == (85, 23)


def test_a_crop_whose_every_token_begins_in_padding_is_refused():
    """Frame of 40 x 40 px; crops of 64 px at size 64, so that a px is a px; tokens of 16."""

    def check(x1, y1, flip=False):
        augment.check_crop(CropGeometry(x1, y1, 64, 64, 1.0, (0, 0)), 40, 40, 16, flip=flip)

    check(-48, 0)  # column 48, the last token's first, is the frame's column 0
    with pytest.raises(ValueError, match="shows less than one token of a frame of 40 x 40 px"):
        check(-49, 0)
    check(-49, 0, flip=True)  # now the frame is in columns 0 to 14
    check(24, 0)  # the frame is in columns 0 to 14, its last column is never shown
    with pytest.raises(ValueError, match="less than one token"):
        check(24, 0, flip=True)  # in columns 49 to 63
    check(23, 0, flip=True)
    check(0, -48)
    check(38, 0)
    with pytest.raises(ValueError, match="shows nothing of a frame"):
        check(39, 0)


@pytest.mark.parametrize(
    "numbers", [(-0.1, 0.5, 0.5, 0.2), (0.05, 1.5, 0.5, 0.2), (0.05, 0.5, float("nan"), 0.2)]
)
def test_impossible_probabilities_are_refused(numbers):
    with pytest.raises(ValueError, match=r"probabilities of config\.data must be in \[0, 1\]"):
        AugmentRule(*numbers)


def test_an_impossible_brightness_is_refused():
    with pytest.raises(ValueError, match="brightness_jitter must be in"):
        AugmentRule(0.05, 0.5, 0.5, 1.2)


def test_colours_are_mapped_as_saturation_contrast_and_channels_say():
    rule = AugmentRule(0, 0, 0, 0, color_jitter=0.4)
    draws = [augment.draw_sample(make_rng(0, 0, i), rule, 1).template for i in range(2_000)]
    gray = np.full((1, 1, 3), 0.5, np.float32)
    gains = np.array([augment.recolor(gray, draw.color)[0, 0] * 2 for draw in draws])
    assert gains.min() >= 0.8 - 1e-6  # middle grey keeps its contrast: the channels' factors alone
    assert gains.max() > 0.99  # clipped at 1
    assert stats.kstest(draws_of_low(gains), stats.uniform(0.8, 0.2).cdf).pvalue > ALARM
    contrasts = []
    for draw in draws:
        matrix = draw.color[:, :3].astype(np.float64)
        row_sums = matrix.sum(axis=1)  # channel factor times contrast
        channels = row_sums + 2 * draw.color[:, 3]
        contrasts.append((row_sums / channels)[0])
        assert np.ptp(row_sums / channels) < 1e-5
    assert stats.kstest(contrasts, stats.uniform(0.6, 0.8).cdf).pvalue > ALARM


def draws_of_low(gains):
    """The channel factors below 1, which clipping leaves alone."""
    return gains[gains < 1 - 1e-6]


def test_a_grey_picture_without_saturation_stays_grey_under_any_saturation():
    color = np.float32([[0.299, 0.587, 0.114, 0]] * 3)
    pixel = np.float32([[[0.2, 0.4, 0.8]]])
    expected = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8
    np.testing.assert_allclose(augment.recolor(pixel, color), np.full((1, 1, 3), expected), 1e-6)


def test_colours_and_warps_are_drawn_after_ostracks_numbers():
    """So switching them on changes no other draw of the first crop, and validation has neither."""
    more = AugmentRule(0.05, 0.5, 0.5, 0.2, color_jitter=0.3, still_turn=10, still_bend=0.1)
    one, other = (augment.draw_sample(make_rng(3, 0, 0), rule, 1) for rule in (OSTRACK, more))
    assert (one.gray, one.flip, one.template.flip) == (other.gray, other.flip, other.template.flip)
    np.testing.assert_array_equal(one.template.normals, other.template.normals)
    assert one.template.color is None
    assert one.template.warp is None
    assert 0 < abs(other.search[0].warp.degrees) <= 10
    assert other.search[0].warp.stretch == (1, 1)
    assert (other.search[0].warp.waves[:, 0] > 0).all()
    assert (other.search[0].warp.waves[:, 0] <= 0.1).all()
    plain = augment.draw_sample(make_rng(3, 0, 0), more.for_validation(), 1)
    assert plain.template.color is None
    assert plain.template.warp is None


def test_impossible_colour_jitter_is_refused():
    with pytest.raises(ValueError, match=r"config\.data\.color_jitter must be in \[0, 1\]"):
        AugmentRule(0, 0, 0, 0, color_jitter=1.5)


def test_quality_is_lost_with_the_given_probability_and_not_in_validation():
    rule = AugmentRule(0, 0, 0, 0, degrade=0.3)
    draws = [augment.draw_sample(make_rng(0, 0, i), rule, 1) for i in range(2_000)]
    lost = [crop.loss for draw in draws for crop in (draw.template, *draw.search)]
    share = np.mean([loss is not None for loss in lost])
    assert stats.binomtest(round(share * 4_000), 4_000, 0.3).pvalue > ALARM
    assert {loss.kind for loss in lost if loss} == set(quality.KINDS)
    plain = augment.draw_sample(make_rng(0, 0, 0), rule.for_validation(), 1)
    assert plain.template.loss is None
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        AugmentRule(0, 0, 0, 0, degrade=1.5)
