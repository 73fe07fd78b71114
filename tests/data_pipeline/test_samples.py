"""Whole samples against the rules of OSTrack's processing, written out here with OpenCV."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from data_pipeline import augment
from data_pipeline.augment import AugmentRule, CropRule
from data_pipeline.labels import position_labels, score_target
from data_pipeline.pairs import PairSampler, make_rng
from data_pipeline.quality import degrade
from data_pipeline.samples import MAX_ATTEMPTS, SampleMaker
from fake_sequences import FakeDataset, still, stills, video, videos

RULE = AugmentRule(0.3, 0.5, 0.5, 0.2)  # grey often enough to be seen


def make_maker(datasets, num_search=1, rule=RULE, **fields):
    sampler = PairSampler(datasets, max_interval=20, num_search=num_search)
    template, search = CropRule(32, 2.0, 0.0, 0.0), CropRule(64, 4.0, 3.0, 0.25)
    fields = {"patch_size": 16, "template_labels": "box", "seed": 42} | fields
    return SampleMaker(sampler, template, search, rule, num_search, **fields)


def expected_crop(frame, box_xywh, rule, draw, gray, joint_flip):
    """Section by section: grey, mirror, jitter, cut with black, resize, box, mirror again."""
    if gray:
        frame = np.repeat(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    height, width = frame.shape[:2]
    x, y, w, h = box_xywh
    if joint_flip:
        frame = np.ascontiguousarray(np.fliplr(frame))
        x = width - 1 - (x + w)
    new_w = w * math.exp(rule.scale_jitter * draw.normals[0])
    new_h = h * math.exp(rule.scale_jitter * draw.normals[1])
    reach = math.sqrt(new_w * new_h) * rule.center_jitter
    cx = x + w / 2 + reach * (draw.uniforms[0] - 0.5)
    cy = y + h / 2 + reach * (draw.uniforms[1] - 0.5)
    side = math.ceil(math.sqrt(new_w * new_h) * rule.factor)
    x1, y1 = round(cx - side / 2), round(cy - side / 2)
    cut = np.zeros((side, side, 3), np.uint8)
    for row in range(side):
        for column in range(side):
            if 0 <= y1 + row < height - 1 and 0 <= x1 + column < width - 1:
                cut[row, column] = frame[y1 + row, x1 + column]
    image = cv2.resize(cut, (rule.size, rule.size))
    ratio = rule.size / side
    out_cx = ((rule.size - 1) / 2 + (x + w / 2 - cx) * ratio) / rule.size
    out_cy = ((rule.size - 1) / 2 + (y + h / 2 - cy) * ratio) / rule.size
    if draw.flip:
        image, out_cx = np.fliplr(image), 1 - out_cx
    return image, [out_cx, out_cy, w * ratio / rule.size, h * ratio / rule.size]


@pytest.mark.parametrize("num_search", [1, 3])
def test_a_sample_is_its_draw_worked_out_by_hand(num_search):
    maker = make_maker([videos(), stills()], num_search)
    seen = set()
    for index in range(12):
        rng = make_rng(42, 5, index)
        pair = maker.sampler.draw(rng)
        draw = augment.draw_sample(rng, RULE, num_search)
        seen |= {("gray", draw.gray), ("joint", draw.flip), ("own", draw.search[0].flip)}
        sample = maker.make(5, index)
        frame = pair.sequence.read_frame
        boxes_xywh = pair.sequence.boxes_xywh
        t = pair.template_frame
        image, box = expected_crop(
            frame(t), boxes_xywh[t], maker.template, draw.template, draw.gray, draw.flip
        )
        np.testing.assert_array_equal(sample["template"], image)
        np.testing.assert_allclose(sample["template_box_cxcywh"], box, atol=1e-6)
        for n, s in enumerate(pair.search_frames):
            image, box = expected_crop(
                frame(s), boxes_xywh[s], maker.search, draw.search[n], draw.gray, draw.flip
            )
            np.testing.assert_array_equal(sample["search"][n], image)
            np.testing.assert_allclose(sample["box_cxcywh"][n], box, atol=1e-6)
            assert sample["search_brightness"][n] == np.float32(draw.search[n].brightness)
        assert sample["template_brightness"] == np.float32(draw.template.brightness)
    assert len(seen) == 6  # all kinds occurred, both ways


def test_shapes_and_types_are_those_of_the_batch():
    sample = make_maker([videos()], num_search=2).make(0, 0)
    forms = {
        name: (value.dtype.name, value.shape)
        for name, value in sample.items()
        if isinstance(value, np.ndarray | np.generic)
    }
    assert forms == {
        "template": ("uint8", (32, 32, 3)),
        "search": ("uint8", (2, 64, 64, 3)),
        "template_box_cxcywh": ("float32", (4,)),
        "box_cxcywh": ("float32", (2, 4)),
        "template_brightness": ("float32", ()),
        "search_brightness": ("float32", (2,)),
        "score_target": ("float32", (2, 4, 4)),
        "abs_labels": ("int32", (2, 4 + 16)),
        "pn_labels": ("int32", (2, 4 + 16)),
    }
    assert sample["skips"] == []


@pytest.mark.parametrize("template_labels", ["box", "center"])
def test_labels_are_those_of_the_boxes_that_are_shipped(template_labels):
    sample = make_maker([videos()], 2, template_labels=template_labels).make(0, 1)
    for n, box in enumerate(sample["box_cxcywh"]):
        labels = position_labels(
            box,
            sample["template_box_cxcywh"],
            template_grid=2,
            search_grid=4,
            template_labels=template_labels,
        )
        np.testing.assert_array_equal(sample["abs_labels"][n], labels[0])
        np.testing.assert_array_equal(sample["pn_labels"][n], labels[1])
        np.testing.assert_array_equal(sample["score_target"][n], score_target(box, 4))


def test_the_source_names_data_set_sequence_and_frames():
    maker = make_maker([FakeDataset("videos", (video("v\udcff"),))], num_search=2)
    pair = maker.sampler.draw(make_rng(42, 0, 0))
    first, second = pair.search_frames
    assert maker.make(0, 0)["source"] == (
        f"videos v\\udcff: template {pair.template_frame}, search {first}, {second}"
    )


def test_a_still_is_read_once_a_sample():
    reads = []

    @dataclasses.dataclass(frozen=True, eq=False)
    class Counted(type(still("s"))):
        def read_frame(self, i):
            reads.append(i)
            return super().read_frame(i)

    fields = vars(still("s"))
    make_maker([FakeDataset("stills", (Counted(**fields),))], num_search=4).make(0, 0)
    assert reads == [0]


def test_another_draw_replaces_a_skipped_one_the_same_way_every_time():
    good, bad = video("good"), video("bad", fault=(range(40), "damaged"))
    maker = make_maker([FakeDataset("videos", (good, bad))])
    samples = [maker.make(0, index) for index in range(30)]
    skipped = [sample for sample in samples if sample["skips"]]
    assert skipped
    for index, sample in enumerate(samples):
        assert sample["source"].startswith("videos good")
        again = maker.make(0, index)
        np.testing.assert_array_equal(again["search"], sample["search"])
        assert again["skips"] == sample["skips"]
    for cause, source, message in skipped[0]["skips"]:
        assert cause == "damaged frame"
        assert source.startswith("videos bad, frame ")
        assert "disk/bad/" in message


@pytest.mark.parametrize(
    ("box_xywh", "cause"),
    [
        ((20, 15, 0, 9), "damaged box"),
        ((20, 15, -4, 9), "damaged box"),
        ((20, np.nan, 4, 9), "damaged box"),
        ((-1e9, -1e9, 2e9, 2e9), "damaged box"),
        ((500, 15, 6, 6), "box outside the frame"),
        ((-90, -90, 6, 6), "box outside the frame"),
    ],
)
def test_boxes_that_make_no_crop_are_skips_that_name_the_file(box_xywh, cause):
    dataset = FakeDataset("stills", (still("bad", box_xywh), still("good")))
    samples = [make_maker([dataset]).make(0, index) for index in range(20)]
    records = [record for sample in samples for record in sample["skips"]]
    assert {record[0] for record in records} == {cause}
    assert all("disk/bad/0.jpg (stills bad, frame 0, from 0): " in record[2] for record in records)


def test_jitter_that_leaves_the_frame_is_counted_apart_from_faults():
    dataset = FakeDataset("stills", (still("corner", (0, 0, 9, 9)),))
    maker = make_maker([dataset])
    maker = dataclasses.replace(maker, search=CropRule(64, 4.0, 9.0, 0.25))
    records = [record for index in range(20) for record in maker.make(0, index)["skips"]]
    assert {record[0] for record in records} == {"empty crop"}


def test_a_data_set_of_which_nothing_can_be_read_stops_with_counts_and_files():
    dataset = videos(2, fault=(range(40), "damaged"))
    with pytest.raises(ValueError, match="all 100 draws had to be skipped") as caught:
        make_maker([dataset]).make(3, 7)
    text = str(caught.value)
    assert text.startswith("sample 7 of epoch 3: ")
    assert f"damaged frame {MAX_ATTEMPTS}" in text
    assert "disk/v1/" in text


def test_an_error_of_the_disk_names_sequence_and_file_and_is_no_skip():
    dataset = FakeDataset("stills", (still("s", fault=(range(1), "unplugged")),))
    with pytest.raises(
        OSError, match=r"disk/s/0\.jpg \(stills s, frame 0, from 0\): .*Input/output"
    ):
        make_maker([dataset]).make(0, 0)


def test_a_fault_of_the_reader_keeps_its_type_and_names_sequence_and_file():
    dataset = FakeDataset("stills", (still("s", fault=(range(1), "broken")),))
    with pytest.raises(TypeError, match="unsupported operand") as caught:
        make_maker([dataset]).make(0, 0)
    assert caught.value.__notes__ == ["disk/s/0.jpg (stills s, frame 0, from 0)"]


def test_sizes_that_are_no_multiple_of_a_token_are_refused():
    with pytest.raises(
        ValueError, match=r"config\.template\.size must be a multiple .* 15, got 32"
    ):
        make_maker([videos()], patch_size=15)


def test_an_unknown_reading_of_the_labels_is_refused_before_anything_is_drawn():
    with pytest.raises(ValueError, match=r"spl\.template_labels is one of .*, got 'boxes'"):
        make_maker([videos()], template_labels="boxes")


def test_crops_lose_quality_each_by_its_own_draw_and_boxes_stay():
    rule = dataclasses.replace(RULE, degrade=0.5)
    worse = make_maker([videos(), stills()], rule=rule)
    changed = {"template": set(), "search": set()}
    for index in range(12):
        rng = make_rng(42, 0, index)
        pair = worse.sampler.draw(rng)
        draw = augment.draw_sample(rng, rule, 1)
        one = worse.make(0, index)
        images = {"template": one["template"], "search": one["search"][0]}
        for name, crop in {"template": draw.template, "search": draw.search[0]}.items():
            frame = pair.template_frame if name == "template" else pair.search_frames[0]
            cut = getattr(worse, name)
            image, box = expected_crop(
                pair.sequence.read_frame(frame), pair.sequence.boxes_xywh[frame],
                cut, crop, draw.gray, draw.flip,
            )  # fmt: skip
            whole = np.ascontiguousarray(image)
            expected = degrade(whole, crop.loss) if crop.loss else whole
            np.testing.assert_array_equal(images[name], expected)
            key = "box_cxcywh" if name == "search" else "template_box_cxcywh"
            np.testing.assert_allclose(one[key].reshape(-1), box, atol=1e-6)
            changed[name].add(crop.loss is not None)
    assert changed == {"template": {True, False}, "search": {True, False}}
