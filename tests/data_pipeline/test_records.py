import numpy as np
import pytest

from data_pipeline.annotations import AnnotationFault
from data_pipeline.records import one_box_per_image


@pytest.mark.parametrize(
    ("names", "count", "sentence"),
    [
        (("1.jpg", "2.jpg", "4.jpg"), 4, "got 4; 3.jpg is missing."),
        (("a007.png", "a008.png", "a012.png"), 6, "got 6; a009.png and 2 more are missing."),
        (("0.jpg", "5.jpg", "10.jpg"), 4, "got 4; the last image is 10.jpg."),  # each fifth frame
        (("1.jpg", "2.jpg"), 3, "got 3; the last image is 2.jpg."),
        (("left.jpg", "right.jpg"), 3, "got 3; the last image is right.jpg."),
        (("1.jpg", "2.jpg", "3.jpg"), 1, "got 1; 2.jpg is the first image without one."),
        ((), 2, "got 2; there is no image."),
    ],
)
def test_the_missing_or_surplus_image_is_named(names, count, sentence):
    with pytest.raises(AnnotationFault) as caught:
        one_box_per_image(np.zeros((count, 4)), list(names), "my/dog/groundtruth.txt")
    message = str(caught.value)
    assert message.startswith("my/dog/groundtruth.txt: expected one box for each of the ")
    assert sentence in message


def test_as_many_boxes_as_images_are_taken_whatever_the_numbers():
    boxes_xywh = np.ones((2, 4))
    assert one_box_per_image(boxes_xywh, ["1.jpg", "9.jpg"], "gt.txt") is boxes_xywh
