"""The oracle is tests/fixtures/crops.npz: OSTrack's own crops, boxes and masks."""

import pathlib

import numpy as np
import pytest

import detweights
from data_pipeline import crop
from data_pipeline.crop import CropGeometry

CROPS = np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "crops.npz")
IMAGES = {
    "S": detweights.smooth_image("crop/S", 240, 320, cells=(64, 32, 16)),
    "N": detweights.noise_image("crop/N", 150, 200),
    "T": detweights.smooth_image("crop/T", 200, 300, cells=(32, 16, 8, 4)),
}
CASES = [str(name) for name in CROPS["names"]]
FLOAT32_PX = 1e-4  # the reference computes boxes in float32: its rounding error at 300 px


def unpacked(name, shape):
    return np.unpackbits(CROPS[name])[: np.prod(shape)].reshape(shape).astype(bool)


def case_geometry(name):
    case = CASES.index(name)
    geometry = CropGeometry.from_box(
        CROPS["boxes"][case], CROPS["factor"][case], int(CROPS["output_sz"][case])
    )
    return case, geometry, IMAGES[str(CROPS["image"][case])]


@pytest.mark.parametrize("letter", IMAGES)
def test_the_images_are_those_of_the_fixture(letter):
    assert detweights.digest(IMAGES[letter]) == CROPS[f"image_{letter}_digest"]


@pytest.mark.parametrize("name", CASES)
def test_crop_equals_the_reference_byte_for_byte(name):
    case, geometry, image = case_geometry(name)
    assert geometry.side == CROPS["crop_sz"][case]
    assert [geometry.x1, geometry.y1] == CROPS["x1y1"][case].tolist()
    assert geometry.scale == CROPS["resize_factor"][case]
    np.testing.assert_array_equal(geometry.crop_image(image), CROPS[f"crop_{name}"])


@pytest.mark.parametrize("name", CASES)
def test_padding_mask_equals_the_reference(name):
    _, geometry, image = case_geometry(name)
    mask = geometry.padding_mask(*image.shape[:2])
    np.testing.assert_array_equal(mask, unpacked(f"att_{name}", mask.shape))


def test_crop_does_not_write_to_the_frame_nor_share_its_memory():
    image = IMAGES["T"].copy()
    cut = CropGeometry.from_box((118, 68, 64, 64), 2, 128).crop_image(image)  # side 128: no resize
    cut[:] = 0
    np.testing.assert_array_equal(image, IMAGES["T"])


def test_jittered_crops_their_boxes_and_masks_equal_the_reference():
    for row, image in enumerate((IMAGES["S"], IMAGES["T"])):
        geometry = CropGeometry.from_box(CROPS["jcc_extract"][row], 4, 128)
        np.testing.assert_array_equal(geometry.crop_image(image), CROPS["jcc_crops"][row])
        mask = unpacked("jcc_att", (2, 128, 128))[row]
        np.testing.assert_array_equal(geometry.padding_mask(*image.shape[:2]), mask)
        cx, cy, w, h = geometry.frame_to_crop(CROPS["jcc_gt"][row])
        expected_xywh = CROPS["jcc_boxes"][row]
        np.testing.assert_allclose([cx - w / 2, cy - h / 2, w, h], expected_xywh, atol=1e-6)


def test_frame_to_crop_equals_transform_image_to_crop():
    size = int(CROPS["titc_crop_sz"])
    for row, (x, y, w, h) in enumerate(CROPS["titc_extract"].astype(np.float64)):
        scale = CROPS["titc_resize_factor"][row]
        geometry = CropGeometry(0, 0, 1, size, scale, (x + w / 2, y + h / 2))
        cx, cy, w, h = geometry.frame_to_crop(CROPS["titc_box"][row])
        ours_xywh = np.array([cx - w / 2, cy - h / 2, w, h])
        np.testing.assert_allclose(ours_xywh * size, CROPS["titc_out"][row], atol=FLOAT32_PX)
        np.testing.assert_allclose(ours_xywh, CROPS["titc_out_normalized"][row], atol=1e-6)


@pytest.mark.parametrize("size", [256, 384])
def test_crop_to_frame_equals_map_box_back(size):
    for row, (x, y, w, h) in enumerate(CROPS["mbb_state"]):
        scale = CROPS["mbb_resize_factor"][row]
        geometry = CropGeometry(0, 0, 1, size, scale, (x + 0.5 * w, y + 0.5 * h))
        box_cxcywh = CROPS["mbb_pred"][row] * scale / size
        ours = geometry.crop_to_frame(box_cxcywh)
        np.testing.assert_allclose(ours, CROPS[f"mbb_out_{size}"][row], atol=1e-9)


def test_a_box_comes_back_from_the_crop_half_a_crop_pixel_to_the_upper_left():
    geometry = CropGeometry.from_box((50, 60, 30, 40), 4, 256)
    back = geometry.crop_to_frame(geometry.frame_to_crop(np.array([[55, 58, 20, 44.5]])))
    half = 0.5 / geometry.scale  # (size - 1) / 2 on the way in, size / 2 on the way back
    np.testing.assert_allclose(back, [[55 - half, 58 - half, 20, 44.5]], atol=1e-6)


@pytest.mark.parametrize("margin", [0, 10])
def test_clip_box_equals_the_reference(margin):
    height, width = CROPS["clip_HW"]
    ours = crop.clip_box_xywh(CROPS["clip_box"], height, width, margin)
    np.testing.assert_array_equal(ours, CROPS[f"clip_out_margin{margin}"])


@pytest.mark.parametrize(
    ("name", "center_jitter", "scale_jitter"),
    [
        ("256_search", 3, 0.25),
        ("384_search", 4.5, 0.5),
        ("256_template", 0, 0),
        ("384_template", 0, 0),
    ],
)
def test_jitter_equals_the_reference_for_the_same_draws(name, center_jitter, scale_jitter):
    ours = crop.jitter_box_xywh(
        CROPS["jitter_box"],
        CROPS["jitter_randn"],
        CROPS["jitter_rand"],
        center_jitter=center_jitter,
        scale_jitter=scale_jitter,
    )
    np.testing.assert_allclose(ours, CROPS[f"jitter_{name}"], atol=FLOAT32_PX)


def test_flips_equal_the_reference():
    ours = crop.flip_box_xywh(CROPS["flip_box_pixels"], int(CROPS["flip_image_width"]))
    np.testing.assert_allclose(ours, CROPS["flip_out_pixels"], atol=FLOAT32_PX)
    x, y, w, h = CROPS["flip_box_norm"].T.astype(np.float64)
    cx, cy, w, h = crop.flip_box_cxcywh(np.stack([x + w / 2, y + h / 2, w, h], axis=-1)).T
    expected = CROPS["flip_out_norm"].T
    np.testing.assert_allclose([cx - w / 2, cy - h / 2, w, h], expected, atol=1e-6)


@pytest.mark.parametrize("row", range(len(CROPS["fail_names"])))
def test_boxes_that_the_reference_crops_wrongly_are_refused_in_words(row):
    with pytest.raises(ValueError, match=r"positive width and height|shows nothing of a frame"):
        CropGeometry.from_box(CROPS["fail_boxes"][row], 2, 128).crop_image(IMAGES["T"])


def test_a_crop_that_shows_a_part_of_the_frame_is_served_though_its_box_lies_outside():
    geometry = CropGeometry.from_box((-22, 50, 20, 20), 4, 80)  # columns -52 to 28
    image = IMAGES["T"]
    cut = geometry.crop_image(image)
    assert geometry.side == 80
    assert not cut[:, :52].any()
    np.testing.assert_array_equal(cut[:, 52:], image[20:100, :28])


@pytest.mark.parametrize("box", [(1, 2, 3), "box", None, (1, 2, "x", 4), ((1, 2), (3, 4))])
def test_what_is_not_four_numbers_is_refused(box):
    with pytest.raises(ValueError, match="four numbers x, y, width, height"):
        crop.check_box_xywh(box)


@pytest.mark.parametrize("box", [(0, 0, np.inf, 5), (np.nan, 0, 5, 5), (0, 0, 5, 0), (0, 0, -1, 5)])
def test_boxes_without_a_finite_positive_area_are_refused(box):
    with pytest.raises(ValueError, match="finite numbers and a positive width"):
        crop.check_box_xywh(box)


@pytest.mark.parametrize("box", [(300, 0, 5, 5), (0, 200, 5, 5), (-5, 0, 5, 5), (0, -9, 5, 5)])
def test_boxes_beside_the_frame_are_refused_and_touching_is_not_overlap(box):
    with pytest.raises(ValueError, match="outside the frame of 300 x 200 px"):
        crop.check_box_xywh(box, 200, 300)


def test_a_box_too_large_to_crop_is_refused_before_memory_is_asked_for():
    with pytest.raises(ValueError, match=r"has a side of 4e\+09 px"):
        CropGeometry.from_box((-1e9, -1e9, 2e9, 2e9), 2, 128)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3)),
        np.zeros((0, 9, 3), np.uint8),
        None,
    ],
)
def test_frames_of_another_form_are_refused(frame):
    with pytest.raises(ValueError, match="a frame must be"):
        CropGeometry.from_box((1, 1, 5, 5), 2, 8).crop_image(frame)
