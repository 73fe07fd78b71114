"""A made-up benchmark, and what the original scoring codes said about results on it.

`score_inputs.npz`: eight sequences with 0-based boxes (set B), the same 1-based (A), and with NaN
in absent frames (U). `score_outputs.npz`, `score_numbers.json`: the codes' curves, errors, scores.
"""

import json
from pathlib import Path

import numpy as np

import small_datasets as small
from data_pipeline.lasot import Lasot
from esat_jax.evaluation.scores import Truth

FIXTURES = Path(__file__).parent / "fixtures"
INPUTS = dict(np.load(FIXTURES / "score_inputs.npz"))
OUTPUTS = dict(np.load(FIXTURES / "score_outputs.npz"))
NUMBERS = json.loads((FIXTURES / "score_numbers.json").read_text())
SEQUENCES = tuple(map(str, INPUTS["sequences"]))
TRACKERS = tuple(map(str, INPUTS["trackers"]))

LASOT = dict(zip(SEQUENCES, Lasot("test").names(), strict=False))  # as sequences of LaSOT


def truth(kind, name, *, flags=True, attributes=None):
    return Truth(
        INPUTS[f"{name}/{kind}/gt"],
        INPUTS[f"{name}/absent"].astype(bool) if flags else None,
        INPUTS[f"{name}/cover"],
        tuple(INPUTS[f"{name}/size"]),
        attributes,
    )


def truths(kind, *, flags=True, names=SEQUENCES):
    return {name: truth(kind, name, flags=flags) for name in names}


def result(kind, tracker, name):
    """Boxes of a tracker; results on set U are those on B, and a perfect one repeats the truth."""
    kind = "B" if kind == "U" else kind
    return INPUTS[f"{name}/{kind}/{'gt' if tracker == 'perfect' else tracker}"]


def results(kind, tracker, names=SEQUENCES):
    return {name: result(kind, tracker, name) for name in names}


def changed(case):
    """`good` on plain-1 of set B with one thing changed."""
    boxes = result("B", "good", "plain-1").copy()
    if case == "longer_by_5":
        return np.concatenate([boxes, boxes[:5]])
    if case == "shorter_by_5":
        return boxes[:-5]
    columns, value = {
        "nan": (2, np.nan),
        "neg_w": (2, -1),
        "zero_w": (2, 0),
        "neg_xy": ([0, 1], -5),
        "inf_x": (0, np.inf),
    }[case]
    boxes[7, columns] = value
    return boxes


def number(value):
    return np.nan if value is None else value


def text(rows, separator=","):
    """Boxes as the content of a file."""
    lines = [separator.join(f"{value:.3f}" for value in row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def lasot_tree():
    """Set A in LaSOT's layout without frames, its toolkit's `annos`, results of three trackers."""
    tree = {}
    for row, name in enumerate(SEQUENCES):
        folder = f"lasot/{LASOT[name].rpartition('-')[0]}/{LASOT[name]}"
        tree[f"{folder}/groundtruth.txt"] = text(INPUTS[f"{name}/A/gt"])
        for flag in ("full_occlusion", "out_of_view"):
            tree[f"{folder}/{flag}.txt"] = ",".join(map(str, INPUTS[f"{name}/{flag}"])).encode()
        tree[f"annos/absent/{LASOT[name]}.txt"] = small.lines(INPUTS[f"{name}/absent"])
        flags = ",".join(map(str, INPUTS["attributes_lasot"][row]))
        tree[f"annos/att/{LASOT[name]}.txt"] = flags.encode()
        for tracker, separator in (("good", "\t"), ("mediocre", " "), ("bad", ",")):
            path = f"raw/{tracker}_tracking_result/{LASOT[name]}.txt"
            tree[path] = text(result("A", tracker, name), separator)
    return tree
