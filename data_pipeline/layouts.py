"""Where the files of published data sets are, for sequences that `layout_files` writes."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_pipeline.got10k import NUM_TRAIN
from data_pipeline.lasot import Lasot
from data_pipeline.otb import FIRST_FRAME, LEFT_OUT, PATTERN, Otb
from data_pipeline.scene import LEAST_SEEN, Truth


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the files of a data set are; `{name}`, `{kind}` and `{number}` are filled in.

    Attributes:
      folder: below the root of all data sets.
      names: of the first sequences, given their number.
      image, first: path of a frame, and the number of the first one.
      boxes: path of the boxes; separator between their numbers.
      absent: what stands for a number of a box that is not there.
      flags: path -> values of every frame; one_line: with commas instead of a line a frame.
      extra: path -> content of further files a sequence has; `{width}`, `{height}`: of its frames.
      once: path -> content of further files the data set has, given the names.
      first_box_only: as test sets are published.
    """

    folder: str
    names: Callable[[int], list[str]]
    image: str
    boxes: str
    first: int = 1
    separator: str = ","
    absent: str = "0"
    flags: dict[str, Callable[[Truth], np.ndarray]] = dataclasses.field(default_factory=dict)
    one_line: bool = False
    extra: dict[str, str] = dataclasses.field(default_factory=dict)
    once: dict[str, Callable[[list[str]], list[str]]] = dataclasses.field(default_factory=dict)
    first_box_only: bool = False


def full_occlusion(truth: Truth) -> np.ndarray:
    """Frames in which the target is inside the frame and hidden."""
    return ~truth.visible & ~out_of_view(truth)


def out_of_view(truth: Truth) -> np.ndarray:
    """Frames that the target has left."""
    return truth.inside < LEAST_SEEN


def absence(truth: Truth) -> np.ndarray:
    """Frames in which the target is not seen."""
    return ~truth.visible


def cover(truth: Truth) -> np.ndarray:
    """Eighths of the target that are seen, 0 only if it is absent."""
    return np.where(truth.visible, np.clip(np.round(8 * truth.seen), 1, 8), 0)


def cut_by_image(truth: Truth) -> np.ndarray:
    """Frames whose border cuts the target."""
    return truth.visible & (truth.inside < 1)


def _lasot(split: str, folder: str) -> Layout:
    return Layout(
        folder,
        lambda count: Lasot(split).names()[:count],
        image="{kind}/{name}/img/{number:08d}.jpg",
        boxes="{kind}/{name}/groundtruth.txt",
        flags={
            "{kind}/{name}/full_occlusion.txt": full_occlusion,
            "{kind}/{name}/out_of_view.txt": out_of_view,
        },
        one_line=True,
        extra={"{kind}/{name}/nlp.txt": "the synthetic target"},
    )


def _got10k(split: str) -> Layout:
    stem = f"GOT-10k_{split.capitalize()}_"
    flags = {"absence": absence, "cover": cover, "cut_by_image": cut_by_image}
    test = split == "test"
    return Layout(
        "got10k",
        lambda count: [f"{stem}{number:06d}" for number in range(1, count + 1)],
        image=split + "/{name}/{number:08d}.jpg",
        boxes=split + "/{name}/groundtruth.txt",
        flags={} if test else {f"{split}/{{name}}/{k}.label": v for k, v in flags.items()},
        # The toolkit scores with the resolution.
        extra={
            split + "/{name}/meta_info.ini": "[METAINFO]\nobject_class: synthetic\n"
            "resolution: ({width}, {height})"
        },
        # vottrain and votval are line numbers of the whole list.
        once={
            f"{split}/list.txt": lambda names: (
                [f"{stem}{number:06d}" for number in range(1, NUM_TRAIN + 1)]
                if split == "train"
                else names
            )
        },
        first_box_only=test,
    )


def _trackingnet(chunk: str) -> Layout:
    return Layout(
        "trackingnet",
        lambda count: [f"synthetic{number:05d}_0" for number in range(count)],
        image=chunk + "/frames/{name}/{number}.jpg",
        first=0,
        boxes=chunk + "/anno/{name}.txt",
        first_box_only=chunk == "TEST",
    )


def _tnl2k(split: str) -> Layout:
    return Layout(
        "tnl2k",
        _numbered,
        image=split + "/{name}/imgs/{number:05d}.jpg",
        boxes=split + "/{name}/groundtruth.txt",
        extra={split + "/{name}/language.txt": "the synthetic target"},
    )


def _numbered(count: int) -> list[str]:
    return [f"synthetic{number:04d}" for number in range(1, count + 1)]


def _regular_otb(count: int) -> list[str]:
    odd = {*FIRST_FRAME, *LEFT_OUT, *PATTERN}
    return [name for name in Otb().names() if name not in odd and "_" not in name][:count]


LAYOUTS = {
    "lasot_train": _lasot("train", "lasot"),
    "lasot_test": _lasot("test", "lasot"),
    "lasot_ext": _lasot("ext", "lasot_ext"),
    "got10k_train": _got10k("train"),
    "got10k_val": _got10k("val"),
    "got10k_test": _got10k("test"),
    "trackingnet_train": _trackingnet("TRAIN_0"),
    "trackingnet_test": _trackingnet("TEST"),
    "tnl2k_train": _tnl2k("train"),
    "tnl2k_test": _tnl2k("test"),
    "otb": Layout(
        "otb", _regular_otb, "{name}/img/{number:04d}.jpg", "{name}/groundtruth_rect.txt"
    ),
    "uav123": Layout(
        "uav123",
        _numbered,
        "data_seq/UAV123/{name}/{number:06d}.jpg",
        "anno/UAV123/{name}.txt",
        absent="NaN",
    ),
    "nfs": Layout(
        *("nfs", _numbered, "sequences/{name}/{number:05d}.jpg", "anno/nfs_{name}.txt"),
        separator="\t",
    ),
    "folders": Layout(
        *("sequences", _numbered, "{name}/img/{number:05d}.jpg", "{name}/groundtruth.txt"),
        absent="nan",
    ),
}
