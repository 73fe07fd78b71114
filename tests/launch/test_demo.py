import subprocess
import sys

import cv2
import numpy as np
import pytest

from configs import esat_vit_b256
from esat_jax.initial_variables import initial_variables
from esat_jax.weights import save_weights
from launch import demo


def test_the_target_fills_its_true_box_and_moves_inside_the_frame():
    frames, boxes_xywh = demo.make_clip()
    assert len(frames) == len(boxes_xywh) == 60
    assert frames[0].shape == (360, 640, 3)
    assert (boxes_xywh[:, :2] >= 0).all()
    assert (boxes_xywh[:, :2] + boxes_xywh[:, 2:] <= (640, 360)).all()
    background = np.median(frames, axis=0)
    for frame, (x, y, w, h) in zip(frames, boxes_xywh, strict=True):
        rows, columns = (np.abs(frame - background).sum(axis=2) > 20).nonzero()
        found = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        np.testing.assert_allclose(found, (x, y, w, h), atol=3)


def test_overlap_of_boxes_counted_in_pixels():
    def pixels(box_xywh):
        x, y, w, h = box_xywh
        mask = np.zeros((40, 40), bool)
        mask[y : y + h, x : x + w] = True
        return mask

    one = np.array([[0, 0, 10, 10], [5, 6, 7, 8], [5, 6, 7, 8], [1, 2, 20, 4]])
    two = np.array([[10, 0, 10, 10], [5, 6, 7, 8], [7, 1, 20, 9], [4, 1, 3, 30]])
    expected = [
        (pixels(a) & pixels(b)).sum() / (pixels(a) | pixels(b)).sum()
        for a, b in zip(one, two, strict=True)
    ]
    np.testing.assert_allclose(demo.overlaps(one.astype(float), two.astype(float)), expected)


def test_the_demo_leaves_a_clip_its_boxes_and_an_annotated_copy(tmp_path):
    config = esat_vit_b256.get_config("smoke").to_dict()
    save_weights(tmp_path / "tiny.safetensors", initial_variables(config, seed=0), config)
    output = tmp_path / "demo"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "launch.demo", f"--output={output}"),
            f"--weights={tmp_path / 'tiny.safetensors'}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["annotated.mp4", "boxes.txt", "clip.mp4", "scores.txt"]
    boxes_xywh = np.loadtxt(output / "boxes.txt", delimiter=",")
    assert boxes_xywh.shape == (60, 4)
    share = demo.overlaps(boxes_xywh, demo.make_clip()[1])[1:].mean()
    assert f"mean over the clip: {share:.2f}" in done.stdout
    capture = cv2.VideoCapture(str(output / "annotated.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == pytest.approx(60)
