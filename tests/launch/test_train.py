"""The tool as a process: what it writes, and how it ends when it cannot go on."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from configs.esat_vit_b256 import get_config
from esat_jax.initial_variables import initial_values, variable_shapes
from esat_jax.metric_log import read_rows
from esat_jax.torch_weights import export_state_dict
from launch.train import pretrained_variables, train
from training_runs import (
    CONFIG,
    STEPS,
    assert_same_run,
    finish,
    overrides,
    spawn,
    start,
    unfinished_checkpoints,
    wait_for_a_write,
    wait_for_rows,
)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, program_cache):
    """A run that was never stopped, by the script for one computer."""
    workdir = tmp_path_factory.mktemp("unbroken")
    keys = overrides(**{"data.num_workers": 1})
    command = ["launch/a100x8.sh", workdir, "no/data", *keys]
    status, output, errors = finish(spawn(command, program_cache, CONFIG=CONFIG))
    assert (status, errors) == (0, "")
    return workdir, output


def assert_one_sentence(process, *words):
    status, _, errors = finish(process, timeout=120)
    assert status == 1, errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors


def test_a_run_says_what_it_does_and_writes_where_it_ran(unbroken):
    workdir, output = unbroken
    assert "Devices: 1 x cpu on 1 host(s)." in output
    assert "Batch: 2 pairs (global) = 1 device(s) x 1 micro-batch(es) x 2 pairs" in output
    assert "Learning rates: backbone 4e-05, default 0.0004; times 0.1 after epoch 1." in output
    assert json.loads((workdir / "config.json").read_text())["loss"]["l1"] == 5.0
    record = json.loads((workdir / "starts.jsonl").read_text())
    assert record["step"] == 0
    assert record["versions"].keys() >= {"jax", "flax", "optax", "numpy"}
    assert (workdir / "checkpoints" / str(STEPS)).is_dir()


# What the system refuses to write beyond 200 kB, as on a full disk.
NO_ROOM = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"


def test_sigterm_and_kill_and_a_full_disk_lose_nothing(unbroken, program_cache, tmp_path):
    process = start(tmp_path, program_cache)
    wait_for_rows(process, tmp_path, 2)
    process.send_signal(signal.SIGTERM)
    status, _, errors = finish(process)
    assert status == 143, errors
    assert errors.startswith("stopped by SIGTERM after step")
    assert "the same command goes on" in errors

    process = start(tmp_path, program_cache)
    wait_for_a_write(process, tmp_path)
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL
    assert len(unfinished_checkpoints(tmp_path)) == 1

    process = start(tmp_path, program_cache, before=NO_ROOM)
    status, _, errors = finish(process)
    assert status == 1
    assert "Traceback" not in errors
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    newest = max(int(name) for name in names if name.isdigit())
    assert errors.splitlines()[-1] == (
        f"error: {tmp_path}/checkpoints: a checkpoint could not be written (File too large); the "
        f"same command goes on from the one of step {newest}."
    )

    status, _, errors = finish(start(tmp_path, program_cache))
    assert status == 0, errors
    assert f"going on from the checkpoint of step {newest}" in errors
    assert_same_run(tmp_path, unbroken[0])


def test_a_number_that_is_none_ends_the_run_with_status_1(program_cache, tmp_path):
    planted = """
import numpy as np
from data_pipeline.batches import Batches
take = Batches.__next__
def poisoned(self):
    batch = take(self)
    if self.get_state()["step"] == 2:
        batch["box_cxcywh"][1, 0, 1] = np.nan
    return batch
Batches.__next__ = poisoned
"""
    words = "error: step 2 (epoch 1): not finite: ", f"--replay={tmp_path}/failed_step_2"
    assert_one_sentence(start(tmp_path, program_cache, before=planted), *words)
    assert [row["step"] for row in read_rows(tmp_path)] == [1]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_a_worker_that_dies_ends_the_run_in_seconds(program_cache, tmp_path):
    process = start(tmp_path, program_cache, **{"data.num_workers": 1})
    wait_for_rows(process, tmp_path, 1)
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [pid for thread in threads for pid in thread.read_text().split()]
    (worker,) = (c for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text())
    os.kill(int(worker), signal.SIGKILL)
    killed = time.monotonic()
    status, _, errors = finish(process)
    assert time.monotonic() - killed < 60
    assert status == 1
    # A line of Python's about the worker's shared memory may follow.
    assert errors.startswith("error: a process that makes batches ended with status -9")
    assert "Traceback" not in errors


def test_another_config_in_the_same_folder_is_refused(unbroken):
    config = json.loads((unbroken[0] / "config.json").read_text())
    config["optim"]["weight_decay"] = 0.5
    words = r"optim.weight_decay was 0.0001 and is 0.5\. Use another --workdir"
    with pytest.raises(ValueError, match=words):
        train(config, unbroken[0])


def test_a_missing_root_is_one_sentence(tmp_path, program_cache):
    root = tmp_path / "nowhere"
    keys = {"data.root": str(root), "data.datasets": "('got10k_train',)"}
    assert_one_sentence(start(tmp_path / "run", program_cache, **keys), str(root))


def test_a_work_folder_that_cannot_be_written_to_is_found_at_once(unbroken, tmp_path):
    config = json.loads((unbroken[0] / "config.json").read_text())
    (tmp_path / "run").symlink_to("/proc/self")  # where not even root can write
    with pytest.raises(OSError, match=f"{tmp_path}/run"):
        train(config, tmp_path / "run")
    (tmp_path / "checkpoints").symlink_to("/proc/self")
    with pytest.raises(OSError, match=f"{tmp_path}/checkpoints"):
        train(config, tmp_path)


def test_a_pretrained_backbone_is_taken_and_the_heads_are_not(tmp_path):
    config = get_config("smoke,ostrack")
    config.pretrained = str(tmp_path / "mae.safetensors")
    rng = np.random.default_rng(0)
    shapes = variable_shapes(config.to_dict())
    trained = {path: rng.normal(size=shape).astype("f") for path, shape in shapes.items()}
    state = export_state_dict(traverse_util.unflatten_dict(trained, sep="/"), config, "mae")
    state = {name: np.ascontiguousarray(value) for name, value in state.items()}
    save_file(state, config.pretrained, metadata={"format": "pt"})
    found = traverse_util.flatten_dict(pretrained_variables(config.to_dict()), sep="/")
    kernel = "params/backbone/encoder/block_01/attention/qkv/kernel"
    np.testing.assert_array_equal(found[kernel], trained[kernel])
    kernel = "params/box_head/score/conv_1/kernel"
    own = initial_values(config.to_dict(), config.seed, [kernel])
    np.testing.assert_array_equal(found[kernel], own[kernel])


def test_without_a_file_nothing_is_pretrained():
    assert pretrained_variables(get_config("smoke").to_dict()) is None
