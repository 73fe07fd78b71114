"""One way for every tool to fail: a sentence on stderr and exit status 1, no traceback."""

import logging
import os
import sys
from collections.abc import Callable
from typing import TextIO

from absl import app, flags
from absl import logging as absl_logging

_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show where an error was raised instead of one sentence."
)


def run(main: Callable[[list[str]], int | None]) -> None:
    """`app.run(main)`, where ValueError and OSError mean wrong input: they end in one sentence.

    So do wrong flags and app.UsageError. Ctrl-C ends in one word and status 130. Other exceptions
    are faults of the program and keep their traceback. A reader of the output that leaves early, as
    in `tool | head`, changes nothing: the work is done, and its status is the program's.
    """
    # Grain gives Python's log an output of its own. absl replaces it, while it knows the stream.
    absl_logging.use_absl_handler()
    sys.stdout, sys.stderr = _LeavableStream(sys.stdout), _LeavableStream(sys.stderr)
    # JAX tells at length which accelerators this computer does not have.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    try:
        app.run(_without_help(main), flags_parser=_parse)
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        if flags.FLAGS.is_parsed() and _TRACEBACK.value:
            raise
        sys.exit(f"error: {sentence(error)}")


def sentence(error: Exception) -> str:
    """The error in words, on one line; an OSError of the system says which file."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([" -> ".join(names), error.strerror] if names else [error.strerror])
    return " ".join(str(error).split()) or type(error).__name__


class _LeavableStream:
    """A text stream that drops what is written to it once its reader has left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes, or drops, the text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Writes, or drops, what is in the buffer."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def _without_help(main: Callable[[list[str]], int | None]) -> Callable[[list[str]], int | None]:
    """`main`, but a UsageError is a ValueError: absl would print all of the tool's help."""

    def run_main(argv: list[str]) -> int | None:
        try:
            return main(argv)
        except app.UsageError as error:
            raise ValueError(f"{error} (--help lists the flags)") from error

    return run_main


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        text = str(error)
        # ml_collections puts the traceback of a config file into the message.
        text = text.strip().splitlines()[-1] if "Traceback" in text else " ".join(text.split())
        sys.exit(f"error: {text} (--help lists the flags)")
    except (AttributeError, KeyError) as error:
        key: object = error
        while isinstance(key, Exception) and key.args:  # ml_collections wraps a KeyError
            key = key.args[0]
        sys.exit(f"error: --config.KEY names no key of the config: {' '.join(str(key).split())}")
