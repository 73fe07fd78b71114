import json

import cv2
import numpy as np
from tensorboardX.proto.event_pb2 import Event

from esat_jax.drawing import OTHER_RGB, TRACKED_RGB
from esat_jax.metric_log import MetricLog, read_rows

CONFIG = {"seed": 1}


def events(workdir):
    """The values in TensorBoard's files: records of length, its checksum, content, checksum."""
    for path in sorted((workdir / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            yield from ((event.step, value) for value in event.summary.value)


def test_numbers_go_to_lines_and_to_tensorboard(tmp_path):
    log = MetricLog(tmp_path, CONFIG, 0)
    log.write(1, {"total": 2.5, "val/iou": np.float32(0.5)})
    log.write(2, {"total": float("nan")})
    log.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "total": 2.5, "val/iou": 0.5},
        {"step": 2, "total": None},
    ]
    found = {(step, v.tag): v.simple_value for step, v in events(tmp_path) if v.simple_value}
    assert found[1, "train/total"] == 2.5
    assert found[1, "val/iou"] == 0.5
    text = [v for _, v in events(tmp_path) if v.tag.startswith("config")]
    assert b'"seed": 1' in text[0].tensor.string_val[0]


def test_going_on_forgets_later_rows_and_a_cut_one(tmp_path):
    log = MetricLog(tmp_path, CONFIG, 0)
    for step in (1, 2, 3):
        log.write(step, {"total": step})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "tot')
    log = MetricLog(tmp_path, CONFIG, 2)
    log.write(3, {"total": 30})
    log.close()
    assert [(row["step"], row["total"]) for row in read_rows(tmp_path)] == [(1, 1), (2, 2), (3, 30)]


def test_other_hosts_write_nothing(tmp_path):
    log = MetricLog(tmp_path, CONFIG, 0, active=False)
    log.write(1, {"total": 1})
    log.write_predictions(1, np.zeros((1, 8, 8, 3), np.uint8), np.ones((1, 4)), np.ones((1, 4)))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_predictions_are_drawn_at_their_boxes(tmp_path):
    log = MetricLog(tmp_path, CONFIG, 0)
    crops = np.full((1, 256, 256, 3), 90, np.uint8)
    box_cxcywh, true_cxcywh = (
        np.array([[0.25, 0.25, 0.25, 0.25]]),
        np.array([[0.5, 0.75, 0.5, 0.25]]),
    )
    log.write_predictions(5, crops, box_cxcywh, true_cxcywh)
    log.close()
    step, value = next((s, v) for s, v in events(tmp_path) if v.tag == "val/pair_0")
    assert step == 5
    picture = cv2.imdecode(np.frombuffer(value.image.encoded_image_string, np.uint8), 1)[..., ::-1]
    assert picture.shape == (256, 256, 3)
    for color, (left, top, right, bottom) in (
        (TRACKED_RGB, (32, 32, 96, 96)),
        (OTHER_RGB, (64, 160, 192, 224)),
    ):
        rows, columns = (picture == color).all(axis=2).nonzero()
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (left, top, right, bottom)
