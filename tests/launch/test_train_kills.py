"""A run that is killed again and again, at random moments and while checkpoints are written."""

import random
import signal
import time

import pytest

from training_runs import (
    assert_same_run,
    finish,
    start,
    unfinished_checkpoints,
    wait_for_a_write,
)

KILLS, STEPS = 20, 100
KEYS = {"data.samples_per_epoch": STEPS, "checkpoint.every_steps": 2}  # two epochs of batches of 2


def number_of_starts(workdir):
    path = workdir / "starts.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def wait_for_the_start(process, workdir, starts):
    """Returns when what a killed process left was cleared away, and the first step is near."""
    while process.poll() is None and number_of_starts(workdir) <= starts:
        time.sleep(0.005)


@pytest.mark.soak  # took 8 minutes on two busy cores
def test_twenty_kills_lose_nothing(program_cache, tmp_path):
    unbroken, workdir, rng = tmp_path / "unbroken", tmp_path / "killed", random.Random(0)
    status, _, errors = finish(start(unbroken, program_cache, **KEYS), timeout=1200)
    assert status == 0, errors
    interrupted_writes = 0
    for number in range(KILLS):
        starts = number_of_starts(workdir)
        # With and without a worker process: it does not outlive the killed one.
        process = start(workdir, program_cache, **KEYS, **{"data.num_workers": number % 2})
        if number % 5 == 4:  # at any moment, that of starting included
            time.sleep(rng.uniform(0, 10))
        else:
            wait_for_the_start(process, workdir, starts)
            time.sleep(rng.uniform(0, 5))
            if number % 5 < 3:
                wait_for_a_write(process, workdir)
                time.sleep(rng.choice([0, rng.uniform(0, 0.05)]))
        process.kill()
        status, _, errors = finish(process)
        assert status == -signal.SIGKILL, errors
        interrupted_writes += bool(unfinished_checkpoints(workdir))
    assert interrupted_writes >= KILLS // 4
    status, _, errors = finish(start(workdir, program_cache, **KEYS), timeout=1200)
    assert status == 0, errors
    assert_same_run(workdir, unbroken, STEPS)
