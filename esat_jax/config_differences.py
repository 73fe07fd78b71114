"""Whether two configurations train the same thing."""

import json
from collections.abc import Iterator, Mapping

# Keys that may differ between the starts of a run: they do not change what is learnt (accumulation:
# but for the statistics of BatchNorm where they are those of a part of the batch).
FREE_KEYS = ("data.root", "data.num_workers", "optim.accumulate", "optim.remat", "optim.fsdp")
FREE_SECTIONS = ("checkpoint.", "log.", "tracker.")
SHOWN_KEYS = 5


class OtherConfigError(ValueError):
    """What is to be continued was begun with another configuration."""


def config_differences(stored: Mapping, current: Mapping) -> list[str]:
    """Keys that differ between two configurations and matter to what is learnt, with both values.

    Each is a plain nested dict; tuples and lists count as equal.
    """
    stored, current = (dict(_flat(json.loads(json.dumps(c)))) for c in (stored, current))
    absent = object()
    lines = []
    for key in sorted(stored.keys() | current.keys()):
        old, new = stored.get(key, absent), current.get(key, absent)
        if old != new and key not in FREE_KEYS and not key.startswith(FREE_SECTIONS):
            words = ["not there" if value is absent else repr(value) for value in (old, new)]
            lines.append(f"{key} was {words[0]} and is {words[1]}")
    return lines


def check_same_config(stored: Mapping, current: Mapping, what: str) -> None:
    """Raises: OtherConfigError if keys that matter differ; `what` begins its sentence."""
    if lines := config_differences(stored, current):
        more = f" and {len(lines) - SHOWN_KEYS} more keys" * (len(lines) > SHOWN_KEYS)
        raise OtherConfigError(
            f"{what} of another configuration: {'; '.join(lines[:SHOWN_KEYS])}{more}. "
            "Use another --workdir, or that configuration."
        )


def _flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
