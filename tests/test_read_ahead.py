"""Threads are steered by events and queues: no test depends on how fast anything is."""

import os
import queue
import sys
import threading

import pytest

from esat_jax.read_ahead import NICER, read_ahead

PATIENCE = 30  # seconds after which a test fails instead of waiting for ever


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read_ahead")]


def fails_at(place, error):
    for i in range(10):
        if i == place:
            raise error
        yield i


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_all_items_come_once_in_order_and_the_thread_ends(count):
    assert list(read_ahead(iter(range(count)))) == list(range(count))
    assert not readers()


def test_items_of_any_value_are_items():
    assert list(read_ahead(iter([None, 0, None]))) == [None, 0, None]


def test_the_next_item_is_read_while_one_is_used_but_no_more():
    started, allowed = queue.Queue(), threading.Semaphore(0)

    def items():
        for i in range(10):
            started.put(i)
            assert allowed.acquire(timeout=PATIENCE)
            yield i

    ahead = read_ahead(items())
    allowed.release(2)
    assert next(ahead) == 0
    # Nothing is asked for now: the next is read all the same, by another thread.
    assert [started.get(timeout=PATIENCE) for _ in range(2)] == [0, 1]
    allowed.release(10)  # nor does it read on when it could
    assert next(ahead) == 1
    assert started.get(timeout=PATIENCE) == 2
    ahead.close()
    assert not readers()
    assert started.empty()


@pytest.mark.parametrize("place", [0, 1, 5])
def test_an_error_comes_in_the_place_of_its_item_and_ends_the_thread(place):
    ahead = read_ahead(fails_at(place, OSError("unreadable")))
    assert [next(ahead) for _ in range(place)] == list(range(place))
    with pytest.raises(OSError, match="unreadable"):
        next(ahead)
    assert list(ahead) == []
    assert not readers()


def test_the_thread_ends_where_the_iterator_is_left():
    ahead = read_ahead(iter(range(10)))
    assert [next(ahead), next(ahead)] == [0, 1]
    assert len(readers()) == 1
    ahead.close()
    assert not readers()


def test_closing_waits_for_the_read_under_way_and_begins_no_other():
    reading, go_on, begun = threading.Event(), threading.Event(), []

    def items():
        for i in range(10):
            begun.append(i)
            if i == 1:
                reading.set()
                assert go_on.wait(PATIENCE)
            yield i

    ahead = read_ahead(items())
    assert next(ahead) == 0
    assert reading.wait(PATIENCE)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    go_on.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert begun == [0, 1]
    assert not readers()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_the_thread_has_a_lower_priority_than_its_maker_who_keeps_its_own():
    def priorities():
        for _ in range(3):
            yield os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert list(read_ahead(priorities())) == [min(own + NICER, 19)] * 3
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
