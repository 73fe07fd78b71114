import pytest

from esat_jax.atomic import check_writable, complete_file


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with complete_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with complete_file(path) as part:
            part.write_text("half")
            raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file") as caught:
            check_writable(folder)
        assert caught.value.filename == str(folder)
    (tmp_path / "system").symlink_to("/proc/self")  # where not even root can write
    with pytest.raises(OSError, match="system") as caught:
        check_writable(tmp_path / "system")
    assert caught.value.filename == str(tmp_path / "system")
