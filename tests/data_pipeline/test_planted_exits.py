"""Targets that leave a panning window; the truth is a dot in the picture at the target's centre."""

import dataclasses

import numpy as np
import pytest

from data_pipeline.planted_exits import AWAY, LEAD, PAN_STEP, WindowedSequence, plan_exits

HEIGHT, WIDTH = 120, 200


@dataclasses.dataclass(frozen=True)
class Dots:
    """A black video with one white pixel in the middle of the box."""

    boxes_xywh: np.ndarray
    name: str = "dots"

    def read_frame(self, i):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        x, y, w, h = self.boxes_xywh[i]
        if np.isfinite(x):
            frame[int(y + h / 2), int(x + w / 2)] = 255
        return frame


def moving_boxes(frames=200, side=16.0):
    time = np.arange(frames)
    x = 90 + 40 * np.sin(time / 30)
    y = 50 + 20 * np.cos(time / 40)
    return np.stack([x, y, np.full(frames, side), np.full(frames, side * 0.75)], axis=1)


def test_in_an_exit_nothing_of_the_target_is_seen_and_it_comes_back():
    boxes_xywh = moving_boxes()
    path = plan_exits(boxes_xywh, HEIGHT, WIDTH)
    view = WindowedSequence(Dots(boxes_xywh), path)
    assert len(path.exits) >= 2
    width, height = path.size
    outside = np.zeros(len(view), bool)
    for span in path.exits:
        assert len(span) == AWAY
        outside[span.start : span.stop] = True
    for i in range(len(view)):
        (x, y), frame = path.corners[i], view.read_frame(i)
        assert frame.shape == (height, width, 3)  # so the window is inside the frame
        bx, by, bw, bh = boxes_xywh[i]
        apart = bx + bw <= x or bx >= x + width or by + bh <= y or by >= y + height
        assert apart >= outside[i]
        dots = np.argwhere(frame[..., 0])
        assert len(dots) == 0 if outside[i] else True
        if len(dots):  # the box follows the window
            vx, vy, vw, vh = view.boxes_xywh[i]
            assert dots[0].tolist() == [int(by + bh / 2) - y, int(bx + bw / 2) - x]
            assert vx <= dots[0][1] <= vx + vw
            assert vy <= dots[0][0] <= vy + vh
    whole = [i for i in range(LEAD) if len(np.argwhere(view.read_frame(i)[..., 0]))]
    assert whole == list(range(LEAD))  # a tracker has a start
    after = path.exits[0].stop + (path.exits[0].start - LEAD)  # the way back, as long as there
    assert np.argwhere(view.read_frame(after)[..., 0]).size


def test_the_window_pans_no_faster_than_a_camera():
    boxes_xywh = moving_boxes()
    path = plan_exits(boxes_xywh, HEIGHT, WIDTH)
    own = np.abs(np.diff(boxes_xywh[:, :2], axis=0)).max()  # of the target; pixels are rounded
    fastest = np.abs(np.diff(path.corners, axis=0)).max()
    assert 1 <= fastest <= PAN_STEP * np.sqrt(16 * 12) + 2 * own + 2


@pytest.mark.parametrize(
    "boxes_xywh",
    [np.tile([10.0, 10, 180, 100], (100, 1)), moving_boxes(frames=LEAD + AWAY)],
    ids=["too large", "too short"],
)
def test_without_room_or_time_there_is_no_exit(boxes_xywh):
    assert plan_exits(boxes_xywh, HEIGHT, WIDTH) is None


def test_an_absent_target_stays_absent():
    boxes_xywh = moving_boxes()
    boxes_xywh[100:110] = np.nan
    path = plan_exits(boxes_xywh, HEIGHT, WIDTH)
    view = WindowedSequence(Dots(boxes_xywh), path)
    assert np.isnan(view.boxes_xywh[100:110]).all()
    assert all(span.stop <= 100 or span.start >= 110 for span in path.exits)
