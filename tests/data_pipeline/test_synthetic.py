"""The oracle of boxes and flags is the painted frame: the target in white, all else in black."""

import dataclasses

import cv2
import numpy as np
import pytest

from configs import esat_vit_b256
from data_pipeline import motion
from data_pipeline.datasets import make_dataset
from data_pipeline.layout_files import write_coco, write_sequences
from data_pipeline.layouts import LAYOUTS
from data_pipeline.painting import paint_body, paint_occluder
from data_pipeline.pipeline import make_train_batches
from data_pipeline.scene import LEAST_SEEN, SceneRule, Truth
from data_pipeline.sprites import Material, Sprite, blob, cutout, find_material, make_sprite
from data_pipeline.synthetic import SyntheticDataset

RULE = SceneRule(height=120, width=200, num_frames=40, sides=(0.15, 0.3))
DATASET = SyntheticDataset(rule=RULE, count=60)


def white(body):
    """The body without texture, bright in every frame."""
    alpha = body.sprite.pixels[..., 3:]
    sprite = Sprite(alpha.repeat(4, axis=2), body.sprite.contour, body.sprite.inner)
    return dataclasses.replace(body, sprite=sprite, gain=np.ones_like(body.gain))


def masks(sequence, i, margin=400):
    """Where the target is, in a frame with a wide margin, and where it can be seen; bool each."""
    body = white(sequence.scene.target)
    body = dataclasses.replace(body, center_xy=body.center_xy + margin)
    whole = np.zeros((RULE.height + 2 * margin, RULE.width + 2 * margin, 3), np.uint8)
    paint_body(whole, body, i, 0.0)
    seen = whole.copy()
    for occluder in sequence.scene.occluders:
        black = np.zeros_like(occluder.surface)
        center = occluder.center_xy + margin
        paint_occluder(seen, dataclasses.replace(occluder, surface=black, center_xy=center), i)
    inside = slice(margin, margin + RULE.height), slice(margin, margin + RULE.width)
    in_frame = np.zeros(whole.shape[:2], bool)
    in_frame[inside] = True
    target = whole[..., 0] > 127
    return target, target & in_frame, (seen[..., 0] > 127) & in_frame, inside


@pytest.fixture(scope="module")
def sequences():
    return list(DATASET)


def test_a_seed_makes_the_same_sequences_in_any_order():
    for i in (0, 7):
        one, other = DATASET[i], SyntheticDataset(rule=RULE, count=60)[i]
        np.testing.assert_array_equal(one.boxes_xywh, other.boxes_xywh)
        backwards = [other.read_frame(j) for j in (39, 20, 0)]
        for j, frame in zip((0, 20, 39), reversed(backwards), strict=True):
            np.testing.assert_array_equal(one.read_frame(j), frame)
    other = SyntheticDataset(rule=RULE, count=60, seed=1)[0]
    assert (other.read_frame(0) != DATASET[0].read_frame(0)).mean() > 0.5


def test_boxes_enclose_the_painted_target(sequences):
    gaps, shares = [], []
    for sequence in sequences[:25]:
        for i in range(0, RULE.num_frames, 5):
            target, in_frame, seen, inside = masks(sequence, i)
            total = target.sum()
            shares.append(
                (
                    in_frame.sum() / total - sequence.truth.inside[i],
                    seen.sum() / total - sequence.truth.seen[i],
                )
            )
            box = sequence.boxes_xywh[i]
            if np.isnan(box).any():
                assert in_frame.sum() / total < 2 * LEAST_SEEN
                continue
            rows, columns = (np.flatnonzero(in_frame[inside].any(axis=axis)) for axis in (1, 0))
            x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            gaps.append(np.abs(np.array([x0, y0, x1 - x0, y1 - y0]) - box).max())
    assert np.mean(gaps) < 0.7  # px; half a pixel is what a mask of whole pixels can say
    assert np.max(gaps) < 2
    assert np.abs(shares).max() < 0.08
    assert np.abs(shares).mean() < 0.01


def test_the_target_is_visible_at_first_and_in_half_of_the_frames(sequences):
    for sequence in sequences:
        assert sequence.visible[0]
        assert sequence.truth.seen[0] > 0.5
        assert sequence.visible.sum() >= RULE.num_frames // 2
    assert (DATASET.num_visible == RULE.num_frames // 2).all()
    assert (DATASET.lengths == [len(sequence) for sequence in sequences]).all()
    assert DATASET.names == tuple(sequence.name for sequence in sequences)
    np.testing.assert_array_equal(
        DATASET.find(DATASET.names[3]).boxes_xywh, sequences[3].boxes_xywh
    )


def test_everything_that_makes_tracking_hard_happens(sequences):
    def count(happens):
        return sum(bool(happens(sequence)) for sequence in sequences)

    truths = [sequence.truth for sequence in sequences]
    assert count(lambda s: np.isnan(s.boxes_xywh).any()) >= 5  # leaves
    hidden = [(~truth.visible & (truth.inside > 0.5)).any() for truth in truths]
    assert sum(hidden) >= 3  # fully hidden inside the frame
    assert count(lambda s: ((s.truth.seen < 0.8) & s.visible).any()) >= 10  # partly hidden
    assert count(lambda s: s.scene.distractors) >= 20
    assert (
        count(
            lambda s: s.scene.distractors and s.scene.distractors[0].sprite is s.scene.target.sprite
        )
        >= 3
    )
    assert count(lambda s: s.scene.target.bend[..., 0].any()) >= 10  # bends
    assert count(lambda s: s.scene.exposure) >= 10  # motion blur
    assert count(lambda s: s.scene.defocus.any()) >= 10
    assert count(lambda s: s.scene.noise) >= 10
    assert count(lambda s: np.ptp(s.scene.light) > 0.1) >= 10
    sizes = [s.boxes_xywh[s.truth.inside == 1][:, 2:].prod(axis=1) ** 0.5 for s in sequences]
    assert np.mean([np.ptp(size) / size.mean() > 0.3 for size in sizes]) > 0.3
    plain = SyntheticDataset(rule=dataclasses.replace(RULE, plain=True), count=20)
    assert all(s.visible.all() and not s.scene.occluders and not s.scene.distractors for s in plain)


def test_bending_moves_the_outline_as_it_moves_the_pixels():
    rng = np.random.default_rng(0)
    sprite = make_sprite(np.full((192, 192, 3), 200, np.uint8), blob(rng))
    body = motion.make_body(rng, sprite, np.full((3, 2), 150.0), 90.0)
    bend = np.array([[10.0, 0.05, 0.3], [8.0, 0.04, 1.0]])
    body = dataclasses.replace(white(body), bend=np.broadcast_to(bend, (3, 2, 3)))
    frame = np.zeros((300, 300, 3), np.uint8)
    paint_body(frame, body, 1, 0.0)
    x, y = (place[1] for place in body.to_frame(sprite.contour))
    outline = np.zeros((300, 300), np.uint8)
    points = np.stack([x, y], axis=-1)[:160]
    cv2.fillPoly(outline, [np.rint((points - 0.5) * 16).astype(np.int32)], 255, shift=4)
    both = ((frame[..., 0] > 127) & (outline > 0)).sum()
    either = ((frame[..., 0] > 127) | (outline > 0)).sum()
    assert both / either > 0.97


@pytest.fixture(scope="module")
def few():
    """Four sequences, the second of which is absent in some frames, and their first frames."""
    dataset = SyntheticDataset(rule=dataclasses.replace(RULE, num_frames=16), count=60, seed=3)
    absent = next(i for i in range(1, 60) if not dataset[i].visible.all())
    made = [dataset[i] for i in (0, absent, 58, 59)]
    return made, [sequence.read_frame(0).astype(int) for sequence in made]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_back_by_its_reader(layout, few, tmp_path):
    sequences, first_frames = few
    written = list(write_sequences(sequences, 4, tmp_path, layout))
    assert len(written) == 4 * 16
    read = make_dataset(layout, tmp_path, str(tmp_path / "cache"))
    assert len(read) == 4
    flagged = bool(LAYOUTS[layout].flags)
    for sequence in read:  # in the reader's order: a sequence is recognised by its first frame
        first = sequence.read_frame(0)
        differences = [np.abs(first - frame).mean() for frame in first_frames]
        made = sequences[int(np.argmin(differences))]
        assert min(differences) < 6  # JPEG
        assert len(sequence) == 16
        if LAYOUTS[layout].first_box_only:
            np.testing.assert_allclose(sequence.boxes_xywh[0], made.boxes_xywh[0], atol=0.001)
            continue
        np.testing.assert_array_equal(sequence.visible, made.visible)
        known = made.visible | (flagged & (made.truth.inside >= LEAST_SEEN))
        there = sequence.boxes_xywh[known]
        np.testing.assert_allclose(there, made.boxes_xywh[known], atol=0.001)


def test_flags_say_what_the_truth_is(tmp_path):
    truth = Truth(
        np.array([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [np.nan] * 4, [1, 2, 3, 4]], float),
        seen=np.array([1.0, 0.5, 0.0, 0.0, 0.07]),
        inside=np.array([1.0, 1.0, 1.0, 0.0, 0.6]),
    )

    class Made(list):
        def __len__(self):
            return 5

        def read_frame_bytes(self, i):
            return cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()

    made = Made()
    made.truth, made.boxes_xywh, made.visible = truth, truth.boxes_xywh, truth.visible
    for layout in ("lasot_train", "got10k_train", "folders", "trackingnet_train"):
        list(write_sequences([made], 1, tmp_path, layout))
    lasot = tmp_path / "lasot/airplane/airplane-2"
    assert (lasot / "full_occlusion.txt").read_text() == "0,0,1,0,0\n"
    assert (lasot / "out_of_view.txt").read_text() == "0,0,0,1,0\n"
    assert (lasot / "groundtruth.txt").read_text().splitlines()[2:4] == [
        "1.000,2.000,3.000,4.000",
        "0,0,0,0",
    ]
    got10k = tmp_path / "got10k/train/GOT-10k_Train_000001"
    assert (got10k / "absence.label").read_text().split() == list("00110")
    assert (got10k / "cover.label").read_text().split() == list("84001")
    assert (got10k / "cut_by_image.label").read_text().split() == list("00001")
    assert "resolution: (30, 20)\n" in (got10k / "meta_info.ini").read_text()
    rows = (tmp_path / "sequences/synthetic0001/groundtruth.txt").read_text().splitlines()
    assert [row.startswith("nan") for row in rows] == [False, False, True, True, False]
    rows = (tmp_path / "trackingnet/TRAIN_0/anno/synthetic00000_0.txt").read_text().splitlines()
    assert [row == "0,0,0,0" for row in rows] == [False, False, True, True, False]


def test_coco_and_the_training_sets_of_the_paper_open(tmp_path):
    dataset = SyntheticDataset(rule=RULE, count=4)
    assert len(list(write_coco(dataset, 4, tmp_path))) == 4
    list(write_sequences(dataset, 4, tmp_path, "got10k_train"))
    cache = str(tmp_path / "cache")
    coco = make_dataset("coco", tmp_path, cache)
    np.testing.assert_allclose(coco[2].boxes_xywh[0], dataset[2].boxes_xywh[0])
    parts = [make_dataset(f"got10k_{part}", tmp_path, cache) for part in ("vottrain", "votval")]
    assert [len(part) for part in parts] == [3, 1]


def test_more_sequences_than_a_data_set_has_are_refused(tmp_path):
    with pytest.raises(ValueError, match="names for sequences, 200 are wanted"):
        next(write_sequences(DATASET, 200, tmp_path, "otb"))
    with pytest.raises(ValueError, match="unknown layout 'mot'"):
        next(write_sequences(DATASET, 1, tmp_path, "mot"))


@pytest.fixture
def pictures(tmp_path):
    """A red cut-out with a round outline, and a blue photograph."""
    (tmp_path / "cutouts").mkdir()
    (tmp_path / "stills" / "deep").mkdir(parents=True)
    red = np.zeros((60, 80, 4), np.uint8)
    cv2.ellipse(red, (40, 30), (30, 20), 0, 0, 360, (0, 0, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "cutouts" / "red.png"), red)
    cv2.imwrite(str(tmp_path / "stills" / "deep" / "blue.jpg"), np.full((90, 120, 3), (255, 0, 0)))
    return tmp_path


def test_pictures_of_ones_own_become_targets_and_backgrounds(pictures):
    material = find_material(pictures)
    assert (len(material.cutouts), len(material.photographs)) == (1, 1)
    rng = np.random.default_rng(0)
    backgrounds = [material.background(rng, 50, 70).mean(axis=(0, 1)) for _ in range(20)]
    assert np.median(backgrounds, axis=0)[2] > 250
    sprites = [material.sprite(rng) for _ in range(30)]
    assert sum(sprite is cutout(material.cutouts[0]) for sprite in sprites) > 10
    sprite = cutout(material.cutouts[0])
    np.testing.assert_allclose(sprite.sides, [61, 41], atol=0.6)
    assert sprite.pixels[..., 0].max() == 255
    assert sprite.pixels[..., 1:3].max() == 0
    made = make_dataset("synthetic:.", pictures)
    assert made.material == material
    assert made[0].read_frame(0).shape == (360, 640, 3)


def test_pictures_that_cannot_be_used_are_named(pictures):
    cv2.imwrite(str(pictures / "cutouts" / "flat.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"flat.png: expected an image of 8 bits with alpha"):
        cutout(str(pictures / "cutouts" / "flat.png"))
    cv2.imwrite(str(pictures / "cutouts" / "void.png"), np.zeros((9, 9, 4), np.uint8))
    with pytest.raises(ValueError, match=r"void.png: next to nothing in it is opaque"):
        cutout(str(pictures / "cutouts" / "void.png"))
    (pictures / "stills" / "deep" / "blue.jpg").write_bytes(b"text")
    material = Material(photographs=find_material(pictures).photographs)
    with pytest.raises(ValueError, match=r"blue.jpg: .*remove it"):
        [material.background(np.random.default_rng(n), 9, 9) for n in range(3)]
    with pytest.raises(ValueError, match=r"expected images in cutouts/ or stills/"):
        make_dataset("synthetic:cutouts", pictures)


def test_training_batches_are_made_of_it():
    config = esat_vit_b256.get_config("smoke")
    with config.unlocked():
        config.data.num_workers, config.batch_size = 0, 4
    with make_train_batches(config.to_dict(), [DATASET]) as batches:
        batch = next(batches)
    assert batch["search"].shape[0] == 4
    assert all(source.startswith("synthetic synthetic-0000") for source in batch["source"])
