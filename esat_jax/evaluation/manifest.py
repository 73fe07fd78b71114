"""Which tracker made the results in a folder, so that none is taken for another's.

Beside the results, the folder TRACKER_run has manifest.json, which says what made them, and for
every finished sequence frames/SEQUENCE.json: the scores and lost flags of its frames, and the
checksums of its result files. It is written last: a sequence without it is not finished.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from esat_jax.atomic import complete_file
from esat_jax.evaluation.result_files import result_path, times_path, write_result
from esat_jax.evaluation.result_rows import shortened
from esat_jax.follower import Frames, Track

# What tracking reads of a configuration.
SECTIONS = ("backbone", "template", "search", "fda", "ce", "head", "tracker", "compute_dtype")
_SHOWN = 5  # differences that a message lists


@dataclasses.dataclass(frozen=True)
class Maker:
    """What the boxes of a benchmark follow from.

    Attributes:
      benchmark: a name of `benchmarks.py`.
      weights_sha256: of the weights file.
      config: plain nested dict with the keys of configs/base.py, as tracked with.
      integer_boxes: whether the files hold numbers cut to integers.
    """

    benchmark: str
    weights_sha256: str
    config: Mapping
    integer_boxes: bool = False

    def facts(self) -> dict[str, object]:
        """All that makes a difference, flat, as JSON gives it back."""
        facts = {
            "benchmark": self.benchmark,
            "weights sha256": self.weights_sha256,
            "integer_boxes": self.integer_boxes,
        }
        for name in SECTIONS:
            section = self.config[name]
            items = section.items() if isinstance(section, Mapping) else [("", section)]
            facts |= {f"config.{name}.{key}".rstrip("."): value for key, value in items}
        return json.loads(json.dumps(facts))


class ResultFolder:
    """The results of one tracker on one benchmark, and what made them."""

    def __init__(self, root: str | Path, tracker: str, maker: Maker) -> None:
        """Args: root: folder of the results of any trackers; tracker: its name there."""
        self._root, self._tracker, self._maker = Path(root), tracker, maker
        self._run = Path(root, f"{tracker}_run")
        facts = json.dumps(maker.facts(), sort_keys=True)
        self._made_by = hashlib.sha256(facts.encode()).hexdigest()

    def claim(self, names: Collection[str], made_with: Mapping, *, replace: bool = False) -> None:
        """Makes the folder this maker's, or finds that it is.

        Args:
          names: all sequences of the benchmark.
          made_with: for the reader of the manifest, such as versions.
          replace: remove the results of another maker instead of refusing.
        Raises: ValueError if there are results of another maker, saying what differs.
        """
        path = self._run / "manifest.json"
        problem = self._other_maker(path, names)
        if problem and not replace:
            raise ValueError(
                f"{problem} Give another --output or --tracker, or --replace to remove those "
                "results and make them again."
            )
        if problem or not path.exists():
            (self._run / "frames").mkdir(parents=True, exist_ok=True)
            facts = {"made_by": self._maker.facts(), "made_with": dict(made_with)}
            _write_json(path, facts, indent=1)
        if problem:  # not later: what a killed run left would be scored as this maker's
            for name in names:
                if self._record(name).get("made_by") != self._made_by:
                    self.discard(name)

    def is_finished(self, sequence: Frames) -> bool:
        """Whether the sequence has whole results by this maker."""
        record = self._record(sequence.name)
        return record.get("checked") == self._facts(sequence)

    def write(self, track: Track) -> None:
        """Writes the boxes, times, scores and lost flags of a sequence that did not fail."""
        sequence = track.sequence
        write_result(
            self._root,
            self._maker.benchmark,
            self._tracker,
            sequence.name,
            track.boxes_xywh,
            track.seconds,
            integer=self._maker.integer_boxes,
        )
        scores = [None if np.isnan(score) else round(float(score), 4) for score in track.scores]
        record = {
            "made_by": self._made_by,
            "checked": self._facts(sequence),
            "scores": scores,
            "lost": np.flatnonzero(track.lost).tolist(),
        }
        _write_json(self._record_path(sequence.name), record)

    def discard(self, name: str) -> None:
        """Removes what there is of a sequence."""
        for path in (self._record_path(name), *self._files(name).values()):
            path.unlink(missing_ok=True)

    def _other_maker(self, path: Path, names: Collection[str]) -> str:
        """Why the results that are there are not this maker's, a sentence; "" if they are."""
        if not path.exists():
            boxes = (self._files(name)["boxes"] for name in names)
            found = next((file for file in boxes if file.exists()), None)
            return f"{found}: nothing there says what tracker made it." if found else ""
        try:
            stored = dict(json.loads(path.read_text())["made_by"])
        except (ValueError, KeyError, TypeError):
            return f"{path}: the file is damaged, so nothing says what made the results."
        current, absent = self._maker.facts(), "not there"
        differing = [
            f"{key} was {stored.get(key, absent)} and is {current.get(key, absent)}"
            for key in sorted(stored.keys() | current.keys())
            if stored.get(key, absent) != current.get(key, absent)
        ]
        what = shortened(differing, _SHOWN)
        return f"{path}: the results there were made by another tracker: {what}." if what else ""

    def _facts(self, sequence: Frames) -> dict[str, object]:
        """What must be the same when the sequence is looked at again."""
        files = {kind: file_sha256(path) for kind, path in self._files(sequence.name).items()}
        first = [float(number) for number in sequence.boxes_xywh[0]]
        return {"num_frames": len(sequence), "first_box_xywh": first, "sha256": files}

    def _files(self, name: str) -> dict[str, Path]:
        where = self._root, self._maker.benchmark, self._tracker, name
        return {"boxes": result_path(*where), "times": times_path(*where)}

    def _record_path(self, name: str) -> Path:
        return self._run / "frames" / f"{name}.json"

    def _record(self, name: str) -> dict:
        """What was noted of a sequence; {} if nothing that can be read."""
        try:
            return dict(json.loads(self._record_path(name).read_text()))
        except (OSError, ValueError, TypeError):
            return {}


def read_frame_scores(
    root: str | Path, tracker: str, sequence: str
) -> tuple[np.ndarray, np.ndarray]:
    """The score of each frame of a sequence, float64 [F], the first NaN, and lost flags bool [F].

    Raises: OSError or ValueError if there is no such record.
    """
    path = Path(root, f"{tracker}_run", "frames", f"{sequence}.json")
    try:
        record = json.loads(path.read_text())
        scores = np.array(record["scores"], np.float64)  # null is NaN
        lost = np.isin(np.arange(len(scores)), record["lost"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path}: expected the record of a sequence that launch.evaluate tracked; "
            "evaluate it again."
        ) from None
    return scores, lost


def file_sha256(path: str | Path) -> str | None:
    """The SHA-256 of a file in hexadecimal; None if there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _write_json(path: Path, content: Mapping, indent: int | None = None) -> None:
    with complete_file(path) as part:
        part.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n")
