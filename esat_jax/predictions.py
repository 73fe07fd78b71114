"""The boxes that a network in training gives for a batch, to look at."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from esat_jax.models.esat import make_model
from esat_jax.sharding import replicated
from esat_jax.train_state import TrainState


def make_predict_step(
    config: Mapping, mesh: Mesh
) -> Callable[[TrainState, Mapping[str, jax.Array], float], jax.Array]:
    """Makes the jitted `(state, batch, keep_ratio) -> box_cxcywh [B, 4]`, fractions of the crop.

    The first search frame of each sample, its colours as they were; the result is on every host.
    """
    model = make_model(config)

    def predict(state: TrainState, batch: Mapping[str, jax.Array], keep_ratio: float) -> jax.Array:
        variables = {"params": state.eval_params, "batch_stats": state.batch_stats}
        out = model.apply(
            variables,
            batch["template"],
            batch["search"][:, 0],
            template_box_cxcywh=batch["template_box_cxcywh"],
            keep_ratio=keep_ratio,
        )
        return out.box_cxcywh.astype(jnp.float32)

    return jax.jit(predict, static_argnums=2, out_shardings=replicated(mesh))
