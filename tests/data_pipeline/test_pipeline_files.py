"""From files on disk to batches, with faults planted in the files."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest

import detweights
from configs.base import get_base_config
from data_pipeline.pipeline import make_train_batches, make_val_batches

NUM_FRAMES = 24
BROKEN = "00007.jpg"


def write_sequence(folder, name, num_frames=NUM_FRAMES, box="20,15,14,18", prefix=b""):
    images = os.path.join(os.fsencode(folder), os.fsencode(name), b"img")
    os.makedirs(images)
    for number in range(1, num_frames + 1):
        image = detweights.smooth_image(f"{name}/{number}", 48, 64, cells=(16, 8))
        data = cv2.imencode(".jpg", image)[1].tobytes()
        with open(os.path.join(images, prefix + b"%05d.jpg" % number), "wb") as file:
            file.write(data)
    (folder / name / "groundtruth.txt").write_text(f"{box}\n" * num_frames)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "sequences"
    write_sequence(folder, "good")
    return tmp_path / "data"


def batches_of(root, num_workers=0, make=make_train_batches, **data):
    config = get_base_config()
    config.batch_size = 4
    config.template.size, config.search.size = 32, 64
    config.data.update({"root": str(root), "datasets": ("folders",), "samples_per_epoch": 4_000})
    config.data.update({"val_datasets": ("folders",), "val_samples": 8})
    config.data.update({"num_workers": num_workers} | data)
    return make(config.to_dict())


def take(batches, count):
    with batches:
        return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("fault", ["cut short", "empty", "no image", "missing"])
def test_a_frame_that_cannot_be_read_is_replaced_and_counted_with_its_name(root, fault, caplog):
    path = root / "sequences" / "good" / "img" / BROKEN
    if fault == "missing":
        batches = batches_of(root)  # the index knows the file
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes({"cut short": data[:300], "empty": b"", "no image": b"text"}[fault])
        batches = batches_of(root)
    with batches:
        while not batches.skip_counts:
            assert batches.get_state()["step"] < 100
            assert next(batches)["search"].dtype == np.uint8
        (cause,) = batches.skip_counts
    assert cause.endswith(" frame")
    assert str(path) in caplog.text
    assert "sequence good of folders" in caplog.text


def test_short_and_unseen_sequences_are_left_out_with_a_count(root, caplog):
    caplog.set_level("INFO")
    write_sequence(root / "sequences", "short", 19)
    write_sequence(root / "sequences", "unseen", box="nan,nan,nan,nan")
    sources = [name for batch in take(batches_of(root), 20) for name in batch["source"]]
    assert all(name.startswith("folders good: ") for name in sources)
    assert (
        "folders: 1 sequences; left out: shorter than 20 frames 1, fewer than 5 visible frames 1"
        in caplog.text
    )


def test_nothing_but_unseen_targets_is_refused_before_training(root):
    shutil.rmtree(root / "sequences" / "good")
    write_sequence(root / "sequences", "unseen", box="nan,nan,nan,nan")
    with pytest.raises(ValueError, match="folders: none of its 1 sequences can be drawn"):
        batches_of(root)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_on_broken_files_stops_with_the_list_of_them(root, num_workers):
    for path in (root / "sequences" / "good" / "img").iterdir():
        if path.name > "00003.jpg":
            path.write_bytes(b"text")
    with pytest.raises(ValueError, match="draws") as caught:
        take(batches_of(root, num_workers, max_skip_share=0.0), 50)
    assert "sequences/good/img/000" in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_file_names_that_are_no_text_are_read_like_others(root, num_workers):
    write_sequence(root / "sequences", "strange", prefix=b"\xff")
    batches = take(batches_of(root, num_workers), 4)
    names = {source.split(":")[0] for batch in batches for source in batch["source"]}
    assert names == {"folders good", "folders strange"}


def test_a_broken_file_with_a_name_that_is_no_text_is_named_in_escapes(root, caplog):
    shutil.rmtree(root / "sequences" / "good")
    write_sequence(root / "sequences", "strange", prefix=b"\xff")
    strange = os.path.join(os.fsencode(root), b"sequences/strange/img/\xff" + BROKEN.encode())
    with open(strange, "wb") as file:
        file.write(b"text")
    with batches_of(root) as batches:
        while not batches.skip_counts:
            assert batches.get_state()["step"] < 100
            next(batches)
    assert "\\xff" + BROKEN in caplog.text
    caplog.text.encode()  # can be written to any log


def test_a_still_without_area_is_replaced_and_named(root, caplog):
    (root / "stills").mkdir()
    image = detweights.smooth_image("still", 48, 64, cells=(16, 8))
    cv2.imwrite(str(root / "stills" / "a.jpg"), image)
    line = {"file": "a.jpg", "boxes": [[5, 6, 20, 0], [5, 6, 20, 30]]}
    (root / "stills.jsonl").write_text(json.dumps(line))
    with batches_of(root, datasets=("stills",)) as batches:
        sources = {source for _ in range(3) for source in next(batches)["source"]}
        assert sources == {"stills a.jpg#1: template 0, search 0"}
        assert batches.skip_counts["damaged box"]
    assert "stills/a.jpg (stills a.jpg#0, frame 0, from 0): a box must have" in caplog.text


def test_a_sequence_with_damaged_annotations_is_left_out_and_counted(root, caplog):
    write_sequence(root / "sequences", "bad")
    (root / "sequences/bad/groundtruth.txt").write_text("20;15;14;18\n" * NUM_FRAMES)
    (root / "sequences/frames only/img").mkdir(parents=True)
    write_sequence(root / "sequences", "better")
    sources = [name for batch in take(batches_of(root), 10) for name in batch["source"]]
    assert {name.split(":")[0] for name in sources} == {"folders good", "folders better"}
    assert "2 of 4 sequences cannot be used (damaged box 1, missing file 1)" in caplog.text
    assert f"{root}/sequences/bad/groundtruth.txt:1: expected four numbers" in caplog.text
    assert f"{root}/sequences/frames only: a sequence has img/ and ground" in caplog.text


@pytest.mark.parametrize("make", [make_train_batches, make_val_batches])
def test_too_many_damaged_annotations_stop_before_training_with_the_list(root, make):
    for number in range(2):
        write_sequence(root / "sequences", f"bad{number}", 2, box="1,2,3")
    with pytest.raises(ValueError, match=r"folders: .* 2 of 3 .* more than the 1 that") as caught:
        batches_of(root, make=make)
    assert "bad0/groundtruth.txt:1" in str(caught.value)
    assert "bad1/groundtruth.txt:1" in str(caught.value)


@pytest.mark.slow
def test_files_give_the_same_bytes_for_0_1_and_4_workers_and_after_a_stop(root):
    """With faults among the files, so that draws are replaced; the state passes through JSON."""
    write_sequence(root / "sequences", "damaged")
    for number in range(0, NUM_FRAMES, 3):
        (root / f"sequences/damaged/img/{number + 1:05d}.jpg").write_bytes(b"text")
    write_sequence(root / "sequences", "left out", 2, box="1;2;3;4")
    (root / "stills").mkdir()
    for name in "ab":
        image = detweights.smooth_image(f"still {name}", 48, 64, cells=(16, 8))
        cv2.imwrite(str(root / "stills" / f"{name}.jpg"), image)
    rows = [{"file": f"{name}.jpg", "boxes": [[5, 6, 20, 30]]} for name in "ab"]
    (root / "stills.jsonl").write_text("\n".join(map(json.dumps, rows)))
    datasets, count, stop = ("folders", "stills"), 8, 3

    def whole(num_workers):
        return as_bytes(take(batches_of(root, num_workers, datasets=datasets), count))

    expected = whole(0)
    assert len({batch["search"] for batch in expected}) == count
    assert whole(1) == expected
    with batches_of(root, 4, datasets=datasets) as batches:
        head = as_bytes([next(batches) for _ in range(stop)])
        state = json.loads(json.dumps(batches.get_state()))
        tail = as_bytes([next(batches) for _ in range(count - stop)])
        assert batches.skip_counts["damaged frame"] > 0
    assert head + tail == expected
    again = batches_of(root, datasets=datasets)
    again.set_state(state)
    assert as_bytes(take(again, count - stop)) == tail


def as_bytes(batches):
    return [{name: value.tobytes() for name, value in batch.items()} for batch in batches]


@pytest.mark.parametrize(
    ("box", "drawn", "skipped"),
    [
        ("20,15,-14,18", False, None),
        ("20,15,14,0", False, None),
        ("0,0,0,0", False, None),
        ("nan,nan,nan,nan", False, None),
        ("164,15,14,18", False, "box outside the frame"),
        ("-40,-40,14,18", False, "box outside the frame"),
        ("1e9,1e9,14,18", False, "box outside the frame"),
        ("20,15,1,1", True, None),
        ("63,47,9,9", True, None),
        ("-30,-30,130,110", True, None),
    ],
)
def test_a_strange_box_is_never_drawn_or_makes_a_sample_or_a_counted_skip(
    root, box, drawn, skipped
):
    lines = (root / "sequences/good/groundtruth.txt").read_text().splitlines()
    (root / "sequences/good/groundtruth.txt").write_text("\n".join([*lines[:7], box, *lines[8:]]))
    frames, causes = set(), set()
    with batches_of(root) as batches:
        for _ in range(12):
            batch = next(batches)
            causes |= set(batches.skip_counts) - {"empty crop"}
            for source, sides in zip(batch["source"], batch["box_cxcywh"], strict=True):
                assert np.isfinite(sides).all()
                frames |= set(re.findall(r"\d+", source.split(":")[1]))
    assert ("7" in frames) == drawn
    assert causes == ({skipped} if skipped else set())


def test_sequences_that_are_listed_are_left_out(root):
    write_sequence(root / "sequences", "bad")
    batches = take(batches_of(root, skip_sequences=("bad",)), 10)
    assert all(name.startswith("folders good") for batch in batches for name in batch["source"])


def test_validation_reads_its_own_data_sets(root):
    batches = list(batches_of(root, make=make_val_batches, datasets=("coco",)))
    assert len(batches) == 2
    assert all(name.startswith("folders good") for batch in batches for name in batch["source"])


def test_reduced_decoding_changes_pixels_a_little_and_nothing_else(root):
    folder = root / "sequences"
    shutil.rmtree(folder)
    image = cv2.resize(detweights.smooth_image("large", 90, 160, cells=(32, 16)), (1280, 720))
    (folder / "big" / "img").mkdir(parents=True)
    for number in range(NUM_FRAMES):
        cv2.imwrite(str(folder / "big" / "img" / f"{number}.jpg"), image)
    (folder / "big" / "groundtruth.txt").write_text("400,200,400,300\n" * NUM_FRAMES)
    (plain,), (reduced,) = (
        take(batches_of(root, reduced_decoding=choice), 1) for choice in (False, True)
    )
    for name in plain:
        if name not in ("template", "search"):
            np.testing.assert_array_equal(plain[name], reduced[name])
    difference = np.abs(plain["search"].astype(int) - reduced["search"])
    assert 0 < difference.mean() < 2
