"""How fast a run goes, and its progress bar."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from tqdm import tqdm

BAR_SECONDS = 0.5  # between two writings of the bar's numbers


class Pace:
    """Measures samples a second and the share of time spent waiting for data."""

    def __init__(self, batch_size: int, step: int, num_steps: int, shown: bool) -> None:
        """Args: batch_size: samples of all hosts; step: steps done; shown: on a terminal."""
        self._batch_size, self._last_step = batch_size, step
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0
        self._drawn = 0.0
        self._bar = tqdm(
            total=num_steps,
            initial=step,
            unit="step",
            disable=None if shown else True,
            dynamic_ncols=True,
        )

    def waited(self, seconds: float) -> None:
        """Adds time in which no batch was there."""
        self._waited += seconds

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """Counts one step, and shows its loss and IoU."""
        self._steps += 1
        self._bar.update(step - self._last_step)
        self._last_step = step
        now = time.perf_counter()
        if now - self._drawn > BAR_SECONDS:
            self._drawn = now
            speed = self._speed()
            self._bar.set_postfix(
                loss=f"{numbers['total']:.3f}",
                iou=f"{numbers['iou']:.3f}",
                pairs_s=f"{speed['speed/pairs_per_second']:.1f}",
                data_wait=f"{speed['speed/data_wait_share']:.0%}",
            )

    def read(self) -> dict[str, float]:
        """The numbers since the last reading, for the log."""
        speed = self._speed()
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0
        return speed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count, such as validation."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()

    def _speed(self) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        return {
            "speed/pairs_per_second": self._steps * self._batch_size / seconds,
            "speed/data_wait_share": min(self._waited / seconds, 1.0),
        }
