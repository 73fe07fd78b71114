"""One optimisation step; the same program on one CPU and on many GPUs of many hosts.

No pmean: the loss is a mean over the global batch, which is one array split over the devices.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from esat_jax import sharding
from esat_jax.losses import box_losses, tracking_loss
from esat_jax.micro_batches import MicroBatches
from esat_jax.models.encoder import Encoded
from esat_jax.models.esat import ESAT, TrackerOutput, make_model
from esat_jax.models.patches import MEAN, STD
from esat_jax.optimizer import learning_rates, make_optimizer
from esat_jax.train_state import TrainState, plain, state_places

Metrics = dict[str, jax.Array]


def make_train_step(
    config: Mapping, mesh: Mesh, steps_per_epoch: int
) -> Callable[[TrainState, dict, float], tuple[TrainState, Metrics]]:
    """Makes the jitted `(state, batch, keep_ratio) -> (state, metrics)`; arguments by position.

    The step gives the old state's memory away. `batch` is what `sharding.put_batch` returns of a
    training batch; `keep_ratio` is static: each value is a program. `.lower(...)` takes arrays or
    shapes, so that a program can be compiled before it is needed.

    Metrics are float32 scalars: every term of the loss by itself, "total", "iou", "grad_norm"
    before clipping, "finite" (1, or 0 if the loss or the gradient is not) and a learning rate
    "lr_<group>" each. A step that is not finite returns the state that it was given, so that it
    can be written down and tried again.
    """
    config = plain(config)
    optim, places = config["optim"], state_places(config, mesh)
    forward = _make_forward(config, mesh)

    def train_step(state: TrainState, batch: dict, keep_ratio: float) -> tuple[TrainState, Metrics]:
        frames = _frames(batch)
        rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)

        def loss(params: dict) -> tuple[jax.Array, tuple[Metrics, dict]]:
            params = _without_noise(params)
            out, batch_stats = forward(params, state.batch_stats, frames, keep_ratio, rng)
            total, terms = _loss(config, out, frames)
            return total, (terms, batch_stats)

        gradients, (terms, batch_stats) = jax.grad(loss, has_aux=True)(state.params)
        optimizer = make_optimizer(optim, state.params, steps_per_epoch)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new_state = TrainState(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            rng=state.rng,
            ema=_averaged(state.ema, params, optim["ema_decay"]),
        )
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(jnp.stack([norm, *terms.values()])).all()
        new_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new_state, state)
        rates = learning_rates(optim, steps_per_epoch, state.step)
        metrics = {**terms, "grad_norm": norm, "finite": finite, **rates}
        return new_state, {name: jnp.float32(value) for name, value in metrics.items()}

    whole, split = sharding.replicated(mesh), sharding.batch_sharded(mesh)
    return jax.jit(
        train_step,
        static_argnums=2,
        donate_argnums=0,
        in_shardings=(places, split),
        out_shardings=(places, whole),
    )


def make_eval_step(config: Mapping, mesh: Mesh) -> Callable[[TrainState, dict, float], Metrics]:
    """Makes the jitted `(state, batch, keep_ratio) -> metrics`, as `make_train_step`.

    The network as the tracker runs it, without position losses, on `state.eval_params`. Metrics:
    "total", "focal", "giou", "l1" and "iou", means over the batch; "pair_iou" [B], the mean over a
    pair's search frames.
    """
    config = plain(config)
    model = make_model(config)

    def eval_step(state: TrainState, batch: dict, keep_ratio: float) -> Metrics:
        frames = _frames(batch)
        variables = {"params": state.eval_params, "batch_stats": state.batch_stats}
        with _over(mesh):
            out = model.apply(
                variables,
                frames["template"],
                frames["search"],
                template_box_cxcywh=frames["template_box_cxcywh"],
                keep_ratio=keep_ratio,
            )
        iou, _, _ = box_losses(out.box_cxcywh, frames["box_cxcywh"])
        pair_iou = iou.reshape(batch["search"].shape[:2]).mean(axis=1)
        return {**_loss(config, out, frames)[1], "pair_iou": pair_iou}

    return jax.jit(
        eval_step,
        static_argnums=2,
        in_shardings=(state_places(config, mesh), sharding.batch_sharded(mesh)),
        out_shardings=sharding.replicated(mesh),
    )


def normalize_crops(
    crops: jax.Array, brightness: jax.Array, color: jax.Array | None = None
) -> jax.Array:
    """Brightness, colours, then ImageNet's mean and deviation, as OSTrack orders them.

    Args: uint8 [B, size, size, 3]; factors [B]; maps of colours [B, 3, 4], see augment.recolor.
    Returns: float32.
    """
    factors = (brightness / 255)[:, None, None, None]
    bright = jnp.clip(crops * jnp.broadcast_to(factors, crops.shape), 0, 1)
    if color is not None:
        color = color[:, None, None]  # [B, 1, 1, 3, 4]
        products = bright[..., None, :] * color[..., :3]  # a matrix product would round to 16 bits
        bright = jnp.clip(products.sum(axis=-1) + color[..., 3], 0, 1)
    mean, std = (jnp.broadcast_to(jnp.array(value), crops.shape) for value in (MEAN, STD))
    return (bright - mean) / std


def _frames(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """A batch of B samples with n search frames -> one of F = B * n pairs, crops normalised."""
    batch_size, num_search = batch["search"].shape[:2]
    frames = {}
    for name, array in batch.items():
        if name.startswith("template"):  # [B, ...]: the same for all frames of a sample
            shape = (batch_size, num_search, *array.shape[1:])
            array = jnp.broadcast_to(array[:, None], shape)
        frames[name] = array.reshape(-1, *array.shape[2:])
    for crop in ("template", "search"):
        brightness, color = frames.pop(f"{crop}_brightness"), frames.pop(f"{crop}_color", None)
        frames[crop] = normalize_crops(frames[crop], brightness, color)
    return frames


def _over(mesh: Mesh) -> AbstractContextManager:
    """Tells kernels, which the compiler cannot split, where the batch is; see `ops.fda`."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def _make_forward(config: Mapping, mesh: Mesh) -> Callable[..., tuple[TrackerOutput, dict]]:
    """(params, batch_stats, frames, keep_ratio, rng) -> output in training and new batch_stats.

    With micro-batches the backbone sees one after the other, and again in the backward pass; the
    heads see the whole batch. So neither batch statistics nor losses know of micro-batches.
    """
    accumulate, kind = config["optim"]["accumulate"], config["optim"]["batch_norm"]
    if kind not in ("global", "device"):
        raise ValueError(f"config.optim.batch_norm is 'global' or 'device', got {kind!r}.")
    if accumulate < 1:
        raise ValueError(f"config.optim.accumulate is 1 or more, got {accumulate}.")
    groups = mesh.size * accumulate if kind == "device" else 1
    model = make_model(config, batch_norm_groups=groups, remat=config["optim"]["remat"])

    def forward(
        params: dict, batch_stats: dict, frames: dict, keep_ratio: float, rng: jax.Array
    ) -> tuple[TrackerOutput, dict]:
        inputs = {name: frames[name] for name in ("template", "search", "template_box_cxcywh")}
        micro = MicroBatches(len(inputs["search"]), accumulate, mesh)

        def encode(params: dict, inputs: dict, index: jax.Array) -> Encoded:
            crops = inputs["template"], inputs["search"]
            with _over(mesh), nn.intercept_methods(micro.dropout(index)):
                return model.apply(
                    {"params": params},
                    *crops,
                    template_box_cxcywh=inputs["template_box_cxcywh"],
                    keep_ratio=keep_ratio,
                    train=True,
                    rngs={"dropout": rng},
                    method=ESAT.encode,
                )

        if accumulate == 1:
            encoded = encode(params, inputs, 0)
        else:
            repeat = jax.checkpoint(encode)
            _, encoded = jax.lax.scan(
                lambda _, one: (None, repeat(params, *one)),
                None,
                (jax.tree.map(micro.split, inputs), jnp.arange(accumulate)),
            )
            encoded = jax.tree.map(micro.join, encoded)
        variables = {"params": params, "batch_stats": batch_stats}
        out, updated = model.apply(
            variables, encoded, train=True, mutable="batch_stats", method=ESAT.read
        )
        return out, updated["batch_stats"]

    return forward


def _loss(
    config: Mapping, out: TrackerOutput, frames: Mapping[str, jax.Array]
) -> tuple[jax.Array, Metrics]:
    return tracking_loss(out, frames, config["loss"], config["spl"]["on_removed"])


def _without_noise(params: Mapping) -> dict:
    """Cuts the gradient of biases before BatchNorm, which batch statistics subtract again.

    It is zero; what is computed is rounding noise, and AdamW would scale it up to whole steps.
    """
    cut = {}
    for name, child in params.items():
        if not isinstance(child, Mapping):
            cut[name] = child
            continue
        cut[name] = _without_noise(child)
        if name.startswith("conv_") and name.replace("conv_", "norm_") in params:
            cut[name] = {key: _constant(key, value) for key, value in cut[name].items()}
    return cut


def _constant(name: str, value: jax.Array) -> jax.Array:
    return jax.lax.stop_gradient(value) if name == "bias" else value


def _averaged(ema: dict | None, params: dict, decay: float) -> dict | None:
    """decay * ema + (1 - decay) * params."""
    if ema is None:
        return None
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, ema, params)
