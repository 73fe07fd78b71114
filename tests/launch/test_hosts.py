"""Two processes of a run on this computer, told of each other as SLURM tells them."""

import contextlib
import sys
import time

import pytest

from training_runs import finish, slurm_job, spawn

PROCESS = """
import logging, sys, time
logging.getLogger("jax").setLevel("CRITICAL")
import jax
from jax._src.xla_bridge import CUDA_VISIBLE_DEVICES as gpus
from jax.experimental import multihost_utils
from launch import errors, hosts

def main(argv):
    hosts.join()
    index = jax.process_index()
    with hosts.ending_together():
        print("ready", jax.device_count(), gpus.value, flush=True)
        time.sleep(2)
        {body}
    return 3

errors.run(main)
"""


@contextlib.contextmanager
def two_processes(cache, body):
    command, job = [sys.executable, "-c", PROCESS.format(body=body)], slurm_job()
    both = [spawn(command, cache, **job, SLURM_PROCID=index) for index in ("0", "1")]
    try:
        for process in both:
            line = next(line for line in process.stdout if line.startswith("ready"))
            # All devices of a computer are its one process's; JAX by itself takes the first.
            assert line == "ready 2 all\n"
        yield both
    finally:
        for process in both:
            process.kill()


def test_both_end_as_they_would_alone(program_cache):
    with two_processes(program_cache, "pass") as both:
        for process in both:
            status, _, errors = finish(process)
            assert (status, "error" in errors) == (3, False), errors


@pytest.mark.parametrize("dead", [0, 1])
def test_the_death_of_one_ends_the_other_in_a_sentence(program_cache, dead):
    with two_processes(program_cache, "time.sleep(1000)") as both:
        both[dead].kill()
        killed = time.monotonic()
        status, _, errors = finish(both[1 - dead])
    assert time.monotonic() - killed < 10
    assert status == 1
    sentence = f"error: process {1 - dead} ends because process {dead} did; the same command goes"
    assert sentence in errors
    assert "Traceback" not in errors


def test_the_failure_of_one_ends_the_other_where_it_waits_for_it(program_cache):
    body = """
        if index:
            raise ValueError("the disk of this computer is gone.")
        multihost_utils.sync_global_devices("never")
    """
    with two_processes(program_cache, body.strip()) as (first, second):
        status, _, errors = finish(second)
        assert status == 1
        assert errors.splitlines()[-1] == "error: the disk of this computer is gone."
        status, _, errors = finish(first)
    assert status == 1
    (sentence,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert "the same command goes on from the newest checkpoint" in sentence
