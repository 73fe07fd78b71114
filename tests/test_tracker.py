import json
import pathlib

import jax
import numpy as np
import pytest

import detweights
from configs import esat_vit_b256
from data_pipeline.crop import CropGeometry
from esat_jax import tracker as tracker_module
from esat_jax.models.esat import make_model
from esat_jax.torch_weights import load_state_dict
from esat_jax.tracker import Tracker
from esat_jax.weights import save_weights
from tiny_tracker import make_tiny

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
BOX_XYWH = (60, 40, 30, 24)


@pytest.fixture(scope="module")
def tiny():
    return make_tiny()


@pytest.fixture(scope="module")
def tracker(tiny):
    return Tracker(*tiny)


def frames(count, height=120, width=160, name="tracker"):
    return [
        detweights.smooth_image(f"{name}{i}", height, width, cells=(32, 16)) for i in range(count)
    ]


# ------------------------------------------------------------ OSTrack's boxes, real size


@pytest.fixture(scope="module")
def ostrack():
    """The tracker of the fixture, its frames, the reference's arrays and ours for each frame."""
    expected = np.load(FIXTURES / "tracker_256_vidB3.npz")
    name = "video/" + str(expected["video"])
    video, boxes = detweights.video(name, 12, 300, 400, (150, 110, 60, 66), (-6, 4), (1, 2))
    assert detweights.digest(video) == expected["frames_digest"]
    np.testing.assert_array_equal(boxes, expected["gt_xywh"])
    manifest = json.loads((FIXTURES / "ostrack_vitb_256_manifest.json").read_text())
    config = esat_vit_b256.get_config("ostrack")
    variables, _ = load_state_dict(detweights.state(manifest), config.to_dict())
    return config, variables, video, expected


@pytest.mark.slow
def test_boxes_crops_and_cells_equal_the_reference_tracker(ostrack, monkeypatch):
    config, variables, video, expected = ostrack
    crops, geometries = [], []

    def crop_image(self, frame, original=CropGeometry.crop_image):
        crops.append(original(self, frame))
        geometries.append(self)
        return crops[-1]

    monkeypatch.setattr(CropGeometry, "crop_image", crop_image)
    tracker = Tracker(config, variables)
    tracker.initialize(video[0], expected["boxes"][0])
    predictions = [tracker.update(frame) for frame in video[1:]]
    boxes_xywh = np.stack([p.box_xywh for p in predictions])
    np.testing.assert_allclose(boxes_xywh, expected["boxes"][1:], atol=0.01, rtol=0)
    cells = expected["argmax"]
    scores = expected["score_maps"].reshape(len(cells), -1)[np.arange(len(cells)), cells]
    np.testing.assert_allclose([p.score for p in predictions], scores, atol=2e-5)
    assert [p.lost for p in predictions] == (scores < 0.3).tolist()

    template, *search = geometries
    np.testing.assert_array_equal(crops[0], expected["template_crop"])
    assert template.scale == expected["template_resize_factor"]
    assert [detweights.digest(c) for c in crops[1:]] == expected["search_crop_digest"].tolist()
    np.testing.assert_array_equal(crops[1], expected["search_crop_frame1"])
    np.testing.assert_array_equal(crops[6], expected["search_crop_frame6"])
    assert [g.side for g in search] == expected["crop_sz"].tolist()
    assert [[g.x1, g.y1] for g in search] == expected["crop_x1y1"].tolist()
    assert [g.scale for g in search] == expected["resize_factor"].tolist()


@pytest.mark.slow
def test_maps_and_windowed_boxes_equal_the_reference_on_its_crops(ostrack):
    config, variables, video, expected = ostrack
    template = expected["template_crop"][None]
    search = np.stack(
        [
            CropGeometry.from_box(box, 4, 256).crop_image(frame)
            for box, frame in zip(expected["boxes"][:-1], video[1:], strict=True)
        ]
    )
    batch = np.repeat(template, len(search), axis=0)
    model, step = make_model(config.to_dict()), tracker_module.make_search_step(config.to_dict())
    both = jax.jit(lambda *inputs: (model.apply(*inputs), step(*inputs)))
    maps, (box_cxcywh, scores) = both(variables, batch, search)
    np.testing.assert_allclose(maps.score_map, expected["score_maps"], atol=2e-5)
    for ours, theirs in ((maps.size_map, "size_maps"), (maps.offset_map, "offset_maps")):
        np.testing.assert_allclose(ours, expected[theirs].transpose(0, 2, 3, 1), atol=2e-5)
    np.testing.assert_allclose(box_cxcywh, expected["net_box_hann"], atol=1e-5)
    score_map = np.asarray(maps.score_map)
    response = score_map * np.load(FIXTURES / "head.npz")["hann2d_16"].reshape(16, 16)
    flat = response.reshape(len(search), -1)
    np.testing.assert_array_equal(flat.argmax(axis=1), expected["argmax"])
    np.testing.assert_allclose(flat.max(axis=1), expected["response_top2"][:, 0], atol=2e-5)
    at_cell = score_map.reshape(flat.shape)[np.arange(len(search)), expected["argmax"]]
    np.testing.assert_array_equal(scores, at_cell)


# ------------------------------------------------------------ behaviour, a small network


def test_predictions_are_boxes_inside_the_frame_with_a_score_and_a_flag(tracker):
    first, *rest = frames(4)
    tracker.initialize(first, BOX_XYWH)
    for frame in rest:
        prediction = tracker.update(frame)
        x, y, w, h = prediction.box_xywh
        assert prediction.box_xywh.dtype == np.float64
        assert min(x, y) >= 0
        assert min(w, h) >= 10
        assert x + w <= 160
        assert y + h <= 120
        assert 0 <= prediction.score <= 1
        assert prediction.lost == (prediction.score < 0.3)


def test_the_same_frames_give_the_same_predictions_also_after_another_target(tracker):
    def follow(video, box_xywh):
        tracker.initialize(video[0], box_xywh)
        return np.stack([tracker.update(frame).box_xywh for frame in video[1:]])

    once = follow(frames(4), BOX_XYWH)
    follow(frames(3, name="other"), (5, 5, 40, 60))
    np.testing.assert_array_equal(follow(frames(4), BOX_XYWH), once)


def test_no_frame_waits_for_the_compiler(tiny):
    tracker = Tracker(*tiny)
    assert tracker.compile_seconds > 0
    before = tracker._step._cache_size()
    tracker.initialize(frames(1)[0], BOX_XYWH)
    for frame in [*frames(2), *frames(2, 200, 90)]:
        tracker.update(frame)
    assert tracker._step._cache_size() == before == 1


def test_a_lost_threshold_of_one_reports_every_frame_lost(tiny):
    config, variables = tiny
    plain = config.to_dict()
    plain["tracker"]["lost_threshold"] = 1.0
    tracker = Tracker(plain, variables)
    tracker.initialize(frames(1)[0], BOX_XYWH)
    assert tracker.update(frames(2)[1]).lost


def test_frames_may_change_their_size(tracker):
    tracker.initialize(frames(1)[0], (120, 90, 35, 28))
    for height, width in [(120, 160), (50, 60), (480, 640), (11, 900), (120, 160)]:
        x, y, w, h = tracker.update(frames(1, height, width)[0]).box_xywh
        assert min(x, y) >= 0
        assert x + w <= width
        assert y + h <= height


def test_the_state_is_clipped_to_a_smaller_frame_before_cropping(tracker, monkeypatch):
    big, small = frames(1)[0], frames(1, 60, 80)[0]
    tracker.initialize(big, (120, 90, 30, 20))
    made_for = []

    def from_box(box_xywh, *args, original=CropGeometry.from_box):
        made_for.append(np.array(box_xywh))
        return original(box_xywh, *args)

    monkeypatch.setattr(CropGeometry, "from_box", from_box)
    tracker.update(small)
    np.testing.assert_array_equal(made_for, [(70, 50, 10, 10)])


def test_a_changed_prediction_does_not_change_the_tracker(tracker):
    first, second, third = frames(3)
    tracker.initialize(first, BOX_XYWH)
    tracker.update(second)
    expected = tracker.update(third).box_xywh
    tracker.initialize(first, BOX_XYWH)
    tracker.update(second).box_xywh[:] = 0
    np.testing.assert_array_equal(tracker.update(third).box_xywh, expected)


BAD_FRAMES = [
    None,
    np.zeros((120, 160), np.uint8),
    np.zeros((120, 160, 3), np.float32),
    np.zeros((120, 160, 4), np.uint8),
    np.zeros((10, 160, 3), np.uint8),
]


@pytest.mark.parametrize("bad", BAD_FRAMES)
def test_after_a_bad_frame_the_tracker_goes_on_as_before(tracker, bad):
    first, second = frames(2)
    tracker.initialize(first, BOX_XYWH)
    expected = tracker.update(second).box_xywh
    tracker.initialize(first, BOX_XYWH)
    with pytest.raises(ValueError, match="a frame must be"):
        tracker.update(bad)
    with pytest.raises(ValueError, match="a frame must be"):
        tracker.initialize(bad, (1, 1, 9, 9))
    np.testing.assert_array_equal(tracker.update(second).box_xywh, expected)


@pytest.mark.parametrize(
    "bad",
    [
        *((1, 2, 3), "12", (0, 0, -3, 4), (0, 0, 0, 4), (np.nan, 0, 3, 4), (0, 0, np.inf, 4)),
        *((160, 0, 9, 9), (0, -9, 9, 9), (-1e8, -1e8, 2e8, 2e8), (159.3, 119.3, 0.4, 0.4)),
    ],
)
def test_after_a_bad_box_the_tracker_goes_on_as_before(tracker, bad):
    first, second = frames(2)
    tracker.initialize(first, BOX_XYWH)
    expected = tracker.update(second).box_xywh
    tracker.initialize(first, BOX_XYWH)
    with pytest.raises(ValueError, match="box"):
        tracker.initialize(second, bad)
    np.testing.assert_array_equal(tracker.update(second).box_xywh, expected)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((0, 0, 16_000, 16_000), "a crop of 4 times box .* has a side of 6.4e.04 px"),
        ((159.3, 119.3, 0.4, 0.4), "outside the frame, or in its last row or column of pixels"),
    ],
)
def test_a_box_that_cannot_be_searched_around_is_refused_at_once(tracker, bad, words):
    with pytest.raises(ValueError, match=words):
        tracker.initialize(frames(1)[0], bad)


def test_update_before_initialize_says_what_to_call(tiny):
    with pytest.raises(ValueError, match=r"call initialize\(frame, box\) first"):
        Tracker(*tiny).update(frames(1)[0])


def test_weights_that_are_not_finite_are_named_and_leave_the_state(tiny):
    config, variables = tiny
    broken = jax.tree.map(lambda x: x * np.nan, variables)
    tracker = Tracker(config, broken)
    tracker.initialize(frames(1)[0], BOX_XYWH)
    for _ in range(2):
        with pytest.raises(ValueError, match="not finite: the weights are damaged"):
            tracker.update(frames(2)[1])


def test_bfloat16_gives_nearly_the_same_box(tiny):
    config, variables = tiny
    half = config.to_dict() | {"compute_dtype": "bfloat16"}
    first, second = frames(2)
    predictions = []
    for options in (config, half):
        tracker = Tracker(options, variables)
        tracker.initialize(first, BOX_XYWH)
        predictions.append(tracker.update(second))
    full, half = predictions
    assert half.box_xywh.dtype == np.float64
    assert 0 < abs(full.score - half.score) < 0.02
    # Each corner within a fifth of the box: one of the 4 x 4 cells of this network is larger.
    np.testing.assert_allclose(full.box_xywh, half.box_xywh, atol=full.box_xywh[2:].min() / 5)


def test_the_template_box_is_given_where_candidates_are_ranked_by_it(monkeypatch):
    config, variables = make_tiny(**{"ce.template_range": "GT_BOX"})
    given = []

    def make_search_step(config, original=tracker_module.make_search_step):
        step = original(config)

        def recorded(variables, template, search, box_cxcywh=None):
            jax.debug.callback(lambda box: given.append(np.array(box)), box_cxcywh)
            return step(variables, template, search, box_cxcywh)

        return recorded

    monkeypatch.setattr(tracker_module, "make_search_step", make_search_step)
    tracker = Tracker(config, variables)
    tracker.initialize(frames(1)[0], BOX_XYWH)
    tracker.update(frames(2)[1])
    jax.effects_barrier()
    side = int(np.ceil(2 * np.sqrt(30 * 24)))  # 54 px around the target
    size = config.template.size
    middle = (size - 1) / 2 / size
    np.testing.assert_allclose(given[-1], [[middle, middle, 30 / side, 24 / side]], rtol=1e-6)


def test_a_weights_file_gives_the_same_tracker(tiny, tracker, tmp_path):
    config, variables = tiny
    save_weights(tmp_path / "tiny.safetensors", variables, config.to_dict())
    again = Tracker.from_weights(tmp_path / "tiny.safetensors")
    first, second = frames(2)
    predictions = []
    for one in (tracker, again):
        one.initialize(first, BOX_XYWH)
        predictions.append(one.update(second))
    np.testing.assert_array_equal(predictions[0].box_xywh, predictions[1].box_xywh)
    assert predictions[0].score == predictions[1].score
