"""A small ESAT, trained by launch.train, finds targets that simple guesses do not find."""

import re
import resource
import subprocess

import numpy as np
import pytest

import training_runs
from data_pipeline.layout_files import write_sequences
from data_pipeline.pipeline import make_val_batches, open_datasets
from data_pipeline.scene import SceneRule, Truth
from data_pipeline.synthetic import SyntheticDataset, SyntheticSequence
from launch.ablation_runs import make_runs, read_state

PACE = 4  # every fourth frame of a scene is one of the video: in 24 frames targets move far
FRAMES = 24
KEYS = {
    "backbone.width": 64,
    "backbone.heads": 1,
    "backbone.patch_size": 8,
    "backbone.drop_path": 0.0,
    "template.size": 32,
    "search.size": 64,
    "search.factor": 3.0,
    "search.center_jitter": 2.0,  # the target's centre is anywhere in the middle two thirds
    "optim.schedule": "cosine",
    "optim.warmup_steps": 50,
    "optim.lr.backbone": 2e-3,
    "optim.lr.default": 2e-3,
    "data.datasets": ("folders:train/sequences",),
    "data.val_datasets": ("folders:val/sequences",),
    "data.val_samples": 256,
    "data.gray_probability": 0.0,
    "data.flip_probability": 0.0,
    "checkpoint.every_steps": 100_000,
    "log.every_steps": 50,
}
SHORT = {
    "backbone.depth": 1,
    "batch_size": 8,
    "optim.epochs": 1,
    "data.samples_per_epoch": 6_400,
}
LONG = {
    "backbone.depth": 2,
    "batch_size": 16,
    "optim.epochs": 6,
    "data.samples_per_epoch": 9_600,
    "data.num_workers": 1,
}


class FastSequence(SyntheticSequence):
    def read_frame(self, i):
        return self.scene.draw(PACE * i)


class FastDataset(SyntheticDataset):
    def __getitem__(self, i):
        slow = super().__getitem__(i)
        arrays = {name: array[::PACE] for name, array in vars(slow.truth).items()}
        return FastSequence(slow.dataset, slow.name, slow.scene, Truth(**arrays))


def write_videos(root, count, seed):
    rule = SceneRule(height=120, width=160, num_frames=FRAMES * PACE, plain=True)
    dataset = FastDataset(rule=rule, seed=seed, count=count)
    for _ in write_sequences(dataset, count, root, "folders"):
        pass


def make_run(tmp_path, monkeypatch, num_videos, **keys):
    """A run with forces and both position losses, on videos that are written for it.

    Without candidate elimination: a template that is hardly used yet would remove the target.
    """
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "indexes"))
    write_videos(tmp_path / "train", num_videos, seed=0)
    write_videos(tmp_path / "val", 50, seed=1)
    keys = KEYS | keys | {"data.root": str(tmp_path)}
    file = "configs/esat_vit_b256.py:smoke,no_ce"
    return make_runs("2", file, keys, 1, tmp_path / "runs")["t2_full"][0]


def corners(box_cxcywh):
    return box_cxcywh[:, :2] - box_cxcywh[:, 2:] / 2, box_cxcywh[:, :2] + box_cxcywh[:, 2:] / 2


def mean_iou(box_cxcywh, true_cxcywh):
    """Of [P, 4] each. Of the true box the part inside the crop counts, as in training."""
    low, high = corners(box_cxcywh)
    true_low, true_high = (corner.clip(0, 1) for corner in corners(true_cxcywh))
    both = (np.minimum(high, true_high) - np.maximum(low, true_low)).clip(0).prod(axis=1)
    areas = (high - low).prod(axis=1) + (true_high - true_low).prod(axis=1)
    return (both / (areas - both)).mean()


def guesses(config, batches):
    """{name: mean IoU} of a target that stays where it was, and of one box in the crop's middle."""
    (dataset,) = open_datasets(config["data"], "val_datasets")
    stayed = []
    for batch in batches:
        for source, true_cxcywh in zip(batch["source"], batch["box_cxcywh"][:, 0], strict=True):
            name, *frames = re.fullmatch(
                r"\S+ (\S+): template (\d+), search (\d+)", source
            ).groups()
            first, now = (dataset.find(name).boxes_xywh[int(frame)] for frame in frames)
            # The true box is known in pixels of the frame and of the crop: so is the crop.
            crop_px = now[2] / true_cxcywh[2]
            way_px = (first[:2] + first[2:] / 2) - (now[:2] + now[2:] / 2)
            stayed.append([*(true_cxcywh[:2] + way_px / crop_px), *(first[2:] / crop_px)])
    true_cxcywh = np.concatenate([batch["box_cxcywh"][:, 0] for batch in batches])
    middle = [0.5, 0.5, *true_cxcywh[:, 2:].mean(axis=0)]
    return {
        "no motion": mean_iou(np.array(stayed), true_cxcywh),
        "middle": mean_iou(np.tile(middle, (len(true_cxcywh), 1)), true_cxcywh),
    }


def trained_and_guessed(run):
    """The mean IoU of a finished run, and of the guesses, on the same validation pairs."""
    state = read_state(run)
    assert state.kind == "finished", state.text
    with make_val_batches(run.config) as val_batches:
        batches = list(val_batches)
    sources = np.concatenate([batch["source"] for batch in batches])
    assert state.scores.sources.tolist() == sources.tolist()
    return state.scores.iou.mean(), guesses(run.config, batches)


@pytest.mark.slow
def test_a_minute_of_training_beats_the_guesses(tmp_path, monkeypatch):
    run = make_run(tmp_path, monkeypatch, 160, **SHORT)
    status, _, errors = training_runs.finish(training_runs.spawn(run.command, tmp_path / "cache"))
    assert status == 0, errors
    trained, guessed = trained_and_guessed(run)  # 0.35 and 0.16, 0.16
    assert trained > 0.25
    assert max(guessed.values()) < 0.19, guessed


@pytest.mark.soak
def test_five_minutes_on_two_cores_leave_the_guesses_far_behind(tmp_path, monkeypatch):
    run = make_run(tmp_path, monkeypatch, 300, **LONG)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(run.command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    trained, guessed = trained_and_guessed(run)  # 0.59 and 0.16, 0.16
    assert trained > 0.5
    assert max(guessed.values()) < 0.19, guessed
    # Of the processor, so that other programs on the computer do not count.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 2 * 5 * 60
