"""One compiled program that searches for many targets at a time, split over devices."""

import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from esat_jax.models.esat import inference_variables
from esat_jax.sharding import batch_sharded, make_mesh, replicated
from esat_jax.tracker import make_search_step, needs_template_box

Templates = tuple[jax.Array, jax.Array | None]  # crops and, where the network reads them, boxes


class BatchedStep:
    """The search step of `Tracker` for B targets, compiled and run once on construction.

    Crops travel to the devices as uint8; boxes and scores come back in one array.

    Attributes:
      config: plain nested dict with the keys of configs/base.py.
      batch_size: B, on all devices together.
      compile_seconds: what compiling and the first run took.
    """

    def __init__(
        self, config: Mapping, variables: Mapping, batch_size: int, mesh: Mesh | None = None
    ) -> None:
        """Args: mesh: the devices, by default all of this computer.

        Raises: ValueError if B does not divide among the devices.
        """
        mesh = make_mesh(jax.local_devices()) if mesh is None else mesh
        if batch_size < 1 or batch_size % mesh.size:
            raise ValueError(
                f"a batch of {batch_size} targets does not divide among {mesh.size} devices; "
                f"make it a multiple of {mesh.size}."
            )
        self.config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        self.batch_size = batch_size
        self._split = batch_sharded(mesh)
        whole = replicated(mesh)
        self._variables = jax.device_put(inference_variables(variables, self.config), whole)
        search_step = make_search_step(self.config)

        def step(variables: Mapping, templates: Templates, search: jax.Array) -> jax.Array:
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # for kernels, see ops.fda
                box_cxcywh, scores = search_step(variables, templates[0], search, templates[1])
            return jnp.concatenate([box_cxcywh, scores[:, None]], axis=1)

        start = time.perf_counter()
        templates = self.put_templates(
            self.blank_crops("template"), np.full((batch_size, 4), 0.5, np.float32)
        )
        search = jax.device_put(self.blank_crops("search"), self._split)
        places = (whole, self._split, self._split)
        program = jax.jit(step, in_shardings=places, out_shardings=self._split)
        self._program = program.lower(self._variables, templates, search).compile()
        jax.block_until_ready(self._program(self._variables, templates, search))
        self.compile_seconds = time.perf_counter() - start

    def blank_crops(self, which: str) -> np.ndarray:
        """Black crops of all slots, uint8 [B, size, size, 3]; which: "template" or "search"."""
        size = self.config[which]["size"]
        return np.zeros((self.batch_size, size, size, 3), np.uint8)

    def put_templates(self, crops: np.ndarray, boxes_cxcywh: np.ndarray) -> Templates:
        """Copies uint8 [B, s, s, 3], and boxes float32 [B, 4] if they are read, to the devices."""
        boxes_cxcywh = boxes_cxcywh.copy() if needs_template_box(self.config) else None
        return jax.device_put((crops.copy(), boxes_cxcywh), self._split)

    def start(self, templates: Templates, search: np.ndarray) -> jax.Array:
        """Starts a search in uint8 [B, S, S, 3], which must not change until `fetch` is done."""
        crops = jax.device_put(search, self._split)
        found = self._program(self._variables, templates, crops)
        found.copy_to_host_async()
        return found

    def fetch(self, found: jax.Array) -> np.ndarray:
        """Waits for a search: float64 [B, 5], box_cxcywh (fractions of the crop) and score."""
        return np.asarray(found).astype(np.float64)
