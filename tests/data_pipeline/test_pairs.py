"""Draws against OSTrack's rules written out.

The statistical tests draw 20,000 times. Each rejects a right sampler with probability ALARM, so all
of them together with less than 1 in 1,000; seeds are fixed, so a run that passes always passes.
"""

import collections
import itertools

import numpy as np
import pytest
from scipy import stats

from data_pipeline.pairs import MIN_FRAMES, PairSampler, make_rng
from data_pipeline.skips import SkippedDraw
from fake_sequences import FakeDataset, still, stills, video, videos

ALARM = 1e-5
DRAWS = 20_000
HOLES = np.ones(70, bool)
HOLES[20:45] = False  # longer than the interval below: it has to grow
HOLES[[3, 50, 52]] = False
HOLES[62:] = False
SPARSE = np.isin(np.arange(100), np.cumsum([0, 7, 9, 12, 8, 13, 9, 10, 7, 11, 9]))


def draw_many(sampler, count=DRAWS, seed=0):
    return [sampler.draw(make_rng(seed, 0, index)) for index in range(count)]


def pair_probabilities(visible, max_interval, num_search):
    """P(template, one search frame), by following every way the sampler can take."""
    templates = [t for t in range(len(visible) - num_search) if visible[t]]
    probabilities, alive, grown = collections.Counter(), 1.0, 0
    while alive > 1e-12:
        failed = 0.0
        for t in templates:
            end = min(len(visible), t + max_interval + grown)
            search = [s for s in range(t + 1, end) if visible[s]]
            for s in search:
                probabilities[t, s] += alive / len(templates) / len(search)
            failed += 0 if search else 1 / len(templates)
        alive *= failed
        grown += 5
    return probabilities


def assert_drawn_from(probabilities, drawn):
    """Chi-square test of counts against probabilities; rare outcomes are put together."""
    counts = collections.Counter(drawn)
    assert counts.keys() <= probabilities.keys()
    rare = [key for key, p in probabilities.items() if p * len(drawn) < 5]
    common = [key for key in probabilities if key not in set(rare)]
    observed = [counts[key] for key in common] + [sum(counts[key] for key in rare)]
    expected = [probabilities[key] for key in common] + [sum(probabilities[key] for key in rare)]
    keep = np.array(expected) > 0
    expected = np.array(expected)[keep]
    result = stats.chisquare(np.array(observed)[keep], expected / expected.sum() * len(drawn))
    assert result.pvalue > ALARM


@pytest.mark.parametrize("num_search", [1, 4])
@pytest.mark.parametrize(
    ("visible", "max_interval"), [(np.ones(60, bool), 8), (HOLES, 8), (SPARSE, 4)]
)
def test_template_and_search_frames_follow_the_rules_of_the_sampler(
    visible, max_interval, num_search
):
    dataset = FakeDataset("videos", (video("v", len(visible), visible),))
    sampler = PairSampler([dataset], max_interval=max_interval, num_search=num_search)
    pairs = draw_many(sampler)
    expected = pair_probabilities(visible, max_interval, num_search)
    for place in {0, num_search - 1}:
        drawn = [(pair.template_frame, pair.search_frames[place]) for pair in pairs]
        assert_drawn_from(expected, drawn)


def test_gaps_are_one_to_the_interval_exclusive_with_equal_frequency():
    dataset = FakeDataset("videos", (video("v", 5_000),))
    sampler = PairSampler([dataset], max_interval=200, num_search=1)
    pairs = draw_many(sampler)
    gaps = [pair.search_frames[0] - pair.template_frame for pair in pairs]
    assert (min(gaps), max(gaps)) == (1, 199)
    inside = [gap for gap, pair in zip(gaps, pairs, strict=True) if pair.template_frame < 4_800]
    assert_drawn_from({gap: 1 / 199 for gap in range(1, 200)}, inside)


def test_search_frames_are_drawn_with_replacement_and_stay_unsorted():
    dataset = FakeDataset("videos", (video("v", 400),))
    sampler = PairSampler([dataset], max_interval=5, num_search=2)
    pairs = [pair for pair in draw_many(sampler) if pair.template_frame < 390]
    orders = [np.sign(pair.search_frames[1] - pair.search_frames[0]) for pair in pairs]
    assert_drawn_from({0: 1 / 4, 1: 3 / 8, -1: 3 / 8}, orders)  # 4 frames in [t + 1, t + 5)


def test_data_sets_are_drawn_by_their_ratios_and_sequences_uniformly():
    lengths = (25, 2_000, 40)  # must not matter
    sets = [
        FakeDataset("videos", tuple(video(f"v{n}", length) for n, length in enumerate(lengths))),
        stills(5),
        FakeDataset("more", (video("m", dataset="more"),)),
    ]
    sampler = PairSampler(sets, ratios=(3, 1, 0), max_interval=200, num_search=1)
    drawn = [(pair.sequence.dataset, pair.sequence.name) for pair in draw_many(sampler)]
    expected = {("videos", f"v{n}"): 3 / 4 / 3 for n in range(3)}
    expected |= {("stills", f"s{n}"): 1 / 4 / 5 for n in range(5)}
    assert_drawn_from(expected, drawn)


def test_without_ratios_all_data_sets_are_drawn_equally_often():
    sets = [FakeDataset(f"d{n}", (video("v", dataset=f"d{n}"),)) for n in range(4)]
    sampler = PairSampler(sets, max_interval=200, num_search=1)
    drawn = [pair.sequence.dataset for pair in draw_many(sampler)]
    assert_drawn_from({f"d{n}": 1 / 4 for n in range(4)}, drawn)


def test_a_still_is_its_own_search_image_whatever_its_flag_says():
    sampler = PairSampler([stills()], max_interval=200, num_search=3)
    for pair in draw_many(sampler, 50):
        assert (pair.template_frame, pair.search_frames) == (0, (0, 0, 0))


def test_a_draw_is_a_function_of_seed_epoch_index_attempt_and_stream():
    keys = list(itertools.product((0, 1), (0, 1), (0, 1)))
    numbers = {
        (*key, attempt, stream): make_rng(*key, attempt=attempt, stream=stream).random(3).tolist()
        for key in keys
        for attempt in (0, 1)
        for stream in (0, 1)
    }
    assert len({tuple(row) for row in numbers.values()}) == 32
    assert make_rng(1, 0, 1, attempt=1).random(3).tolist() == numbers[1, 0, 1, 1, 0]
    assert make_rng(-1, 0, 0).random() != make_rng(1, 0, 0).random()


def test_neighbouring_streams_are_independent():
    first = np.array([make_rng(42, 0, index).random(2) for index in range(DRAWS)])
    assert stats.kstest(first[:, 0], "uniform").pvalue > ALARM
    assert stats.pearsonr(first[:-1, 0], first[1:, 0]).pvalue > ALARM
    assert stats.pearsonr(first[:, 0], first[:, 1]).pvalue > ALARM


@pytest.mark.parametrize(("num_search", "needed"), [(1, 5), (4, 11)])
def test_videos_need_twenty_frames_and_more_than_twice_the_sample_visible(num_search, needed):
    def sees(count, num_frames=30):
        return np.arange(num_frames) < count

    good = video("good", 30, sees(needed))
    few = video("few", 30, sees(needed - 1))
    short = video("short", MIN_FRAMES - 1)
    long_enough = video("long enough", MIN_FRAMES)
    dataset = FakeDataset("videos", (short, few, good, long_enough))
    sampler = PairSampler([dataset], max_interval=200, num_search=num_search)
    names = {pair.sequence.name for pair in draw_many(sampler, 200)}
    assert names == {"good", "long enough"}


def test_what_is_left_out_is_logged_with_a_count_per_cause(caplog):
    caplog.set_level("INFO")
    invisible = video("unseen", 40, np.zeros(40, bool))
    sequences = (video("short", 5), video("shorter", 1), invisible, video("good"))
    PairSampler([FakeDataset("videos", sequences)], max_interval=9, num_search=1)
    assert caplog.messages == [
        "videos: 1 sequences; left out: shorter than 20 frames 2, fewer than 5 visible frames 1"
    ]


def test_a_data_set_with_nothing_to_draw_is_refused_with_the_reasons():
    dataset = FakeDataset("videos", (video("a", 40, np.zeros(40)), video("b", 7)))
    with pytest.raises(ValueError, match=r"videos: none of its 2 sequences .*shorter.*visible"):
        PairSampler([dataset], max_interval=9, num_search=1)
    with pytest.raises(ValueError, match="none of its 0 sequences can be drawn"):
        PairSampler([FakeDataset("empty", ())], max_interval=9, num_search=1)


def test_visible_frames_too_far_apart_are_a_skip_and_no_endless_loop():
    visible = np.zeros(60_000, bool)
    visible[::12_000] = True
    dataset = FakeDataset("videos", (video("sparse", 60_000, visible),))
    sampler = PairSampler([dataset], max_interval=200, num_search=1)
    with pytest.raises(SkippedDraw, match="videos sparse: no visible frame is followed") as caught:
        sampler.draw(make_rng(0, 0, 0))
    assert caught.value.cause == "no pair of visible frames"


@pytest.mark.parametrize("ratios", [(1,), (1, -1), (0, 0), (1, float("nan"))])
def test_impossible_ratios_are_refused(ratios):
    with pytest.raises(ValueError, match=r"config\.data\.ratios must have one number >= 0"):
        PairSampler([videos(), stills()], ratios=ratios, max_interval=9, num_search=1)


def test_no_data_set_or_an_impossible_interval_is_refused():
    with pytest.raises(ValueError, match="datasets is empty"):
        PairSampler([], max_interval=9, num_search=1)
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 1"):
        PairSampler([FakeDataset("stills", (still("s"),))], max_interval=0, num_search=1)
