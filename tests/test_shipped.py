"""The trackers in checkpoints/ are whole, small, and follow targets that they never saw."""

from pathlib import Path

import numpy as np
import pytest

from configs import esat_vit_s224, esat_vit_xs168
from data_pipeline.scene import SceneRule
from data_pipeline.synthetic import SyntheticDataset
from esat_jax.model_weights import load_model_weights
from esat_jax.tracker import Tracker

FOLDER = Path(__file__).parents[1] / "checkpoints"
CONFIGS = {"esat_s": esat_vit_s224, "esat_xs": esat_vit_xs168}
FRAMES = 25


def overlap(box_xywh, true_xywh):
    """Intersection over union of [F, 4] and [F, 4] px."""
    low = np.maximum(box_xywh[:, :2], true_xywh[:, :2])
    high = np.minimum(box_xywh[:, :2] + box_xywh[:, 2:], true_xywh[:, :2] + true_xywh[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=1)
    return both / (box_xywh[:, 2:].prod(axis=1) + true_xywh[:, 2:].prod(axis=1) - both)


def test_the_files_are_small():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(CONFIGS)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 50e6


@pytest.mark.parametrize("name", CONFIGS)
def test_the_network_is_that_of_its_configuration(name):
    _, config = load_model_weights(FOLDER / f"{name}.safetensors")
    expected = CONFIGS[name].get_config().to_dict()
    for part in ("backbone", "fda", "head"):
        assert config[part] == expected[part]
    assert config["template"] == expected["template"]
    assert {key: tuple(config["ce"][key]) for key in ("layers", "keep_ratio")} == {
        key: expected["ce"][key] for key in ("layers", "keep_ratio")
    }
    assert config["search"] == expected["search"]  # with the jitter
    assert config["optim"]["epochs"] == expected["optim"]["epochs"]
    for key in ("degrade_probability", "gray_probability", "color_jitter", "still_bend"):
        assert config["data"][key] == expected["data"][key]
    assert config["tracker"] != expected["tracker"]  # calibrated
    assert config["compute_dtype"] == "float32"
    assert config["data"]["root"] == ""  # nobody's folder
    assert "/" not in config["pretrained"]


def test_esat_xs_follows_drawn_targets():
    """Scenes of drawn textures, none of which was trained on; the truth is their geometry."""
    tracker = Tracker.from_weights(FOLDER / "esat_xs.safetensors")
    rule = SceneRule(240, 320, 100, sides=(0.15, 0.3), plain=True)
    tracked, waited = [], []
    for sequence in map(SyntheticDataset(rule=rule, seed=7).__getitem__, range(4)):
        true = sequence.boxes_xywh[:FRAMES]
        tracker.initialize(sequence.read_frame(0), true[0])
        boxes = [tracker.update(sequence.read_frame(i)).box_xywh for i in range(1, FRAMES)]
        tracked.append(overlap(np.array(boxes), true[1:]).mean())
        waited.append(overlap(np.tile(true[0], (FRAMES - 1, 1)), true[1:]).mean())
    assert np.mean(tracked) > 0.6
    assert np.mean(tracked) > np.mean(waited) + 0.1
