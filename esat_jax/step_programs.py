"""The compiled programs of a training step: one per ratio of candidate elimination."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

from esat_jax.sharding import abstract

State = TypeVar("State")
TrainStep = Callable[[State, Mapping[str, jax.Array], float], tuple[State, dict[str, jax.Array]]]


def guarded(train_step: TrainStep, state: State) -> Callable:
    """A step that changes nothing any more once one was not finite.

    (state, healthy bool [], batch, keep_ratio static) -> (state, healthy, numbers). So the state
    that a bad batch met is still there when the host, some steps later, reads that it was bad.

    Args: train_step: as train_step.make_train_step returns; state: whose places are kept.
    """

    def step(
        state: State, healthy: jax.Array, batch: Mapping[str, jax.Array], keep_ratio: float
    ) -> tuple[State, jax.Array, dict[str, jax.Array]]:
        after, numbers = train_step(state, batch, keep_ratio)
        numbers = dict(numbers)
        healthy = healthy & (numbers.pop("finite") == 1)
        state = jax.tree.map(lambda new, old: jnp.where(healthy, new, old), after, state)
        return state, healthy, numbers

    places = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(
        step,
        static_argnames="keep_ratio",
        donate_argnums=(0, 1),
        out_shardings=(places, None, None),
    )


class StepPrograms:
    """Compiles the guarded step for each ratio in a background thread, in the order asked for."""

    def __init__(self, step: Callable, *examples: object) -> None:
        """Args: step: as `guarded` returns; examples: state, healthy and batch, types only."""
        self._step = step
        self._examples = abstract(examples)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
        self._programs: dict[float, Future] = {}

    def prepare(self, keep_ratio: float) -> None:
        """Begins to compile the program of a ratio, unless that was begun before."""
        if keep_ratio not in self._programs:
            self._programs[keep_ratio] = self._thread.submit(self._compile, keep_ratio)

    def ready(self, keep_ratio: float) -> bool:
        """Whether the program of a ratio can be had without waiting."""
        return keep_ratio in self._programs and self._programs[keep_ratio].done()

    def get(self, keep_ratio: float) -> Callable:
        """(state, healthy, batch) -> (state, healthy, numbers); waits until it is compiled."""
        self.prepare(keep_ratio)
        return self._programs[keep_ratio].result()

    def close(self) -> None:
        """Drops what was not begun yet."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _compile(self, keep_ratio: float) -> Callable:
        return self._step.lower(*self._examples, keep_ratio=keep_ratio).compile()
