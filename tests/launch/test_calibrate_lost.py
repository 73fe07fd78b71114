import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from data_pipeline.layout_files import write_sequences
from data_pipeline.scene import SceneRule
from data_pipeline.synthetic import SyntheticDataset
from esat_jax.weights import load_weights
from tool_run import ROOT, run_tool

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "esat_xs.safetensors"  # kernels are int8


def run(*arguments):
    return run_tool(ROOT, "calibrate_lost", *arguments)


def test_the_threshold_is_chosen_measured_and_written(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    rule = SceneRule(160, 240, 50, sides=(0.12, 0.15), plain=True)
    for seed, name in enumerate(("train", "val")):
        for _ in write_sequences(
            SyntheticDataset(rule=rule, seed=seed), 2, tmp_path / name, "folders"
        ):
            pass
    weights, copy = SHIPPED, tmp_path / "copy.safetensors"
    before = load_weights(weights)[1]["tracker"]["lost_threshold"]
    folders = [f"--sequences={tmp_path}/train/sequences", f"--validation={tmp_path}/val/sequences"]
    done = run(
        f"--weights={weights}", *folders, f"--output={tmp_path}/lost.json", f"--write={copy}"
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "lost.json").read_text())
    threshold = numbers["threshold"]
    assert f"threshold: {threshold} (it was {before})" in done.stdout
    for name in ("sequences", "validation"):
        frames = numbers[name]["frames"].values()
        scores, kinds = (np.concatenate([f[key] for f in frames]) for key in ("scores", "kinds"))
        lost = np.isin(kinds, ["absent", "drifted"])
        exits = sum(
            end - start for spans in numbers[name]["exits"].values() for start, end in spans
        )
        assert (kinds == "absent").sum() >= exits > 0
        recall = (scores[lost] < threshold).mean()
        np.testing.assert_allclose(numbers[name]["rates"]["lost"]["recall"][0], recall, atol=0.02)
    assert load_weights(copy)[1]["tracker"]["lost_threshold"] == threshold
    with safe_open(weights, "np") as old, safe_open(copy, "np") as new:
        assert set(old.keys()) == set(new.keys())
        assert all((old.get_tensor(key) == new.get_tensor(key)).all() for key in set(old.keys()))


def test_wrong_input_ends_in_a_sentence(tmp_path):
    done = run(
        f"--weights={tmp_path}/none.safetensors", f"--sequences={tmp_path}",
        f"--validation={tmp_path}", f"--output={tmp_path}/nowhere/lost.json",
    )  # fmt: skip
    assert done.returncode == 1
    assert "make it first" in done.stderr
    assert "Traceback" not in done.stderr
