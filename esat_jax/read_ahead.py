"""Reads the next item of an iterator in a thread, while the one before it is used."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yields the same items, of which one is read before it is asked for.

    What reading an item raises is raised in its place. The thread lives from the first item until
    the iterator ends or is closed, which waits for the item being read: close it where it may be
    left early, as `contextlib.closing` does.
    """
    end = object()
    with ThreadPoolExecutor(1, "read_ahead") as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item
