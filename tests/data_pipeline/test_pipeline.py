"""Batches do not depend on workers, hosts or interruptions; and they stop loudly.

Worker processes start in seconds, so few tests have them.
"""

import contextlib
import json
import logging
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from configs.base import get_base_config
from data_pipeline import batches
from data_pipeline.batches import WorkerError
from data_pipeline.pipeline import make_train_batches, make_val_batches
from data_pipeline.skips import SPARE_SKIPS
from fake_sequences import FakeDataset, still, stills, video, videos

NUM_STEPS = 7
FAULTY = FakeDataset(
    "videos",
    (
        *(video(f"v{n}") for n in range(9)),
        video("faulty", fault=(range(0, 40, 4), "damaged")),
    ),
)


def make_config(num_workers=0, **data):
    config = get_base_config()
    config.batch_size = 4
    config.template.size, config.search.size, config.search.number = 32, 64, 2
    config.data.samples_per_epoch = 18  # four batches, and two samples that are dropped
    config.data.val_samples = 10
    config.data.num_workers = num_workers
    config.data.update(data)
    return config.to_dict()


def take(batches, count=NUM_STEPS):
    with batches:
        return [next(batches) for _ in range(count)]


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            assert batch[name].dtype == other[name].dtype
            np.testing.assert_array_equal(batch[name], other[name])


@pytest.fixture(scope="module")
def in_process():
    return take(make_train_batches(make_config(), [FAULTY, stills()]))


def test_batches_have_a_leading_axis_and_stay_uint8(in_process):
    forms = {name: (value.dtype.name, value.shape) for name, value in in_process[0].items()}
    assert forms.pop("source")[1] == (4,)
    assert forms == {
        "template": ("uint8", (4, 32, 32, 3)),
        "search": ("uint8", (4, 2, 64, 64, 3)),
        "template_box_cxcywh": ("float32", (4, 4)),
        "box_cxcywh": ("float32", (4, 2, 4)),
        "template_brightness": ("float32", (4,)),
        "search_brightness": ("float32", (4, 2)),
        "score_target": ("float32", (4, 2, 4, 4)),
        "abs_labels": ("int32", (4, 2, 20)),
        "pn_labels": ("int32", (4, 2, 20)),
    }


def test_no_two_samples_are_alike_and_another_seed_gives_others(in_process):
    searches = [image.tobytes() for batch in in_process for image in batch["search"]]
    assert len(set(searches)) == len(searches)
    other = take(make_train_batches(make_config() | {"seed": 43}, [FAULTY, stills()]), 1)
    assert not set(searches) & {image.tobytes() for image in other[0]["search"]}


def test_epochs_differ_though_their_indices_are_the_same(in_process):
    first, second = in_process[0], in_process[4]  # step 0 of epochs 0 and 1
    assert not np.array_equal(first["search"], second["search"])


def test_one_worker_gives_the_same_bytes(in_process):
    batches = make_train_batches(make_config(num_workers=1), [FAULTY, stills()])
    assert_equal(take(batches), in_process)


def test_four_workers_stopped_and_restored_give_the_same_bytes(in_process):
    """Stopped at a random step, with batches still waiting; the state passes through JSON.

    Two workers go on where four stopped.
    """
    stop = int(np.random.default_rng(os.getpid()).integers(1, NUM_STEPS))
    with make_train_batches(make_config(num_workers=4), [FAULTY, stills()]) as first:
        head = [next(first) for _ in range(stop)]
        state = json.loads(json.dumps(first.get_state()))
    second = make_train_batches(make_config(num_workers=2), [FAULTY, stills()])
    second.set_state(state)
    assert_equal(head + take(second, NUM_STEPS - stop), in_process)


def test_a_state_fits_any_number_of_workers_and_the_same_iterator(in_process):
    batches = make_train_batches(make_config(), [FAULTY, stills()])
    head = [next(batches) for _ in range(3)]
    state = batches.get_state()
    next(batches)
    batches.set_state(state)
    assert_equal(head + take(batches, NUM_STEPS - 3), in_process)


@pytest.mark.parametrize("count", [2, 4])
def test_the_batches_of_all_hosts_one_after_the_other_are_the_batch_of_one(in_process, count):
    hosts = [
        take(
            make_train_batches(make_config(), [FAULTY, stills()], shard_index=n, shard_count=count)
        )
        for n in range(count)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*hosts, strict=True)
    ]
    assert_equal(joined, in_process)


def test_the_order_of_data_sets_and_ratios_come_from_the_config():
    config = make_config(ratios=(0.0, 1.0))
    (batch,) = take(make_train_batches(config, [videos(), stills()]), 1)
    assert all(source.startswith("stills s") for source in batch["source"])


def test_validation_repeats_itself_and_ends_and_leaves_crops_alone():
    config = make_config()
    first = list(make_val_batches(config, [videos()]))
    assert len(first) == 2  # 10 samples
    assert_equal(list(make_val_batches(config, [videos()])), first)
    for batch in first:
        assert (batch["template_brightness"] == 1).all()
        assert (batch["search_brightness"] == 1).all()
    training = take(make_train_batches(config, [videos()]), 1)[0]
    assert training["source"].tolist() != first[0]["source"].tolist()


def test_validation_can_be_stopped_and_restored_too():
    batches = make_val_batches(make_config(), [videos()])
    whole = list(batches)
    assert batches.get_state()["step"] == 2
    batches.set_state({"step": 1, "skips": {}})
    assert_equal(list(batches), whole[1:])
    batches.set_state({"step": 3, "skips": {}})
    assert list(batches) == []


def test_skips_are_counted_logged_at_the_end_of_an_epoch_and_part_of_the_state(caplog):
    caplog.set_level(logging.WARNING)
    batches = make_train_batches(make_config(max_skip_share=1.0), [FAULTY])
    with batches:
        counts = []
        for _ in range(12):
            next(batches)
            counts.append(batches.skip_counts)
        state = batches.get_state()
    assert counts[3] == counts[7] == counts[11] == {}  # ends of epochs
    ended = [line for line in caplog.messages if line.startswith("epoch ")]
    assert ended
    assert all("make 16 samples: damaged frame " in line for line in ended)
    assert any(line.startswith("skipped a draw (damaged frame): disk/faulty/") for line in
               caplog.messages)  # fmt: skip
    restored = make_train_batches(make_config(max_skip_share=1.0), [FAULTY])
    restored.set_state(state | {"skips": {"damaged frame": 2}})
    assert restored.skip_counts == {"damaged frame": 2}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_too_many_skips_stop_the_run_with_the_list_and_it_stays_stopped(num_workers):
    bad = tuple(still(f"bad{n}", (20, 15, 0, 9)) for n in range(9))
    config = make_config(num_workers, max_skip_share=0.0)
    with make_train_batches(config, [FakeDataset("stills", (*bad, still("good")))]) as batches:
        with pytest.raises(ValueError, match="draws of this epoch were skipped") as caught:
            take(batches)
        with pytest.raises(ValueError, match="draws of this epoch were skipped"):
            next(batches)
    text = str(caught.value)
    assert f"more than the {SPARE_SKIPS} that config.data.max_skip_share allows" in text
    assert "damaged box " in text
    assert "disk/bad" in text


def test_a_name_that_is_no_text_passes_through_workers_as_escapes():
    dataset = FakeDataset("stills", (still("n\udcff"), still("b\udcfe", (20, 15, 0, 9))))
    config = make_config(num_workers=1, max_skip_share=1.0)
    batches = make_train_batches(config, [dataset])
    sources = {source for batch in take(batches, 3) for source in batch["source"].tolist()}
    assert sources == {"stills n\\udcff: template 0, search 0, 0"}


@contextlib.contextmanager
def failing_batches(kind, num_workers=1):
    dataset = FakeDataset("stills", (still("s", fault=(range(1), kind)),))
    with make_train_batches(make_config(num_workers), [dataset]) as batches:
        yield batches


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_workers_error_names_file_and_sequence(num_workers):
    with (
        failing_batches("unplugged", num_workers) as batches,
        pytest.raises(OSError, match=r"disk/s/0\.jpg \(stills s, frame 0, from 0\)"),
    ):
        next(batches)


def test_a_worker_that_dies_ends_the_run_with_its_exit_code():
    with failing_batches("dies") as batches:
        batches.set_state({"step": 6, "skips": {}})
        with pytest.raises(WorkerError, match=r"ended with status 7; .*data.num_workers") as caught:
            next(batches)
    assert caught.value.__notes__[-1] == "in input batch 6: batch 2 of epoch 1, from 0"


KILLED = """
import multiprocessing, os, signal
from configs.base import get_base_config
from data_pipeline.pipeline import make_train_batches
from fake_sequences import videos

config = get_base_config()
config.batch_size, config.data.num_workers = 2, 1
config.template.size, config.search.size = 32, 64
batches = make_train_batches(config.to_dict(), [videos()])
next(batches)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_workers_end_with_a_main_process_that_was_killed():
    root = pathlib.Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -9
    (worker,) = map(int, done.stdout.split())

    def runs():
        try:
            return pathlib.Path(f"/proc/{worker}/stat").read_text().split()[2] != "Z"
        except FileNotFoundError:
            return False

    for _ in range(100):
        if not runs():
            return
        time.sleep(0.1)
    os.kill(worker, 9)
    raise AssertionError("the worker outlived its main process by 10 s")


def test_no_jax_backend_starts_in_a_worker():
    with failing_batches("backend") as batches:
        assert next(batches)["search"].shape == (4, 2, 64, 64, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 20}, "an epoch of 18 samples is less than one batch of 20"),
        ({"batch_size": 5}, "batch_size 5 must be a multiple of the 2 hosts"),
    ],
)
def test_batches_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        make_train_batches(make_config() | values, [videos()], shard_index=1, shard_count=2)


def test_a_shard_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"index must be in \[0, 2\), got 2"):
        make_train_batches(make_config(), [videos()], shard_index=2, shard_count=2)


@pytest.mark.parametrize("state", [{}, {"step": -1, "skips": {}}, {"step": "3", "skips": {}}])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(ValueError, match="must have a step and skips"):
        make_train_batches(make_config(), [videos()]).set_state(state)


def test_too_little_shared_memory_is_said_before_workers_die_of_it(monkeypatch, tmp_path):
    usage = type("usage", (), {"free": 2**10})
    monkeypatch.setattr(batches, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(batches.shutil, "disk_usage", lambda path: usage)
    starved = make_train_batches(make_config(num_workers=2), [videos()])
    with pytest.raises(ValueError, match=r"2 workers need .*docker run --shm-size"):
        next(starved)
