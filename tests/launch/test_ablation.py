"""Rows of a table: which runs they are, what is trained, and what their folders say."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import variants
from launch.ablation_runs import as_trained, make_runs, read_state
from launch.ablation_table import as_json, make_rows, markdown

FILE = "configs/esat_vit_b256.py:smoke"
ROWS = ["t2_baseline", "t2_abs", "t2_fda"]
# Trains nothing: writes a work folder as launch.train does, or fails, or waits for a signal.
FAKE_TRAINING = """
import json, pathlib, sys, time
import numpy as np
from safetensors.numpy import save_file
folder, config, behaviour = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
if behaviour == "fails":
    sys.exit("error: no such luck.")
if behaviour == "waits":
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("waiting", flush=True)
    time.sleep(60)
folder.joinpath("config.json").write_text(json.dumps(config))
sources = np.array([f"synthetic s{i}: template 0, search 1".encode() for i in range(50)])
iou = np.linspace(0.4, 0.6, 50) + config["seed"] * 1e-3 + 0.05 * config["fda"]["enabled"]
np.savez(folder / "validation.npz", step=20, sources=sources, iou=iou.astype(np.float32))
metadata = {"format": "esat-jax", "config": json.dumps(config)}
save_file({"a": np.zeros(2, np.float32)}, folder / "weights.safetensors", metadata=metadata)
"""


def runs_of(tmp_path, table="2", seeds=2, **overrides):
    runs = make_runs(table, FILE, overrides, seeds, tmp_path)
    return {row: runs[row] for row in ROWS} if table == "2" else runs


def write_run(run, iou, *, step=20, sources=None, git="abc"):
    """A finished work folder, with the IoU of each pair."""
    run.folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(run.config)
    (run.folder / "config.json").write_text(config)
    (run.folder / "starts.jsonl").write_text(json.dumps({"git": git}) + "\n")
    (run.folder / "metrics.jsonl").write_text(json.dumps({"step": step}) + "\n")
    if sources is None:
        sources = [f"synthetic s{i // 2}: template 0, search {i}" for i in range(len(iou))]
    np.savez(run.folder / "validation.npz", step=step, iou=iou, sources=np.char.encode(sources))
    metadata = {"format": "esat-jax", "config": config}
    save_file({"a": np.zeros(4)}, run.folder / "weights.safetensors", metadata=metadata)


def table_of(runs, reference="t2_baseline", table="2"):
    runs = as_trained(table, runs)
    states = {row: [read_state(run) for run in each] for row, each in runs.items()}
    keys = {row: {"fda.enabled": "fda" in row} for row in runs}
    rows = make_rows(runs, states, keys, reference, 1000)
    cells = {
        line.split(" | ")[0].strip("| "): [cell.strip(" |") for cell in line.split(" | ")[1:]]
        for line in markdown("T", [], rows, reference, 1000).splitlines()
        if line.startswith("| t")
    }
    return rows, cells


def test_runs_are_the_rows_with_overrides_and_seeds(tmp_path):
    overrides = {"optim.epochs": 7, "data.datasets": ("synthetic", "coco"), "seed": 5}
    runs = make_runs("2", FILE, overrides, 3, tmp_path)
    assert list(runs) == [f"t2_{row}" for row in variants.COMPONENTS]
    run = runs["t2_abs_fda"][2]
    assert run.folder == tmp_path / "esat_vit_b256+smoke" / "t2_abs_fda" / "seed_7"
    assert (run.config["seed"], run.config["optim"]["epochs"]) == (7, 7)
    assert (run.config["loss"]["abs"], run.config["loss"]["pn"]) == (0.01, 0.0)
    assert run.config["fda"]["enabled"] is True
    assert run.config["backbone"]["depth"] == 2  # of the variant smoke
    assert run.command[1:] == [
        *("-m", "launch.train", "--config=configs/esat_vit_b256.py:smoke,t2_abs_fda"),
        *("--config.optim.epochs=7", "--config.data.datasets=('synthetic', 'coco')"),
        *("--config.seed=7", f"--workdir={run.folder}"),
    ]
    assert run.num_steps == 7 * 10


def test_rows_of_two_tables_that_are_one_run_share_a_folder(tmp_path):
    def folders(table, file="configs/esat_vit_b384.py"):
        return {
            row: r[0].folder.parent.name
            for row, r in make_runs(table, file, {}, 1, tmp_path).items()
        }

    assert folders("3")["t3_abs0.01"] == "t2_abs"
    assert folders("3")["t3_abs0.1"] == "t3_abs0.1"
    assert folders("4")["t4_a0.1_b0.1"] == "t2_full"
    hivit = folders("5", "configs/esat_hivit_b384.py")
    assert hivit["t5_full"] == folders("4", "configs/esat_hivit_b384.py")["t4_a0.1_b0.1"]
    whole = {*folders("2").values(), *folders("3").values(), *folders("4").values()}
    assert len(whole) == 8 + 10 + 7 - 3 - 1


def test_what_the_rows_differ_in_cannot_be_given(tmp_path):
    with pytest.raises(ValueError, match=r"--config\.fda\.alpha cannot be given"):
        make_runs("4", FILE, {"fda.alpha": 0.3}, 1, tmp_path)
    make_runs("2", FILE, {"fda.alpha": 0.3}, 1, tmp_path)


def test_only_a_whole_folder_of_the_same_configuration_is_finished(tmp_path):
    run = runs_of(tmp_path)["t2_fda"][0]
    assert read_state(run).text == "not begun"
    write_run(run, np.full(6, 0.5))
    assert read_state(run).kind == "finished"
    assert read_state(run).scores.iou.tolist() == [0.5] * 6
    for name, kind in (("weights.safetensors", "unfinished"), ("config.json", "unfinished")):
        whole = (run.folder / name).read_bytes()
        (run.folder / name).unlink()
        assert read_state(run).kind == kind
        without = read_state(run, weights=False).kind
        assert without == ("finished" if name == "weights.safetensors" else "unfinished")
        (run.folder / name).write_bytes(whole[:-9])
        assert read_state(run).kind == "unusable"
        (run.folder / name).write_bytes(whole)
    write_run(run, np.full(6, 0.5), step=10)
    assert read_state(run).text == "step 10 of 20"
    other = runs_of(tmp_path, **{"loss.l1": 4.0})["t2_fda"][0]
    assert read_state(other).kind == "unusable"
    assert "loss.l1 was 5.0 and is 4.0" in read_state(other).text


def test_the_table_has_means_spread_and_verdicts(tmp_path):
    runs = runs_of(tmp_path)
    rng = np.random.default_rng(0)
    easy = rng.uniform(0.3, 0.7, 200)
    shifts = {"t2_baseline": (0.0, 0.002), "t2_abs": (0.001, -0.001), "t2_fda": (0.1, 0.102)}
    for row, each in shifts.items():
        for run, shift in zip(runs[row], each, strict=True):
            write_run(run, easy + shift + rng.normal(0, 0.01, 200))
    rows, cells = table_of(runs)
    assert [row.verdict for row in rows] == [None, "noise", "difference"]
    assert rows[0].scores.shape == (2, 100)  # two pairs of each sequence
    assert float(cells["t2_baseline"][1]) == pytest.approx(100 * (easy.mean() + 0.001), abs=0.1)
    assert float(cells["t2_baseline"][2]) == pytest.approx(100 * 0.002 / np.sqrt(2), abs=0.12)
    assert cells["t2_baseline"][3:] == ["-", "-", "-"]
    assert float(cells["t2_fda"][3]) == pytest.approx(10, abs=0.15)
    low, high = map(float, cells["t2_fda"][4].split(" to "))
    assert low < 10 < high
    assert cells["t2_fda"][5] == "difference"
    content = as_json(rows, "t2_baseline", 1000)["rows"][2]
    assert content["difference"] == pytest.approx(0.1, abs=0.0015)
    assert [run["seed"] for run in content["runs"]] == [42, 43]


def test_one_seed_says_that_it_is_one(tmp_path):
    runs = runs_of(tmp_path, seeds=1)
    for shift, (run,) in enumerate(runs.values()):
        write_run(run, np.linspace(0.3, 0.7, 20) + 0.01 * shift)
    rows, cells = table_of(runs)
    assert cells["t2_fda"][2] == "-"
    text = markdown("T", [], rows, "t2_baseline", 1000)
    assert "nothing is known of other seeds" in text
    json.dumps(as_json(rows, "t2_baseline", 1000), allow_nan=False)


def test_a_row_without_all_its_seeds_has_no_number(tmp_path):
    runs = runs_of(tmp_path)
    for run in [*runs["t2_baseline"], runs["t2_abs"][0], *runs["t2_fda"]]:
        write_run(run, np.full(10, 0.5))
    output = runs["t2_abs"][1].folder / "output.txt"
    output.parent.mkdir(parents=True)
    output.write_text("x\nfailed: the device is out of memory (status 1)\n")
    write_run(
        runs["t2_fda"][1],
        np.full(10, 0.5),
        sources=[f"synthetic t{i}: template 0, search 1" for i in range(10)],
    )
    rows, cells = table_of(runs)
    assert cells["t2_abs"][1:] == ["failed", "-", "-", "-", "-"]
    assert cells["t2_fda"][1:] == ["unusable", "-", "-", "-", "-"]
    text = markdown("T", [], rows, "t2_baseline", 1000)
    assert "t2_abs, seed 43: failed; the device is out of memory (status 1)." in text
    assert "was validated on other pairs than" in text
    entry = as_json(rows, "t2_baseline", 1000)["rows"][1]
    assert (entry["state"], entry["iou"], entry["difference"]) == ("failed", None, None)
    write_run(runs["t2_fda"][1], np.full(10, 0.5))
    # Without the reference there are means, and nothing to compare with.
    (runs["t2_baseline"][0].folder / "validation.npz").unlink()
    _, cells = table_of({row: runs[row] for row in ("t2_baseline", "t2_fda")})
    assert cells["t2_fda"][1:] == ["50.00", "0.00", "-", "-", "-"]


def test_the_table_needs_nothing_but_the_folders(tmp_path):
    trained = runs_of(tmp_path, **{"optim.epochs": 4, "loss.l1": 4.0})
    for run in (run for each in trained.values() for run in each):
        write_run(run, np.full(10, 0.5), step=40)
        path = run.folder / "config.json"
        config = json.loads(path.read_text())
        config["loss"]["added_later"] = 1
        path.write_text(json.dumps(config))
        metadata = {"format": "esat-jax", "config": json.dumps(config)}
        save_file({"a": np.zeros(4)}, run.folder / "weights.safetensors", metadata=metadata)
    rows, _ = table_of(runs_of(tmp_path))
    assert [row.kind for row in rows] == ["finished"] * 3
    config = json.loads(path.read_text())
    config["loss"]["l1"] = 3.0
    path.write_text(json.dumps(config))
    rows, _ = table_of(runs_of(tmp_path))
    assert [row.kind for row in rows] == ["finished", "finished", "unusable"]
    assert "loss.l1 was 3.0 and is 4.0" in rows[2].states[1].text


def test_code_of_different_commits_is_told(tmp_path):
    runs = runs_of(tmp_path, seeds=1)
    for git, (run,) in zip(("abc", "abc", "def+changes"), runs.values(), strict=True):
        write_run(run, np.full(10, 0.5), git=git)
    text = markdown("T", [], table_of(runs)[0], "t2_baseline", 1000)
    assert "started with different code: commits abc (2), def+change (1)" in text


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Runs the tool in a process whose runs are made up: {row: behaviour}."""
    script = tmp_path / "fake_training.py"
    script.write_text(FAKE_TRAINING)
    starter = tmp_path / "starter.py"

    def start(behaviours, *arguments, wait=True):
        starter.write_text(f"""
import json, sys
from launch import ablation, ablation_runs, errors
behaviours = {behaviours!r}
def command(run):
    behaviour = behaviours.get(run.row, "trains")
    return [sys.executable, {str(script)!r}, str(run.folder), json.dumps(run.config), behaviour]
ablation_runs.Run.command = property(command)
errors.run(ablation.main)
""")
        command = [sys.executable, str(starter), "--table=2", f"--config={FILE}", "--seeds=2"]
        command += [f"--rows={','.join(ROWS)}", f"--workdir={tmp_path / 'runs'}", *arguments]
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": "."},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return (process, *process.communicate(timeout=100)) if wait else process

    return start


def test_failing_rows_are_named_and_the_others_trained_and_the_next_time_only_the_rest(
    tool, tmp_path
):
    process, output, errors = tool({"t2_abs": "fails"})
    assert process.returncode == 1, errors
    trained = re.findall(r"^\d/6 (.*): training", output, re.MULTILINE)
    assert trained == [f"{row}, seed {seed}" for seed in (42, 43) for row in ROWS]
    assert "t2_abs, seed 42: failed; no such luck (status 1)." in output
    table = tmp_path / "runs" / "esat_vit_b256+smoke" / "table_2.md"
    assert table.read_text() in output
    assert "| t2_abs | 0.01 | - | - | failed | - | - | - | - |" in table.read_text()
    assert re.search(r"\| t2_fda \| .* \| \+5.00 \| .* \| difference \|", table.read_text())
    process, output, errors = tool({})
    assert process.returncode == 0, errors
    trained = re.findall(r"^\d/6 (.*): training", output, re.MULTILINE)
    assert trained == ["t2_abs, seed 42", "t2_abs, seed 43"]
    assert "failed" not in table.read_text()
    process, output, _ = tool({}, "--render")
    assert process.returncode == 0
    assert output == table.read_text()


def test_a_stop_reaches_the_run_and_ends_the_tool(tool, tmp_path):
    process = tool({"t2_abs": "waits"}, wait=False)
    path = tmp_path / "runs" / "esat_vit_b256+smoke" / "t2_abs" / "seed_42" / "output.txt"
    while process.poll() is None and not (path.exists() and "waiting" in path.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == "stopped by SIGTERM; the same command goes on.\n"
    assert "failed" not in path.read_text()
    assert not (tmp_path / "runs" / "esat_vit_b256+smoke" / "t2_fda").exists()


def test_commands_are_those_of_what_is_left(tool, tmp_path):
    write_run(runs_of(tmp_path / "runs")["t2_abs"][0], np.full(4, 0.5))
    process, output, errors = tool({}, "--commands")
    assert process.returncode == 0, errors
    lines = [shlex.split(line) for line in output.splitlines()]
    assert len(lines) == 5
    assert not any(
        str(tmp_path / "runs" / "esat_vit_b256+smoke" / "t2_abs" / "seed_42") in word
        for line in lines
        for word in line
    )
