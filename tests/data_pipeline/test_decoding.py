"""The oracle is OpenCV decoding the whole file at once."""

import struct

import cv2
import numpy as np
import pytest

import detweights
from data_pipeline.crop import CropGeometry
from data_pipeline.decoding import (
    DecodedFrame,
    JpegFrame,
    decode_image,
    is_cut_short,
    read_jpeg_header,
)

IMAGE = detweights.smooth_image("decoding", 243, 322, cells=(64, 32, 16))  # odd sides on purpose


def jpeg(image=IMAGE, *options):
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92, *options])[1].tobytes()


def turned(data, orientation, order="<"):
    """The JPEG with a camera's note of this orientation."""
    mark = {"<": b"II", ">": b"MM"}[order]
    tiff = mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize(
    ("factor", "sampling"),
    [
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, (2, 2)),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, (1, 2)),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, (1, 1)),
    ],
)
def test_the_header_tells_size_and_sampling(factor, sampling):
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    header = read_jpeg_header(jpeg(IMAGE, *options))
    assert (header.height, header.width) == (243, 322)
    assert header.sampling == sampling
    assert header.upright


@pytest.mark.parametrize("option", [cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_OPTIMIZE])
def test_other_kinds_of_jpeg_have_headers_too(option):
    header = read_jpeg_header(jpeg(IMAGE, option, 1))
    assert (header.height, header.width) == (243, 322)


def test_a_gray_jpeg_has_no_chroma():
    data = cv2.imencode(".jpg", IMAGE[..., 0])[1].tobytes()
    assert read_jpeg_header(data).sampling == (1, 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_that_a_camera_turned_are_decoded_whole_and_turned(orientation, order):
    data = turned(jpeg(), orientation, order)
    assert read_jpeg_header(data).upright == (orientation == 1)
    frame = JpegFrame(data)
    expected = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )
    assert (frame.height, frame.width) == expected.shape[:2]
    assert expected.shape[:2] == ((322, 243) if orientation >= 5 else (243, 322))
    region = frame.region(slice(3, 200), slice(0, 190))
    np.testing.assert_array_equal(region, expected[3:200, :190])


@pytest.mark.parametrize("end", [0, 1, 2, 3, 20, 200])
def test_a_header_cut_short_is_said_so(end):
    with pytest.raises(ValueError, match=r"no JPEG|ends inside its header"):
        read_jpeg_header(jpeg()[:end])


def test_a_damaged_header_is_said_so():
    data = bytearray(jpeg())
    data[2] = 0
    with pytest.raises(ValueError, match="damaged at byte 2"):
        read_jpeg_header(bytes(data))


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_decoding_at_a_fraction_gives_opencvs_pixels_as_rgb(shrink):
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[shrink]
    data = jpeg()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), flag)[..., ::-1]
    assert expected.shape[:2] == (-(-243 // shrink), -(-322 // shrink))
    np.testing.assert_array_equal(decode_image(data, shrink), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_file_cut_short_is_refused_and_never_filled_up(suffix, share):
    data = cv2.imencode(suffix, IMAGE)[1].tobytes()
    assert not is_cut_short(data)
    with pytest.raises(ValueError, match=r"cut short|no image|refuses"):
        decode_image(data[: int(share * len(data))])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("reduced", [False, True])
def test_crops_of_a_frame_are_those_of_its_pixels(mirrored, reduced):
    data = jpeg()
    whole = decode_image(data)
    frame = JpegFrame(data) if reduced else DecodedFrame(whole)
    rng = np.random.default_rng(0)
    for _ in range(50):  # enlarged crops: nothing may be decoded smaller
        x, y, w, h = rng.uniform((-10, -10, 3, 3), (300, 220, 40, 40))
        geometry = CropGeometry.from_box((x, y, w, h), 2, 128)
        expected = geometry.crop_image(whole[:, ::-1] if mirrored else whole)
        np.testing.assert_array_equal(geometry.crop_frame(frame, mirrored=mirrored), expected)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("box", "size"), [((90, 70, 60, 50), 64), ((-8, 150, 90, 90), 32)])
def test_crops_decoded_smaller_lie_where_exact_ones_do(mirrored, box, size):
    # Smooth pictures do not alias: there the two must agree, and a shift of one crop pixel shows.
    smooth = cv2.GaussianBlur(IMAGE, None, 10)
    frame = JpegFrame(jpeg(smooth))
    whole = decode_image(jpeg(smooth))
    geometry = CropGeometry.from_box(box, 4, size)
    exact = geometry.crop_image(whole[:, ::-1] if mirrored else whole).astype(int)
    small = geometry.crop_frame(frame, mirrored=mirrored).astype(int)
    inside = ~geometry.padding_mask(243, 322)
    inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    errors = [np.abs(np.roll(small, by, axis=1) - exact)[inside].mean() for by in (-1, 0, 1)]
    assert errors[1] < 1.5
    assert errors[1] < 0.4 * min(errors[0], errors[2])


def test_decoded_pixels_are_averaged_where_a_smaller_picture_is_wanted():
    part = DecodedFrame(IMAGE).region(slice(5, 243), slice(9, 21), 4)  # 4 to 243, 8 to 24
    assert part.shape == (60, 4, 3)
    np.testing.assert_allclose(part[0, 0], IMAGE[4:8, 8:12].mean(axis=(0, 1)), atol=0.51)
    last = np.concatenate([IMAGE[240:243, 20:24], IMAGE[242:243, 20:24]])  # there is no row 243
    np.testing.assert_allclose(part[-1, -1], last.mean(axis=(0, 1)), atol=0.51)


def test_a_damaged_file_is_reported_in_the_callers_words():
    data = jpeg()
    with pytest.raises(OSError, match=r"frame 7: the JPEG ends inside its header"):
        JpegFrame(data[:30], lambda what: OSError(f"frame 7: {what}"))
    frame = JpegFrame(data[:-900], lambda what: OSError(f"frame 7: {what}"))
    with pytest.raises(OSError, match=r"frame 7: the image file is cut short"):
        frame.region(slice(0, 9), slice(0, 9), 2)
