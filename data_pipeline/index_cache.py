"""Builds a data set's index once, keeps it in a cache folder, and notices when it is stale."""

import collections
import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipeline.annotations import FIX, AnnotationFault
from data_pipeline.index import Entry, Index, make_index, read_index, write_index
from data_pipeline.records import Reader, Record
from data_pipeline.stores import Store, WatchedStore, changed

RULES = 2  # how annotations are read; another number, and every index is built anew

_LOG = logging.getLogger(__name__)


class NoSequences(ValueError):
    """A folder or archive is there and holds no sequence of the data set."""


def load_index(name: str, reader: Reader, store: Store, cache_dir: str | None = None) -> Index:
    """The index of a data set: read from the cache, or built and written there.

    It is built anew if a folder or annotation file changed (its size or time), or if it is
    damaged. Sequences that cannot be read are not in it; `header["faults"]` says why, a list of
    (source, cause, sentence). `header["negative_boxes"]` counts those of videos.
    Args: cache_dir: by default $ESAT_CACHE, then ~/.cache/esat-jax.
    Raises: ValueError if the data set's folder has another layout, NoSequences if it has none.
    """
    path = _cache_path(name, store, cache_dir)
    index = _read_fresh(path, name, reader, store)
    if index is not None:
        return index
    _LOG.info("indexing %s in %s", name, store.where(""))
    index = build_index(name, reader, store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_index(index, path)
    except OSError as error:
        _warn_once(
            f"{path.parent} cannot be written ({error.strerror or error}): indexes of data sets "
            "stay in memory and are built at every start; set ESAT_CACHE to a folder for them."
        )
        return index


def build_index(name: str, reader: Reader, store: Store) -> Index:
    """Reads all annotations; for errors see `load_index`."""
    watched = WatchedStore(store.root)
    faults: list[tuple[str, str, str]] = []
    counts: collections.Counter[str] = collections.Counter()
    try:
        sources = reader.sources(watched)
    except OSError as error:
        raise ValueError(_wrong_layout(name, reader, store, f"{error}")) from None
    entries = list(_entries(reader, watched, sources, faults, counts))
    if not entries and not faults:
        raise NoSequences(_wrong_layout(name, reader, store, "no sequence is there"))
    header = _origin(name, reader, store) | {"stamps": watched.stamps(), "faults": faults}
    return make_index(entries, header | {"negative_boxes": counts["negative"]})


def _entries(
    reader: Reader,
    store: Store,
    sources: list[str],
    faults: list[tuple[str, str, str]],
    counts: collections.Counter[str],
) -> Iterator[Entry]:
    """Adds to `faults` what cannot be used, and to `counts` what is only strange."""
    for source in sources:
        try:
            for record in reader.read(store, source):
                if isinstance(record, AnnotationFault):
                    part = f"{source}, {record.part}"
                    faults.append((part, record.cause, _printable(record)))
                    continue
                yield _entry(record, store)
                if record.is_video:  # a still's are counted when they are drawn
                    negative = (record.boxes_xywh[:, 2:] < 0).any(axis=1)
                    counts["negative"] += int(np.count_nonzero(negative))
        except FileNotFoundError as error:
            missing = f"{_printable(error.filename or error)}: the file is missing. {FIX}"
            faults.append((source, "missing file", missing))
        except (OSError, ValueError) as error:
            cause = getattr(error, "cause", "unreadable file")
            faults.append((source, cause, _printable(error)))


def _entry(record: Record, store: Store) -> Entry:
    frames = record.frames
    where = store.where(frames.folder)
    if not _is_text(record.name):
        raise AnnotationFault(
            "unusable name", f"{where}: the sequence's name is no UTF-8 text; rename it."
        )
    names = tuple(frames.name(i) for i in range(len(record.visible)))
    archive, members = store.find_members(frames.folder, names) or (None, None)
    facts = {
        "name": record.name,
        "frames": {key: value for key, value in vars(frames).items() if value},
        "is_video": record.is_video,
        "archive": archive,
    }
    return Entry(record.boxes_xywh, record.visible, json.dumps(facts).encode(), members)


def _read_fresh(path: Path, name: str, reader: Reader, store: Store) -> Index | None:
    """The cached index, or None if there is none, or it is damaged or stale, which is logged."""
    try:
        index = read_index(path)
        origin = _origin(name, reader, store)
        as_now = origin == {key: index.header.get(key) for key in origin}
        stale = not as_now or changed(index.header["stamps"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        _LOG.warning("%s: the index is damaged (%s) and is built anew", path, error)
        return None
    if stale:
        _LOG.info("%s has changed since it was indexed", store.where(""))
        return None
    return index


def _origin(name: str, reader: Reader, store: Store) -> dict[str, str | int]:
    return {"name": name, "reader": repr(reader), "root": store.root, "rules": RULES}


def _cache_path(name: str, store: Store, cache_dir: str | None) -> Path:
    folder = cache_dir or os.environ.get("ESAT_CACHE") or Path.home() / ".cache" / "esat-jax"
    digest = hashlib.sha256(os.fsencode(store.root)).hexdigest()[:16]
    return Path(folder).expanduser() / f"{name}-{digest}.index"


def _wrong_layout(name: str, reader: Reader, store: Store, what: str) -> str:
    return (
        f"{store.where('')}: {name} is not here ({_printable(what)}); "
        f"expected {reader.layout} in this folder or archive."
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: object) -> str:
    """Bytes of file names that are no UTF-8 become escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode()


@functools.cache
def _warn_once(message: str) -> None:
    _LOG.warning(message)
