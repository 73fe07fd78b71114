import contextlib

import cv2
import numpy as np
import pytest

import detweights
from esat_jax.frame_sources import FrameSource, natural_key, next_frames, open_source, read_image

FRAMES = detweights.video("sources", 24, 96, 128, (20, 20, 30, 30), (2, 1))[0]


def write_video(path, frames=FRAMES, codec="mp4v", fps=25):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (128, 96))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def numbered(count=120):
    """Frames of noise, which code badly, below a band of their number in black and white."""
    frames = np.random.default_rng(0).integers(0, 256, (count, 96, 128, 3), np.uint8)
    bits = np.arange(count)[:, None] >> np.arange(8) & 1
    frames[:, :32] = 255 * bits.repeat(16, axis=1)[:, None, :, None]
    return frames


def shown_number(image):
    """What the band of `numbered` shows."""
    means = image[8:24].reshape(16, 8, 16, 3)[:, :, 4:12].mean(axis=(0, 2, 3))
    return int((means > 127) @ (1 << np.arange(8)))


def overwrite(path, where, size=24_000):
    data = bytearray(path.read_bytes())
    first = int(len(data) * where)
    data[first : first + size] = np.random.default_rng(1).bytes(size)
    path.write_bytes(data)


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


@pytest.mark.parametrize("kind", ["damaged video", "damaged folder"])
def test_frames_read_ahead_are_those_read_in_turn(tmp_path, kind):
    if kind == "damaged video":
        path = write_video(tmp_path / "clip.mp4", numbered())
        overwrite(path, 0.3)
    else:
        path = write_images(tmp_path / "images", [f"{i}" for i in range(24)])
        for number in (3, 4, 23):
            (path / f"{number}.png").write_bytes(b"damaged")
    expected, found = list(open_source(str(path)).frames), list(next_frames(open_source(str(path))))
    assert any(frame.image is None for frame in expected)
    assert [(f.number, f.name) for f in found] == [(f.number, f.name) for f in expected]
    for frame, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)


def test_a_file_that_is_gone_is_told_in_its_place(tmp_path):
    folder = write_images(tmp_path / "images", [f"{i}" for i in range(6)])
    frames = next_frames(open_source(str(folder)))
    (folder / "3.png").unlink()
    assert [next(frames).number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FileNotFoundError, match=r"3\.png"):
        next(frames)


@pytest.mark.parametrize("live", [False, True])
def test_no_more_frames_are_read_than_are_tracked_and_a_camera_not_ahead(live):
    read = []
    source = FrameSource((read.append(i) or i for i in range(9)), None, 25, live=live)
    with contextlib.closing(next_frames(source, 4)) as frames:
        for number in frames:
            assert not live or read == list(range(number + 1))
    assert read == [0, 1, 2, 3]


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


@pytest.mark.parametrize("where", [0.15, 0.3, 0.5, 0.7])
def test_frames_of_a_damaged_mp4_keep_their_true_numbers(tmp_path, where):
    path = write_video(tmp_path / "clip.mp4", numbered())
    overwrite(path, where)
    frames = list(open_source(str(path)).frames)
    assert [frame.number for frame in frames] == list(range(120))
    damaged = [frame.number for frame in frames if frame.image is None]
    assert 5 <= len(damaged) <= 12
    shown = {f.number: shown_number(f.image) for f in frames if f.image is not None}
    # Up to the next key frame, a picture may repeat parts of one before the damage.
    wrong = [number for number in shown if shown[number] != number]
    assert all(damaged[0] - 2 <= number < damaged[-1] + 12 for number in wrong)
    assert all(shown[number] <= number for number in wrong)


def test_a_damaged_avi_lacks_as_many_frames_as_its_count_tells(tmp_path):
    path = write_video(tmp_path / "clip.avi", numbered(), codec="MJPG")
    overwrite(path, 0.5)
    source = open_source(str(path))
    shown = [shown_number(frame.image) for frame in source.frames]
    assert source.count == 120
    assert 0 < source.count - len(shown) < 8
    assert shown[:50] == list(range(50))
    assert shown[-40:] == list(range(80, 120))


class Recording:
    """A capture whose reads give pictures at these times in ms; None is a read that fails."""

    def __init__(self, times, fps=25, count=0):
        self.reads = iter([(None, 0.0) if time is None else (FRAMES[0], time) for time in times])
        self.values = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: count}

    def isOpened(self):
        return True

    def read(self):
        image, self.values[cv2.CAP_PROP_POS_MSEC] = next(self.reads, (None, 0.0))
        return image is not None, image

    def get(self, key):
        return self.values[key]

    def release(self):
        self.reads = iter([])


@pytest.mark.parametrize(
    ("times", "damaged", "total"),
    [
        # All reads fail before the pictures come, as where a decoder has several in hand.
        ([0, 40, *[None] * 5, 80, 200, 240, 360], [3, 4, 7, 8], 10),
        ([0, 40, 160, 80, 200], [2, 3], 6),  # no read fails; the picture at 80 comes too late
        ([None, None, 80, 120], [0, 1], 4),
        ([0, 33.4, 71.2, None, 166.8, 201], [3], 6),  # the rate varies
        ([0, 0, None, 0, 0], [2], 5),  # no times
        ([float("nan")] * 3, [], 3),
        ([400, 440, 480], [], 3),  # a clock that does not start at 0
        ([0, 33, 67, 100, 133, None, 200], [5], 7),  # 30 a second where 25 are announced
    ],
)
def test_times_number_the_frames_where_the_rate_is_constant(
    tmp_path, monkeypatch, times, damaged, total
):
    (tmp_path / "clip.mkv").touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda path: Recording(times))
    frames = list(open_source(str(tmp_path / "clip.mkv")).frames)
    assert [frame.number for frame in frames] == list(range(total))
    assert [frame.number for frame in frames if frame.image is None] == damaged


def test_times_behind_the_announced_count_are_not_believed(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").touch()
    recording = Recording([0, 40, 4000, 4040], count=4)
    monkeypatch.setattr(cv2, "VideoCapture", lambda path: recording)
    frames = list(open_source(str(tmp_path / "clip.mp4")).frames)
    assert [(frame.number, frame.image is None) for frame in frames] == [
        (number, False) for number in range(4)
    ]


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
