import json

import cv2
import numpy as np

from data_pipeline.datasets import make_dataset
from tool_run import ROOT, run_tool


def run(*arguments):
    return run_tool(ROOT, "make_cutouts", *arguments)


def write_photograph(root, polys):
    """A photograph whose left half is red and right half blue, and its line."""
    image = np.zeros((80, 160, 3), np.uint8)
    image[:, :80, 2], image[:, 80:, 0] = 200, 200  # BGR
    (root / "stills" / "some").mkdir(parents=True)
    cv2.imwrite(str(root / "stills/some/a.png"), image)
    line = {"file": "some/a.png", "w": 160, "h": 80, "boxes": [], "polys": polys}
    (root / "stills.jsonl").write_text(json.dumps({"file": "b.png", "boxes": []}) + "\n\n")
    with (root / "stills.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_objects_are_cut_out_along_their_outlines(tmp_path):
    triangle = [90, 10, 150, 10, 150, 70]  # 1,800 px, in the blue half
    small, all_of_it = [10, 10, 20, 10, 20, 20, 10, 20], [0, 0, 160, 0, 160, 80, 0, 80]
    write_photograph(tmp_path, [["cup", small], ["kite", triangle], ["wall", all_of_it]])
    done = run(f"--root={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "Written: 1 cut-outs of 1 photographs" in done.stdout
    (path,) = (tmp_path / "cutouts").iterdir()
    assert path.name == "some_a-1.png"
    cutout = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert cutout.shape[2] == 4
    rows, columns = np.nonzero(cutout[..., 3] > 127)
    assert max(abs(np.ptp(rows) - 59), abs(np.ptp(columns) - 59)) <= 2
    assert abs(len(rows) - 1_800) < 180  # the edge is soft
    assert cutout[8, -8].tolist() == [200, 0, 0, 255]  # the right angle is at the top right
    assert cutout[-8, 8, 3] == 0
    scene = make_dataset("synthetic:.", tmp_path)[0]
    assert scene.read_frame(0).shape == (360, 640, 3)


def test_wrong_lines_and_folders_end_in_a_sentence(tmp_path):
    write_photograph(tmp_path, [["cup", [1, 2, 3]]])
    done = run(f"--root={tmp_path}")
    assert done.returncode == 1
    assert f"{tmp_path / 'stills.jsonl'}:3: expected" in done.stderr
    assert not (tmp_path / "cutouts").exists()
    (tmp_path / "stills.jsonl").write_text('{"file": "a.jpg", "boxes": []}\n')
    done = run(f"--root={tmp_path}")
    assert done.returncode == 1
    assert "no line has outlines" in done.stderr
