import pytest

import small_datasets as small
from esat_jax.evaluation.benchmarks import UAV123_ATTRIBUTES
from launch.benchmark_truth import read_truths


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))


def test_attributes_have_names(tmp_path):
    tree = small.uav123() | {"anno/UAV123/att/bird1_1.txt": b"0,0,1,0,0,0,1,0,0,0,0,1"}
    small.write_folder(tmp_path / "uav123", tree)
    truths = read_truths("uav123", tmp_path)
    assert list(truths) == ["uav_bird1_1", "uav_bird1_2", "uav_car1_s"]
    assert truths["uav_bird1_1"].attributes == ("LR", "OV", "SOB")
    assert truths["uav_car1_s"].attributes is None
    assert truths["uav_bird1_1"].frame_size == (32, 24)
    assert len(UAV123_ATTRIBUTES) == 12


def test_a_wrong_number_of_attributes_is_told(tmp_path):
    small.write_folder(tmp_path / "uav123", small.uav123())
    with pytest.raises(ValueError, match="uav_bird1_1: expected 12 attributes of uav123, SV, ARC"):
        read_truths("uav123", tmp_path)
    truths = read_truths("uav123", tmp_path, sequences=["uav_car1_s"])
    assert list(truths) == ["uav_car1_s"]
    with pytest.raises(ValueError, match="uav123 has no sequence 'uav_cat'"):
        read_truths("uav123", tmp_path, sequences=["uav_cat"])


@pytest.mark.parametrize("name", ["got10k_test", "trackingnet_test:somewhere"])
def test_truth_that_a_server_keeps_cannot_be_read(name):
    with pytest.raises(ValueError, match=r"is kept by its server: python -m launch\.submit makes"):
        read_truths(name)


def test_flags_and_cover_come_along(tmp_path):
    small.write_folder(tmp_path / "got10k", small.got10k())
    truth = read_truths("got10k_val", tmp_path)["GOT-10k_Val_000001"]
    assert truth.absent.tolist() == [False, True, False, False]
    assert truth.cover.tolist() == [8, 8, 0, 1]
    assert truth.boxes_xywh[1].tolist() == [1, 2, 10.5, 8]
