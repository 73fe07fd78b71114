"""The benchmark runs as users run it, on a tiny network and two devices of the CPU."""

import json

import pytest

from benchmarks.flag_values import device_counts, whole_numbers
from benchmarks.train_step import split_step
from tiny_benchmark import run


@pytest.mark.slow
def test_rows_of_both_sources_split_the_step_into_parts_that_sum_to_it(program_cache):
    done = run(
        program_cache,
        *("-m", "benchmarks.train_step", "--batch_sizes=1", "--devices=2,1", "--steps=2"),
        *("--data=pipeline,memory", "--compute_dtypes=float32", "--config.data.num_workers=1"),
    )
    assert done.returncode == 0, done.stderr
    rows = {(r["devices"], r["data"]): r for r in map(json.loads, done.stdout.splitlines())}
    assert list(rows) == [(n, data) for n in (1, 2) for data in ("memory", "pipeline")]
    one = rows[1, "memory"]["queued_ms"]
    for (devices, data), row in rows.items():
        memory = rows[devices, "memory"]["queued_ms"]
        assert row["compute_ms"] == one
        assert row["communication_ms"] == pytest.approx(memory - one, abs=2e-3)
        assert row["data_ms"] == pytest.approx(row["queued_ms"] - memory, abs=2e-3)
        assert row["pairs_per_second"] == pytest.approx(
            1e3 * devices / row["queued_ms"], rel=0.01, abs=0.06
        )
        assert row["speedup"] == pytest.approx(devices * one / row["queued_ms"], rel=0.01, abs=2e-3)
        assert row["cpu_cores"] >= 1
        assert ("host_wait_ms" in row) == ("input" in row) == (data == "pipeline")
        if data == "pipeline":
            assert row["input"]["workers"] == 1
            assert 0 < row["host_wait_ms"] < row["queued_ms"]
            # A single worker does not do more than a second's work in a second.
            rate = row["input"]["pairs_per_second"]
            assert 0 < 1e-3 * row["input"]["cpu_ms"] * rate < 1.5


def test_parts_that_were_not_measured_are_null():
    parts = split_step(5.0, None, 3.0)
    assert parts == {"compute_ms": 3.0, "communication_ms": None, "data_ms": None}
    parts = split_step(5.0, 4.0, None)
    assert parts == {"compute_ms": None, "communication_ms": None, "data_ms": 1.0}


def test_numbers_of_devices_are_whole_and_at_most_those_there_are():
    assert device_counts(["8", "1"]) == [1, 8]
    with pytest.raises(ValueError, match="--devices=9, but there are 8"):
        device_counts(["1", "9"])
    for values in (["0"], ["2", "x"], ["1.5"], []):
        with pytest.raises(ValueError, match="--batch_sizes are whole numbers of 1 or more"):
            whole_numbers("batch_sizes", values)
