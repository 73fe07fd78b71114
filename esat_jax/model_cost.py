"""Parameters and multiply-adds of the configured network by part, in full and as thop counts them.

Multiply-adds (MACs) are those of one pair of crops, forward, with the configured elimination. In
full means every product that is summed over an axis: linear maps, convolutions, both products of
attention, the attention rows that rank candidates, and the forces' squared norms. Work on single
elements (norms, softmax, GELU, biases, the rest of the forces) is no MAC.

thop is the PyTorch profiler whose numbers tracking papers print. It knows a few kinds of modules
and is blind to all else: no LayerNorm, no parameter outside those modules (positions), no product
between activations. A convolution's bias is one MAC per output, a linear map's none, and a
BatchNorm has two per input.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
from flax.linen.module import InterceptorContext

from esat_jax.initial_variables import trace_variables
from esat_jax.models.batch_norm import BatchNorm
from esat_jax.models.encoder import Attention, Block, ForceDirectedAttention
from esat_jax.models.esat import make_model
from esat_jax.models.patches import PatchEmbed
from esat_jax.state_dict_fit import unused_default
from esat_jax.torch_names import FORMATS, entries

POSITIONS = "positions"
PRODUCTS = "attention: QK^T and AV"
CANDIDATES = "candidate elimination"
FORCES = "forces: squared norms"
FCNS, CLASSIFIERS = "position head: FCNs", "position head: classifiers"
TRAINING_ONLY = (FCNS, CLASSIFIERS)

# What `fda_logits` does to each query and key of a head besides the dot product: 4 products, 4 sums
# or differences, a maximum, a sign and an exponential.
FORCE_OPERATIONS = 11


@dataclasses.dataclass(frozen=True)
class Cost:
    """Numbers of parameters and MACs, in full and as thop counts them."""

    parameters: int = 0
    thop_parameters: int = 0
    macs: int = 0
    thop_macs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Cost(*(one + another for one, another in pairs))


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """What `model_cost` finds.

    Attributes:
      parts: cost by part; positions second, the others in the order of the data flow.
      num_search: search tokens X; kept: block that eliminates -> search tokens left after it.
      force_pairs: pairs of query and key, over all heads and blocks, that forces act between.
      unused_in_torch: arrays of the tracker's PyTorch file that its forward pass never reads and
        this model does not hold, name -> size.
    """

    parts: dict[str, Cost]
    num_search: int
    kept: dict[int, int]
    force_pairs: int
    unused_in_torch: dict[str, int]

    @property
    def inference(self) -> Cost:
        """All parts but the position head."""
        return _total(cost for part, cost in self.parts.items() if part not in TRAINING_ONLY)

    @property
    def training(self) -> Cost:
        """All parts, forward; going back costs about twice as much again."""
        return _total(self.parts.values())


def model_cost(config: Mapping) -> ModelCost:
    """Counts the network of a plain nested dict with the keys of configs/base.py.

    Modules are asked while they are traced: nothing is computed, and a new backbone is counted as
    it is. How attention is implemented makes no difference.
    Raises: ValueError if a layer has a kernel and no rule for its work.
    """
    config = {**config, "fda": {**config["fda"], "implementation": "xla"}}
    shapes, works, known_to_thop = _trace(config)
    parts = {"patch embedding": Cost(), POSITIONS: Cost()}

    def add(part: str, cost: Cost) -> None:
        parts[part] = parts.get(part, Cost()) + cost

    for path, work in works:
        add(work.part or _part(path), Cost(macs=work.macs, thop_macs=work.thop_macs))
    for name, shape in shapes.items():
        collection, *path = name.split("/")
        if collection != "params":
            continue
        owner, size = tuple(path[:-1]), math.prod(shape)
        if path[-1] == "kernel" and owner not in known_to_thop:
            raise ValueError(f"{name} belongs to a module without a rule in esat_jax/model_cost.py")
        add(_part(path), Cost(size, size if owner in known_to_thop else 0))
    backbone = config["backbone"]
    num_search = (config["search"]["size"] // backbone["patch_size"]) ** 2
    head_dim = backbone["width"] // backbone["heads"]
    return ModelCost(
        parts=parts,
        num_search=num_search,
        kept=make_model(config).backbone.elimination.keep_counts(num_search),
        force_pairs=parts[PRODUCTS].macs // (2 * head_dim) if FORCES in parts else 0,
        unused_in_torch=_unused_in_torch(config),
    )


class _Work(NamedTuple):
    """MACs of one call of a module; `part` "" is the part of its parameters."""

    macs: int
    thop_macs: int = 0
    part: str = ""


def _trace(config: Mapping) -> tuple[dict, list[tuple[tuple, _Work]], set[tuple]]:
    """Shapes of the variables, works with their module's path, paths that thop knows."""
    works, known_to_thop = [], set()

    def ask(
        run: Callable, args: tuple, kwargs: Mapping, context: InterceptorContext
    ) -> jax.Array | tuple:
        out, module = run(*args, **kwargs), context.module
        if context.method_name == "__call__" and type(module) in _RULES:
            works.extend((module.path, work) for work in _RULES[type(module)](module, args, out))
            if type(module) in _KNOWN_TO_THOP:
                known_to_thop.add(module.path)
        return out

    with nn.intercept_methods(ask):
        return trace_variables(config), works, known_to_thop


def _dense(module: nn.Dense, args: tuple, out: jax.Array) -> list[_Work]:
    macs = out.size * args[0].shape[-1]
    return [_Work(macs, macs)]


def _conv(module: nn.Conv, args: tuple, out: jax.Array) -> list[_Work]:
    macs = out.size * math.prod(module.kernel_size) * args[0].shape[-1]
    return [_Work(macs, macs + out.size * module.use_bias)]


def _patch_embed(module: PatchEmbed, args: tuple, out: jax.Array) -> list[_Work]:
    macs = out.size * module.size**2 * args[0].shape[-1]
    return [_Work(macs, macs + out.size)]


def _batch_norm(module: BatchNorm, args: tuple, out: jax.Array) -> list[_Work]:
    return [_Work(0, 2 * args[0].size)]


def _attention(module: Attention, args: tuple, out: tuple) -> list[_Work]:
    _, num_tokens, width = args[0].shape
    products = _Work(2 * num_tokens**2 * width, part=PRODUCTS)
    return [products, *_norms(2 * num_tokens * width, module.fda)]


def _block(module: Block, args: tuple, out: tuple) -> list[_Work]:
    """The attention rows of the template queries, and their weighted mean where it is one."""
    (_, num_tokens, width), cut = args[0].shape, args[2]
    if cut is None:
        return []
    num_rows = len(cut.rows)
    weighted = 0 if cut.weights is None else num_rows * (num_tokens - cut.first_search)
    rows = _Work(num_rows * num_tokens * width + weighted, part=CANDIDATES)
    return [rows, *_norms((num_rows + num_tokens) * width, module.fda)]


def _norms(macs: int, forces: ForceDirectedAttention) -> list[_Work]:
    """|q|^2 and |k|^2, which only forces need."""
    return [_Work(macs, part=FORCES)] if forces.alpha or forces.beta else []


_RULES = {
    nn.Dense: _dense,
    nn.Conv: _conv,
    PatchEmbed: _patch_embed,
    BatchNorm: _batch_norm,
    Attention: _attention,
    Block: _block,
}
_KNOWN_TO_THOP = (nn.Dense, nn.Conv, PatchEmbed, BatchNorm)


def _part(path: Iterable[str]) -> str:
    """The part that a module or parameter belongs to."""
    top, child, *_ = path
    if top == "position_head":
        return FCNS if child.endswith("tower") else CLASSIFIERS
    if top != "backbone":
        return top.replace("_", " ")
    if child.startswith(("pos_embed", "cls_token")):
        return POSITIONS
    return "patch embedding" if child.startswith("patch_") else child.replace("_", " ")


def _total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())


def _unused_in_torch(config: Mapping) -> dict[str, int]:
    """Counters of batches are integers, so no parameters; a trunk without a table has none."""
    unused = {}
    if config["backbone"]["name"] not in FORMATS["esat"].backbones:
        return unused
    for entry in entries("esat", config):
        default = unused_default(entry.path, config["backbone"]["width"])
        if default is not None and default.dtype.kind == "f":
            unused[entry.torch[0]] = default.size
    return unused
