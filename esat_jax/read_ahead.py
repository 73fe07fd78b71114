"""Reads the next item of an iterator in a thread, while the one before it is used."""

import contextlib
import os
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICER = 5  # levels of priority below the other threads; at 19 other programs would hold it up

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yields the same items, of which one is read before it is asked for.

    What reading an item raises is raised in its place. The thread lives from the first item until
    the iterator ends or is closed, which waits for the item being read: close it where it may be
    left early, as `contextlib.closing` does. On Linux its priority is lower than its maker's.
    """
    end = object()
    with ThreadPoolExecutor(1, "read_ahead", _yield_cores) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item


def _yield_cores() -> None:
    # XLA gives each core its share of an operation and waits for the last: on few cores, a thread
    # that takes one of them meanwhile costs about what reading ahead saves.
    if sys.platform != "linux":  # elsewhere threads have no such priority of their own
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):  # where a sandbox forbids it: slower, but the same items
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)
