"""AdamW with one learning rate per top-level module and one step drop (paper Sec. 4.1, A.1)."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

SCHEDULES = ("step", "cosine")


def make_optimizer(
    optim: Mapping, params: Mapping, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Builds it from `config.optim`.

    Args:
      optim: `lr` maps a top-level module of the model, or "default" for those not named, to its
        rate before the drop.
      params: parameters or their shapes; only the top-level names are read.
    Returns: gradients are clipped by their norm over all groups together; weight decay is on
      every parameter, as in OSTrack.
    Raises: ValueError for a name that is no module, a module without a rate, or an impossible
      schedule.
    """
    rates = dict(optim["lr"])
    if unknown := sorted(rates.keys() - params.keys() - {"default"}):
        raise ValueError(
            f"config.optim.lr names {unknown}, which this model does not have; its modules are "
            f"{sorted(params)}, and 'default' serves those not named."
        )
    group_of = {module: module if module in rates else "default" for module in params}
    if "default" not in rates and "default" in group_of.values():
        without = sorted(module for module, group in group_of.items() if group == "default")
        raise ValueError(f"config.optim.lr gives {without} no rate; name them or 'default'.")
    shape = learning_rate_shape(optim, steps_per_epoch)
    groups = {
        name: optax.adamw(
            lambda step, peak=peak: peak * shape(step), weight_decay=optim["weight_decay"]
        )
        for name, peak in rates.items()
    }
    clip = optax.clip_by_global_norm(optim["grad_clip_norm"])
    return optax.chain(clip, optax.partition(groups, group_of))


def learning_rate_shape(
    optim: Mapping, steps_per_epoch: int
) -> Callable[[int | jax.Array], jax.Array]:
    """The factor on every group's rate at a step, counted from 0.

    "step": 1, and `lr_drop_factor` from step lr_drop_epoch * steps_per_epoch on. "cosine": half a
    cosine from 1 down to 0 at the run's end. Either is multiplied by a linear rise over
    `warmup_steps`.
    Raises: ValueError for another `schedule`, or numbers that make none.
    """
    name, warmup = optim["schedule"], optim["warmup_steps"]
    if name not in SCHEDULES:
        raise ValueError(f"config.optim.schedule is one of {SCHEDULES}, got {name!r}.")
    if warmup < 0 or steps_per_epoch < 1:
        raise ValueError(
            f"config.optim.warmup_steps must not be negative and an epoch must have a step, got "
            f"{warmup} and {steps_per_epoch} steps an epoch."
        )
    drop_step = optim["lr_drop_epoch"] * steps_per_epoch
    num_steps = optim["epochs"] * steps_per_epoch

    def shape(step: int | jax.Array) -> jax.Array:
        if name == "step":
            factor = jnp.where(step >= drop_step, optim["lr_drop_factor"], 1.0)
        else:
            factor = 0.5 * (1 + jnp.cos(math.pi * jnp.minimum(step / num_steps, 1.0)))
        return factor * jnp.minimum((step + 1) / warmup, 1.0) if warmup else factor

    return shape


def learning_rates(
    optim: Mapping, steps_per_epoch: int, step: int | jax.Array
) -> dict[str, jax.Array]:
    """The rate of every group at a step counted from 0: {"lr_backbone": ..., "lr_default": ...}."""
    factor = learning_rate_shape(optim, steps_per_epoch)(step)
    return {f"lr_{name}": peak * factor for name, peak in optim["lr"].items()}
