import json

import pytest

from tool_run import ROOT, run_tool


def plan(*arguments):
    return run_tool(ROOT, "plan", "--config=configs/esat_vit_b256.py:smoke", *arguments)


@pytest.mark.slow
def test_a_device_computes_its_share_of_a_run_on_more(tmp_path):
    path = tmp_path / "plan.json"
    done = plan("--devices=64", "--config.batch_size=128", "--steps=2", f"--json={path}")
    assert done.returncode == 0, done.stderr
    for words in (
        "Batch: 128 pairs = 64 x 2, each with 1 search frame(s).",
        "Devices: 64 asked for, ",
        "accumulate 1, remat False: ",
        "The run: 2 epochs of 0 steps, 0.00 hours",
        "Data: the pipeline must supply ",
    ):
        assert words in done.stdout
    numbers = json.loads(path.read_text())
    (rate,), (milliseconds,) = (numbers[name].values() for name in ("pairs_per_second", "step_ms"))
    assert rate == pytest.approx(128 / (1e-3 * milliseconds), rel=1e-2)
    assert numbers["settings"][0]["fits"]
    assert 0 < numbers["settings"][0]["memory_bytes"] < numbers["device_memory_bytes"]


@pytest.mark.slow
def test_what_does_not_fit_ends_with_what_can_be_done():
    done = plan("--memory_gib=0.001", "--config.batch_size=1", "--config.optim.remat=True")
    assert done.returncode == 1
    assert "of 0.0 GiB a device" in done.stdout
    assert "does not fit" in done.stdout
    assert "None of these fits: use more devices, a smaller --config.batch_size" in done.stdout


def test_a_batch_that_does_not_divide_ends_in_one_sentence():
    done = plan("--devices=3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: config.batch_size 8 does not divide among 3 devices.\n"
