import cv2
import numpy as np
import pytest

import detweights
from esat_jax.frame_sources import natural_key, open_source, read_image

FRAMES = detweights.video("sources", 24, 96, 128, (20, 20, 30, 30), (2, 1))[0]


def write_video(path, frames=FRAMES, codec="mp4v", fps=25):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (128, 96))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_images(folder, names, suffix=".png"):
    folder.mkdir()
    for name, frame in zip(names, FRAMES, strict=False):
        cv2.imwrite(str(folder / f"{name}{suffix}"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


def closest(image):
    """Which of FRAMES this is, after lossy coding."""
    return int(np.abs(FRAMES.astype(int) - image).mean(axis=(1, 2, 3)).argmin())


def test_a_folder_yields_rgb_frames_in_natural_order(tmp_path):
    folder = write_images(tmp_path / "images", ["img_9", "img_10", "img_100"])
    (folder / "readme.txt").write_text("not an image")
    source = open_source(str(folder))
    frames = list(source.frames)
    assert source.count == 3
    assert not source.live
    assert [frame.name for frame in frames] == ["img_9.png", "img_10.png", "img_100.png"]
    for frame, expected in zip(frames, FRAMES, strict=False):
        np.testing.assert_array_equal(frame.image, expected)


def test_natural_order_counts_digits_and_survives_mixed_names(tmp_path):
    names = ["a10", "a2", "10", "9", "b", "a2b1", "a"]
    ordered = sorted((tmp_path / name for name in names), key=natural_key)
    assert [path.name for path in ordered] == ["9", "10", "a", "a2", "a2b1", "a10", "b"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_a_truncated_image_is_damaged_and_the_next_is_read(tmp_path, suffix):
    folder = write_images(tmp_path / "images", ["0", "1", "2"], suffix)
    path = folder / f"1{suffix}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    frames = list(open_source(str(folder)).frames)
    assert [(frame.number, frame.image is None) for frame in frames] == [
        (0, False),
        (1, True),
        (2, False),
    ]
    assert frames[1].name == f"1{suffix}"


def test_an_empty_file_is_a_damaged_image(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert read_image(tmp_path / "empty.jpg") is None


def test_a_grey_image_comes_as_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), FRAMES[0][..., 0])
    np.testing.assert_array_equal(
        read_image(tmp_path / "grey.png"), FRAMES[0][..., :1].repeat(3, axis=2)
    )


def test_a_video_yields_every_frame_in_rgb(tmp_path):
    source = open_source(str(write_video(tmp_path / "clip.mp4")))
    frames = list(source.frames)
    assert (source.count, source.fps, source.live) == (24, 25, False)
    assert [frame.number for frame in frames] == list(range(24))
    assert frames[7].name == "frame 7 of clip.mp4"
    for frame in frames:
        assert np.abs(frame.image.astype(int) - FRAMES[frame.number]).mean() < 15


def test_a_video_is_not_read_ahead(tmp_path):
    source = open_source(str(write_video(tmp_path / "clip.mp4")))
    assert next(source.frames).number == 0
    assert next(source.frames).number == 1


def test_damaged_frames_in_the_middle_of_a_video_keep_their_place(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    where = int(len(data) * 0.4)
    data[where : where + len(data) // 12] = bytes(len(data) // 12)
    path.write_bytes(data)
    frames = list(open_source(str(path)).frames)
    damaged = [frame.number for frame in frames if frame.image is None]
    assert [frame.number for frame in frames] == list(range(24))
    assert 0 < len(damaged) < 6
    late = [frame for frame in frames if frame.number > max(damaged)]
    # What follows is still the frame of its number, though decoded from a damaged neighbour.
    assert [closest(frame.image) for frame in late[-5:]] == [frame.number for frame in late[-5:]]


def test_a_truncated_video_ends_where_it_ends(tmp_path):
    path = write_video(tmp_path / "clip.avi", codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    source = open_source(str(path))
    frames = list(source.frames)
    assert source.count == 24
    assert 10 < len(frames) < 20
    assert all(frame.image is not None for frame in frames)


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_start_frame_leaves_frames_out_and_keeps_the_numbers(tmp_path, kind):
    path = (
        write_video(tmp_path / "clip.mp4")
        if kind == "video"
        else write_images(tmp_path / "images", [f"{i}" for i in range(24)])
    )
    source = open_source(str(path), start_frame=20)
    frames = list(source.frames)
    assert source.count == 4
    assert [frame.number for frame in frames] == [20, 21, 22, 23]
    assert [closest(frame.image) for frame in frames] == [20, 21, 22, 23]


def test_a_camera_may_miss_pictures_and_ends_when_they_stay_away(monkeypatch):
    class Camera:
        def __init__(self, index):
            assert index == 3
            self.pictures = iter([*FRAMES[:2], None, *FRAMES[2:4]])

        def isOpened(self):
            return True

        def get(self, key):
            return 0.0

        def read(self):
            frame = next(self.pictures, None)
            return frame is not None, frame if frame is None else frame[..., ::-1].copy()

        def release(self):
            self.pictures = iter([])

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    source = open_source("3")
    assert (source.count, source.fps, source.live) == (None, 30, True)
    frames = list(source.frames)
    assert [frame.image is None for frame in frames[:5]] == [False, False, True, False, False]
    assert all(frame.image is None for frame in frames[5:])
    assert 10 < len(frames) < 100
    np.testing.assert_array_equal(frames[4].image, FRAMES[3])


def test_what_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    folder = write_images(tmp_path / "images", ["0", "1"])
    for source, start_frame, words in [
        (tmp_path / "nothing.mp4", 0, r"nothing\.mp4: no such video file"),
        (tmp_path / "text.mp4", 0, r"text\.mp4 cannot be read as a video"),
        (tmp_path / "empty", 0, "empty: no images here"),
        ("987", 0, "camera 987 cannot be opened"),
        (folder, 2, "count from 0 to 1, got start_frame 2"),
        (folder, -1, "count from 0 to 1, got start_frame -1"),
    ]:
        with pytest.raises(ValueError, match=words):
            open_source(str(source), start_frame)
