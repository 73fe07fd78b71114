"""Jobs shared out over processes that end with this one, whatever ends it."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

import cv2

Result = TypeVar("Result")


def run_jobs(
    function: Callable[..., Result], jobs: Sequence[tuple], num_workers: int, advice: str
) -> Iterator[Result]:
    """Calls `function` with the arguments of every job, in as many processes as there are workers.

    Args:
      function: of a module, so that a process finds it by its name.
      num_workers: 0 is this process.
      advice: a sentence for the message of a worker that died: how to go on.

    Yields: the results as they come; in the order of the jobs only if `num_workers` is 0.
    Raises: what a job raises; ChildProcessError if a worker dies.
    """
    if not num_workers:
        yield from (function(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    with (
        held,
        concurrent.futures.ProcessPoolExecutor(num_workers, context, _begin, (watched,)) as pool,
    ):
        try:
            with _ctrl_c_for_this_process():
                futures = [pool.submit(function, *job) for job in jobs]
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.BrokenExecutor as error:
            raise ChildProcessError(
                f"a worker process ended suddenly ({error}); with less memory use fewer workers. "
                f"{advice}"
            ) from error
        except BaseException:
            held.close()  # ends the workers in the middle of their jobs
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _ctrl_c_for_this_process() -> Iterator[None]:
    """Processes started meanwhile never get the signal of Ctrl-C; this one gets it afterwards."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _begin(watched: Connection) -> None:
    """Lets this process end once the pipe's other end is closed, or its owner has ended."""
    cv2.setNumThreads(1)  # the processes share the cores already

    def wait() -> None:
        watched.poll(None)  # nothing is ever sent
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
