"""launch/slurm.sh with two processes on this computer, in place of two computers of a cluster."""

import os
import signal
import stat
import time

import numpy as np
import pytest

from training_runs import (
    CONFIG,
    environment,
    finish,
    overrides,
    slurm_job,
    spawn,
    start,
    wait_for_rows,
    weights,
)

# Starts its command twice, as `srun` does on two computers, and tells how both ended.
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
for i in 0 1; do
  SLURM_PROCID=$i "$@" 2>"$LOGS/$i.err" &
  echo $! >"$LOGS/$i.pid"
done
wait "$(cat "$LOGS/0.pid")" || first=$?
wait "$(cat "$LOGS/1.pid")" || second=$?
echo "${first:-0} ${second:-0}"
"""


class Job:
    """Two processes that train together."""

    def __init__(self, logs, workdir, cache):
        logs.mkdir()
        self.logs = logs
        (logs / "srun").write_text(SRUN)
        (logs / "srun").chmod(stat.S_IRWXU)
        self.process = spawn(
            ["launch/slurm.sh", workdir, "no/data", *overrides(**{"data.num_workers": 0})],
            cache,
            **slurm_job(),
            CONFIG=CONFIG,
            LOGS=str(logs),
            PATH=f"{logs}:{environment(cache)['PATH']}",
        )

    def send(self, index, number):
        os.kill(int((self.logs / f"{index}.pid").read_text()), number)

    def finish(self):
        """Both exit statuses, what was written to stdout, and to stderr by each."""
        status, output, errors = finish(self.process, timeout=600)
        assert status == 0, errors
        *lines, statuses = output.splitlines()
        both = [(self.logs / f"{index}.err").read_text() for index in (0, 1)]
        return [int(one) for one in statuses.split()], "\n".join(lines), both


@pytest.mark.soak  # took 6 minutes on two cores: JAX keeps no programs of several CPUs
def test_two_processes_train_as_one_and_none_waits_for_a_dead_one(program_cache, tmp_path):
    workdir = tmp_path / "run"
    job = Job(tmp_path / "killed", workdir, program_cache)
    wait_for_rows(job.process, workdir, 2)
    job.send(1, signal.SIGKILL)
    killed = time.monotonic()
    statuses, output, errors = job.finish()
    assert time.monotonic() - killed < 10
    assert statuses == [1, 128 + signal.SIGKILL]
    (sentence,) = (line for line in errors[0].splitlines() if line.startswith("error: "))
    assert "the same command goes on from" in sentence
    assert "Traceback" not in errors[0]
    assert "Devices: 2 x cpu on 2 host(s)." in output
    assert "Batch: 2 pairs (global) = 2 device(s) x 1 micro-batch(es) x 1 pairs" in output

    job = Job(tmp_path / "stopped", workdir, program_cache)
    wait_for_rows(job.process, workdir, 4)
    job.send(1, signal.SIGTERM)
    statuses, _, errors = job.finish()
    assert statuses == [143, 143], errors
    assert all("is saved: the same command goes on" in text for text in errors)

    statuses, _, errors = Job(tmp_path / "ended", workdir, program_cache).finish()
    assert statuses == [0, 0], errors
    status, _, errors = finish(start(tmp_path / "alone", program_cache, devices=2))
    assert status == 0, errors
    expected = weights(tmp_path / "alone")
    for path, value in weights(workdir).items():
        error = np.linalg.norm(value - expected[path])
        assert error <= 1e-5 * np.linalg.norm(expected[path]), path
