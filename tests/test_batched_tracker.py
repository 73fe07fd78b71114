"""Many sequences at once; the oracle is the tracker of one target."""

import dataclasses
import threading
import time

import jax
import numpy as np
import pytest

import detweights
from data_pipeline.decoding import DecodedFrame
from data_pipeline.sequences import FrameError
from esat_jax.batched_step import BatchedStep
from esat_jax.batched_tracker import BatchedTracker
from esat_jax.sharding import make_mesh
from esat_jax.tracker import Tracker
from tiny_tracker import make_steady

SLEEP = 0.02  # seconds to open a slow frame
COMPILATION = "/jax/core/compile/backend_compile_duration"


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """Textures of the given sizes; `faults` are raised instead of frames."""

    name: str
    sizes: list
    box_xywh: tuple = (30.25, 25.4, 24.5, 18.6)
    faults: dict = dataclasses.field(default_factory=dict)

    def __len__(self):
        return len(self.sizes)

    @property
    def boxes_xywh(self):
        boxes_xywh = np.full((len(self), 4), np.nan)
        boxes_xywh[0] = self.box_xywh
        return boxes_xywh

    def read_frame(self, i):
        return detweights.smooth_image(f"{self.name}{i}", *self.sizes[i], cells=(16, 8))

    def open_frame(self, i):
        if i in self.faults:
            raise self.faults[i]
        return DecodedFrame(self.read_frame(i))


class SlowSequence(Sequence):
    def open_frame(self, i):
        time.sleep(SLEEP)
        return super().open_frame(i)


def make_sequences():
    """Ragged: more than there are slots, frames that change their size, and a single frame."""
    usual, small = (96, 128), (70, 60)
    lengths = [9, 7, 7, 6, 4, 2, 2, 1]
    sequences = [Sequence(f"s{n}", [usual] * length) for n, length in enumerate(lengths)]
    sequences[3] = Sequence("s3", [usual, usual, small, small, usual, (300, 200)], (90, 60, 20, 30))
    sequences[4] = Sequence("s4", [small] * 4, (5, 5, 40, 33))
    return sequences


def expected(tracker, sequence):
    """Boxes [F, 4] and scores [F - 1] of one sequence alone."""
    tracker.initialize(sequence.read_frame(0), sequence.box_xywh)
    found = [tracker.update(sequence.read_frame(i)) for i in range(1, len(sequence))]
    boxes_xywh = np.stack([np.float64(sequence.box_xywh), *(p.box_xywh for p in found)])
    return boxes_xywh, [p.score for p in found], [False, *(p.lost for p in found)]


def assert_equal_to_sequential(tracks, sequences, tracker):
    assert sorted(tracks) == sorted(sequence.name for sequence in sequences)
    for sequence in sequences:
        track = tracks[sequence.name]
        boxes_xywh, scores, lost = expected(tracker, sequence)
        assert track.error is None
        np.testing.assert_allclose(track.boxes_xywh, boxes_xywh, rtol=0, atol=1e-3)
        np.testing.assert_allclose(track.scores[1:], scores, rtol=0, atol=1e-5)
        assert np.isnan(track.scores[0])
        assert track.lost.tolist() == lost


def track_all(tracker, sequences, **options):
    return {track.sequence.name: track for track in tracker.track(sequences, **options)}


@pytest.fixture(scope="module")
def steady():
    config, variables = make_steady(**{"tracker.lost_threshold": 0.545})  # some frames are lost
    return config.to_dict(), variables


@pytest.fixture(scope="module")
def single(steady):
    return Tracker(*steady)


@pytest.fixture(scope="module")
def step(steady):
    return BatchedStep(*steady, 2, make_mesh(jax.devices()[:1]))


def test_boxes_equal_those_of_one_at_a_time_after_one_compilation(steady, single):
    compilations = []

    def listen(event, seconds, **_):
        compilations.append(seconds) if event == COMPILATION else None

    sequences, counts = make_sequences(), []
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        step = BatchedStep(*steady, 2, make_mesh(jax.devices()[:1]))
        tracks = track_all(BatchedTracker(step, workers=3), sequences, on_frames=counts.append)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(compilations) == 1
    assert step.compile_seconds >= compilations[0]
    assert_equal_to_sequential(tracks, sequences, single)
    assert sum(counts) == sum(len(sequence) - 1 for sequence in sequences)
    assert max(counts) == 2


@pytest.mark.parametrize("groups", [1, 3])
def test_the_number_of_groups_changes_no_box(step, single, groups):
    sequences = make_sequences()
    tracks = track_all(BatchedTracker(step, groups=groups, workers=1), sequences)
    assert_equal_to_sequential(tracks, sequences, single)


def test_the_boxes_move_and_differ(step):
    """Else the other tests would show nothing."""
    tracks = track_all(BatchedTracker(step), make_sequences()[:3])
    moved = [np.ptp(track.boxes_xywh, axis=0).min() for track in tracks.values()]
    assert min(moved) > 0.5
    assert 0.2 < np.concatenate([track.lost[1:] for track in tracks.values()]).mean() < 0.8
    sides = np.concatenate([track.boxes_xywh[1:, 2:] for track in tracks.values()])
    assert (sides > 10).mean() > 0.6


@pytest.mark.slow
def test_a_batch_split_over_devices_gives_the_same_boxes(steady, single):
    step = BatchedStep(*steady, 4, make_mesh(jax.devices()[:4]))
    sequences = make_sequences()
    tracks = track_all(BatchedTracker(step), sequences)
    assert_equal_to_sequential(tracks, sequences, single)


@pytest.mark.slow
def test_each_slot_has_the_box_of_its_template():
    config, variables = make_steady(**{"ce.template_range": "GT_BOX"})
    config = config.to_dict()
    sequences = make_sequences()
    step = BatchedStep(config, variables, 2, make_mesh(jax.devices()[:1]))
    tracks = track_all(BatchedTracker(step), sequences)
    assert_equal_to_sequential(tracks, sequences, Tracker(config, variables))


def test_what_fails_is_told_and_the_others_go_on(step, single):
    good = make_sequences()
    sizes = [(96, 128)] * 5
    faulty = [
        Sequence("first", sizes, faults={0: FrameError("0.jpg: the file is missing")}),
        Sequence("middle", sizes, faults={3: OSError(5, "Input/output error")}),
        Sequence("last", sizes, faults={4: FrameError("4.jpg: cut short")}),
        Sequence("outside", sizes, box_xywh=(500, 0, 9, 9)),
        Sequence("absent", sizes, box_xywh=(np.nan,) * 4),
        Sequence("shrinking", [(96, 128), (10, 128)]),
    ]
    words = ["is missing", "Input/output", "cut short", "outside the frame", "finite", "larger"]
    sequences = [one for pair in zip(faulty, good, strict=False) for one in pair] + good[6:]
    tracks = track_all(BatchedTracker(step), sequences)
    for sequence, word in zip(faulty, words, strict=True):
        assert word in str(tracks.pop(sequence.name).error)
    assert_equal_to_sequential(tracks, good, single)


def test_weights_that_are_not_finite_end_every_sequence(steady):
    config, variables = steady
    broken = jax.tree.map(lambda x: x * np.nan, variables)
    step = BatchedStep(config, broken, 2, make_mesh(jax.devices()[:1]))
    tracks = track_all(BatchedTracker(step), make_sequences()[:5])
    errors = [str(track.error) for track in tracks.values()]
    assert len(errors) == 5
    assert all("not finite: the weights are damaged" in error for error in errors)
    assert all(error.startswith("frame 1 (from 0): ") for error in errors)


def test_the_shares_of_time_sum_to_the_time_that_tracking_took(step):
    slow = [SlowSequence(f"slow{n}", [(96, 128)] * 12) for n in range(4)]
    start = time.perf_counter()
    tracks = track_all(BatchedTracker(step, workers=2), slow)
    total = time.perf_counter() - start
    seconds = np.concatenate([track.seconds for track in tracks.values()])
    assert seconds.sum() == pytest.approx(total, rel=0.15)
    assert np.mean(1 / seconds) == pytest.approx(1 / seconds.mean(), rel=0.1)
    assert all((track.seconds > 0).all() for track in tracks.values())


def test_leaving_early_ends_the_threads(step):
    tracks = BatchedTracker(step).track(make_sequences())
    next(tracks)
    assert any(thread.name.startswith("decode") for thread in threading.enumerate())
    tracks.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("decode", "crop"))]


def test_a_fault_of_the_program_is_raised(step):
    sequence = Sequence("broken", [(96, 128)] * 3, faults={1: TypeError("unsupported operand")})
    with pytest.raises(TypeError, match="unsupported operand"):
        track_all(BatchedTracker(step), [sequence])
    assert not [t for t in threading.enumerate() if t.name.startswith(("decode", "crop"))]


def test_no_sequences_are_no_work(step):
    assert track_all(BatchedTracker(step), []) == {}


@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
def test_a_batch_that_does_not_divide_is_refused(steady):
    with pytest.raises(ValueError, match="a batch of 6 targets does not divide among 4 devices"):
        BatchedStep(*steady, 6, make_mesh(jax.devices()[:4]))
