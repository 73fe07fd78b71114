"""Results go on where they are this tracker's, and are refused where they are another's."""

import dataclasses
import json

import numpy as np
import pytest

from configs import esat_vit_b256
from esat_jax.evaluation.manifest import Maker, ResultFolder, file_sha256, read_frame_scores
from esat_jax.evaluation.result_files import read_results, read_times
from esat_jax.follower import Track

CONFIG = esat_vit_b256.get_config("smoke").to_dict()
MAKER = Maker("otb", "ab" * 32, CONFIG)
NAMES = ("Car", "Jogging_1", "Suv")


@dataclasses.dataclass(frozen=True)
class Sequence:
    name: str
    boxes_xywh: np.ndarray

    def __len__(self):
        return len(self.boxes_xywh)


def sequence(name="Car", length=4, x=5.0):
    return Sequence(name, np.array([[x, 6, 30.5, 20]] + [[np.nan] * 4] * (length - 1)))


def make_track(name="Car", length=4):
    boxes_xywh = np.full((length, 4), 12.34567)
    boxes_xywh[0] = sequence(name).boxes_xywh[0]
    scores = np.array([np.nan, 0.123456, 0.9, 0.25][:length])
    lost = np.array([False, True, False, True][:length])
    return Track(sequence(name, length), boxes_xywh, scores, lost, np.full(length, 0.01), None)


def claimed(tmp_path, maker=MAKER, **options):
    folder = ResultFolder(tmp_path, "esat", maker)
    folder.claim(NAMES, {"jax": "1"}, **options)
    return folder


@pytest.fixture
def finished(tmp_path):
    """A folder with results of all sequences."""
    folder = claimed(tmp_path)
    for name in NAMES:
        folder.write(make_track(name))
    return folder


def test_written_results_are_finished_and_can_be_read(finished, tmp_path):
    assert all(finished.is_finished(sequence(name)) for name in NAMES)
    assert all(claimed(tmp_path).is_finished(sequence(name)) for name in NAMES)
    boxes_xywh = read_results(tmp_path / "esat", "otb", NAMES)["Suv"]
    np.testing.assert_array_equal(boxes_xywh, [[5, 6, 30.5, 20], *[[12.346] * 4] * 3])
    np.testing.assert_array_equal(read_times(tmp_path, "otb", NAMES)["Suv"], [[0.01]] * 4)
    scores, lost = read_frame_scores(tmp_path, "esat", "Suv")
    np.testing.assert_array_equal(scores, [np.nan, 0.1235, 0.9, 0.25])
    assert lost.tolist() == [False, True, False, True]
    manifest = json.loads((tmp_path / "esat_run/manifest.json").read_text())
    assert manifest["made_by"]["weights sha256"] == "ab" * 32
    assert manifest["made_with"] == {"jax": "1"}


def test_side_files_are_taken_for_no_results(finished, tmp_path):
    assert sorted(read_results(tmp_path, "otb")) == sorted(NAMES)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("esat/Car.txt", lambda text: text.replace("12.346", "12.345", 1)),
        ("esat/Car.txt", lambda text: text[:-30]),
        ("esat/Car.txt", None),
        ("esat/Car_time.txt", None),
        ("esat_run/frames/Car.json", lambda text: text[:-30]),
        ("esat_run/frames/Car.json", lambda text: "[]"),
        ("esat_run/frames/Car.json", None),
    ],
)
def test_a_sequence_with_a_changed_file_is_not_finished(finished, tmp_path, path, change):
    path = tmp_path / path
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text()))
    assert not finished.is_finished(sequence("Car"))
    assert finished.is_finished(sequence("Suv"))


def test_a_sequence_that_has_changed_is_not_finished(finished):
    assert not finished.is_finished(sequence("Car", length=5))
    assert not finished.is_finished(sequence("Car", x=5.5))


def other(**changes):
    return dataclasses.replace(MAKER, **changes)


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        (other(weights_sha256="cd" * 32), f"weights sha256 was {'ab' * 32} and is {'cd' * 32}"),
        (
            other(config=CONFIG | {"compute_dtype": "bfloat16"}),
            "config.compute_dtype was float32 and is bfloat16",
        ),
        (
            other(config=CONFIG | {"tracker": {"lost_threshold": 0.5}}),
            "config.tracker.lost_threshold was 0.3 and is 0.5",
        ),
        (other(integer_boxes=True), "integer_boxes was False and is True"),
        (other(benchmark="nfs"), "benchmark was otb and is nfs"),
    ],
)
def test_another_makers_results_are_refused_and_replaced_only_when_asked(
    finished, tmp_path, maker, words
):
    with pytest.raises(ValueError, match="by another tracker") as raised:
        claimed(tmp_path, maker)
    assert words in str(raised.value)
    assert "--replace" in str(raised.value)
    assert all(finished.is_finished(sequence(name)) for name in NAMES)

    folder = claimed(tmp_path, maker, replace=True)
    assert not any(folder.is_finished(sequence(name)) for name in NAMES)
    assert not list(tmp_path.rglob("*.txt"))  # what is not made again is not scored
    folder.write(make_track("Suv"))
    again = claimed(tmp_path, maker, replace=True)  # as a run that goes on, or another part
    assert again.is_finished(sequence("Suv"))
    with pytest.raises(ValueError, match="by another tracker"):
        claimed(tmp_path)


def test_what_training_reads_makes_no_difference(finished, tmp_path):
    config = CONFIG | {"optim": {}, "data": {"root": "/elsewhere"}}
    assert claimed(tmp_path, other(config=config)).is_finished(sequence("Car"))


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_manifest_is_told(finished, tmp_path, content):
    (tmp_path / "esat_run/manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest.json: the file is damaged.* --replace"):
        claimed(tmp_path)
    assert claimed(tmp_path, replace=True).is_finished(sequence("Car"))


def test_results_without_a_manifest_are_nobodys(tmp_path):
    (tmp_path / "esat").mkdir()
    (tmp_path / "esat/Suv.txt").write_text("1,2,3,4\n")
    with pytest.raises(ValueError, match=r"Suv.txt: nothing there says what tracker made it\."):
        claimed(tmp_path)
    claimed(tmp_path, replace=True)
    assert not (tmp_path / "esat/Suv.txt").exists()


def test_integer_boxes_are_cut(tmp_path):
    folder = claimed(tmp_path, other(integer_boxes=True))
    folder.write(make_track("Car"))
    assert (tmp_path / "esat/Car.txt").read_text() == "5,6,30,20\n" + "12,12,12,12\n" * 3
    assert folder.is_finished(sequence("Car"))


def test_a_missing_or_damaged_record_of_scores_is_told(finished, tmp_path):
    with pytest.raises(FileNotFoundError):
        read_frame_scores(tmp_path, "esat", "Nobody")
    (tmp_path / "esat_run/frames/Car.json").write_text("{}")
    with pytest.raises(ValueError, match=r"Car.json: expected the record of a sequence"):
        read_frame_scores(tmp_path, "esat", "Car")


def test_checksums_are_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "abc") == expected
    assert file_sha256(tmp_path / "nothing") is None
