r"""Tracks all sequences of a benchmark, many at once, and writes the result files.

python -m launch.evaluate --weights=runs/esat/weights.safetensors --benchmark=lasot_test \
    --root=/data --output=runs/lasot

Writes below --output what launch.score and launch.submit read: boxes and times, where the
benchmark's toolkit looks for them; and the folder esat_run with the scores and lost flags of all
frames, and a manifest. Frames tracked at the same time share it: all times sum to what it took.

The same command goes on where a run was stopped (Ctrl-C, SIGTERM) or killed, and tracks again what
failed. Results of other weights or settings are never taken for this tracker's: that is an error,
and --replace removes them. On several computers with the same files, --part=1/3 to --part=3/3 each
track a third. The exit status is 1 if a sequence failed, 130 and 143 after a stop.
"""

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Collection, Iterator

import cv2
import jax
import numpy as np
from absl import app, flags
from tqdm import tqdm

from data_pipeline.allocation import keep_freed_memory
from data_pipeline.datasets import make_dataset
from data_pipeline.sequences import Sequence
from esat_jax.batched_step import BatchedStep
from esat_jax.batched_tracker import BatchedTracker
from esat_jax.evaluation.benchmarks import find_benchmark
from esat_jax.evaluation.manifest import Maker, ResultFolder, file_sha256
from esat_jax.follower import Track
from esat_jax.model_weights import load_model_weights
from esat_jax.models.esat import COMPUTE_DTYPES
from esat_jax.weights import load_initial_paths, random_part
from launch import errors
from launch.run_record import git_commit

_WEIGHTS = flags.DEFINE_string("weights", None, "File of the tracker's weights and config.")
_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, "Such as lasot_test, or NAME:PATH for a folder elsewhere."
)
_ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results on this benchmark.")
_TRACKER = flags.DEFINE_string("tracker", "esat", "The tracker's name, a part of the paths.")
_SEQUENCES = flags.DEFINE_list("sequences", None, "Names of some sequences; by default all.")
_PART = flags.DEFINE_string("part", "1/1", "2/3: of three parts, track the second one.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    None,
    "Targets in one step on all devices together; twice as many are tracked at a time. By default "
    "32 a GPU, 4 on a CPU, or fewer for few sequences.",
    lower_bound=1,
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Threads that decode, and as many that crop; by default one a core.", 1
)
_COMPUTE_DTYPE = flags.DEFINE_enum(
    "compute_dtype", None, sorted(COMPUTE_DTYPES), "By default that of the weights' config."
)
_INTEGER_BOXES = flags.DEFINE_bool(
    "integer_boxes", False, "Cut all numbers to integers, as OSTrack does, to compare with it."
)
_REPLACE = flags.DEFINE_bool(
    "replace", False, "Remove the results of other weights or settings, and make them again."
)
flags.mark_flags_as_required(["weights", "benchmark", "output"])

GROUPS = 2  # of slots, see BatchedTracker
BATCH_A_DEVICE = {"cpu": 4}
BATCH_A_GPU = 32


class Progress:
    """A bar with frames/s on a terminal; elsewhere a line for every sequence."""

    def __init__(self, num_sequences: int, num_frames: int) -> None:
        self._bar = tqdm(total=num_frames, unit="frame", disable=None, dynamic_ncols=True)
        self._num_sequences, self._ended = num_sequences, 0
        self._start, self.frames = time.perf_counter(), 0

    @property
    def frames_per_second(self) -> float:
        """Since the beginning."""
        return self.frames / max(time.perf_counter() - self._start, 1e-9)

    def tracked(self, count: int) -> None:
        """Counts frames."""
        self.frames += count
        self._bar.update(count)

    def ended(self, track: Track) -> None:
        """Counts a sequence."""
        self._ended += 1
        done = f"{self._ended}/{self._num_sequences}"
        self._bar.set_postfix_str(f"{done} sequences", refresh=False)
        if self._bar.disable:
            what = "failed" if track.error else f"{len(track.sequence)} frames"
            speed = f"{self.frames_per_second:.1f} frames/s"
            print(f"{done} {track.sequence.name}: {what}, {speed}", flush=True)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends the run as Ctrl-C does."""


def own_share(lengths: Collection[int], part: int, parts: int) -> list[int]:
    """Places of the sequences of one part, counted from 1, long ones first.

    Every sequence is in one of the parts, which have about the same number of frames.
    """
    frames, chosen = np.zeros(parts), []
    for place in np.argsort(-np.asarray(lengths), kind="stable"):
        least = int(np.argmin(frames))
        frames[least] += lengths[place]
        if least == part - 1:
            chosen.append(int(place))
    return chosen


def default_batch_size(num_sequences: int) -> int:
    """Targets in a step: enough for the devices, no more slots than sequences."""
    devices = jax.local_devices()
    each = BATCH_A_DEVICE.get(devices[0].platform, BATCH_A_GPU)
    needed = -(-num_sequences // (GROUPS * len(devices)))
    return len(devices) * max(1, min(each, needed))


def track_all(step: BatchedStep, sequences: list[Sequence], folder: ResultFolder) -> list[Track]:
    """Tracks the sequences and writes their results; returns those that failed."""
    tracker = BatchedTracker(step, groups=GROUPS, workers=_WORKERS.value)
    num_frames = sum(map(len, sequences))
    failed = []
    with contextlib.closing(Progress(len(sequences), num_frames - len(sequences))) as progress:
        tracks = tracker.track(sequences, progress.tracked)
        with contextlib.closing(tracks):
            for track in tracks:
                track = _written(track, folder)
                failed += [track] if track.error else []
                progress.ended(track)
    print(f"{progress.frames} frames searched, {progress.frames_per_second:.1f} a second.")
    return failed


def main(argv: list[str]) -> int:
    """Evaluates, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    part, parts = _parse_part(_PART.value)
    find_benchmark(_BENCHMARK.value)
    dataset = make_dataset(_BENCHMARK.value, _ROOT.value)
    names = _SEQUENCES.value or dataset.names
    chosen = [dataset.find(name) for name in dict.fromkeys(names)]
    variables, config = load_model_weights(_WEIGHTS.value)
    if random := random_part(load_initial_paths(_WEIGHTS.value)):
        print(f"WARNING: {random} is random: the boxes mean nothing.", file=sys.stderr)
    if _COMPUTE_DTYPE.value:
        config["compute_dtype"] = _COMPUTE_DTYPE.value
    benchmark = _BENCHMARK.value.partition(":")[0]
    maker = Maker(benchmark, file_sha256(_WEIGHTS.value), config, _INTEGER_BOXES.value)
    folder = ResultFolder(_OUTPUT.value, _TRACKER.value, maker)
    folder.claim(dataset.names, _made_with(), replace=_REPLACE.value)

    own = [chosen[i] for i in own_share([len(s) for s in chosen], part, parts)]
    todo = [sequence for sequence in own if not folder.is_finished(sequence)]
    print(f"{len(own) - len(todo)} of {len(own)} sequences are finished already.", flush=True)
    if not todo:
        return 0
    for sequence in todo:
        folder.discard(sequence.name)
    # For all sequences, not for those left: a run that goes on has the same program.
    batch_size = _BATCH_SIZE.value or default_batch_size(len(own))
    cv2.setNumThreads(1)  # frames are decoded and cropped in parallel, each by one thread
    keep_freed_memory()
    with _stops_in_words(), _memory_in_words(batch_size):
        step = BatchedStep(config, variables, batch_size)
        print(
            f"{batch_size} targets a step on {jax.local_device_count()} x "
            f"{jax.local_devices()[0].device_kind}, {config['compute_dtype']}; "
            f"{step.compile_seconds:.1f} s to compile.",
            flush=True,
        )
        failed = track_all(step, todo, folder)
    return _report(failed, len(todo))


def _written(track: Track, folder: ResultFolder) -> Track:
    """The track, as failed if its boxes are no result, such as that of a lone frame without one."""
    try:
        if track.error is None:
            folder.write(track)
    except ValueError as error:
        return dataclasses.replace(track, error=error)
    return track


def _parse_part(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"--part is 1/3, 2/3 or 3/3 for three parts, for example; got {text!r}.")
    return int(part), int(parts)


def _made_with() -> dict[str, object]:
    """For the manifest: what does not change the results, or should not."""
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": sys.argv,
        "git": git_commit(),
        "jax": jax.__version__,
        "device": jax.local_devices()[0].device_kind,
    }


def _report(failed: list[Track], count: int) -> int:
    if not failed:
        return 0
    causes = [(track.sequence.name, track.error) for track in failed]
    print(
        f"{len(failed)} of {count} sequences failed and have no results; the same command tries "
        "them again:",
        *(f"  {name}: {str(error).removeprefix(f'{name}: ')}" for name, error in causes),
        sep="\n",
        file=sys.stderr,
    )
    return 1


@contextlib.contextmanager
def _stops_in_words() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the program with a word on how to go on."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        name, status = ("SIGTERM", 143) if isinstance(stop, Terminated) else ("Ctrl-C", 130)
        print(
            f"stopped by {name}: finished sequences are kept, the same command does the others.",
            file=sys.stderr,
        )
        sys.exit(status)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _memory_in_words(batch_size: int) -> Iterator[None]:
    """A device that is out of memory ends the run with what can be done."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ValueError(
            f"the device is out of memory: {str(error).splitlines()[0]} Search for fewer targets "
            f"in a step than {batch_size}, --batch_size={max(1, batch_size // 2)}."
        ) from error


if __name__ == "__main__":
    errors.run(main)
