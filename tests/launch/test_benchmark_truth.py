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


def test_lasot_and_tnl2k_have_the_columns_of_their_toolkits(tmp_path):
    flags = ",".join("1" if i in (0, 4, 16) else "0" for i in range(17))
    small.write_folder(tmp_path / "tnl2k", small.tnl2k())
    small.write_folder(
        tmp_path / "annos", {"absent/b_video.txt": b"0\n0\n1\n", "att/b_video.txt": flags.encode()}
    )
    truths = read_truths("tnl2k_test", tmp_path, tmp_path / "annos", sequences=["b_video"])
    assert truths["b_video"].attributes == ("CM", "IV", "MS")
    assert truths["b_video"].absent.tolist() == [False, False, True]


def test_otb_has_attributes_in_its_toolkit_under_names_in_any_case(tmp_path):
    small.write_folder(tmp_path / "otb", small.otb())
    att = {"board": "0,1,1,0,0,1,1,0,1,1,0", "jogging-2": "0,1,0,1,1,0,0,0,0,0,0"}
    tree = {f"att/{name}.txt": flags.encode() for name, flags in att.items()}
    tree["att/Basketball.txt"] = b"1\t1\t0\t1\t1\t0\t0\t0\t0\t1\t0\n"
    small.write_folder(tmp_path / "anno", tree)
    truths = read_truths("otb", tmp_path, tmp_path / "anno")
    found = {name: truth.attributes for name, truth in truths.items() if truth.attributes}
    assert found == {
        "Basketball": ("IV", "OPR", "OCC", "DEF", "BC"),
        "Board": ("OPR", "SV", "MB", "FM", "OV", "BC"),
        "Jogging_2": ("OPR", "OCC", "DEF"),
    }
    assert all(truth.attributes is None for truth in read_truths("otb", tmp_path).values())
    with pytest.raises(ValueError, match=r"att: expected the folder `anno` of OTB's toolkit"):
        read_truths("otb", tmp_path, tmp_path / "otb")


def test_got10k_says_what_its_targets_are_and_how_they_move(tmp_path):
    tree = small.got10k()
    info = b"[METAINFO]\nurl: https://x.y/z\nobject_class: ctenophore\nroot_class: animal\n"
    tree["val/GOT-10k_Val_000001/meta_info.ini"] = info + b"motion_adverb: slowly\n"
    small.write_folder(tmp_path / "got10k", tree)
    truth = read_truths("got10k_val", tmp_path)["GOT-10k_Val_000001"]
    assert truth.attributes == ("root_class: animal", "motion_adverb: slowly")


def test_a_toolkit_of_a_data_set_that_has_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is none for uav123; LaSOT, TNL2K and OTB have one"):
        read_truths("uav123", tmp_path, tmp_path)


def test_flags_and_cover_come_along(tmp_path):
    small.write_folder(tmp_path / "got10k", small.got10k())
    truth = read_truths("got10k_val", tmp_path)["GOT-10k_Val_000001"]
    assert truth.absent.tolist() == [False, True, False, False]
    assert truth.cover.tolist() == [8, 8, 0, 1]
    assert truth.boxes_xywh[1].tolist() == [1, 2, 10.5, 8]
