"""The share of search tokens that candidate elimination keeps, by epoch.

Shapes are static, so every ratio is a program of its own. OSTrack's cosine has a new ratio in each
of 80 epochs; here each epoch takes the nearest of a few evenly spaced ones.
"""

import math
from collections.abc import Mapping

MAX_RATIOS = 8  # each is compiled once; more would spend hours of a long run on compilation


def scheduled_keep_ratio(ce: Mapping, epoch: int) -> float:
    """OSTrack's ratio of an epoch, counted from 1, the same for every layer.

    1 before ce.start_epoch, then ce.warm_epochs epochs down a cosine to ce.keep_ratio[0].
    Without layers that eliminate it is always 1. Source: OSTrack, `adjust_keep_rate`.
    """
    start, warm = ce["start_epoch"], ce["warm_epochs"]
    if not ce["layers"] or epoch < start:
        return 1.0
    last = float(ce["keep_ratio"][0])
    if epoch >= start + warm:
        return last
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (epoch - start) / warm))


def quantised_keep_ratio(ce: Mapping, epoch: int) -> float:
    """The nearest to `scheduled_keep_ratio` of ce.max_ratios values from 1 to the last ratio.

    Both ends are exact: 1 before the cosine, ce.keep_ratio[0] after it. With one value it is the
    last ratio from the first epoch on.
    Raises: ValueError if ce.max_ratios is not 1 to 8.
    """
    number = ce["max_ratios"]
    if not 1 <= number <= MAX_RATIOS:
        raise ValueError(f"ce.max_ratios is 1 to {MAX_RATIOS}, got {number}.")
    if not ce["layers"]:
        return 1.0
    last, steps = float(ce["keep_ratio"][0]), number - 1
    if last == 1 or not steps:
        return last
    down = (1 - scheduled_keep_ratio(ce, epoch)) / (1 - last)  # 0 at ratio 1, 1 at the last
    step = math.ceil(down * steps - 0.5)  # ties keep more tokens
    return last if step == steps else 1 - (1 - last) * step / steps


def keep_ratios(ce: Mapping, epochs: int) -> list[float]:
    """The distinct quantised ratios of a run of `epochs` epochs, in order: never rising."""
    return list(dict.fromkeys(quantised_keep_ratio(ce, epoch) for epoch in range(1, epochs + 1)))
