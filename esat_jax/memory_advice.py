"""Which settings make a training step fit into the devices' memory: found by compiling them."""

import dataclasses
from collections.abc import Iterator, Mapping

from jax.sharding import Mesh

from esat_jax.keep_ratio import keep_ratios
from esat_jax.step_timing import GIB, CompiledStep, compile_step, device_memory

HEADROOM = 0.95  # of the memory: the allocator cannot use every byte


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to compute the same step, and what it needs.

    Attributes:
      accumulate, remat: as config.optim has them. step: compiled. fits: into each device's memory.
    """

    accumulate: int
    remat: bool
    step: CompiledStep
    fits: bool

    @property
    def flags(self) -> str:
        """As arguments of launch.train."""
        return f"--config.optim.accumulate={self.accumulate} --config.optim.remat={self.remat}"


def fitting_settings(config: Mapping, mesh: Mesh, *, memory: int | None = None) -> list[Setting]:
    """Compiles the configured step, then ones that store less, up to the first that fits.

    The largest program counts: that of the first epoch, which keeps the most search tokens.
    Recomputing blocks (remat) and micro-batches (accumulate) give the same step more slowly.

    Args:
      config: plain nested dict with the keys of configs/base.py.
      memory: bytes of each device; by default what `mesh` has.
    Returns: all that were compiled, the configured one first. Only the last may fit.
    """
    memory = memory or device_memory(mesh.devices.flat[0])
    ratio = keep_ratios(config["ce"], config["optim"]["epochs"])[0]
    tried = []
    for accumulate, remat in _candidates(config, mesh):
        optim = {**config["optim"], "accumulate": accumulate, "remat": remat}
        step = compile_step({**config, "optim": optim}, mesh, ratio)
        fits = step.memory_bytes <= HEADROOM * memory
        tried.append(Setting(accumulate, remat, step, fits))
        if fits:
            break
    return tried


def advice(config: Mapping, mesh: Mesh, *, memory: int | None = None) -> str:
    """One or two sentences for a run whose device is out of memory; arguments as above."""
    memory = memory or device_memory(mesh.devices.flat[0])
    tried = fitting_settings(config, mesh, memory=memory)
    needs = f"A step needs {in_gib(tried[0].step.memory_bytes)} of a device's {in_gib(memory)}"
    if tried[0].fits:
        return f"{needs}, which fits: look for another program that uses the device."
    if tried[-1].fits:
        least = in_gib(tried[-1].step.memory_bytes)
        return f"{needs}. With {tried[-1].flags} it needs {least}, and is the same step."
    least = in_gib(min(one.step.memory_bytes for one in tried))
    return (
        f"{needs}, and {least} with all micro-batches and recomputation. Use more devices, a "
        "smaller --config.batch_size, or --config.compute_dtype=bfloat16."
    )


def in_gib(size: int) -> str:
    """Bytes in words."""
    return f"{size / GIB:.1f} GiB"


def _candidates(config: Mapping, mesh: Mesh) -> Iterator[tuple[int, bool]]:
    """(accumulate, remat), cheapest first; micro-batches must divide a device's share."""
    accumulate, remat = config["optim"]["accumulate"], config["optim"]["remat"]
    yield accumulate, remat
    each = config["batch_size"] * config["search"]["number"] // mesh.size
    if not remat:
        yield accumulate, True
    while (accumulate := 2 * accumulate) <= each:
        if each % accumulate == 0:
            yield accumulate, True
