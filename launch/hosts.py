"""Several processes that train together: they find each other, and none waits for a dead one."""

import contextlib
import os
import secrets
import selectors
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from launch import errors

GOES_ON = "the same command goes on from the newest checkpoint"
CONNECT_SECONDS = 60
ADDRESS_BYTES = 256
_ENDING = threading.Lock()


def join() -> None:
    """Meets the other processes, one on each computer, where SLURM or the like says they are.

    Raises: ValueError if nothing says it, or if they do not come.
    """
    try:
        # [] is all of this computer's devices; JAX would take one where SLURM starts processes.
        jax.distributed.initialize(local_device_ids=[])
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"--distributed: the processes of the run did not meet ({error}); start them with "
            "launch/slurm.sh, or by another of the ways that jax.distributed knows."
        ) from error


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """While this lasts, all processes of the run end as soon as one of them fails or dies.

    Each holds a connection to process 0, which the system closes with the process. Without it a
    death shows after minutes: processes wait for each other in every step and every checkpoint.
    """
    if jax.process_count() == 1:
        yield
        return
    try:
        connections = _connect()
        threading.Thread(target=_watch, args=(connections,), daemon=True).start()
        yield
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the process ends here
        _end_for(error)
    for connection in connections.values():
        with contextlib.suppress(OSError):
            connection.sendall(b".")  # an end that is none of the others' business


def _end_for(error: BaseException) -> NoReturn:
    """Ends this process at once: an orderly end would wait for the others, as they do for it."""
    if isinstance(error, ValueError | OSError):
        _end(errors.sentence(error))
    if isinstance(error, jax.errors.JaxRuntimeError):
        reason = str(error).splitlines()[0]
        _end(f"process {jax.process_index()} lost the others ({reason}); {GOES_ON}.")
    traceback.print_exception(error)
    _end(f"process {jax.process_index()} failed as told above.")


def _end(sentence: str) -> NoReturn:
    _ENDING.acquire()  # for good: the thread that is here first speaks
    sys.stdout.flush()
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    os._exit(1)


def _watch(connections: dict[int, socket.socket]) -> None:
    with selectors.DefaultSelector() as selector:
        for index, connection in connections.items():
            selector.register(connection, selectors.EVENT_READ, index)
        while selector.get_map():
            for key, _ in selector.select():
                try:
                    said = key.fileobj.recv(1)
                except OSError:
                    said = b""
                if not said:
                    me = jax.process_index()
                    _end(f"process {me} ends because process {key.data} did; {GOES_ON}.")
                selector.unregister(key.fileobj)


def _connect() -> dict[int, socket.socket]:
    """Connections by process: of process 0 to all, of the others to process 0."""
    first = jax.process_index() == 0
    server = socket.create_server(("", 0), backlog=jax.process_count()) if first else None
    words = f"{socket.gethostname()} {server.getsockname()[1]}" if first else ""
    words = f"{words} {secrets.token_hex(16)}".encode().ljust(ADDRESS_BYTES, b"\0")
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(words, np.uint8))
    host, port, token = bytes(np.asarray(sent, np.uint8)).rstrip(b"\0").decode().split()
    try:
        if first:
            return _accept(server, token)
        connection = socket.create_connection((host, int(port)), CONNECT_SECONDS)
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sendall(f"{token} {jax.process_index():6d}".encode())
        return {0: connection}
    except OSError as error:
        logging.warning("processes do not see each other's end at once (%s).", error)
        return {}


def _accept(server: socket.socket, token: str) -> dict[int, socket.socket]:
    found: dict[int, socket.socket] = {}
    server.settimeout(CONNECT_SECONDS)
    with server:
        while len(found) < jax.process_count() - 1:
            connection, _ = server.accept()
            connection.settimeout(CONNECT_SECONDS)
            said = connection.recv(len(token) + 7, socket.MSG_WAITALL).decode(errors="replace")
            if said.startswith(token):  # not a stranger's
                connection.settimeout(None)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                found[int(said.removeprefix(token))] = connection
    return found
