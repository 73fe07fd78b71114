"""The tool runs as users run it: as a program, with a small network."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "launch.benchmark_tracker", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_the_parts_sum_to_the_whole_in_the_file(tmp_path):
    path = tmp_path / "speed.json"
    done = run_tool(
        *("--config=configs/esat_vit_b256.py:smoke", "--frame_size=320x240", "--steps=12"),
        *("--batch_sizes=1,3", f"--json={path}"),
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads(path.read_text())
    assert numbers["frames"]["width"] == 320
    assert numbers["frames"]["kbytes"] > 1
    assert numbers["device"] == "cpu"
    assert numbers["compute_dtype"] == "float32"
    rows = numbers["rows"]
    assert [(row["mode"], row["batch"]) for row in rows] == [
        *(("sequential", 1), ("parts", 1), ("overlapped", 1), ("parts", 3), ("overlapped", 3)),
    ]
    for row in rows:
        assert row["compile_seconds"] > 0
        assert row["frames_per_second"] > 0
        assert done.stdout.count(f"{row['frames_per_second']:.1f} frames/s") >= 1
    for row in rows[1::2]:
        parts = [row[f"{part}_ms"]["mean"] for part in ("decode", "crop", "forward", "post")]
        assert 0.95 <= sum(parts) / row["whole_ms"]["mean"] <= 1.001
    for row in rows[2::2]:
        speed = row["frames_per_second"] / rows[0]["frames_per_second"]
        assert row["times_sequential"] == pytest.approx(speed, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch_sizes=1"], "give either --weights=FILE, or --config=FILE"),
        (
            ["--config=configs/esat_vit_b256.py:smoke", "--batch_sizes=1,0"],
            "--batch_sizes are numbers such as 1,8,32",
        ),
    ],
)
def test_wrong_flags_are_told_at_once(arguments, words):
    done = run_tool(*arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
