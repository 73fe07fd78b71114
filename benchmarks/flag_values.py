"""Checks of flags that several benchmarks have."""

from collections.abc import Sequence

import jax


def whole_numbers(flag: str, values: Sequence[str]) -> list[int]:
    """The numbers of a list flag.

    Raises: ValueError unless all of them are whole numbers of 1 or more.
    """
    if not values or not all(value.isdecimal() and int(value) for value in values):
        raise ValueError(f"--{flag} are whole numbers of 1 or more, got {','.join(values)!r}.")
    return [int(value) for value in values]


def device_counts(values: Sequence[str]) -> list[int]:
    """The numbers of --devices, ascending.

    Raises: ValueError if they are none, or more than there are.
    """
    counts = sorted(whole_numbers("devices", values))
    if counts[-1] > jax.device_count():
        raise ValueError(f"--devices={counts[-1]}, but there are {jax.device_count()}.")
    return counts
