"""The oracle is OpenCV decoding the whole file at once."""

import cv2
import numpy as np
import pytest

import detweights
from data_pipeline.decoding import decode_image, read_jpeg_header
from data_pipeline.tiled_jpeg import (
    TiledJpeg,
    encode_tiled_jpeg,
    matching_quality,
    stored_quality,
)

NOISE = detweights.noise_image("tiles", 213, 320)
SMOOTH = detweights.smooth_image("tiles", 213, 320, cells=(64, 16, 4))


def random_spans(rng, length):
    start = int(rng.integers(0, length))
    return slice(start, int(rng.integers(start + 1, length + 1)))


@pytest.mark.parametrize("sampling", [(2, 2), (1, 2), (1, 1)])
@pytest.mark.parametrize("image", [NOISE, SMOOTH], ids=["noise", "smooth"])
def test_every_region_has_the_pixels_of_the_whole(image, sampling):
    tiled, rng = TiledJpeg(encode_tiled_jpeg(image, 90, sampling)), np.random.default_rng(0)
    whole = {shrink: decode_image(tiled.file, shrink) for shrink in (1, 2, 4, 8)}
    for _ in range(60):
        rows, columns = random_spans(rng, 213), random_spans(rng, 320)
        np.testing.assert_array_equal(tiled.region(rows, columns), whole[1][rows, columns])
        for shrink in (2, 4, 8):
            y, x = rows.start // shrink, columns.start // shrink
            last_y, last_x = -(-rows.stop // shrink), -(-columns.stop // shrink)
            part = tiled.region(rows, columns, shrink)
            np.testing.assert_array_equal(part, whole[shrink][y:last_y, x:last_x])


def test_the_corners_and_the_whole_are_served():
    tiled = TiledJpeg(encode_tiled_jpeg(SMOOTH, 90, (2, 2)))
    whole = decode_image(tiled.file)
    for rows in (slice(0, 1), slice(212, 213), slice(0, 213)):
        for columns in (slice(0, 1), slice(319, 320), slice(0, 320)):
            np.testing.assert_array_equal(tiled.region(rows, columns), whole[rows, columns])


def test_other_decoders_see_an_ordinary_jpeg():
    file = TiledJpeg(encode_tiled_jpeg(SMOOTH, 95, (2, 2))).file
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(image.astype(int) - SMOOTH).mean() < 2


@pytest.mark.parametrize(("quality", "most"), [(60, 0.1), (75, 0.1), (90, 0.3), (100, 0.6)])
def test_a_file_stored_at_its_own_quality_hardly_changes_nor_grows(quality, most):
    bgr = cv2.cvtColor(SMOOTH, cv2.COLOR_RGB2BGR)
    source = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    header = read_jpeg_header(source)
    assert stored_quality(header, 95) == (quality, (2, 2))
    stored = encode_tiled_jpeg(decode_image(source), *stored_quality(header, 95))
    error = np.abs(decode_image(TiledJpeg(stored).file).astype(int) - decode_image(source)).mean()
    assert error < most  # grey levels
    assert len(stored) < 1.15 * len(source)


def stored_tables(quality):
    return read_jpeg_header(TiledJpeg(encode_tiled_jpeg(SMOOTH, quality, (2, 2))).file).tables


def test_a_file_with_tables_of_its_own_is_stored_no_coarser():
    tables = stored_tables(80)
    finer = bytearray(tables[0])
    finer[1 + 37] //= 2
    quality = matching_quality((bytes(finer), *tables[1:]))
    stored = stored_tables(quality)
    assert quality > 80
    assert all(a <= b for a, b in zip(stored[0][1:], finer[1:], strict=True))


def test_pixels_that_were_never_quantised_get_the_given_quality_and_full_chroma():
    assert stored_quality(None, 93) == (93, (1, 1))


def test_widths_that_are_no_multiple_of_a_tile_are_refused():
    with pytest.raises(ValueError, match="multiple of 32, got 100"):
        encode_tiled_jpeg(SMOOTH[:, :100], 90, (2, 2))


def test_other_data_and_a_tiled_file_that_lost_its_end_are_refused():
    data = encode_tiled_jpeg(SMOOTH, 90, (2, 2))
    length = len(TiledJpeg(data).file)
    with pytest.raises(ValueError, match=f"{length - 9} bytes instead of {length}"):
        TiledJpeg(data[:-9])
    for other in (b"", bytes(99), data[:19], data[:300], b"\xff" * 400):
        with pytest.raises(ValueError, match=f"{len(other)} bytes are too few for the table"):
            TiledJpeg(other)
