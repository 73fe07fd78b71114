import numpy as np
import pytest

from data_pipeline.annotations import (
    check_length,
    has_area,
    parse_boxes,
    parse_flags,
    read_boxes,
    read_flags,
)

NAN = [np.nan] * 4


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"1,2,3,4\n5,6,7,8\n", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (b"1\t2\t3\t4\r\n5\t6\t7\t8", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (b"  1 2   3 4 \n\n", [[1, 2, 3, 4]]),
        (b"1, 2,3 ,4,\n", [[1, 2, 3, 4]]),
        (b"\xef\xbb\xbf1.5,2e1,3,4", [[1.5, 20, 3, 4]]),
        (b"1,2,3,4\nNaN,NaN,NaN,NaN\nnan nan nan nan", [[1, 2, 3, 4], NAN, NAN]),
        (b"-1,2,0,-4", [[-1, 2, 0, -4]]),
    ],
)
def test_boxes_are_read_with_any_separator(tmp_path, data, expected):
    boxes_xywh = parse_boxes(data, "gt.txt")
    np.testing.assert_array_equal(boxes_xywh, np.array(expected, np.float64))
    assert boxes_xywh.dtype == np.float64
    (tmp_path / "gt.txt").write_bytes(data)
    np.testing.assert_array_equal(read_boxes(tmp_path / "gt.txt"), boxes_xywh)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1,2,3,4\n1;2;3;4\n", r"gt\.txt:2: expected four numbers 'x,y,w,h' .* got '1;2;3;4'"),
        (b"x,y,w,h\n1,2,3,4", r"gt\.txt:1: expected four numbers"),
        (b"1,2,3\n", r"gt\.txt:1: .* got '1,2,3'"),
        (b"1,2,3,4,5\n", r"gt\.txt:1: "),
        (b"1,2,,4\n", r"gt\.txt:1: "),
        (b"1,2,3,4\n\n5,6,7,8\n", r"gt\.txt:2: .* got ''"),
        (b"1 2,3 4,5,6\n", r"gt\.txt:1: "),
        (b"1,nan,3,4\n", r"gt\.txt:1: a box is four finite numbers, or four nan"),
        (b"1,2,3,4\n1,2,inf,4\n", r"gt\.txt:2: a box is four finite numbers"),
        (b"", r"gt\.txt: expected one box per frame, the file is empty"),
        (b" \n\n", r"gt\.txt: expected one box per frame, the file is empty"),
        (b"\xff\xd8\xff\xe0", r"gt\.txt: expected text, the file is binary or damaged"),
        (b"1" * 1000, r"gt\.txt:1: .* got '1{60} \.\.\.'"),
    ],
)
def test_a_wrong_box_is_named_with_its_line(data, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_boxes(data, "gt.txt")
    assert "skip_sequences" in str(error.value)


@pytest.mark.parametrize("data", [b"0,1,0", b"0\n1\n0\n", b"0 1 0\r\n", b"0,1,0,\n"])
def test_flags_are_read_in_one_line_or_many(tmp_path, data):
    (tmp_path / "flags.txt").write_bytes(data)
    np.testing.assert_array_equal(parse_flags(data, "flags.txt"), [0, 1, 0])
    np.testing.assert_array_equal(read_flags(tmp_path / "flags.txt"), [0, 1, 0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"0\nyes\n", r"flags:2: expected whole numbers, one per frame, got 'yes'"),
        (b"0.5", r"flags:1: expected whole numbers"),
        (b"\n", r"flags: expected one number per frame, the file is empty"),
    ],
)
def test_a_wrong_flag_is_named_with_its_line(data, message):
    with pytest.raises(ValueError, match=message):
        parse_flags(data, "flags")


def test_there_must_be_a_flag_for_each_box():
    with pytest.raises(ValueError, match=r"flags: expected 3 numbers, one per box, got 2"):
        check_length(np.zeros(2), np.zeros((3, 4)), "flags")


def test_a_box_has_an_area_if_both_sides_are_positive():
    sides = [(1, 1), (0, 1), (1, 0), (-1, 5), (-1, -1), (np.nan, np.nan), (0.1, 0.1)]
    boxes_xywh = np.array([(0, 0, w, h) for w, h in sides])
    np.testing.assert_array_equal(has_area(boxes_xywh), [1, 0, 0, 0, 0, 0, 1])
