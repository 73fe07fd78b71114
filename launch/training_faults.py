"""How a training run ends that cannot go on: in one sentence."""

import contextlib
import errno
import gc
import logging as logging_of_python
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
from absl import logging

from esat_jax.memory_advice import advice
from esat_jax.sharding import make_mesh

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def quiet_libraries() -> None:
    """Keeps the libraries' own reports off the screen: what goes wrong is raised as well."""
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().setLevel("CRITICAL")  # Orbax's and Grain's, not the project's
    # Where a checkpoint cannot be written or read, Orbax leaves behind some of these per array.
    logging_of_python.getLogger("asyncio").setLevel("CRITICAL")
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
    # Python removes the batches that workers had ready when a run ended, and would count them. It
    # does so in a process of its own, which takes its filters from these options.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    show = sys.unraisablehook

    def show_others(unraisable: "sys.UnraisableHookArgs") -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            show(unraisable)

    sys.unraisablehook = show_others


@contextlib.contextmanager
def disk_in_words(workdir: Path) -> Iterator[None]:
    """A full disk ends the run with the folder that needs room; writing does not name it."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or error.filename is not None:
            raise
        raise ValueError(
            f"{workdir}: {error.strerror}; with more room there, the same command goes on from the "
            "newest checkpoint."
        ) from error


@contextlib.contextmanager
def memory_in_words(config: Mapping) -> Iterator[None]:
    """A device that is out of memory ends the run with what would fit.

    Args: config: plain nested dict with the keys of configs/base.py.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the state on the device
        gc.collect()
        reason = str(error).removeprefix("RESOURCE_EXHAUSTED: ").splitlines()[0].rstrip(".")
        raise ValueError(f"the device is out of memory: {reason}. {_advice(config)}") from None


def _advice(config: Mapping) -> str:
    if jax.process_count() == 1:  # with more, all of them would have to compile
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            return advice(config, make_mesh())
    return (
        f"Compute the batch in parts, --config.optim.accumulate={2 * config['optim']['accumulate']}"
        ", or store less, --config.optim.remat=True: both give the same step more slowly."
    )
