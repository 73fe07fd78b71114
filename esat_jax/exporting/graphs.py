"""The tracker's network as two pure functions: one for the first frame, one for every later one.

ESAT is one stream: template and search crop meet in the encoder's first block, so nothing that
comes later can be computed once for all frames. What can is everything before: the template's patch
embedding, its positions and the mark of the target's box. The template graph ends there, and the
search graph begins there.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.interpreters import partial_eval

from esat_jax.models.encoder import Encoder
from esat_jax.models.esat import ESAT, inference_variables, make_model
from esat_jax.tracker import make_search_step

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


@dataclasses.dataclass(frozen=True)
class TrackerGraph:
    """A pure function with fixed shapes and names for what goes in and comes out.

    Attributes:
      name: "template" or "search".
      function: `(constants, *inputs) -> tuple of outputs`.
      inputs: shape and type by name, in order. outputs: names, in order.
    """

    name: str
    function: Callable[..., tuple[jax.Array, ...]]
    inputs: dict[str, jax.ShapeDtypeStruct]
    outputs: tuple[str, ...]


def make_graphs(
    config: Mapping, variables: Mapping, dtype: str
) -> tuple[dict[str, np.ndarray], list[TrackerGraph]]:
    """The two functions for one target (B = 1), and the constants that both read.

    template: `template` uint8 [1, s, s, 3], `template_box_cxcywh` float32 [1, 4] (fractions of the
      crop) -> `template_tokens` [1, Z, D] in `dtype`, a class token first where there is one.
    search: `template_tokens`, `template_box_cxcywh`, `search` uint8 [1, S, S, 3] -> `box_cxcywh`
      float32 [1, 4] (fractions of the search crop) and `score` float32 [1], both as
      `make_search_step` gives them: normalisation, window and decoding are inside.
    Either has `template_box_cxcywh` only if it reads it.

    Args:
      config: plain nested dict, keys as in configs/base.py. variables: fit it.
      dtype: "float32", "bfloat16" or "float16", of all layers; statistics, softmax, logits of
        attention and maps are float32 in any.
    """
    # A GPU's kernel is no part of a portable graph, whatever device this runs on.
    config = {**config, "fda": {**config["fda"], "implementation": "xla"}}
    model = _with_dtype(make_model(config), DTYPES[dtype])
    constants = _constants(config, variables, DTYPES[dtype])
    size = {name: (1, *[config[name]["size"]] * 2, 3) for name in ("template", "search")}
    blank = {name: np.zeros(shape, np.uint8) for name, shape in size.items()}
    step = make_search_step(config, model)

    def template_graph(flat: Mapping, template: jax.Array, box_cxcywh: jax.Array) -> tuple:
        nested = traverse_util.unflatten_dict(flat, sep="/")
        options = {"template_box_cxcywh": box_cxcywh, "method": "encode"}
        with _instead_of_encoder(lambda encoder, tokens, *args, **kwargs: tokens):
            return (model.apply(nested, template, blank["search"], **options),)

    def search_graph(
        flat: Mapping, tokens: jax.Array, box_cxcywh: jax.Array, search: jax.Array
    ) -> tuple:
        nested = traverse_util.unflatten_dict(flat, sep="/")
        with _instead_of_encoder(
            lambda encoder, _, *args, **kwargs: encoder(tokens, *args, **kwargs)
        ):
            return step(nested, blank["template"], search, box_cxcywh)

    template, search = (jax.ShapeDtypeStruct(shape, jnp.uint8) for shape in size.values())
    box = {"template_box_cxcywh": jax.ShapeDtypeStruct((1, 4), jnp.float32)}
    inputs = {"template": template, **box}
    (tokens,) = jax.eval_shape(template_graph, constants, *inputs.values())
    graphs = [
        TrackerGraph("template", template_graph, inputs, ("template_tokens",)),
        TrackerGraph(
            "search",
            search_graph,
            {"template_tokens": tokens, **box, "search": search},
            ("box_cxcywh", "score"),
        ),
    ]
    return constants, [_without_unread_inputs(graph, constants) for graph in graphs]


@contextlib.contextmanager
def _instead_of_encoder(function: Callable) -> Iterator[None]:
    """Calls `function(encoder, *args, **kwargs)` where the crops' tokens meet."""

    def intercept(call: Callable, args: tuple, kwargs: dict, context: object) -> object:
        if isinstance(context.module, Encoder) and context.method_name == "__call__":
            return function(call, *args, **kwargs)
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield


def _without_unread_inputs(graph: TrackerGraph, constants: Mapping) -> TrackerGraph:
    traced = jax.make_jaxpr(graph.function)(constants, *graph.inputs.values())
    _, read = partial_eval.dce_jaxpr(traced.jaxpr, [True] * len(graph.outputs))
    read = read[-len(graph.inputs) :]
    kept = {name: x for (name, x), is_read in zip(graph.inputs.items(), read, strict=True)
            if is_read}  # fmt: skip

    def function(flat: Mapping, *given: jax.Array) -> tuple[jax.Array, ...]:
        values = dict(zip(kept, given, strict=True))
        filled = (
            values[name] if name in values else jnp.zeros(x.shape, x.dtype)
            for name, x in graph.inputs.items()
        )
        return graph.function(flat, *filled)

    return dataclasses.replace(graph, function=function, inputs=kept)


def _with_dtype(model: ESAT, dtype: jnp.dtype) -> ESAT:
    return model.clone(
        backbone=model.backbone.clone(dtype=dtype),
        box_head=model.box_head.clone(dtype=dtype),
        position_head=None,
    )


def _constants(config: Mapping, variables: Mapping, dtype: jnp.dtype) -> dict[str, np.ndarray]:
    """Arrays by path; kernels in the type that every layer would cast them to."""
    whole = {**config, "compute_dtype": "float32"}
    flat = traverse_util.flatten_dict(inference_variables(variables, whole), sep="/")
    return {
        path: np.asarray(value.astype(dtype) if path.endswith("/kernel") else value)
        for path, value in flat.items()
    }
