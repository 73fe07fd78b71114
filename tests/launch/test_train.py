"""The tool as a process: stopped, killed, and given wrong input."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from configs.esat_vit_b256 import get_config
from esat_jax.initial_variables import initial_variables
from esat_jax.metric_log import read_rows
from esat_jax.torch_weights import export_state_dict
from esat_jax.weights import load_weights
from launch.train import pretrained_variables

KEYS = {
    "data.samples_per_epoch": 24,  # three steps
    "data.val_samples": 8,
    "checkpoint.every_steps": 1,
    "ce.max_ratios": 1,
}


def start(workdir, cache, **keys):
    command = [sys.executable, "-m", "launch.train", f"--workdir={workdir}"]
    command += ["--config=configs/esat_vit_s224.py:smoke"]
    command += [f"--config.{key}={value}" for key, value in (KEYS | keys).items()]
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors


def wait_for_rows(process, workdir, number):
    path = workdir / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and len(read_rows(workdir)) >= number:
            return
        time.sleep(0.02)


def weights(workdir):
    return load_weights(workdir / "weights.safetensors")[0]["params"]["box_head"]["score"]


def assert_equal(workdir, other):
    for layer, arrays in weights(other).items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(weights(workdir)[layer][name], array, err_msg=layer)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir, cache = tmp_path_factory.mktemp("unbroken"), tmp_path_factory.mktemp("programs")
    status, output, errors = finish(start(workdir, cache))
    assert status == 0, errors
    return workdir, cache, output


def test_a_run_says_what_it_does_and_writes_where_it_ran(unbroken):
    workdir, _, output = unbroken
    assert "Devices: 1 x cpu on 1 host(s)." in output
    assert "Batch: 8 pairs (global) = 1 device(s) x 1 micro-batch(es) x 8 pairs" in output
    assert "Learning rates: backbone 4e-05, default 0.0004; times 0.1 after epoch 1." in output
    assert json.loads((workdir / "config.json").read_text())["loss"]["l1"] == 5.0
    record = json.loads((workdir / "starts.jsonl").read_text())
    assert record["step"] == 0
    assert record["versions"].keys() >= {"jax", "flax", "optax", "numpy"}
    assert (workdir / "checkpoints" / "6").is_dir()


def test_sigterm_and_kill_lose_nothing(unbroken, tmp_path):
    expected, cache, _ = unbroken
    process = start(tmp_path, cache)
    wait_for_rows(process, tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    status, _, errors = finish(process)
    assert status == 143, errors
    assert "stopped by SIGTERM after step" in errors
    assert "the same command goes on" in errors
    process = start(tmp_path, cache)
    wait_for_rows(process, tmp_path, 5)
    process.kill()
    finish(process)
    status, _, errors = finish(start(tmp_path, cache))
    assert status == 0, errors
    assert_equal(tmp_path, expected)
    assert [row["step"] for row in read_rows(tmp_path)] == [1, 2, 3, 3, 4, 5, 6, 6]


@pytest.mark.soak
def test_kill_at_twenty_random_moments(unbroken, tmp_path):
    expected, cache, _ = unbroken
    rng = random.Random(0)
    for _ in range(20):
        process = start(tmp_path, cache)
        wait_for_rows(process, tmp_path, rng.randint(1, 6))
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        finish(process)
    status, _, errors = finish(start(tmp_path, cache))
    assert status == 0, errors
    assert_equal(tmp_path, expected)


def test_another_config_in_the_same_folder_is_one_sentence(unbroken):
    workdir, cache, _ = unbroken
    status, _, errors = finish(start(workdir, cache, **{"optim.weight_decay": 0.5}))
    assert status == 1
    assert "optim.weight_decay was 0.0001 and is 0.5. Use another --workdir" in errors
    assert "Traceback" not in errors


def test_a_missing_root_is_one_sentence(tmp_path):
    root = tmp_path / "nowhere"
    keys = {"data.root": str(root), "data.datasets": "('got10k_train',)"}
    status, _, errors = finish(start(tmp_path / "run", tmp_path / "programs", **keys))
    assert status == 1
    assert str(root) in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


def test_a_pretrained_backbone_is_taken_and_the_heads_are_not(tmp_path):
    config = get_config("smoke")
    config.pretrained = str(tmp_path / "mae.safetensors")
    other = initial_variables(config.to_dict(), config.seed + 1)
    state = export_state_dict(other, config, "mae")
    state = {name: np.ascontiguousarray(value) for name, value in state.items()}
    save_file(state, config.pretrained, metadata={"format": "pt"})
    params = pretrained_variables(config.to_dict())["params"]
    path = ("backbone", "encoder", "block_01", "attention", "qkv", "kernel")
    found, expected = params, other["params"]
    for name in path:
        found, expected = found[name], expected[name]
    np.testing.assert_array_equal(found, expected)
    own = initial_variables(config.to_dict(), config.seed)["params"]["box_head"]["score"]["conv_1"]
    np.testing.assert_array_equal(params["box_head"]["score"]["conv_1"]["kernel"], own["kernel"])


def test_without_a_file_nothing_is_pretrained():
    assert pretrained_variables(get_config("smoke").to_dict()) is None
