"""The benchmark runs as users run it, on one short sequence."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_source_has_a_row_and_other_settings_need_another_folder(tmp_path):
    command = [sys.executable, "-m", "benchmarks.input_pipeline", f"--workdir={tmp_path / 'work'}"]
    command += ["--sequences=1", "--blocks=5", "--batch=1", "--max_targets=60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = {row["source"]: row for row in map(json.loads, done.stdout.splitlines())}
    packings = ("packed", "packed, max_target 60", "packed, keep_files")
    sources = ("plain", *packings)
    assert list(rows) == ["floor"] + [n for s in sources for n in (s, f"{s}, reduced")]
    assert rows["packed, keep_files"]["search_change"] == 0
    assert 0 < rows["packed"]["search_change"] < 1
    assert all(row["time_over_floor"] > 0 and row["disk_mb"] >= 0 for row in rows.values())
    assert rows["packed"]["disk_mb"] > rows["packed, max_target 60"]["disk_mb"] > 0

    command += ["--sides=0.03,0.12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'work'} holds something else than sequences")
