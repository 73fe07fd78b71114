"""All data sets by name. A new one is a file with its reader and a line here."""

import dataclasses
import logging
import os
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from data_pipeline.coco import Coco
from data_pipeline.folders import Folders
from data_pipeline.got10k import Got10k
from data_pipeline.index import Index
from data_pipeline.index_cache import load_index
from data_pipeline.lasot import Lasot
from data_pipeline.nfs import Nfs
from data_pipeline.otb import Otb
from data_pipeline.packed import open_packed
from data_pipeline.records import Reader
from data_pipeline.sequences import Dataset
from data_pipeline.sprites import find_material
from data_pipeline.stills import Stills
from data_pipeline.stores import Store, open_store
from data_pipeline.synthetic import SyntheticDataset
from data_pipeline.tnl2k import Tnl2k
from data_pipeline.trackingnet import TrackingNet
from data_pipeline.uav123 import Uav123

_LOG = logging.getLogger(__name__)
_SHOWN_PROBLEMS = 3


@dataclasses.dataclass(frozen=True)
class Known:
    """Where a data set is expected below the data root, its reader, and how many sequences it has.

    `total` is None where nobody can know.
    """

    folder: str
    reader: Reader
    total: int | None = None


REGISTRY = {
    "lasot_train": Known("lasot", Lasot("train"), 1120),
    "lasot_test": Known("lasot", Lasot("test"), 280),
    "lasot_ext": Known("lasot_ext", Lasot("ext"), 150),
    "got10k_train": Known("got10k", Got10k("train"), 9335),
    "got10k_vottrain": Known("got10k", Got10k("vottrain"), 7086),
    "got10k_votval": Known("got10k", Got10k("votval"), 1249),
    "got10k_val": Known("got10k", Got10k("val"), 180),
    "got10k_test": Known("got10k", Got10k("test"), 180),
    "trackingnet_train": Known("trackingnet", TrackingNet("train"), 30_132),
    "trackingnet_test": Known("trackingnet", TrackingNet("test"), 511),
    "coco": Known("coco", Coco()),
    "tnl2k_train": Known("tnl2k", Tnl2k("train"), 1300),
    "tnl2k_test": Known("tnl2k", Tnl2k("test"), 700),
    "otb": Known("otb", Otb(), 100),
    "uav123": Known("uav123", Uav123(), 123),
    "nfs": Known("nfs", Nfs(), 100),
    "folders": Known("sequences", Folders()),
    "stills": Known("", Stills(pseudo=False)),
    "stills_pseudo": Known("", Stills(pseudo=True)),
}


def make_dataset(
    name: str,
    root: str | os.PathLike = "",
    cache_dir: str | None = None,
    skip: Collection[str] = (),
) -> Dataset | SyntheticDataset:
    """Opens a data set; the first time, and after a change, its annotations are read for that.

    Args:
      name: a key of REGISTRY, found at its folder (or FOLDER.zip) below `root`; or `KEY:PATH`
        with the data set's own folder or archive, relative to `root`. `packed:PATH` is what
        launch.pack_dataset wrote, `packed:PATH+NAME` with the data set that was packed at hand,
        for crops that show more than was packed. `synthetic` is made on demand of drawn
        textures, `synthetic:PATH` of images in PATH/cutouts and PATH/stills.
      root: folder of all data sets; "" reads the environment variable ESAT_DATA.
      cache_dir: where indexes are kept; by default $ESAT_CACHE, then ~/.cache/esat-jax.
      skip: names of sequences to leave out; they may be damaged.
    Raises: ValueError for an unknown name, if the data set is not there, or if annotations of
      sequences that are not skipped cannot be read.
    """
    key, _, path = name.partition(":")
    if key == "synthetic":
        return SyntheticDataset(key, find_material(_place(root, path) if path else ""))
    if key == "packed" and path:
        path, _, source = path.partition("+")
        place = _place(root, path)
        packed = open_packed(place, make_dataset(source, root, cache_dir) if source else None)
        return dataclasses.replace(packed, kept=_kept(packed.index, skip))
    known, store = find_dataset(name, root)
    index = load_index(key, known.reader, store, cache_dir)
    _check_problems(name, index.header["problems"], skip)
    missing = (known.total or 0) - len(index) - len(index.header["problems"])
    if missing > 0:
        _LOG.warning(
            "%s has %d of its %d sequences in %s; python -m launch.check_dataset says more",
            *(name, len(index), known.total, store.where("")),
        )
    return Dataset(name, store, index, _kept(index, skip))


def find_dataset(name: str, root: str | os.PathLike = "") -> tuple[Known, Store]:
    """What is known of a data set, and its files; see `make_dataset`.

    Raises: ValueError for an unknown name, and if the folder is not there.
    """
    key, _, path = name.partition(":")
    if key not in REGISTRY:
        names = [*REGISTRY, "packed:PATH", "synthetic"]
        near = get_close_matches(key, names) or sorted(names)
        raise ValueError(f"unknown data set {key!r}; did you mean one of {near}?")
    if not (os.fspath(root) or os.environ.get("ESAT_DATA") or path):
        raise ValueError(
            f"{name}: where are the data sets? Set config.data.root, --root or ESAT_DATA."
        )
    known = REGISTRY[key]
    place = _place(root, path or known.folder)
    try:
        return known, open_store(place)
    except ValueError as error:
        raise ValueError(
            f"{error} {key} is expected there, as {known.reader.layout}; "
            f"write {key}:PATH if it is elsewhere."
        ) from None


def _place(root: str | os.PathLike, path: str) -> Path:
    return Path(os.fspath(root) or os.environ.get("ESAT_DATA", ""), path).expanduser()


def _kept(index: Index, skip: Collection[str]) -> np.ndarray:
    """Places in the index of the sequences that are not skipped, int64."""
    return np.setdiff1d(np.arange(len(index)), index.places(skip))


def _check_problems(name: str, problems: list[tuple[str, str]], skip: Collection[str]) -> None:
    left = [text for source, text in problems if source.rpartition("/")[2] not in skip]
    if left:
        shown = " ".join(left[:_SHOWN_PROBLEMS])
        more = len(left) - _SHOWN_PROBLEMS
        raise ValueError(
            f"{name}: the annotations of {len(left)} sequences cannot be used: {shown}"
            + (f" And {more} more: python -m launch.check_dataset lists them." * (more > 0))
        )
