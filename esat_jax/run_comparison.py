"""Whether two rows of an ablation differ, or whether chance does: over the items and the seeds."""

import numpy as np

from esat_jax.bootstrap import DRAWS, interval, resampled_means


def compare_runs(
    a: np.ndarray, b: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """mean(a) - mean(b) and its 95 % interval: (difference, low, high).

    Each draw takes items with replacement, the same ones of `a`, of `b` and of all seeds. Seeds are
    too few to be drawn so (of three, every ninth draw would be one seed alone): to each draw is
    added the standard error of the difference over the seeds, times a number drawn from Student's
    t with one degree of freedom less than there are seeds. With one seed nothing is added: then the
    interval is that of these two runs, not of their settings.

    Args:
      a, b: scores [seeds, items], such as the AUC of each sequence; place by place of the same seed
        and the same item.
      draws: how many; seed: of the draws, which then are the same for all comparisons.
    Returns: NaN for low and high if there are fewer than two items.
    Raises: ValueError if the shapes differ or are not [seeds, items].
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise ValueError(
            "a comparison of runs takes scores of the same seeds and items, [seeds, items], got "
            f"{a.shape} and {b.shape}."
        )
    each = a - b
    difference, num_seeds = float(each.mean()), len(each)
    drawn = resampled_means(each.mean(axis=0), draws, seed)
    if num_seeds > 1:
        error = each.mean(axis=1).std(ddof=1) / np.sqrt(num_seeds)
        # Another stream than that of the items.
        rng = np.random.default_rng([seed, num_seeds])
        drawn = drawn + error * rng.standard_t(num_seeds - 1, draws)
    return difference, *interval(drawn, difference, each.shape[1])
