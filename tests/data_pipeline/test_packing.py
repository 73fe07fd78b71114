"""The oracle is the plain data set: crops of its whole frames, and OpenCV's decoder."""

import dataclasses
import json
import pickle
import zipfile

import cv2
import numpy as np
import pytest

import detweights
import small_datasets as small
from configs import esat_vit_b256
from data_pipeline import shard_files, shards, tiled_jpeg
from data_pipeline.augment import CropRule
from data_pipeline.crop import CropGeometry, jitter_box_xywh
from data_pipeline.datasets import make_dataset
from data_pipeline.fingerprint import fingerprint
from data_pipeline.layout_files import write_sequences
from data_pipeline.packed import NEAR, RECORD, open_packed
from data_pipeline.packing import PackRule, estimate, needed_reach, num_packed_frames
from data_pipeline.pipeline import make_train_batches
from data_pipeline.scene import SceneRule
from data_pipeline.sequences import FrameError
from data_pipeline.synthetic import SyntheticDataset

HEIGHT, WIDTH, FRAMES = 200, 420, 6  # the width is no multiple of a tile's
SEARCH = CropRule(size=64, factor=4.0, center_jitter=3.0, scale_jitter=0.25)
TEMPLATE = CropRule(size=32, factor=2.0, center_jitter=0.0, scale_jitter=0.0)
RULE = PackRule(needed_reach([TEMPLATE, SEARCH], sigmas=3), needed_reach([TEMPLATE], sigmas=3))


def image(name, number):
    picture = detweights.smooth_image(f"{name}/{number}", HEIGHT, WIDTH, cells=(64, 16, 8))
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def boxes(first_x):
    time = np.arange(FRAMES)
    rows = np.stack([first_x + 7 * time, 60 + 4.5 * time, 14 + time, 12 + 0 * time], axis=1)
    return rows.astype(np.float64)


def write(root, names=("left", "middle", "right")):
    """Three videos with small targets in different places; frame 2 of `middle` is absent."""
    for name, first_x in zip(names, (3, 180, 370), strict=True):
        (root / name / "img").mkdir(parents=True)
        for number in range(FRAMES):
            (root / name / "img" / f"{number:05d}.jpg").write_bytes(image(name, number))
        rows = boxes(first_x)
        if name == "middle":
            rows[2] = np.nan
        np.savetxt(root / name / "groundtruth.txt", rows, "%g", ",")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    base = tmp_path_factory.mktemp("packing")
    write(base / "sequences")
    plain = make_dataset("folders", base, str(base / "cache"))
    pack(plain, base / "packed")
    return base


def pack(dataset, root, rule=RULE, frames_per_shard=7, num_workers=0):
    return list(
        shards.pack_dataset(
            dataset, root, rule, frames_per_shard=frames_per_shard, num_workers=num_workers
        )
    )


def plain_and_packed(places):
    cache = str(places / "cache")
    return make_dataset("folders", places, cache), make_dataset("packed:packed", places, cache)


def jittered(box_xywh, rng, sigmas):
    """A box as training jitters it, its scale at most `sigmas` off."""
    normals = rng.standard_normal(2)
    normals *= min(1.0, sigmas * np.sqrt(2) / abs(normals.sum()))
    return jitter_box_xywh(
        box_xywh,
        normals,
        rng.random(2),
        center_jitter=SEARCH.center_jitter,
        scale_jitter=SEARCH.scale_jitter,
    )


def test_names_boxes_and_flags_are_the_plain_ones(places):
    plain, packed = plain_and_packed(places)
    assert packed.names == plain.names == ("left", "middle", "right")
    for one, other in zip(plain, packed, strict=True):
        np.testing.assert_array_equal(one.boxes_xywh, other.boxes_xywh)
        np.testing.assert_array_equal(one.visible, other.visible)
        assert one.is_video == other.is_video
    np.testing.assert_array_equal(packed.num_visible, [6, 5, 6])


def test_every_jittered_crop_within_the_bound_is_served_as_from_the_whole_frame(places):
    plain, packed = plain_and_packed(places)
    rng, errors, partial = np.random.default_rng(0), [], 0
    for one, other in zip(plain, packed, strict=True):
        for i in np.flatnonzero(one.visible):
            whole, frame = one.read_frame(i), other.open_frame(int(i))
            assert (frame.height, frame.width) == (HEIGHT, WIDTH)
            partial += frame.place.columns != slice(0, WIDTH)
            for mirrored in (False, True):
                shown = whole[:, ::-1] if mirrored else whole
                box = one.boxes_xywh[i].copy()
                if mirrored:
                    box[0] = WIDTH - 1 - box[0] - box[2]
                for _ in range(20):
                    geometry = CropGeometry.from_box(jittered(box, rng, 3), 4.0, 64)
                    crop = geometry.crop_frame(frame, mirrored=mirrored)
                    errors.append(np.abs(crop.astype(int) - geometry.crop_image(shown)).mean())
    assert len(errors) == 17 * 40
    assert partial >= 12  # most frames were not stored whole, so this tested something
    assert max(errors) < 0.5  # grey levels; the frames' own tables make it so small
    assert np.mean(errors) < 0.25


def test_a_crop_decodes_to_the_pixels_of_the_stored_picture(places):
    _, packed = plain_and_packed(places)
    frame = packed[0].open_frame(3)
    data = np.frombuffer(packed[0].read_frame_bytes(3), np.uint8)
    stored = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    rows, columns = slice(frame.place.rows.start + 5, frame.place.rows.stop - 9), slice(0, 30)
    expected = stored[rows.start - frame.place.rows.start : rows.stop - frame.place.rows.start, :30]
    np.testing.assert_array_equal(frame.region(rows, columns), expected)


@pytest.mark.parametrize("mirrored", [False, True])
def test_templates_are_read_from_a_small_part_that_is_stored_once_more(places, mirrored):
    _, packed = plain_and_packed(places)
    for sequence in packed:
        for i in np.flatnonzero(sequence.visible).tolist():
            near, whole = sequence.open_frame(i, near=True), sequence.open_frame(i)
            pixels = [f.place.part_height * f.place.part_width for f in (near, whole)]
            assert 4 * pixels[0] <= pixels[1]
            box = sequence.boxes_xywh[i].copy()
            if mirrored:
                box[0] = WIDTH - 1 - box[0] - box[2]
            for factor, size in ((2.0, 32), (4.0, 64)):  # the second is not in the small part
                geometry = CropGeometry.from_box(box, factor, size)
                one, other = (geometry.crop_frame(f, mirrored=mirrored) for f in (near, whole))
                np.testing.assert_array_equal(one, other)


def test_a_small_part_that_would_not_be_small_is_not_stored(places, tmp_path):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path, PackRule(RULE.reach, near=RULE.reach / 2))
    packed = open_packed(tmp_path)
    assert (packed[0].members[:, NEAR] == -1).all()
    assert (packed[0].members[:, RECORD] >= 0).all()
    assert packed[0].open_frame(3, near=True).place == packed[0].open_frame(3).place


def test_pixels_at_a_cut_are_not_served_but_those_at_the_frames_border_are(places):
    _, packed = plain_and_packed(places)
    frame = packed.find("right").open_frame(0)
    columns, rows, edge = frame.place.columns, slice(0, 50), tiled_jpeg.EDGE_PX
    assert 0 < columns.start < columns.stop == WIDTH
    assert frame.holds(rows, slice(columns.start + edge, WIDTH))
    assert not frame.holds(rows, slice(columns.start + edge - 1, WIDTH))
    left = packed.find("left").open_frame(0)
    stop = left.place.columns.stop
    assert left.place.columns.start == 0 < stop < WIDTH
    assert left.holds(rows, slice(0, stop - edge))
    assert not left.holds(rows, slice(0, stop - edge + 1))


def test_what_is_not_stored_is_said_so_or_read_from_the_data_set_that_was_packed(places):
    plain, packed = plain_and_packed(places)
    whole = slice(0, HEIGHT), slice(0, WIDTH)
    with pytest.raises(FrameError, match=r"columns 0 to 420 are wanted.*frame 0 \(from 0\) of"):
        packed[0].open_frame(0).region(*whole)
    with pytest.raises(FrameError) as caught:
        packed[0].read_frame(0)
    assert caught.value.cause == "partly packed"
    helped = make_dataset("packed:packed+folders", places, str(places / "cache"))
    np.testing.assert_array_equal(helped[0].open_frame(0).region(*whole), plain[0].read_frame(0))


def test_another_data_set_cannot_stand_in(places, tmp_path):
    write(tmp_path / "sequences", ("a", "b", "c"))
    (tmp_path / "sequences" / "c" / "groundtruth.txt").unlink()
    other = make_dataset("folders", tmp_path, str(tmp_path / "cache"), skip=("c",))
    with pytest.raises(ValueError, match="packed from 3 sequences of folders"):
        open_packed(places / "packed", other)


def test_absent_frames_are_not_stored_and_say_so(places):
    _, packed = plain_and_packed(places)
    assert packed[1].members[2, RECORD] == -1
    with pytest.raises(FrameError, match="its target was not visible") as caught:
        packed[1].open_frame(2)
    assert caught.value.cause == "missing"


def test_the_reach_is_the_farthest_that_a_crop_gets():
    rule = CropRule(size=384, factor=5.0, center_jitter=4.5, scale_jitter=0.5)
    # Both normals at 2: the sides grow by e; the crop spans 2.5 and shifts by 2.25 of the root.
    assert needed_reach([rule], 2 * np.sqrt(2)) == pytest.approx(np.e * 4.75)
    rng = np.random.default_rng(0)
    farthest = 0
    for _ in range(2000):
        normals = rng.standard_normal(2)
        normals += (3 * np.sqrt(2) - normals.sum()) / 2  # exactly three deviations
        box = jitter_box_xywh(
            np.array([-5.0, -5.0, 10.0, 10.0]),
            normals,
            rng.choice([0.0, 1.0], 2),
            center_jitter=4.5,
            scale_jitter=0.5,
        )
        center, root = box[:2] + box[2:] / 2, np.sqrt(box[2] * box[3])
        farthest = max(farthest, (np.abs(center) + 2.5 * root).max() / 10)
    assert farthest == pytest.approx(needed_reach([rule], 3))


def test_a_stopped_run_leaves_only_whole_shards_and_goes_on(places, tmp_path, monkeypatch):
    plain, _ = plain_and_packed(places)
    real = shard_files.pack_frame

    def pack_some(sequence, i, rule):
        if sequence.name == "middle" and i == 3:
            raise KeyboardInterrupt
        return real(sequence, i, rule)

    monkeypatch.setattr(shard_files, "pack_frame", pack_some)
    with pytest.raises(KeyboardInterrupt):
        pack(plain, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["packing.json", "shard-00000.array_record", "shard-00000.json"]
    with pytest.raises(ValueError, match="again to go on"):
        open_packed(tmp_path)
    before = (tmp_path / "shard-00000.array_record").stat().st_mtime_ns
    (tmp_path / ".shard-00001.array_record.99.part").write_bytes(b"killed")

    monkeypatch.setattr(shard_files, "pack_frame", real)
    notes = pack(plain, tmp_path)
    assert [note["frames"] for note in notes] == [6, 5, 6]
    assert (tmp_path / "shard-00000.array_record").stat().st_mtime_ns == before
    names = sorted(path.name for path in tmp_path.iterdir())
    files = [f"shard-0000{n}.array_record" for n in range(3)]
    assert names == ["annotations.index", "manifest.json", *files]
    for file in files:
        assert (tmp_path / file).read_bytes() == (places / "packed" / file).read_bytes()


def test_two_runs_at_once_in_one_folder_are_refused(places, tmp_path):
    plain, _ = plain_and_packed(places)
    notes = shards.pack_dataset(plain, tmp_path, RULE, frames_per_shard=7, num_workers=0)
    assert next(notes)["frames"] == 6
    part = tmp_path / ".shard-00001.array_record.99.part"  # as of the run that is at work
    part.write_bytes(b"half")
    with pytest.raises(ValueError, match=f"another process packs into {tmp_path}; wait for it"):
        pack(plain, tmp_path)
    assert part.exists()
    notes.close()
    assert not part.exists()
    assert len(pack(plain, tmp_path)) == 3


def test_a_run_with_other_settings_does_not_go_on(places, tmp_path):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path)
    with pytest.raises(ValueError, match=r"other settings: quality 95 \(now 80\)"):
        pack(plain, tmp_path, dataclasses.replace(RULE, quality=80))


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "bytes instead of"),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "changed"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_damaged_shards_are_found_and_made_again(places, tmp_path, harm, what):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path)
    assert [problem for _, problem in shards.verify(tmp_path)] == [""] * 4
    path = tmp_path / "shard-00001.array_record"
    harm(path)
    wrong = {file: problem for file, problem in shards.verify(tmp_path) if problem}
    assert list(wrong) == [path.name]
    assert what in wrong[path.name]
    path.unlink(missing_ok=True)
    pack(plain, tmp_path)
    assert [problem for _, problem in shards.verify(tmp_path)] == [""] * 4
    assert path.read_bytes() == (places / "packed" / path.name).read_bytes()


def test_frames_that_cannot_be_packed_are_counted_and_never_drawn(tmp_path):
    write(tmp_path / "sequences")
    (tmp_path / "sequences/left/img/00001.jpg").write_bytes(b"")
    whole = (tmp_path / "sequences/right/img/00004.jpg").read_bytes()
    (tmp_path / "sequences/right/img/00004.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "sequences/right/img/00005.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    rows = boxes(180)
    rows[4] = 500, 10, 20, 20  # beside the frame
    np.savetxt(tmp_path / "sequences/middle/groundtruth.txt", rows, "%g", ",")
    plain = make_dataset("folders", tmp_path, str(tmp_path / "cache"))
    notes = pack(plain, tmp_path / "packed")
    assert [note["problems"] for note in notes] == [
        {"empty": 1},
        {"unusable": 1},
        {"unusable": 2},
    ]
    assert "00001.jpg: the file is empty" in notes[0]["examples"][0]
    assert "lies outside the frame" in notes[1]["examples"][0]
    packed = open_packed(tmp_path / "packed")
    np.testing.assert_array_equal(packed.num_visible, [5, 5, 4])
    assert not packed[0].visible[1]


def test_files_can_be_kept_as_they_are(places, tmp_path):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path, PackRule(RULE.reach, keep_files=True))
    packed = open_packed(tmp_path)
    for i in (0, 5):
        assert packed[2].read_frame_bytes(i) == plain[2].read_frame_bytes(i)
        np.testing.assert_array_equal(packed[2].read_frame(i), plain[2].read_frame(i))
    with pytest.raises(ValueError, match="excludes keep_files"):
        PackRule(3.0, max_target=100, keep_files=True)


def test_frames_of_large_targets_can_be_made_smaller_with_their_boxes(places, tmp_path):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path, PackRule(100.0, max_target=14))
    packed = open_packed(tmp_path)
    np.testing.assert_array_equal(packed[0].boxes_xywh[0], plain[0].boxes_xywh[0])  # 14 x 12 px
    assert packed[0].read_frame(0).shape == (HEIGHT, WIDTH, 3)
    scale = 14 / np.sqrt(19 * 12)  # frame 5 has 19 x 12 px
    frame = packed[0].read_frame(5)
    assert frame.shape == (round(HEIGHT * scale), round(WIDTH * scale), 3)
    expected = cv2.resize(plain[0].read_frame(5), frame.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(frame.astype(int) - expected).mean() < 4
    np.testing.assert_allclose(packed[0].boxes_xywh[5], plain[0].boxes_xywh[5] * scale, rtol=0.01)
    with pytest.raises(ValueError, match="with max_target 14; folders with 3 cannot stand in"):
        open_packed(tmp_path, plain)


def test_stills_are_packed_though_no_flag_says_visible(tmp_path):
    (tmp_path / "stills").mkdir()
    (tmp_path / "stills" / "a.jpg").write_bytes(image("still", 0))
    line = {"file": "a.jpg", "boxes": [[100, 50, 60, 40], [5, 5, 0, 9]]}
    (tmp_path / "stills.jsonl").write_text(json.dumps(line) + "\n")
    plain = make_dataset("stills", tmp_path, str(tmp_path / "cache"))
    notes = pack(plain, tmp_path / "packed")
    assert [(note["frames"], note["problems"]) for note in notes] == [(1, {"unusable": 1})]
    assert num_packed_frames(plain).sum() == 2
    still = open_packed(tmp_path / "packed")[0]
    assert not still.is_video
    assert still.open_frame(0).width == WIDTH


def test_a_data_set_travels_to_worker_processes_and_packing_uses_them(places, tmp_path):
    plain, packed = plain_and_packed(places)
    pack(plain, tmp_path, num_workers=1)
    copy = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(copy[1].boxes_xywh, packed[1].boxes_xywh)
    for path in tmp_path.glob("*.array_record"):
        assert path.read_bytes() == (places / "packed" / path.name).read_bytes()


def test_damaged_records_and_manifests_are_reported(places, tmp_path):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path)
    path = tmp_path / "shard-00000.array_record"
    whole = path.read_bytes()
    path.write_bytes(whole[:10_000] + bytes(20_000) + whole[30_000:])
    with pytest.raises(FrameError, match=r"cannot be read.*--verify") as caught:
        open_packed(tmp_path)[0].open_frame(5)
    assert caught.value.cause == "damaged"
    index = tmp_path / "annotations.index"
    for content in (b"", bytes(index.stat().st_size)):
        index.write_bytes(content)
        with pytest.raises(ValueError, match=r"annotations\.index.*it only makes what is missing"):
            open_packed(tmp_path)
    for content in ('{"format": 99}', '{"format": 2}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(ValueError, match="manifest of format 2"):
            open_packed(tmp_path)


def test_what_a_stopped_packing_left_damaged_is_named(places, tmp_path, monkeypatch):
    plain, _ = plain_and_packed(places)
    monkeypatch.setattr(shards, "write_index", stop)
    with pytest.raises(KeyboardInterrupt):
        pack(plain, tmp_path)
    monkeypatch.undo()
    path = tmp_path / "shard-00001.array_record"
    size = path.stat().st_size
    path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"{path} is damaged: delete it and pack again"):
        pack(plain, tmp_path)
    path.unlink()
    begun = tmp_path / shards.BEGUN
    settings = begun.read_bytes()
    begun.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{begun} is damaged .*: delete {tmp_path} and pack"):
        pack(plain, tmp_path)
    begun.write_bytes(settings)
    pack(plain, tmp_path)
    assert {problem for _, problem in shards.verify(tmp_path)} == {""}


def stop(*unused):
    raise KeyboardInterrupt


def test_a_shard_that_is_not_there_or_cut_is_named_before_training(places, tmp_path):
    plain, _ = plain_and_packed(places)
    pack(plain, tmp_path)
    path = tmp_path / "shard-00001.array_record"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(
        ValueError, match=rf"{path} has {len(whole) - 1} bytes instead of {len(whole)}; run"
    ):
        open_packed(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=rf"{path} cannot be had \(No such file"):
        open_packed(tmp_path)
    pack(plain, tmp_path)
    assert path.read_bytes() == whole
    open_packed(tmp_path)


def rename(folder):
    (folder / "middle").rename(folder / "muddle")


def move_a_box(folder):
    file = folder / "right/groundtruth.txt"
    assert file.read_text().count("391,73.5") == 1
    file.write_text(file.read_text().replace("391,73.5", "391,73.6"))


def hide_a_target(folder):
    lines = (folder / "left/groundtruth.txt").read_text().splitlines()
    (folder / "left/groundtruth.txt").write_text("\n".join([*lines[:5], "nan,nan,nan,nan"]))


def encode_anew(folder):
    for path in folder.glob("*/img/*.jpg"):
        cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 50])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, "its names, boxes or flags have changed"),
        (move_a_box, "its names, boxes or flags have changed"),
        (hide_a_target, "its names, boxes or flags have changed"),
        (encode_anew, "its images have changed"),
    ],
)
def test_a_data_set_that_changed_is_noticed_on_resume_and_when_it_stands_in(
    tmp_path, change, said, monkeypatch
):
    write(tmp_path / "sequences")
    cache = str(tmp_path / "cache")
    plain = make_dataset("folders", tmp_path, cache)
    pack(plain, tmp_path / "packed")
    with monkeypatch.context() as stop:
        stop.setattr(shards, "write_index", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pack(plain, tmp_path / "stopped")
    change(tmp_path / "sequences")
    now = make_dataset("folders", tmp_path, cache)
    for folder in ("packed", "stopped"):
        with pytest.raises(ValueError, match=f"other settings: .*{said}.* or another folder"):
            pack(now, tmp_path / folder)
    with pytest.raises(ValueError, match=f"folders is not as it was packed into .*: {said}; pack"):
        make_dataset("packed:packed+folders", tmp_path, cache)


def test_a_data_set_that_moved_into_an_archive_is_the_same(places, tmp_path):
    files = (path for path in (places / "sequences").rglob("*") if path.is_file())
    tree = {str(path.relative_to(places / "sequences")): path.read_bytes() for path in files}
    archive = small.zip_bytes(tree, compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "elsewhere.zip").write_bytes(archive)
    moved = make_dataset("folders:elsewhere.zip", tmp_path, str(tmp_path / "cache"))
    packed = open_packed(places / "packed", moved)
    assert packed[0].open_frame(0).region(slice(0, HEIGHT), slice(0, WIDTH)).shape[0] == HEIGHT
    assert fingerprint(moved) == fingerprint(make_dataset("folders", places, str(tmp_path / "c")))


def test_a_part_of_a_data_set_has_its_own_fingerprint(places):
    cache = str(places / "cache")
    part, same, other = (
        make_dataset("folders", places, cache, skip=[name]) for name in ("left", "left", "right")
    )
    assert fingerprint(part) == fingerprint(same)
    assert fingerprint(part)["annotations_sha256"] != fingerprint(other)["annotations_sha256"]
    drawn = fingerprint(SyntheticDataset(count=2, rule=SceneRule(num_frames=24)))
    assert drawn == fingerprint(SyntheticDataset(count=2, rule=SceneRule(num_frames=24)))
    assert drawn != fingerprint(SyntheticDataset(count=2, rule=SceneRule(num_frames=24), seed=1))


def test_an_estimate_measures_what_packing_gives(places):
    plain, packed = plain_and_packed(places)
    found = estimate(plain, RULE, SEARCH, np.random.default_rng(0), count=40)
    sizes = [
        len(packed[n]._read_record(i, column))
        for n in range(3)
        for i in np.flatnonzero(plain[n].visible)
        for column in (RECORD, NEAR)
    ]
    assert found.frame_bytes == pytest.approx(2 * np.mean(sizes), rel=0.2)
    assert 0 < found.error < 0.4
    assert found.outside < 0.005
    assert 0.1 < found.stored < 0.9
    tight = estimate(plain, PackRule(1.0), SEARCH, np.random.default_rng(0), count=20)
    assert tight.outside > 0.5


def test_boxes_too_large_to_crop_do_not_stop_an_estimate(tmp_path):
    write(tmp_path / "sequences")
    boxes = tmp_path / "sequences/middle/groundtruth.txt"
    count = len(boxes.read_text().splitlines())
    boxes.write_text("1,1,30000,30000\n" * (count // 2) + "100,80,40,30\n" * (count - count // 2))
    plain = make_dataset("folders", tmp_path, str(tmp_path / "cache"))
    found = estimate(plain, RULE, SEARCH, np.random.default_rng(0), count=20)
    assert 0 < found.error < 0.4


def test_worker_processes_make_the_same_batches_from_shards(tmp_path):
    config = esat_vit_b256.get_config("smoke").to_dict()
    config["batch_size"] = 4
    rule = SceneRule(height=120, width=200, num_frames=24)
    list(write_sequences(SyntheticDataset(rule=rule), 3, tmp_path, "folders"))
    plain = make_dataset("folders", tmp_path, str(tmp_path / "cache"))
    pack(plain, tmp_path / "packed")
    packed = open_packed(tmp_path / "packed")

    def batches(dataset, num_workers):
        config["data"] |= {"num_workers": num_workers, "samples_per_epoch": 8}
        with make_train_batches(config, [dataset]) as iterator:
            return [next(iterator) for _ in range(2)]

    here, there = batches(packed, 0), batches(packed, 1)
    for one, other, original in zip(here, there, batches(plain, 0), strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
        np.testing.assert_array_equal(one["box_cxcywh"], original["box_cxcywh"])
        assert np.abs(one["search"].astype(int) - original["search"]).mean() < 1
