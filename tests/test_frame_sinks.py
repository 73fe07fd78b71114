import cv2
import numpy as np
import pytest

import detweights
from esat_jax.frame_sinks import FolderSink, VideoSink, write_rows

FRAMES = [detweights.smooth_image(f"sink{i}", 96, 128, cells=(32, 16)) for i in range(5)]


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (frame := capture.read()[1]) is not None:
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_a_video_gets_its_name_when_it_is_whole(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=12)
    for number, frame in enumerate(FRAMES):
        sink.write(number, frame)
        assert not (tmp_path / "out.mp4").exists()
    assert sink.close(whole=True) == tmp_path / "out.mp4"
    frames, fps = read_video(tmp_path / "out.mp4")
    assert fps == 12
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    for frame, expected in zip(frames, FRAMES, strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 6


def test_a_stopped_video_stays_partial_and_can_be_watched(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=12)
    sink.write(0, FRAMES[0])
    assert sink.close(whole=False) == tmp_path / "out.partial.mp4"
    assert len(read_video(tmp_path / "out.partial.mp4")[0]) == 1


def test_frames_of_another_size_are_fitted_into_the_video(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=12)
    for number, size in enumerate([(96, 128), (192, 128), (11, 300), (500, 20)]):
        sink.write(number, np.full((*size, 3), 200, np.uint8))
    sink.close(whole=True)
    frames, _ = read_video(tmp_path / "out.mp4")
    assert [frame.shape for frame in frames] == [(96, 128, 3)] * 4
    assert frames[1][:, :60].mean() > 190  # 192 x 128 becomes 96 x 64
    assert frames[1][:, 68:].mean() < 10


def test_a_video_of_odd_size_can_be_written(tmp_path):
    sink = VideoSink(tmp_path / "out.mp4", fps=12)
    sink.write(0, FRAMES[0][:95, :127])
    sink.close(whole=True)
    assert len(read_video(tmp_path / "out.mp4")[0]) == 1


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match="cannot write the video"):
        VideoSink(tmp_path / "missing" / "out.mp4", fps=12).write(0, FRAMES[0])


def test_a_folder_of_frames_gets_its_name_when_it_is_whole(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "00000099.jpg").touch()  # of a run that was stopped
    sink = FolderSink(tmp_path / "out")
    for number, frame in enumerate(FRAMES, start=7):
        sink.write(number, frame)
    assert sink.close(whole=False) == tmp_path / "out.partial"
    assert sink.close(whole=True) == tmp_path / "out"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{number:08d}.jpg" for number in range(7, 12)]
    image = cv2.imread(str(tmp_path / "out" / names[2]), cv2.IMREAD_COLOR)
    assert np.abs(image[..., ::-1].astype(int) - FRAMES[2]).mean() < 6


def test_an_earlier_folder_of_frames_is_replaced_when_the_new_one_is_whole(tmp_path):
    def write(numbers):
        sink = FolderSink(tmp_path / "out")
        for number in numbers:
            sink.write(number, FRAMES[number])
        return sink

    def names():
        return sorted(path.name for path in (tmp_path / "out").iterdir())

    write([0, 1, 2]).close(whole=True)
    write([3]).close(whole=False)
    assert names() == ["00000000.jpg", "00000001.jpg", "00000002.jpg"]
    assert write([3, 4]).close(whole=True) == tmp_path / "out"
    assert names() == ["00000003.jpg", "00000004.jpg"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["out", "out.partial", "out.replaced"])
def test_a_folder_of_other_files_is_not_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match=rf"{name} would be replaced, but notes\.txt is none of"):
        FolderSink(tmp_path / "out")
    assert (tmp_path / name / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_rows_replace_an_older_file_only_when_they_are_whole(tmp_path):
    path = tmp_path / "boxes.txt"
    path.write_text("old\n")
    assert write_rows(path, ["1,2", "3,4"], whole=False) == tmp_path / "boxes.partial.txt"
    assert path.read_text() == "old\n"
    assert write_rows(path, ["1,2", "3,4"], whole=True) == path
    assert path.read_text() == "1,2\n3,4\n"
    assert [p.name for p in tmp_path.iterdir()] == ["boxes.txt"]
