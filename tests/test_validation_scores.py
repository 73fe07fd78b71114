import socket
import subprocess
import sys

import numpy as np
import pytest

from esat_jax.validation_scores import (
    SCORES_NAME,
    ValidationScores,
    load_validation,
    save_validation,
)

SOURCES = np.array(
    [
        "got10k_votval GOT-10k_2: template 3, search 9",
        "got10k_votval GOT-10k_1: template 0, search 4, 7",
        "got10k_votval GOT-10k_2: template 5, search 6",
        "coco 12: template 0, search 0",
        "folders Straße: template 0: template 1, search 2",
    ]
)
IOU = np.array([0.25, 0.5, 0.75, 1.0, 0.125], np.float32)
BATCHES = [(SOURCES[:2], IOU[:2]), (SOURCES[2:], IOU[2:])]


def test_what_is_saved_is_loaded(tmp_path):
    save_validation(tmp_path, 120, BATCHES)
    scores = load_validation(tmp_path)
    assert scores.step == 120
    np.testing.assert_array_equal(scores.sources, SOURCES)
    np.testing.assert_array_equal(scores.iou, IOU)
    assert [path.name for path in tmp_path.iterdir()] == [SCORES_NAME]


def test_pairs_of_a_sequence_become_one_number():
    names, iou = ValidationScores(1, SOURCES, IOU).by_sequence()
    assert names.tolist() == [
        "coco 12",
        "folders Straße: template 0",
        "got10k_votval GOT-10k_1",
        "got10k_votval GOT-10k_2",
    ]
    np.testing.assert_array_equal(iou, [1.0, 0.125, 0.5, 0.5])


def test_a_damaged_file_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_validation(tmp_path)
    save_validation(tmp_path, 1, BATCHES)
    path = tmp_path / SCORES_NAME
    whole = path.read_bytes()
    for damaged in (whole[:100], b"", whole.replace(b"iou", b"uoi")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{SCORES_NAME}: not read as a run's validation"):
            load_validation(tmp_path)
    save_validation(tmp_path, 1, [(SOURCES, IOU * np.nan)])
    with pytest.raises(ValueError, match="5 pairs have 0 IoUs"):
        load_validation(tmp_path)


HOST = """
import sys, jax, numpy as np
jax.config.update("jax_platforms", "cpu")
index, address, folder = int(sys.argv[1]), *sys.argv[2:]
jax.distributed.initialize(address, 2, index)
from esat_jax.sharding import make_mesh, put_batch, replicated
from esat_jax.validation_scores import save_validation
whole = jax.jit(lambda x: x, out_shardings=replicated(make_mesh()))
batches = []
for first in (0, 4):
    numbers = np.arange(2.0) + first + 2 * index
    sources = np.array([f"Straße {n:.0f}: template 0, search 1" for n in numbers])
    batches.append((sources, whole(put_batch({"n": numbers}, make_mesh())["n"])))
save_validation(folder, 5, batches)
"""


@pytest.mark.slow
def test_two_hosts_write_one_file_in_the_order_of_the_global_batches(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    hosts = [
        subprocess.Popen([sys.executable, "-c", HOST, str(index), address, str(tmp_path)])
        for index in range(2)
    ]
    assert [host.wait(timeout=120) for host in hosts] == [0, 0]
    scores = load_validation(tmp_path)
    assert scores.iou.tolist() == list(range(8))
    assert scores.sources.tolist() == [f"Straße {n}: template 0, search 1" for n in range(8)]
