"""Which frames make a sample: OSTrack's causal sampling, as a function of a random generator.

A data set is drawn by its ratio, then a sequence, then the template frame, then the search frames
after it, each uniformly. So a short sequence is drawn as often as a long one.
"""

import collections
import dataclasses
import logging
from collections.abc import Sequence as Several

import numpy as np

from data_pipeline.sequences import Dataset, Sequence
from data_pipeline.skips import SkippedDraw, summary

MIN_FRAMES = 20  # a shorter video is never drawn. OSTrack
GAP_STEP = 5  # frames by which the interval grows when it holds no visible frame. OSTrack
MAX_TRIES = 2_000  # of template frames; the interval has then grown by 10,000 frames
NUM_TEMPLATES = 1

_LOG = logging.getLogger(__name__)


def make_rng(
    seed: int, epoch: int, index: int, *, attempt: int = 0, stream: int = 0
) -> np.random.Generator:
    """The generator of one draw; different arguments give streams that never overlap.

    Args: index: place of the sample in its epoch; attempt: how often it was drawn before;
      stream: 0 for training, 1 for validation.
    """
    key = np.array([seed % 2**64, epoch], np.uint64)
    # The lowest word counts the numbers drawn; 2**64 of them would reach the next stream.
    counter = np.array([0, stream, attempt, index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@dataclasses.dataclass(frozen=True)
class Pair:
    """The frames of one sample: a template frame and the search frames, counted from 0."""

    sequence: Sequence
    template_frame: int
    search_frames: tuple[int, ...]


class PairSampler:
    """Draws pairs from several data sets. Sequences that can never be drawn are left out."""

    def __init__(
        self,
        datasets: Several[Dataset],
        *,
        ratios: Several[float] = (),
        max_interval: int,
        num_search: int,
    ) -> None:
        """Looks through the data sets once; what it leaves out is logged with a count per cause.

        Args:
          ratios: how often each data set is drawn, relative to the others; () for equally often.
          max_interval: frames; the gap of template and search frame is less.
          num_search: search frames a sample.
        Raises: ValueError if a data set has no sequence to draw from, or for impossible ratios.
        """
        if not datasets:
            raise ValueError("there is no data set to draw from: config.data.datasets is empty.")
        shares = np.array(ratios or [1.0] * len(datasets), np.float64)
        if shares.shape != (len(datasets),) or not (shares >= 0).all() or not shares.sum() > 0:
            raise ValueError(
                f"config.data.ratios must have one number >= 0 for each of the {len(datasets)} "
                f"data sets, and not only zeros, got {list(ratios)}."
            )
        if max_interval < 1 or num_search < 1:
            raise ValueError(
                "config.data.max_interval and config.search.number must be at least 1, "
                f"got {max_interval} and {num_search}."
            )
        self._datasets = tuple(datasets)
        self._edges = np.cumsum(shares / shares.sum())
        self._max_interval, self._num_search = max_interval, num_search
        self._drawable = [drawable(dataset, num_search) for dataset in datasets]

    def draw(self, rng: np.random.Generator) -> Pair:
        """Draws a data set, a sequence and frames.

        Raises: SkippedDraw if no two visible frames of the sequence are near enough.
        """
        # The last edge may be a rounding error below 1.
        place = min(np.searchsorted(self._edges, rng.random(), "right"), len(self._edges) - 1)
        dataset, places = self._datasets[place], self._drawable[place]
        sequence = dataset[int(places[rng.integers(len(places))])]
        if not sequence.is_video:
            return Pair(sequence, 0, (0,) * self._num_search)
        return Pair(sequence, *self._draw_frames(rng, sequence))

    def _draw_frames(
        self, rng: np.random.Generator, sequence: Sequence
    ) -> tuple[int, tuple[int, ...]]:
        visible = np.flatnonzero(sequence.visible)
        num_templates = int(np.searchsorted(visible, len(sequence) - self._num_search))
        for attempt in range(MAX_TRIES if num_templates else 0):
            template = int(visible[rng.integers(num_templates)])
            end = template + self._max_interval + GAP_STEP * attempt  # exclusive
            first, last = np.searchsorted(visible, (template + 1, end))
            if first < last:
                search = visible[rng.integers(first, last, size=self._num_search)]
                return template, tuple(search.tolist())
        where = f"{sequence.dataset} {sequence.name}"
        raise SkippedDraw(
            "no pair of visible frames",
            where,
            f"{where}: no visible frame is followed by another one near enough; list the sequence "
            "in config.data.skip_sequences.",
        )


def drawable(dataset: Dataset, num_search: int) -> np.ndarray:
    """Places in the data set of the sequences that OSTrack's sampler accepts, int64.

    Videos must have MIN_FRAMES frames and more than twice as many visible ones as a sample needs;
    stills are all accepted. OSTrack draws again until a sequence is accepted, which is the same.
    Raises: ValueError if there are none.
    """
    num_needed = 2 * (num_search + NUM_TEMPLATES) + 1
    reasons: collections.Counter[str] = collections.Counter()
    accepted = np.ones(len(dataset), bool)
    if len(dataset) and dataset[0].is_video:
        for reason, refused in (
            (f"shorter than {MIN_FRAMES} frames", dataset.lengths < MIN_FRAMES),
            (f"fewer than {num_needed} visible frames", dataset.num_visible < num_needed),
        ):
            reasons[reason] = int((accepted & refused).sum())
            accepted &= ~refused
    left_out = summary(+reasons) or "none"
    if not accepted.any():
        raise ValueError(
            f"{dataset.name}: none of its {len(dataset)} sequences can be drawn ({left_out})."
        )
    level = logging.WARNING if +reasons else logging.INFO
    _LOG.log(level, "%s: %d sequences; left out: %s", dataset.name, accepted.sum(), left_out)
    return np.flatnonzero(accepted)
