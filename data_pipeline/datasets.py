"""All data sets by name. A new one is a file with its reader and a line here."""

import collections
import dataclasses
import logging
import os
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from data_pipeline.annotations import FIX
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
from data_pipeline.skips import SHOWN_SOURCES, SPARE_SKIPS, listing, summary
from data_pipeline.sprites import find_material
from data_pipeline.stills import Stills
from data_pipeline.stores import Store, is_folder, open_store
from data_pipeline.synthetic import SyntheticDataset
from data_pipeline.tnl2k import Tnl2k
from data_pipeline.trackingnet import TrackingNet
from data_pipeline.uav123 import Uav123

_LOG = logging.getLogger(__name__)
_PARTS_OF_THE_ROOT = {"stills", "cutouts"}  # of `stills` and `synthetic:.`


@dataclasses.dataclass(frozen=True)
class Known:
    """Where a data set is expected below the data root, its reader, and how many sequences it has.

    `total` is None where nobody can know. Trackers are compared on an `evaluated` data set, so its
    sequences are used all or not at all.
    """

    folder: str
    reader: Reader
    total: int | None = None
    evaluated: bool = False


REGISTRY = {
    "lasot_train": Known("lasot", Lasot("train"), 1120),
    "lasot_test": Known("lasot", Lasot("test"), 280, evaluated=True),
    "lasot_ext": Known("lasot_ext", Lasot("ext"), 150, evaluated=True),
    "got10k_train": Known("got10k", Got10k("train"), 9335),
    "got10k_vottrain": Known("got10k", Got10k("vottrain"), 7086),
    "got10k_votval": Known("got10k", Got10k("votval"), 1249),
    "got10k_val": Known("got10k", Got10k("val"), 180, evaluated=True),
    "got10k_test": Known("got10k", Got10k("test"), 180, evaluated=True),
    "trackingnet_train": Known("trackingnet", TrackingNet("train"), 30_132),
    "trackingnet_test": Known("trackingnet", TrackingNet("test"), 511, evaluated=True),
    "coco": Known("coco", Coco()),
    "tnl2k_train": Known("tnl2k", Tnl2k("train"), 1300),
    "tnl2k_test": Known("tnl2k", Tnl2k("test"), 700, evaluated=True),
    "otb": Known("otb", Otb(), 100, evaluated=True),
    "uav123": Known("uav123", Uav123(), 123, evaluated=True),
    "nfs": Known("nfs", Nfs(), 100, evaluated=True),
    "folders": Known("sequences", Folders()),
    "stills": Known("", Stills(pseudo=False)),
    "stills_pseudo": Known("", Stills(pseudo=True)),
    "stills_regions": Known("", Stills(pseudo=True, regions=32)),
}


def make_dataset(
    name: str,
    root: str | os.PathLike = "",
    cache_dir: str | None = None,
    skip: Collection[str] = (),
    max_skip_share: float | None = None,
) -> Dataset | SyntheticDataset:
    """Opens a data set; the first time, and after a change, its annotations are read for that.

    Sequences whose annotations cannot be used are left out with a count per cause in the log, up to
    `max_skip_share`. Above that they are an error, and always in a data set for evaluation.

    Args:
      name: a key of REGISTRY, found at its folder (or FOLDER.zip) below `root`; or `KEY:PATH`
        with the data set's own folder or archive, relative to `root`. `packed:PATH` is what
        launch.pack_dataset wrote, `packed:PATH+NAME` with the data set that was packed at hand,
        for crops that show more than was packed. `synthetic` is made on demand of drawn
        textures, `synthetic:PATH` of images in PATH/cutouts and PATH/stills.
      root: folder of all data sets; "" reads the environment variable ESAT_DATA.
      cache_dir: where indexes are kept; by default $ESAT_CACHE, then ~/.cache/esat-jax.
      skip: names of sequences to leave out; they may be damaged.
      max_skip_share: of the sequences, and SPARE_SKIPS more, but not more than half of them; None:
        every sequence must be usable.
    Raises: ValueError for an unknown name, if the data set is not there, or with the list of what
      is damaged if that is too much.
    """
    key, _, path = name.partition(":")
    if key == "synthetic":
        return SyntheticDataset(key, find_material(_place(root, path) if path else ""))
    if key == "packed" and path:
        path, _, source = path.partition("+")
        place = _place(root, path)
        original = None
        if source:
            original = make_dataset(source, root, cache_dir, max_skip_share=max_skip_share)
        packed = open_packed(place, original)
        return dataclasses.replace(packed, kept=_kept(packed.index, skip))
    known, store = find_dataset(name, root)
    index = load_index(key, known.reader, store, cache_dir)
    _check_faults(name, index, skip, None if known.evaluated else max_skip_share)
    if index.header["negative_boxes"]:
        _LOG.warning(
            "%s: %d boxes have a negative size: the target counts as absent there",
            *(name, index.header["negative_boxes"]),
        )
    missing = (known.total or 0) - len(index) - len(index.header["faults"])
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
    if key == "packed":
        place = _place(root, path.partition("+")[0]) if path else "PATH"
        raise ValueError(
            "packed data is opened as packed:PATH, and compared with its checksums by "
            f"python -m launch.pack_dataset --verify --output={place}."
        )
    if key == "synthetic":
        raise ValueError("synthetic data is drawn when it is asked for: it has no files.")
    if key not in REGISTRY:
        names = [*REGISTRY, "packed:PATH", "synthetic"]
        near = get_close_matches(key, names) or sorted(names)
        hint = f"did you mean one of {near}?"
        if os.sep in key:
            hint = f"a folder is given as NAME:PATH, such as folders:{key}."
        raise ValueError(f"unknown data set {key!r}; {hint}")
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


def present_datasets(root: str | os.PathLike = "") -> tuple[list[str], list[str]]:
    """Names of the data sets whose default folder or archive is there, and all other folders.

    Raises: ValueError if there is no root.
    """
    if not (os.fspath(root) or os.environ.get("ESAT_DATA")):
        raise ValueError("where are the data sets? Set --root or ESAT_DATA.")
    store = open_store(_place(root, ""))
    there = set(store.list())
    names = [
        name
        for name, known in REGISTRY.items()
        if (known.folder in there if known.folder else known.reader.sources(store))
    ]
    others = there - {known.folder for known in REGISTRY.values()} - _PARTS_OF_THE_ROOT
    return names, [name for name in sorted(others) if is_folder(store, name)]


def _place(root: str | os.PathLike, path: str) -> Path:
    return Path(os.fspath(root) or os.environ.get("ESAT_DATA", ""), path).expanduser()


def _kept(index: Index, skip: Collection[str]) -> np.ndarray:
    """Places in the index of the sequences that are not skipped, int64."""
    return np.setdiff1d(np.arange(len(index)), index.places(skip))


def _check_faults(
    name: str, index: Index, skip: Collection[str], max_skip_share: float | None
) -> None:
    """Logs what cannot be used, or raises ValueError; see `make_dataset`."""
    faults = [
        (cause, text)
        for source, cause, text in index.header["faults"]
        if source.rpartition("/")[2] not in skip
    ]
    if not faults:
        return
    count = len(index) + len(faults)
    limit = 0
    if max_skip_share is not None:
        limit = min(int(max_skip_share * count) + SPARE_SKIPS, count // 2)
    causes = summary(collections.Counter(cause for cause, _ in faults))
    some = f"{len(faults)} of {count}"
    what = f"{name}: the annotations of {some} sequences cannot be used ({causes})"
    texts = listing(text.removesuffix(f" {FIX}") for _, text in faults)
    if len(faults) <= limit:
        _LOG.warning("%s, and these are left out: %s", what, texts)
        return
    allowed = f", more than the {limit} that config.data.max_skip_share allows" if limit else ""
    more = " All: python -m launch.check_dataset --shown=1000." * (len(faults) > SHOWN_SOURCES)
    raise ValueError(
        f"{what}{allowed}. Fetch or correct these, or list the sequences in "
        f"config.data.skip_sequences: {texts}{more}"
    )
