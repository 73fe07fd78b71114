"""The loop on a small network and made-up videos, in this process."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from configs.esat_vit_b256 import get_config
from data_pipeline.pipeline import make_train_batches, make_val_batches
from esat_jax import failed_step
from esat_jax.metric_log import read_rows
from esat_jax.trainer import Trainer
from esat_jax.validation_scores import load_validation
from launch import train as tool
from training_runs import learnt


def make_config(**keys):
    config = get_config("smoke")
    config.update_from_flattened_dict(
        {
            "backbone.depth": 1,
            "ce.layers": (0,),
            "ce.max_ratios": 2,
            "head.channels": 16,
            "spl.channels": (8,),
            "data.samples_per_epoch": 24,
            "data.val_samples": 8,
            "checkpoint.every_steps": 2,
            **keys,
        }
    )
    return config.to_dict()


class WithFault:
    """The batches, with a number that is none in one of them."""

    def __init__(self, batches, at):
        self.batches, self.at = batches, at

    def __getattr__(self, name):
        return getattr(self.batches, name)

    def __next__(self):
        batch = next(self.batches)
        if self.batches.get_state()["step"] == self.at:
            batch["box_cxcywh"][3, 0, 1] = np.nan
        return batch


def run(workdir, config, stop_at=None, fault_at=None):
    with make_train_batches(config) as batches, make_val_batches(config) as val_batches:
        trainer = Trainer(
            config,
            workdir,
            WithFault(batches, fault_at),
            val_batches,
            stop_asked=lambda step: step == stop_at,
        )
        finished = trainer.run()
        return trainer, finished


@pytest.fixture(scope="module", autouse=True)
def programs(program_cache):
    """Each trainer asks for the same programs: they are compiled once."""
    jax.config.update("jax_compilation_cache_dir", str(program_cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    trainer, finished = run(workdir, make_config())
    assert finished
    return workdir, traverse_util.flatten_dict(trainer.final_variables(), sep="/")


def test_a_run_logs_every_step_and_validates_every_epoch(unbroken):
    rows = read_rows(unbroken[0])
    assert [row["step"] for row in rows] == [1, 2, 3, 3, 4, 5, 6, 6]
    terms = {"total", "focal", "giou", "l1", "abs", "pn", "iou", "grad_norm", "lr_backbone"}
    assert all(terms <= row.keys() for row in rows if "val/iou" not in row)
    weights = {"giou": 2, "l1": 5, "abs": 0.01, "pn": 0.1, "focal": 1}  # paper Eq. 8
    first = rows[0]
    assert first["total"] == pytest.approx(sum(w * first[n] for n, w in weights.items()), rel=1e-5)
    assert all(0 <= row["val/iou"] <= 1 for row in rows if "val/iou" in row)
    assert rows[0]["lr_default"] == pytest.approx(4e-4)
    assert rows[-2]["lr_default"] == pytest.approx(4e-5)
    scores = load_validation(unbroken[0])
    assert scores.step == 6
    assert scores.iou.mean() == pytest.approx(rows[-1]["val/iou"], rel=1e-5)
    with make_val_batches(make_config(seed=1)) as batches:  # the same pairs for every seed
        assert scores.sources.tolist() == next(batches)["source"].tolist()


def test_stopping_and_going_on_gives_the_same_bits_and_log(unbroken, tmp_path):
    config = make_config()
    trainer, finished = run(tmp_path, config, stop_at=4)
    assert (finished, trainer.step) == (False, 4)
    trainer, finished = run(tmp_path, config)
    assert finished
    assert learnt(tmp_path) == learnt(unbroken[0])
    variables = traverse_util.flatten_dict(trainer.final_variables(), sep="/")
    for path, value in unbroken[1].items():
        np.testing.assert_array_equal(variables[path], value, err_msg=path)


def test_a_finished_run_is_not_trained_again(unbroken):
    trainer, finished = run(unbroken[0], make_config())
    assert (finished, trainer.step) == (True, 6)


def test_another_config_is_refused(unbroken):
    with pytest.raises(ValueError, match=r"another configuration: loss.l1 was 5.0 and is 6.0"):
        run(unbroken[0], make_config(**{"loss.l1": 6.0}))


def test_a_number_that_is_none_stops_the_run_and_is_seen_again(unbroken, tmp_path, capsys):
    with pytest.raises(failed_step.NonFiniteError) as caught:
        run(tmp_path, make_config(), fault_at=5)
    message = str(caught.value)
    assert message.startswith("step 5 (epoch 2): not finite: ")
    assert {"total", "giou", "l1"} <= set(message.split("finite: ")[1].split(".")[0].split(", "))
    folder = tmp_path / "failed_step_5"
    assert f"--replay={folder}" in message
    # What was logged before is that of the run without the fault.
    assert learnt(tmp_path) == [row for row in learnt(unbroken[0]) if row["step"] < 5]
    assert tool.replay(folder) == 1
    output = capsys.readouterr().out
    source = failed_step.load_batch(folder)["source"][3]
    assert f"not finite in the batch: {source} (box_cxcywh)" in output
    assert "Again not finite: " in output
    # The state is the one that the bad batch met: with the fault repaired, the step is the one of
    # the run without it.
    batch = failed_step.load_batch(folder)
    with make_train_batches(make_config()) as batches:
        batches.set_state({"step": 4, "skips": {}})
        batch = next(batches)
    np.savez(folder / "batch_0.npz", **batch)
    assert tool.replay(folder) == 0
    numbers = dict(
        (line.split()[0], line.split()[2])
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  ")
    )
    expected = next(row for row in read_rows(unbroken[0]) if row["step"] == 5)
    for name in ("total", "giou", "grad_norm"):
        assert float(numbers[name]) == pytest.approx(expected[name], rel=1e-4)


def test_a_folder_that_is_no_failed_step(tmp_path):
    with pytest.raises(ValueError, match="not the folder of a failed step"):
        tool.replay(tmp_path)
