"""One training sample as a function of (seed, epoch, index): drawn, read, cropped, labelled."""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np

from data_pipeline import augment
from data_pipeline.augment import AugmentRule, CropDraw, CropRule
from data_pipeline.crop import Frame, check_box_xywh
from data_pipeline.labels import TEMPLATE_LABELS, position_labels, score_target
from data_pipeline.pairs import Pair, PairSampler, make_rng
from data_pipeline.quality import degrade
from data_pipeline.sequences import FrameError, Sequence
from data_pipeline.skips import EMPTY_CROP, SkippedDraw, listing, printable, summary
from data_pipeline.warp import warp_crop

MAX_ATTEMPTS = 100  # draws for one sample; only a broken data set needs so many


@dataclasses.dataclass(frozen=True)
class SampleMaker:
    """Makes samples. All of them: crops of `num_search` search frames and one template.

    Attributes:
      patch_size: side of a token, px; template_labels: see labels.position_labels.
      reduced_decoding: see config.data.reduced_decoding.
      stream: 0 for training, 1 for validation: their draws differ.
    """

    sampler: PairSampler
    template: CropRule
    search: CropRule
    augment: AugmentRule
    num_search: int
    patch_size: int
    template_labels: str
    seed: int
    reduced_decoding: bool = False
    stream: int = 0

    def __post_init__(self) -> None:
        """Raises: ValueError for settings that no sample can be made with."""
        for name, rule in (("template", self.template), ("search", self.search)):
            if rule.size <= 0 or rule.size % self.patch_size:
                raise ValueError(
                    f"config.{name}.size must be a multiple of backbone.patch_size "
                    f"{self.patch_size}, got {rule.size}."
                )
        if self.template_labels not in TEMPLATE_LABELS:
            raise ValueError(
                f"config.spl.template_labels is one of {TEMPLATE_LABELS}, "
                f"got {self.template_labels!r}."
            )

    def make(self, epoch: int, index: int) -> dict:
        """Sample `index` of `epoch`.

        Returns: template uint8 [s, s, 3]; search uint8 [n, S, S, 3]; template_box_cxcywh float32
          [4]; box_cxcywh float32 [n, 4]; template_brightness float32 []; search_brightness float32
          [n]; with config.data.color_jitter also template_color float32 [3, 4] and search_color
          [n, 3, 4]; score_target float32 [n, S/p, S/p]; abs_labels and pn_labels int32 [n, Z + X];
          source, a str with data set, sequence and frames; skips, records of skipped draws.
        Raises: ValueError if MAX_ATTEMPTS draws were skipped.
        """
        skips = []
        for attempt in range(MAX_ATTEMPTS):
            rng = make_rng(self.seed, epoch, index, attempt=attempt, stream=self.stream)
            try:
                return self._draw(rng) | {"skips": skips}
            except SkippedDraw as skip:
                skips.append(skip.record())
        counts = collections.Counter(cause for cause, _, _ in skips)
        messages = dict.fromkeys(message for _, _, message in skips)
        raise ValueError(
            f"sample {index} of epoch {epoch}: all {MAX_ATTEMPTS} draws had to be skipped "
            f"({summary(counts)}). Repair or leave out: {listing(messages)}"
        )

    def _draw(self, rng: np.random.Generator) -> dict:
        pair = self.sampler.draw(rng)
        draw = augment.draw_sample(rng, self.augment, self.num_search)
        frames: dict[int, Frame] = {}  # a still is read once for template and search

        def cut(i: int, rule: CropRule, crop_draw: CropDraw) -> tuple[np.ndarray, np.ndarray]:
            with named_errors(pair.sequence, i):
                if i not in frames:
                    frame = pair.sequence.open_frame(
                        i, reduced=self.reduced_decoding, near=rule is self.template
                    )
                    frames[i] = augment.GrayFrame(frame) if draw.gray else frame
                box_xywh = pair.sequence.boxes_xywh[i]
                return self._cut(frames[i], box_xywh, rule, crop_draw, flip=draw.flip)

        template, template_box_cxcywh = cut(pair.template_frame, self.template, draw.template)
        crops = [
            cut(i, self.search, crop_draw)
            for i, crop_draw in zip(pair.search_frames, draw.search, strict=True)
        ]
        if not pair.sequence.is_video and draw.search[0].warp:
            crops = [
                warp_crop(*crop, one.warp) for crop, one in zip(crops, draw.search, strict=True)
            ]
        if draw.template.loss:
            template = degrade(template, draw.template.loss)
        crops = [
            (degrade(image, one.loss) if one.loss else image, box_cxcywh)
            for (image, box_cxcywh), one in zip(crops, draw.search, strict=True)
        ]
        if self.num_search == 1:  # a view is enough: the batch will be a copy
            search, box_cxcywh = (part[None] for part in crops[0])
        else:
            search, box_cxcywh = (np.stack(part) for part in zip(*crops, strict=True))
        return (
            {
                "template": template,
                "search": search,
                "template_box_cxcywh": template_box_cxcywh,
                "box_cxcywh": box_cxcywh,
                "template_brightness": np.float32(draw.template.brightness),
                "search_brightness": np.float32([crop.brightness for crop in draw.search]),
                "source": describe(pair),
            }
            | _colors(draw)
            | self._labels(box_cxcywh, template_box_cxcywh)
        )

    def _cut(
        self, frame: Frame, box_xywh: np.ndarray, rule: CropRule, draw: CropDraw, *, flip: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        try:
            target_xywh, geometry = augment.jittered_geometry(
                box_xywh, frame.width, rule, draw, flip=flip
            )
        except ValueError as error:
            raise UnusableBox("damaged box", str(error)) from error
        try:
            augment.check_crop(geometry, frame.height, frame.width, self.patch_size, flip=draw.flip)
        except ValueError as error:
            try:
                check_box_xywh(box_xywh, frame.height, frame.width)
            except ValueError as outside:
                raise UnusableBox("box outside the frame", str(outside)) from error
            raise UnusableBox(EMPTY_CROP, str(error)) from error
        image = geometry.crop_frame(frame, mirrored=flip)
        return augment.finish_crop(image, target_xywh, geometry, flip=draw.flip)

    def _labels(self, box_cxcywh: np.ndarray, template_box_cxcywh: np.ndarray) -> dict:
        grid = self.search.size // self.patch_size
        labels = [
            position_labels(
                box,
                template_box_cxcywh,
                template_grid=self.template.size // self.patch_size,
                search_grid=grid,
                template_labels=self.template_labels,
            )
            for box in box_cxcywh
        ]
        abs_labels, pn_labels = (np.stack(part) for part in zip(*labels, strict=True))
        score_targets = np.stack([score_target(box, grid) for box in box_cxcywh])
        return {"score_target": score_targets, "abs_labels": abs_labels, "pn_labels": pn_labels}


def _colors(draw: augment.SampleDraw) -> dict[str, np.ndarray]:
    if draw.template.color is None:
        return {}
    search = np.stack([crop.color for crop in draw.search])
    return {"template_color": draw.template.color, "search_color": search}


class UnusableBox(ValueError):
    """A box no crop can be made for; `cause` is what to count it under."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@contextlib.contextmanager
def named_errors(sequence: Sequence, frame: int) -> Iterator[None]:
    """Gives errors of a frame's reading and cropping the names of sequence and file.

    A FrameError or UnusableBox becomes a SkippedDraw; another error stays what it is.
    """
    where = printable(f"{sequence.dataset} {sequence.name}, frame {frame}")
    path = printable(sequence.frame_path(frame))
    try:
        yield
    except FrameError as error:
        raise SkippedDraw(f"{error.cause} frame", where, str(error)) from error
    except UnusableBox as error:
        raise SkippedDraw(error.cause, where, f"{path} ({where}, from 0): {error}") from error
    except OSError as error:
        raise OSError(f"{path} ({where}, from 0): {error}") from error
    except Exception as error:
        error.add_note(f"{path} ({where}, from 0)")
        raise


def describe(pair: Pair) -> str:
    """Data set, sequence and frames (from 0) of a sample."""
    frames = ", ".join(str(frame) for frame in pair.search_frames)
    name = printable(f"{pair.sequence.dataset} {pair.sequence.name}")
    return f"{name}: template {pair.template_frame}, search {frames}"
