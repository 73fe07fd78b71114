"""Speeds measured where they are known: reading a frame sleeps, and the network is tiny."""

import time

import jax
import numpy as np
import pytest

import detweights
from configs import esat_vit_b256
from data_pipeline.decoding import DecodedFrame
from esat_jax.batched_step import BatchedStep
from esat_jax.sharding import make_mesh
from esat_jax.tracker import Tracker, make_search_step
from esat_jax.tracking_speed import (
    PARTS,
    WARM_UP,
    make_pendulums,
    overlapped_speed,
    part_times,
    sequential_speed,
    steady_variables,
)

SLEEP = 0.03  # seconds to read a frame


class SlowVideo:
    name = "slow"

    def __init__(self, absent=(), num_frames=4):
        self.boxes_xywh = np.array([[60.0 + i, 40, 24, 24] for i in range(num_frames)])
        self.boxes_xywh[list(absent)] = np.nan
        self.image = detweights.smooth_image("speed", 100, 160, cells=(16, 8))
        self.read = []

    def __len__(self):
        return len(self.boxes_xywh)

    def read_frame(self, i):
        self.read.append(i)
        time.sleep(SLEEP)
        return self.image

    def open_frame(self, i):
        return DecodedFrame(self.read_frame(i))


@pytest.fixture(scope="module")
def config():
    return esat_vit_b256.get_config("smoke").to_dict()


@pytest.fixture(scope="module")
def step(config):
    return BatchedStep(config, steady_variables(config), 2, make_mesh(jax.devices()[:1]))


def test_a_pendulum_plays_forwards_and_backwards():
    video = SlowVideo(absent=(0,))
    (pendulum,) = make_pendulums([video], 1, 9)
    assert len(pendulum) == 9
    np.testing.assert_array_equal(pendulum.boxes_xywh, [[61, 40, 24, 24]])
    for i in range(9):
        pendulum.read_frame(i)
    assert video.read == [1, 2, 3, 2, 1, 0, 1, 2, 3]


def test_pendulums_begin_at_frames_with_a_box():
    videos = [SlowVideo(absent=(0, 2)), SlowVideo(absent=(3,))]
    boxes_xywh = np.concatenate([p.boxes_xywh for p in make_pendulums(videos, 7, 5)])
    assert (boxes_xywh[:, 2:] > 0).all()
    with pytest.raises(ValueError, match="slow has no box to begin with"):
        make_pendulums([SlowVideo(absent=range(4))], 1, 5)


def test_a_video_of_one_frame_stands_still():
    video = SlowVideo(num_frames=1)
    (pendulum,) = make_pendulums([video], 1, 4)
    for i in range(4):
        pendulum.open_frame(i)
    assert video.read == [0] * 4


@pytest.mark.parametrize("grid", [4, 5])
def test_steady_weights_find_the_box_in_the_middle_as_large_as_it_was(grid):
    config = esat_vit_b256.get_config("smoke")
    config.search.size = 16 * grid
    step = jax.jit(make_search_step(config.to_dict()))
    template = detweights.smooth_image("template", 32, 32, cells=(8, 4))[None]
    search = detweights.smooth_image("search", 16 * grid, 16 * grid, cells=(8, 4))[None]
    box_cxcywh, _ = step(steady_variables(config.to_dict()), template, search)
    np.testing.assert_allclose(box_cxcywh, [[0.5, 0.5, 0.25, 0.25]], atol=1e-6)


def test_parts_sum_to_the_whole(step):
    times = part_times(step, [SlowVideo()], 10, workers=2)
    assert 0.95 <= times["parts_over_whole"] <= 1
    means = [times[f"{part}_ms"]["mean"] for part in PARTS]
    assert sum(means) / times["whole_ms"]["mean"] == pytest.approx(times["parts_over_whole"], 1e-3)
    decode = times["decode_ms"]
    assert 1000 * SLEEP <= decode["p50"] <= decode["p95"]
    assert decode["p50"] < 2000 * SLEEP  # two at the same time
    per_second = 2 / (times["whole_ms"]["mean"] / 1000)
    assert times["frames_per_second"] == pytest.approx(per_second, 0.01)


def test_overlapped_tracking_hides_the_reading(step, config):
    tracker = Tracker(config, steady_variables(config))
    sequential = sequential_speed(tracker, [SlowVideo()], 15)
    assert sequential["whole_ms"]["p50"] >= 1000 * SLEEP * 0.9  # one thread reads; times waver
    assert sequential["frames_per_second"] < 1 / SLEEP * 1.1
    overlapped = overlapped_speed(step, [SlowVideo()], 20, workers=4, groups=2)
    assert overlapped["frames_per_second"] <= 4 / SLEEP * 1.1  # of four readers
    assert overlapped["frames_per_second"] > 1.5 * sequential["frames_per_second"]
    assert overlapped["step_ms"]["p50"] <= overlapped["step_ms"]["p95"]


def test_the_next_frame_is_read_while_one_target_is_searched_for(config):
    class Patient(Tracker):
        updates = 0

        def update(self, frame):
            self.updates += 1
            # Frame 0, those tracked before, this one, and the next.
            expected = min(self.updates + 2, WARM_UP + 11)
            deadline = time.monotonic() + 30
            while len(video.read) < expected and time.monotonic() < deadline:
                time.sleep(0.001)
            read_at_update.append(len(video.read))
            return super().update(frame)

    video, read_at_update = SlowVideo(), []
    sequential_speed(Patient(config, steady_variables(config)), [video], 10)
    assert read_at_update == [*range(3, WARM_UP + 12), WARM_UP + 11]


def test_a_target_that_cannot_be_followed_is_no_measurement(step):
    video = SlowVideo()
    video.boxes_xywh[:, 0] = 500
    with pytest.raises(ValueError, match="outside the frame"):
        overlapped_speed(step, [video], 10, workers=2, groups=2)
