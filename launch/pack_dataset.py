r"""Packs a data set into shards, of which training decodes only what its crops show.

python -m launch.pack_dataset --config=configs/esat_vit_b384.py --dataset=lasot_train \
    --root=/data --output=/data/packed/lasot_train --num_workers=8

Says first what it will cost. A run that is stopped goes on when it is started again. Train from
the result with --config.data.datasets='("packed:packed/lasot_train",)', and check it with --verify.

What is gained depends on how much of its frame a crop shows. From 1280 x 720 px frames, 384 px
crops are made about 4 times as fast as from the files where targets (the root of their area) have
65 px, and 2.3 times where they have 146 px. With --max_target=77 it is more than 4 times for all
targets, but crops of larger ones are smoother. benchmarks/results.md has the measurements.
"""

import contextlib
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from absl import app, flags
from ml_collections import config_flags
from tqdm import tqdm

from data_pipeline import shards
from data_pipeline.augment import CropRule
from data_pipeline.datasets import make_dataset
from data_pipeline.packed import PackedDataset, read_manifest
from data_pipeline.packing import (
    Estimate,
    PackRule,
    estimate,
    needed_reach,
    num_packed_frames,
)
from data_pipeline.sequences import Dataset
from data_pipeline.skips import SPARE_SKIPS, listing, summary
from launch import errors

_CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/esat_vit_b384.py", "Its template and search crops are to be served."
)
_DATASET = flags.DEFINE_string("dataset", None, "Name of the data set, or NAME:PATH.")
_ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder that receives the shards.")
_SIGMAS = flags.DEFINE_float(
    "sigmas", 3.0, "Scale jitter up to so many standard deviations is served.", lower_bound=0.0
)
_QUALITY = flags.DEFINE_integer(
    "quality",
    95,
    "JPEG quality of frames that were no JPEG before; others keep theirs.",
    lower_bound=1,
    upper_bound=100,
)
_MAX_TARGET = flags.DEFINE_integer(
    "max_target",
    None,
    "Make frames smaller whose target (the root of its area) is larger than so many px: less disk, "
    "and more than 4 times the rate of the files for targets of any size, but crops of large "
    "targets become smoother, by up to 2.4 grey levels. 77 px is what a target has in 384 px "
    "crops; larger values change crops less and gain less.",
    lower_bound=16,
)
_KEEP_FILES = flags.DEFINE_bool(
    "keep_files", False, "Store the files as they are: exact pixels, but no faster decoding."
)
_FRAMES_PER_SHARD = flags.DEFINE_integer(
    "frames_per_shard",
    None,
    "At most, but for a longer sequence. By default a 64th of the data set, from 500 to 20,000.",
    lower_bound=1,
)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 1, "Processes; 0 is this one.", lower_bound=0)
_VERIFY = flags.DEFINE_bool("verify", False, "Only compare --output with its checksums.")
flags.mark_flag_as_required("output")

MB = 1_000_000


def main(argv: list[str]) -> int:
    """Packs or verifies, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    if not _OUTPUT.value:
        raise app.UsageError("--output is empty: the folder that receives the shards")
    output = Path(_OUTPUT.value)
    if _VERIFY.value:
        return verify(output)
    if not _DATASET.value:
        raise ValueError("--dataset is missing: the name of the data set to pack.")
    config = _CONFIG.value
    rules = [
        CropRule(crop.size, crop.factor, crop.center_jitter, crop.scale_jitter)
        for crop in (config.template, config.search)
    ]
    reach = needed_reach(rules, _SIGMAS.value)
    rule = PackRule(
        reach,
        needed_reach(rules[:1], _SIGMAS.value),
        _QUALITY.value,
        _MAX_TARGET.value,
        _KEEP_FILES.value,
    )
    dataset = make_dataset(_DATASET.value, _ROOT.value, max_skip_share=config.data.max_skip_share)
    if isinstance(dataset, PackedDataset):
        raise ValueError(
            f"{_DATASET.value} is packed already, and its frames are in part: "
            "pack the data set that it was made from."
        )
    expected = estimate(dataset, rule, rules[1], np.random.default_rng(0))
    announce(dataset, expected, reach, output)
    pack(dataset, output, rule, config.data.max_skip_share)
    return 0


def announce(dataset: Dataset, expected: Estimate, reach: float, output: Path) -> None:
    """Says what packing will cost. Raises: ValueError if the disk has not the space."""
    frames = int(num_packed_frames(dataset).sum())
    size, done = frames * expected.frame_bytes, size_of(output)
    seconds = frames * expected.frame_seconds / max(1, _NUM_WORKERS.value)
    print(
        f"{dataset.name}: {len(dataset)} sequences, {frames} frames to pack.\n"
        f"Disk: {size / MB:.0f} MB ({expected.frame_bytes / 1000:.0f} kB a frame, "
        f"{expected.stored:.0%} of its pixels), of which {done / MB:.0f} MB are there. "
        f"Time: {_duration(seconds)}.\n"
        f"Stored: {reach:.1f} times the root of the target's area each way. "
        f"{expected.outside:.3%} of the search crops show more than that: they are read from the "
        "data set itself if training has it, else drawn again and counted."
    )
    print(f"Search crops change by {expected.error:.2f} of 255 grey levels on average.")
    if expected.problems:
        print(f"{expected.problems} of {expected.count} frames looked at cannot be packed.")
    existing = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if size - done > free:
        raise ValueError(
            f"{output}: the disk has {free / MB:.0f} MB free, {(size - done) / MB:.0f} MB are "
            "needed; make frames smaller with --max_target, or serve fewer --sigmas."
        )


def pack(dataset: Dataset, output: Path, rule: PackRule, max_skip_share: float) -> None:
    """Packs with a progress bar and says what could not be packed.

    Raises: ValueError if that is more than `max_skip_share` of the frames, and SPARE_SKIPS more.
    """
    problems, examples, stored = Counter(), [], 0
    total = int(num_packed_frames(dataset).sum())
    notes = shards.pack_dataset(
        dataset,
        output,
        rule,
        frames_per_shard=_FRAMES_PER_SHARD.value or min(max(total // 64, 500), 20_000),
        num_workers=_NUM_WORKERS.value,
    )
    with contextlib.closing(notes), tqdm(total=total, unit="frame") as bar:
        for note in notes:
            problems.update(note["problems"])
            examples += note["examples"]
            stored += note["frames"]
            bar.update(note["frames"] + sum(note["problems"].values()))
    print(f"Written: {output}, {stored} frames, {size_of(output) / MB:.0f} MB.")
    if problems:
        print(f"Not packed: {problems.total()} frames ({summary(problems)}). {listing(examples)}")
    limit = int(max_skip_share * total) + SPARE_SKIPS
    if problems.total() > limit:
        raise ValueError(
            f"{problems.total()} of {total} frames are not in {output}, more than the {limit} that "
            "config.data.max_skip_share allows: repair them and pack into another folder."
        )


def verify(output: Path) -> int:
    """Says which files are not as they were written; returns the exit status."""
    total = len(read_manifest(output)["shards"]) + 1
    results = list(tqdm(shards.verify(output), total=total, unit="file"))
    wrong = [(file, problem) for file, problem in results if problem]
    for file, problem in wrong:
        print(f"{output / file}: {problem}. Delete it and pack again with the same flags.")
    print(f"{len(results) - len(wrong)} of {len(results)} files are as they were written.")
    return 1 if wrong else 0


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes > 90 else f"{math.ceil(minutes)} min"


if __name__ == "__main__":
    errors.run(main)
