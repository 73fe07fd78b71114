import json

import pytest

from tool_run import ROOT, run_tool


def profile(*arguments):
    return run_tool(ROOT, "profile_model", *arguments)


def test_ostrack_384_in_the_table_and_in_the_file(tmp_path):
    path = tmp_path / "cost.json"
    done = profile(
        "--config=configs/esat_vit_b384.py:t2_baseline", "--latency=false", f"--json={path}"
    )
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(maxsplit=4) for line in done.stdout.splitlines()]
    rows = {line[0]: line[4] for line in lines if len(line) == 5}  # last column
    assert rows["inference"] == rows["training, forward"] == "48,317,979,456"
    assert rows["encoder"] == "44,163,661,824"
    for words in (
        "As thop: 92.082 M parameters, 48.318 G MACs; 54.09 G with QK^T and AV.",
        "Search tokens after blocks 3, 6, 9: 404, 283, 199 of 576.",
        "holds 92,825,733 parameters; its forward pass never reads 152,064 of them",
    ):
        assert words in done.stdout
    assert "Forces" not in done.stdout
    numbers = json.loads(path.read_text())
    assert numbers["inference"] == {
        "parameters": 92_825_733 - 152_064,
        "thop_parameters": 92_082_309,
        "macs": sum(part["macs"] for part in numbers["parts"].values()),
        "thop_macs": 48_317_979_456,
        "thop_macs_and_attention_products": 48_317_979_456 + 5_770_440_192,
    }
    assert numbers["kept"] == {"3": 404, "6": 283, "9": 199}
    assert numbers["config"]["search"]["size"] == 384
    assert "latency" not in numbers


def test_times_name_the_device_and_the_type(tmp_path):
    path = tmp_path / "cost.json"
    done = profile(
        "--config=configs/esat_vit_b256.py:smoke",
        "--config.compute_dtype=bfloat16",
        "--batch_size=2",
        "--repeats=20",
        f"--json={path}",
    )
    assert done.returncode == 0, done.stderr
    assert "cpu, bfloat16, batch 2: p50 " in done.stdout
    assert "position head: FCNs" in done.stdout
    assert "Forces also do 11 operations" in done.stdout
    latency = json.loads(path.read_text())["latency"]
    assert latency["device"] == "cpu"
    assert latency["compute_dtype"] == "bfloat16"
    assert (latency["batch_size"], latency["repeats"]) == (2, 20)
    assert 0 < latency["latency_ms_p50"] <= latency["latency_ms_p95"]
    assert latency["compile_seconds"] > 0
    assert [file.name for file in tmp_path.iterdir()] == ["cost.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json=no/such/folder/cost.json"], "there is no folder no/such/folder; make it first"),
        (["--config.backbone.name=swin"], "backbone.name is one of ['hivit', 'vit'], got 'swin'"),
    ],
)
def test_wrong_input_ends_in_one_sentence(arguments, words):
    done = profile("--config=configs/esat_vit_b256.py:smoke", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
