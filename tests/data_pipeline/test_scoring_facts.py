import pytest

import small_datasets as small
from data_pipeline.datasets import make_dataset
from data_pipeline.scoring_facts import read_scoring_facts
from data_pipeline.stores import open_store


@pytest.fixture
def open_set(tmp_path):
    def open_set(name, folder, tree):
        small.write_folder(tmp_path / folder, tree)
        return make_dataset(name, tmp_path, cache_dir=str(tmp_path / "cache"))

    return open_set


def test_lasot_is_absent_where_it_is_occluded_or_out_of_view(open_set):
    tree = small.lasot_sequence("airplane/airplane-1", 4, occluded=(1,), out_of_view=(1, 2))
    facts = read_scoring_facts(open_set("lasot_test", "lasot", tree)[0])
    assert facts.absent.tolist() == [False, True, True, False]
    assert facts.frame_size == (32, 24)
    assert facts.cover is None
    assert facts.attributes is None


def test_got10k_has_flags_cover_and_a_stated_resolution(open_set):
    tree, info = small.got10k(), "val/GOT-10k_Val_000001/meta_info.ini"
    facts = read_scoring_facts(open_set("got10k_val", "got10k", tree)[0])
    assert facts.absent.tolist() == [False, True, False, False]
    assert facts.cover.tolist() == [8, 8, 0, 1]
    assert facts.frame_size == (32, 24)  # of the first frame: the file does not say
    tree[info] = b"[METAINFO]\nurl: https://x.y/z\nresolution: (1920, 1080)\n"
    facts = read_scoring_facts(open_set("got10k_val", "got10k", tree)[0])
    assert facts.frame_size == (1920, 1080)
    tree[info] = b"[METAINFO]\nresolution: 1920x1080\n"
    with pytest.raises(ValueError, match=r"meta_info\.ini: expected 'resolution: \(width"):
        read_scoring_facts(open_set("got10k_val", "got10k", tree)[0])


def test_uav123_has_attributes_and_nan_instead_of_flags(open_set):
    dataset = open_set("uav123", "uav123", small.uav123())
    facts = read_scoring_facts(dataset.find("uav_bird1_1"))
    assert facts.absent is None
    assert facts.attributes.tolist() == [0, 0, 1]
    assert read_scoring_facts(dataset.find("uav_car1_s")).attributes is None


def test_tnl2k_takes_its_toolkits_flags_or_frames_without_a_box(open_set, tmp_path):
    tree = small.tnl2k() | {"test/b_video/groundtruth.txt": b"1,2,3,4\n1,2,0,4\n1,2,3,4\n"}
    sequence = open_set("tnl2k_test", "tnl2k", tree)[0]
    assert read_scoring_facts(sequence).absent.tolist() == [False, True, False]
    small.write_folder(tmp_path / "annos", {"absent/b_video.txt": b"0\n0\n1\n"})
    toolkit = open_store(tmp_path / "annos")
    facts = read_scoring_facts(sequence, toolkit)
    assert facts.absent.tolist() == [False, False, True]
    assert facts.attributes is None
    small.write_folder(tmp_path / "annos", {"att/b_video_attribute.txt": b"1,0,1"})
    assert read_scoring_facts(sequence, toolkit).attributes.tolist() == [1, 0, 1]
    (tmp_path / "annos/absent/b_video.txt").write_text("0,1")
    with pytest.raises(ValueError, match=r"b_video\.txt: expected 3 numbers, one per box, got 2"):
        read_scoring_facts(sequence, toolkit)
    (tmp_path / "annos/absent/b_video.txt").unlink()
    with pytest.raises(ValueError, match=r"b_video\.txt: the file is missing, scoring needs it"):
        read_scoring_facts(sequence, toolkit)


def test_annotations_without_frames_have_no_size(open_set):
    tree = {"anno/nfs_bee.txt": small.boxes(2, "\t")}
    facts = read_scoring_facts(open_set("nfs", "nfs", tree)[0])
    assert facts.frame_size is None
    assert facts.absent is None
