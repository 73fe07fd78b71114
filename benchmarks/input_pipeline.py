r"""Training pairs a second that one core makes, from plain folders and from packed shards.

python -m benchmarks.input_pipeline --config=configs/esat_vit_b384.py --workdir=runs/input \
    [--images=FOLDER with cutouts/ and stills/]
prints one JSON line a row. Makes synthetic sequences of 1280 x 720 px JPEG frames in --workdir, and
packs them as they are, with each of --max_targets, and with --keep_files; then times, on the same
pairs: OpenCV decoding the two frames from memory ("floor"), and whole batches from each, with and
without reduced decoding. Blocks of each are timed in turn, since computers are not equally fast all
the time; rates are medians over the blocks, of processor time. All files are in memory by then.
"""

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from benchmarks.environment import environment
from data_pipeline import shards
from data_pipeline.allocation import keep_freed_memory
from data_pipeline.augment import CropRule
from data_pipeline.datasets import make_dataset
from data_pipeline.layout_files import write_sequences
from data_pipeline.packing import PackRule, needed_reach
from data_pipeline.pairs import make_rng
from data_pipeline.pipeline import make_train_batches
from data_pipeline.scene import SceneRule
from data_pipeline.sequences import Dataset
from data_pipeline.sprites import find_material
from data_pipeline.synthetic import SyntheticDataset
from esat_jax.atomic import complete_file
from launch import errors

_CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/esat_vit_b384.py", "Config file, then :variant,variant."
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/input_pipeline", "Receives the sequences, 600 MB.")
_IMAGES = flags.DEFINE_string("images", "", "Folder with cutouts/ and stills/ to make them of.")
_SEQUENCES = flags.DEFINE_integer("sequences", 20, "Sequences of 24 frames.", lower_bound=1)
_SIDES = flags.DEFINE_list(
    "sides", ["0.06", "0.3"], "Range of the targets' sides over the root of the frame's area."
)
_MAX_TARGETS = flags.DEFINE_list(
    "max_targets",
    None,
    "Values of launch.pack_dataset's --max_target, px; by default the one with which crops have "
    "about as many pixels as they become, and 1.5 times that.",
)
_BLOCKS = flags.DEFINE_integer("blocks", 30, "Timed blocks of a batch each.", lower_bound=5)
_BATCH = flags.DEFINE_integer("batch", 16, "Pairs in a batch.", lower_bound=1)

HEIGHT, WIDTH, FRAMES = 720, 1280, 24
SETTINGS = "settings.json"  # what the sequences in a workdir were made with


def make_sequences(workdir: Path) -> None:
    """Writes the sequences unless they are there.

    Raises: ValueError if the folder holds others, or some that were not finished.
    """
    sides = tuple(map(float, _SIDES.value))
    rule = SceneRule(HEIGHT, WIDTH, FRAMES, sides)
    settings = dataclasses.asdict(rule) | {"sequences": _SEQUENCES.value, "images": _IMAGES.value}
    settings = json.loads(json.dumps(settings))
    note = workdir / SETTINGS
    if note.exists() and json.loads(note.read_text()) == settings:
        return
    if workdir.exists() and any(workdir.iterdir()):
        raise ValueError(
            f"{workdir} holds something else than sequences of these settings: {settings}. "
            "Give another --workdir, or delete it."
        )
    dataset = SyntheticDataset(material=find_material(_IMAGES.value), rule=rule)
    for _ in write_sequences(dataset, _SEQUENCES.value, workdir, "folders"):
        pass
    with complete_file(note) as path:
        path.write_text(json.dumps(settings))


def make_data(workdir: Path, config: ConfigDict) -> tuple[Dataset, dict[str, Dataset]]:
    """The plain data set and it packed in several ways, made unless they are there.

    Raises: ValueError if the folder holds others.
    """
    make_sequences(workdir)
    cache = str(workdir / "cache")
    plain = make_dataset("folders", workdir, cache)
    rules = [CropRule(*_crop(config[name])) for name in ("template", "search")]
    whole = PackRule(needed_reach(rules, sigmas=3), needed_reach(rules[:1], sigmas=3))
    side = config.search.size / config.search.factor
    targets = _MAX_TARGETS.value or [math.ceil(side), math.ceil(1.5 * side)]
    packings = {"packed": whole}
    for target in map(int, targets):
        packings[f"packed, max_target {target}"] = dataclasses.replace(whole, max_target=target)
    packings["packed, keep_files"] = dataclasses.replace(whole, keep_files=True)
    packed = {}
    for name, rule in packings.items():
        folder = name.replace(", ", "_").replace(" ", "_")
        for _ in shards.pack_dataset(
            plain, workdir / folder, rule, frames_per_shard=1000, num_workers=0
        ):
            pass
        packed[name] = make_dataset(f"packed:{folder}", workdir, cache)
    return plain, packed


def _crop(crop: ConfigDict) -> tuple:
    return crop.size, crop.factor, crop.center_jitter, crop.scale_jitter


def batch_maker(config: ConfigDict, dataset: Dataset, *, reduced: bool) -> Callable[[], dict]:
    """A function that makes the next batch in this process."""
    config = config.copy_and_resolve_references().to_dict()
    config["batch_size"] = _BATCH.value
    config["data"] |= {"num_workers": 0, "reduced_decoding": reduced, "max_skip_share": 0.5}
    batches = make_train_batches(config, [dataset])
    return lambda: next(batches)


def encoded_pairs(config: ConfigDict, dataset: Dataset) -> list[list[bytes]]:
    """The two files of every pair that the timed batches are made of."""
    with make_train_batches(config.to_dict(), [dataset]) as batches:
        sampler = batches._make_sample.maker.sampler
    pairs = []
    for index in range((_BLOCKS.value + 1) * _BATCH.value):
        pair = sampler.draw(make_rng(config.seed, 0, index))
        frames = (pair.template_frame, *pair.search_frames)
        pairs.append([pair.sequence.read_frame_bytes(frame) for frame in frames])
    return pairs


def time_in_turn(works: dict[str, Callable[[], dict | None]], blocks: int) -> tuple[dict, dict]:
    """Times works in turn, after one block of each to warm up.

    Returns: name -> processor seconds of every block; name -> how much the search crops differ
      from those of "plain", grey levels, means over the blocks.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    changes: dict[str, list[float]] = {name: [] for name in works}
    for block in range(blocks + 1):
        batches = {}
        for name, work in works.items():
            start = time.process_time()
            batches[name] = work()
            if block:
                seconds[name].append(time.process_time() - start)
        plain = batches["plain"]["search"].astype(np.int16)
        for name, batch in batches.items():
            if batch is not None:
                changes[name].append(float(np.abs(batch["search"] - plain).mean()))
    return seconds, {name: np.mean(change) for name, change in changes.items() if change}


def main(argv: list[str]) -> None:
    """Makes the data if it is not there, and prints a row for each way to read it."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    cv2.setNumThreads(1)
    keep_freed_memory()
    config, workdir = _CONFIG.value, Path(_WORKDIR.value)
    plain, packed = make_data(workdir, config)
    pairs = iter(encoded_pairs(config, plain))

    def decode_pairs() -> None:
        for _ in range(_BATCH.value):
            for data in next(pairs):
                cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    works = {
        "floor": decode_pairs,
        "plain": batch_maker(config, plain, reduced=False),
        "plain, reduced": batch_maker(config, plain, reduced=True),
    }
    for name, dataset in packed.items():
        works[name] = batch_maker(config, dataset, reduced=False)
        works[f"{name}, reduced"] = batch_maker(config, dataset, reduced=True)
    seconds, changes = time_in_turn(works, _BLOCKS.value)
    files = list(workdir.glob("sequences/*/img/*.jpg"))
    megabytes = {"plain": sum(path.stat().st_size for path in files) / 1e6}
    for name, dataset in packed.items():
        shard_files = Path(dataset.store.root).glob("*.array_record")
        megabytes[name] = sum(path.stat().st_size for path in shard_files) / 1e6
    boxes_xywh = np.concatenate([sequence.boxes_xywh[sequence.visible] for sequence in plain])
    sides = np.sqrt(boxes_xywh[:, 2:].prod(axis=1))
    for name, times in seconds.items():
        ratios = {
            base: statistics.median(t / b for t, b in zip(times, seconds[base], strict=True))
            for base in ("floor", "plain")
        }
        row = {
            "benchmark": "input_pipeline",
            "source": name,
            "pairs_per_second_per_core": round(_BATCH.value / statistics.median(times), 1),
            "ms_a_pair": round(1e3 * statistics.median(times) / _BATCH.value, 3),
            "time_over_floor": round(ratios["floor"], 3),
            "rate_over_plain": round(1 / ratios["plain"], 2),
            "search_change": round(float(changes.get(name, 0)), 3),  # grey levels of 255
            "search_size": config.search.size,
            "frame": [HEIGHT, WIDTH],
            "frame_kb": round(1000 * megabytes["plain"] / len(files), 1),
            "disk_mb": round(megabytes.get(name.removesuffix(", reduced"), 0), 1),
            "target_side_px": [round(float(q)) for q in np.percentile(sides, [10, 50, 90])],
            "blocks": _BLOCKS.value,
            "batch": _BATCH.value,
        }
        print(json.dumps(row | environment()), flush=True)


if __name__ == "__main__":
    errors.run(main)
