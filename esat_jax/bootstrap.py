"""How far a mean score could move by chance: resampling of the sequences it is a mean of."""

import numpy as np

LEVEL = 0.95  # of every interval
DRAWS = 10_000
_CHUNK = 4_000_000  # numbers held at a time


def bootstrap_mean(
    values: np.ndarray, draws: int = DRAWS, seed: int = 0, *, weights: np.ndarray | None = None
) -> tuple[float, float, float]:
    """The mean of `values` [S] and its 95 % interval: (mean, low, high).

    Args:
      draws: how often S sequences are drawn, with replacement, from the S there are.
      weights: [S], for a score that is sum(weights * values) / sum(weights); by default equal.
    Returns: NaN for low and high if there are fewer than two sequences.
    """
    mean = float(weighted_mean(values, weights))
    return mean, *interval(resampled_means(values, draws, seed, weights=weights), mean, len(values))


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    draws: int = DRAWS,
    seed: int = 0,
    *,
    a_weights: np.ndarray | None = None,
    b_weights: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """mean(a) - mean(b) and its 95 % interval: (difference, low, high).

    Args:
      a, b: scores [S] of the same sequences in the same order. Every draw takes the same sequences
        of both, so that a sequence that is hard for both does not widen the interval.
      draws, seed, a_weights, b_weights: as in `bootstrap_mean`.
    Raises: ValueError if `a` and `b` differ in length.
    """
    if len(a) != len(b):
        raise ValueError(
            f"a paired comparison takes scores of the same sequences, got {len(a)} and {len(b)}."
        )
    difference = float(weighted_mean(a, a_weights) - weighted_mean(b, b_weights))
    drawn_a = resampled_means(a, draws, seed, weights=a_weights)
    drawn_b = resampled_means(b, draws, seed, weights=b_weights)
    return difference, *interval(drawn_a - drawn_b, difference, len(a))


def verdict(low: float, high: float) -> str:
    """What the interval of a difference says: "noise" if 0 lies in it, or if there is none."""
    return "difference" if low > 0 or high < 0 else "noise"


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """sum(weights * values) / sum(weights) over the first axis: [S, ...] -> [...].

    A value with weight 0 may be NaN. NaN where no value has weight.
    """
    values, weights = _pair(values, weights)
    return _quotient(_weighted(values, weights).sum(axis=0), weights.sum(axis=0))


def resampled_means(
    values: np.ndarray, draws: int = DRAWS, seed: int = 0, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Weighted means of resamples of the first axis: [S, ...] -> [draws, ...].

    The resamples depend on `seed` and S alone: calls with other values draw the same sequences.
    NaN where none of the sequences that were drawn has weight.
    """
    values, weights = _pair(values, weights)
    size, shape = len(values), values.shape[1:]
    if not size:
        return np.full((draws, *shape), np.nan)
    rng = np.random.default_rng(seed)
    sums = _weighted(values, weights).reshape(size, -1)
    both = np.concatenate([sums, weights.reshape(size, -1)], axis=1)
    rows = max(1, _CHUNK // size)
    parts = [
        rng.multinomial(size, np.full(size, 1 / size), min(rows, draws - start)) @ both
        for start in range(0, draws, rows)
    ]
    sums, totals = np.split(np.concatenate(parts), 2, axis=1)
    return _quotient(sums, totals).reshape(draws, *shape)


def interval(means: np.ndarray, mean: float, size: int) -> tuple[float, float]:
    """The 95 % interval (low, high) of resampled means [draws] of `size` sequences.

    NaN for both if `mean`, the mean without resampling, is NaN or there are fewer than two.
    """
    if size < 2 or np.isnan(mean) or np.isnan(means).all():
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _pair(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, np.float64)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, np.float64)
    return values, weights


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.where(weights > 0, weights * values, 0.0)


def _quotient(sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.divide(sums, totals, out=np.full(np.shape(sums), np.nan), where=totals > 0)
