"""The lost flag's threshold against every other one, and its rates against counts by hand."""

import numpy as np
import pytest

from esat_jax.evaluation.lost_flag import (
    ScoredFrames,
    choose_threshold,
    frame_kinds,
    rates,
    rates_lines,
)


def test_kinds_are_those_of_boxes_in_a_frame_of_100_px():
    truth = np.array(
        [
            [np.nan] * 4,
            [99, 50, 20, 10],  # 1/20 inside
            [95, 50, 20, 10],  # 1/4 inside
            [50, 50, 20, 10],  # in sight from here on
            [50, 50, 20, 10],
            [50, 50, 20, 10],
            [85, 50, 20, 10],  # 3/4 inside: 15 x 10 is compared
        ],
        np.float64,
    )
    boxes = np.array(
        [
            [50, 50, 20, 10],
            [99, 50, 20, 10],
            [95, 50, 20, 10],
            [10, 10, 20, 10],
            [60, 50, 20, 10],  # IoU 100 / 300
            [50, 50, 20, 6],  # 0.6
            [85, 50, 15, 10],
        ],
        np.float64,
    )
    kinds = frame_kinds(truth, boxes, 100, 100).tolist()
    assert kinds == ["absent", "absent", "partial", "drifted", "unclear", "found", "found"]


def test_the_threshold_has_the_highest_f1_of_all():
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(4):
        kinds = rng.choice(["absent", "drifted", "found", "unclear", "partial"], 50)
        lost = np.isin(kinds, ["absent", "drifted"])
        sequences.append(ScoredFrames(np.clip(rng.normal(0.7 - 0.3 * lost, 0.2), 0, 1), kinds))
    chosen = choose_threshold(sequences)

    def f1(threshold):
        hits = alarms = missed = 0
        for frames in sequences:
            for score, kind in zip(frames.scores, frames.kinds, strict=True):
                flagged = score < threshold
                hits += flagged and kind in ("absent", "drifted")
                alarms += flagged and kind == "found"
                missed += not flagged and kind in ("absent", "drifted")
        return 2 * hits / (2 * hits + alarms + missed)

    values = {round(t, 3): f1(t) for t in np.arange(1001) / 1000}
    best = max(values.values())
    assert f1(chosen) == best
    assert chosen == min(t for t, value in values.items() if value == best)
    assert 0.3 < chosen < 0.8


def test_rates_are_counts():
    one = ScoredFrames(
        np.array([0.1, 0.2, 0.6, 0.1, 0.9, 0.3]),
        np.array(["absent", "drifted", "absent", "found", "found", "partial"]),
    )
    other = ScoredFrames(np.array([0.9, 0.1, 0.2]), np.array(["found", "absent", "unclear"]))
    table = rates([one, other], 0.5)
    assert table["lost"]["frames"] == 4
    assert table["lost"]["precision"][0] == pytest.approx(3 / 4)
    assert table["lost"]["recall"][0] == pytest.approx(3 / 4)
    assert table["absent"]["recall"][0] == pytest.approx(2 / 3)
    assert table["drifted"]["precision"][0] == pytest.approx(1 / 2)
    assert table["found"]["flagged"][0] == pytest.approx(1 / 3)
    assert table["unclear"] == {"frames": 1, "flagged": (1.0, *table["unclear"]["flagged"][1:])}
    assert table["partial"] == {"frames": 1}
    assert "found          3  false alarms 33.3" in "\n".join(rates_lines(table))


def test_a_threshold_needs_frames_of_both_kinds():
    frames = ScoredFrames(np.array([0.5]), np.array(["found"]))
    with pytest.raises(ValueError, match="lost in 0 frames and found in 1"):
        choose_threshold([frames])
