"""What happens inside the network for one pair of crops: the numbers of the paper's pictures."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from esat_jax.models.candidates import centre_tokens
from esat_jax.models.encoder import Attention, Encoder
from esat_jax.models.esat import ESAT, TrackerOutput, make_model


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkViews:
    """N = Z + X tokens, the template's first; X = S * S cells of the search crop.

    Attributes:
      input_similarity, output_similarity: [N, N] cosines of the tokens before the first block and
        after the last one, without elimination: an eliminated token has no feature.
      position_similarity: [N, N] cosines of the position embeddings.
      absolute_similarity, sign_similarity: [N, N] overlap (Bhattacharyya) of what two tokens'
        absolute and positive-negative predictions say; None without a position head.
      kept: [X] bool, cells that elimination leaves.
      attention: [S, S] that the template's centre pays to search cells in the last block, mean over
        heads, as the tracker runs; 0 where a cell was eliminated.
      features: [S, S, 3] in [0, 1], the three main components of the search tokens, as the tracker
        runs; NaN where a cell was eliminated.
      score_map: [S, S].
      num_template: Z.
    """

    input_similarity: np.ndarray
    output_similarity: np.ndarray
    position_similarity: np.ndarray
    absolute_similarity: np.ndarray | None
    sign_similarity: np.ndarray | None
    kept: np.ndarray
    attention: np.ndarray
    features: np.ndarray
    score_map: np.ndarray
    num_template: int


def make_viewer(
    config: Mapping, variables: Mapping
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], NetworkViews]:
    """Compiles the network so that it shows what is inside.

    Args: config: plain nested dict; variables: as of `load_weights`, position head or not.
    Returns: (template uint8 [s, s, 3], search uint8 [S', S', 3], template_box_cxcywh float32 [4])
      -> NetworkViews.
    """
    model = make_model(config)
    variables = {key: variables[key] for key in ("params", "batch_stats")}
    backbone = variables["params"]["backbone"]
    positions = [backbone[f"pos_embed_{name}"][0] for name in ("template", "search")]
    position_similarity = np.asarray(_cosines(jnp.concatenate(positions)))
    num_template = backbone["pos_embed_template"].shape[1]
    has_head = model.position_head is not None and "position_head" in variables["params"]

    @jax.jit
    def run(variables: Mapping, template: jax.Array, search: jax.Array, box: jax.Array) -> dict:
        def apply(**options: object) -> tuple[TrackerOutput, _Watch]:
            watch = _Watch(num_template, config["backbone"]["depth"] - 1)
            with nn.intercept_methods(watch):
                out, sown = model.apply(
                    variables, template, search, template_box_cxcywh=box, **options,
                    train=False, mutable=["intermediates"],
                )  # fmt: skip
            watch.cuts = jax.tree.leaves(_named(sown, "kept_cells"))
            return out, watch

        tracked, watched = apply()
        whole, _ = apply(keep_ratio=1.0)  # an eliminated token has no feature
        views = {
            "input_similarity": _cosines(watched.tokens[0]),
            "output_similarity": _cosines(whole.tokens[0]),
            "kept": tracked.kept[0],
            "attention": watched.search_attention()[0],
            "search": tracked.tokens[0, num_template:],
            "score_map": tracked.score_map[0],
        }
        if has_head:
            halves = jnp.split(whole.tokens, [num_template], axis=1)
            logits = model.apply(variables, *map(_to_map, halves), method=_read_positions)
            views["absolute_similarity"], views["sign_similarity"] = map(_agreement, logits)
        return views

    def view(template: np.ndarray, search: np.ndarray, box_cxcywh: np.ndarray) -> NetworkViews:
        out = jax.device_get(run(variables, template[None], search[None], box_cxcywh[None]))
        out = {"absolute_similarity": None, "sign_similarity": None} | out
        out["position_similarity"] = position_similarity
        shape = out["score_map"].shape
        features = main_components(out.pop("search"), out["kept"]).reshape(*shape, 3)
        out["attention"] = out["attention"].reshape(shape)
        return NetworkViews(**out, features=features, num_template=num_template)

    return view


def main_components(tokens: np.ndarray, kept: np.ndarray, count: int = 3) -> np.ndarray:
    """The main components of the kept rows of [X, D], each stretched to [0, 1]: [X, count].

    The signs are chosen so that most rows are dark; rows that are not kept are NaN.
    """
    rows = np.asarray(tokens, np.float64)[kept]
    centred = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    values = np.full((len(rows), count), 0.5)
    found = centred @ directions[:count].T
    found *= np.where(np.median(found, axis=0) > found.mean(axis=0), -1, 1)
    low, high = np.percentile(found, [1, 99], axis=0)
    values[:, : found.shape[1]] = np.clip((found - low) / np.maximum(high - low, 1e-12), 0, 1)
    out = np.full((len(kept), count), np.nan)
    out[kept] = values
    return out


class _Watch:
    """Keeps what passes by inside the network, and asks its last block for attention weights.

    Attributes:
      tokens: [B, N, D] before the first block.
      attention: [B, K] that the template's centre pays to the search tokens in the last block.
      cuts: the cells left after each elimination, [B, K] each.
    """

    def __init__(self, num_template: int, last: int) -> None:
        self._num_template, self._last = num_template, f"block_{last:02d}"
        self._first_search = self._num_search = 0
        self.tokens: jax.Array | None = None
        self.attention: jax.Array | None = None
        self.cuts: list[jax.Array] = []

    def __call__(
        self, call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> object:
        """For `nn.intercept_methods`."""
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        if isinstance(module, Encoder):
            template, search = args
            self._first_search, self._num_search = template.shape[1], search.shape[1]
            own = template[:, self._first_search - self._num_template :]
            self.tokens = jnp.concatenate([own, search], axis=1)
        if isinstance(module, Attention) and module.path[-2] == self._last:
            return self._attend(call, *args)
        return call(*args, **kwargs)

    def search_attention(self) -> jax.Array:
        """The attention on its cells, [B, X]; 0 where there is no token."""
        count = self.attention.shape[1]
        everywhere = jnp.arange(self._num_search)[None]
        cells = next((cells for cells in self.cuts if cells.shape[1] == count), everywhere)
        return jnp.zeros((1, self._num_search)).at[0, cells[0]].set(self.attention[0])

    def _attend(
        self, call: Callable, tokens: jax.Array, rows: tuple[int, ...] | None
    ) -> tuple[jax.Array, jax.Array | None]:
        """The rows of the template's centre come first; those that the block wants follow."""
        prefix = self._first_search - self._num_template
        centre = centre_tokens(math.isqrt(self._num_template))
        wanted = tuple(prefix + row for row in centre)
        out, attention = call(tokens, (*wanted, *(rows or ())))
        search = attention[:, :, : len(wanted), self._first_search :]
        self.attention = search.mean(axis=(1, 2))
        return out, None if rows is None else attention[:, :, len(wanted) :]


def _named(tree: Mapping, name: str) -> list:
    """The values of a key, wherever it is in nested dicts."""
    found = [tree[name]] if name in tree else []
    for value in tree.values():
        found += _named(value, name) if isinstance(value, Mapping) else []
    return found


def _read_positions(
    model: ESAT, template_map: jax.Array, search_map: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return model.position_head(template_map, search_map, train=False)


def _to_map(tokens: jax.Array) -> jax.Array:
    batch, num_tokens, width = tokens.shape
    grid = math.isqrt(num_tokens)
    return tokens.reshape(batch, grid, grid, width)


def _cosines(tokens: jax.Array) -> jax.Array:
    """[N, D] -> [N, N]."""
    tokens = tokens.astype(jnp.float32)
    tokens /= jnp.maximum(jnp.linalg.norm(tokens, axis=-1, keepdims=True), 1e-12)
    return tokens @ tokens.T


def _agreement(logits: jax.Array) -> jax.Array:
    """How much two tokens' predictions overlap: [1, N, classes] -> [N, N], 1 for the same."""
    roots = jnp.sqrt(jax.nn.softmax(logits[0], axis=-1))
    return roots @ roots.T
