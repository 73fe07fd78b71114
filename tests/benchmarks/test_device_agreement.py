"""The same steps on one and on two devices of the CPU, by the tool itself."""

import json

import numpy as np
import pytest

from benchmarks.device_agreement import relative_differences, worst_array
from tiny_benchmark import run

KEEPING = """
from benchmarks import device_agreement as tool
from launch import errors

make_training, made, results = tool.make_training, {}, {}
train = tool.Training.train

def make_once(config, batch, devices, steps_per_epoch):
    if devices not in made:
        made[devices] = make_training(config, batch, devices, steps_per_epoch)
    return made[devices]

def train_once(self, variables, batches):
    if self.mesh.size == 1:
        return train(self, variables, batches)
    if "many" not in results:
        results["many"] = train(self, variables, batches)
    return results["many"]

def main(argv):
    first = tool.main(argv)
    params, name = results["many"][0], "box_head/size/conv_5/kernel"
    params[name] = 1.0002 * params[name]
    return 10 * first + tool.main(argv)

tool.Training.train = train_once
tool.make_training = make_once
errors.run(main)
"""


@pytest.mark.slow
def test_two_devices_agree_with_one_and_a_planted_difference_is_found(program_cache):
    done = run(program_cache, "-c", KEEPING, "--devices=2", "--batch_size=4", "--steps=3")
    assert done.returncode == 1, done.stderr  # 0 at first, then 1
    assert "parameters differ by more than the tolerance" in done.stderr
    agreeing, planted = map(json.loads, done.stdout.splitlines())
    assert agreeing["agrees"] is True
    assert 0 < agreeing["largest_difference"] < 1e-5 < agreeing["worst_array_moved"]
    assert agreeing["arrays_above"] == 0
    assert 1e-8 < agreeing["rounding_difference"] < 1e-3  # of parameters a last bit off
    assert 0 < agreeing["single_step_difference"] < 1e-6
    assert len(set(agreeing["one_device"]["losses"])) == 2
    assert planted["agrees"] is False
    assert planted["worst_array"] == "box_head/size/conv_5/kernel"
    assert planted["largest_difference"] == pytest.approx(2e-4, rel=0.05)
    assert planted["arrays_above"] == 1


def test_differences_are_relative_and_what_is_no_number_is_worst():
    expected = {"a": np.array([3.0, 4.0]), "b": np.zeros(2), "c": np.ones(1)}
    got = {"a": np.array([3.0, 4.5]), "b": np.zeros(2), "c": np.ones(1)}
    assert relative_differences(expected, got) == {"a": 0.1, "b": 0.0, "c": 0.0}
    got["b"] = np.array([0, 1e-9])
    differences = relative_differences(expected, got)
    assert worst_array(differences) == "b"
    assert differences["b"] > 1e300
    got["c"] = np.array([np.nan])
    assert worst_array(relative_differences(expected, got)) == "c"


def test_devices_that_the_batch_does_not_divide_among_end_in_one_sentence(program_cache):
    done = run(program_cache, "-m", "benchmarks.device_agreement", "--devices=2", "--batch_size=3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: --devices=2: give 2 or more, among which --batch_size=3")
