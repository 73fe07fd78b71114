"""Files with a tracker's boxes: written as benchmarks read them, read as trackers' authors write.

A file has a row `x,y,width,height` (px) per frame, the first one the given box. Times are in files
of their own, seconds per frame. Whatever else lies in a folder of results must not be called
SEQUENCE.txt.
"""

import functools
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePath

import numpy as np

from esat_jax.atomic import complete_file
from esat_jax.evaluation.benchmarks import find_benchmark
from esat_jax.evaluation.result_rows import box_flaws, parse_boxes, parse_numbers, shortened

_RUN = re.compile(r"(.+)_(\d{3})")  # NAME_001, as GOT-10k counts runs

File = tuple[str, Callable[[], bytes]]  # its path, and what reads it
Files = dict[str, Callable[[], bytes]]


def write_result(
    root: str | Path,
    benchmark: str,
    tracker: str,
    sequence: str,
    boxes_xywh: np.ndarray,
    seconds: np.ndarray | None = None,
    *,
    integer: bool = False,
    run: int = 1,
) -> Path:
    """Writes a sequence's boxes [F, 4], and times [F] if given; returns the path of the boxes.

    A file appears whole or not at all, the boxes last. `result_path` says where; commas separate
    the columns, which all toolkits and servers read.
    Args:
      benchmark: a name of `benchmarks.py`.
      integer: cut all numbers to integers toward zero, as OSTrack does, for comparison with it.
      run: 1, or the number of a repetition, for GOT-10k.
    Raises: ValueError unless every box has four finite numbers and a positive width and height.
    """
    boxes_xywh = np.asarray(boxes_xywh, np.float64).reshape(-1, 4)
    for flaw in box_flaws(np.round(boxes_xywh, 3), len(boxes_xywh)):
        raise ValueError(f"{sequence}: {flaw.text}; such boxes are no result.")
    if seconds is not None:
        times = [f"{time:.8f}" for time in np.asarray(seconds, np.float64)]
        _write(times_path(root, benchmark, tracker, sequence), times)
    style = "{:d}".format if integer else "{:.3f}".format
    numbers = boxes_xywh.astype(np.int64) if integer else boxes_xywh
    path = result_path(root, benchmark, tracker, sequence, run)
    _write(path, [",".join(map(style, row)) for row in numbers.tolist()])
    return path


def write_results(
    root: str | Path,
    benchmark: str,
    tracker: str,
    results: Mapping[str, np.ndarray],
    seconds: Mapping[str, np.ndarray] | None = None,
    *,
    integer: bool = False,
) -> list[Path]:
    """`write_result` for every sequence; returns the paths of the boxes."""
    times = seconds or {}
    return [
        write_result(root, benchmark, tracker, name, boxes, times.get(name), integer=integer)
        for name, boxes in results.items()
    ]


def result_path(
    root: str | Path, benchmark: str, tracker: str, sequence: str, run: int = 1
) -> Path:
    """Where `write_result` puts the boxes of a sequence.

    Raises: ValueError if `tracker` could not be the name of a file.
    """
    form = find_benchmark(benchmark).boxes
    return Path(root, form.format(tracker=_checked(tracker), sequence=sequence, run=run))


def times_path(root: str | Path, benchmark: str, tracker: str, sequence: str) -> Path:
    """Where `write_result` puts the times of a sequence. Raises: as `result_path`."""
    form = find_benchmark(benchmark).times
    return Path(root, form.format(tracker=_checked(tracker), sequence=sequence))


def read_results(
    path: str | Path, benchmark: str, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """The boxes of one tracker: {sequence: float64 [rows, 4]}; of several runs the first.

    Args:
      path: a folder, in which files may lie in any folders, a zip archive, or one file. Commas,
        tabs, spaces or semicolons separate the columns. NaN and wrong lengths are no errors here.
      names: the benchmark's sequences. Other files are passed over, and files without a prefix
        such as `uav_` are found. By default every text file with boxes is a sequence.
    Raises: ValueError naming the file and row that is no box, a file that is there twice, or, if
      `names` are given, the sequences that have no file.
    """
    return {name: runs[0] for name, runs in read_runs(path, benchmark, names).items()}


def read_runs(
    path: str | Path, benchmark: str, names: Collection[str] | None = None
) -> dict[str, list[np.ndarray]]:
    """As `read_results`, with the boxes of every run of a sequence."""
    found = find_results(path, benchmark, names)
    missing = [name for name in names or () if name not in found]
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} of the {len(names)} sequences of {benchmark} have no result: "
            f"{shortened(missing)}. --partial scores the others."
        )
    return {
        name: [parse_boxes(read(), where) for where, read in runs.values()]
        for name, runs in found.items()
    }


def read_times(path: str | Path, benchmark: str, names: Collection[str]) -> dict[str, np.ndarray]:
    """Seconds per frame of the sequences that have a file of them: {sequence: [F, runs]}.

    Raises: ValueError naming the file and row that is no number.
    """
    found = find_times(path, benchmark, names)
    return {name: parse_numbers(read(), where) for name, (where, read) in found.items()}


def find_times(path: str | Path, benchmark: str, names: Collection[str]) -> dict[str, File]:
    """Where the times of sequences are, SEQUENCE_time.txt in any folder: {sequence: file}."""
    aliases = find_benchmark(benchmark).aliases
    files = {PurePath(where).stem: (where, read) for where, read in text_files(path).items()}
    found = {}
    for name in names:
        stems = [f"{alias}_time" for alias in aliases(name)]
        stem = next((stem for stem in stems if stem in files and stem not in names), None)
        if stem is not None:
            found[name] = files[stem]
    return found


def find_results(
    path: str | Path, benchmark: str, names: Collection[str] | None = None
) -> dict[str, dict[int, File]]:
    """Where the boxes of each sequence are: {sequence: {run: file}}.

    See `read_results`. In the order of `names`, and of runs.
    Raises: ValueError if a sequence has two files of a run.
    """
    files = text_files(path)
    names = _guessed_names(files) if names is None else names
    aliases = find_benchmark(benchmark).aliases
    known = {alias: name for name in names for alias in aliases(name)}
    known |= {name: name for name in names}
    found: dict[str, dict[int, File]] = {name: {} for name in names}
    for where, read in files.items():
        stem = PurePath(where).stem
        counted = _RUN.fullmatch(stem)
        if stem in known:
            name, run = known[stem], 1
        elif counted and counted[1] in known:
            name, run = known[counted[1]], int(counted[2])
        else:
            continue
        other = found[name].setdefault(run, (where, read))
        if other[0] != where:
            raise ValueError(
                f"{where}: sequence {name} has another file, {other[0]}; name the folder of one "
                "tracker's results of one benchmark."
            )
    return {name: dict(sorted(runs.items())) for name, runs in found.items() if runs}


def text_files(path: str | Path) -> Files:
    """Readers of all .txt files in a folder or zip archive, sorted, or of one file, by their path.

    Raises: ValueError if there is nothing at `path`, or the archive cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return {str(file): file.read_bytes for file in sorted(path.rglob("*.txt"))}
    if not path.is_file():
        raise ValueError(f"{path}: expected a folder or zip archive of results, nothing is there.")
    if path.suffix != ".zip":
        return {str(path): path.read_bytes}
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
            contents = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: the archive cannot be read ({error}).") from None
    return {
        f"{path}/{name}": functools.partial(bytes, data)
        for name, data in contents.items()
        if not name.startswith("__MACOSX/")
    }


def _guessed_names(files: Files) -> list[str]:
    """Names of sequences from files alone: NAME.txt or NAME/NAME_001.txt, not NAME_time.txt."""
    names = {}
    for where in map(PurePath, files):
        counted = _RUN.fullmatch(where.stem)
        is_run = counted is not None and where.parent.name == counted[1]
        names[counted[1] if is_run else where.stem] = None
    times = {f"{name}_time" for name in names}
    return [name for name in names if name not in times]


def _checked(tracker: str) -> str:
    """Its own name; others would lead to other folders, "" even to the root of the disk."""
    if tracker in ("", ".", "..") or "/" in tracker or "\\" in tracker:
        raise ValueError(
            f"a tracker's name is a part of file names, such as esat; got {tracker!r}."
        )
    return tracker


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with complete_file(path) as part:
        part.write_text("\n".join(lines) + "\n")
