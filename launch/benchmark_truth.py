"""What a benchmark says about its sequences, from the files of its data set."""

import os
from collections.abc import Collection

from data_pipeline.datasets import make_dataset
from data_pipeline.scoring_facts import read_scoring_facts
from data_pipeline.stores import open_store
from esat_jax.evaluation.benchmarks import find_benchmark
from esat_jax.evaluation.scores import Truth
from launch.attributes import read_attributes


def read_truths(
    name: str,
    root: str | os.PathLike = "",
    toolkit: str | os.PathLike | None = None,
    sequences: Collection[str] | None = None,
) -> dict[str, Truth]:
    """The truth of every sequence of a data set, by name, in the data set's order.

    Args:
      name, root: as in `data_pipeline.datasets.make_dataset`.
      toolkit: the folder `annos` of the MATLAB toolkit of LaSOT or TNL2K, for its flags of absence
        and its attributes, or the folder `anno` of OTB's, for its attributes.
      sequences: names of some of them, by default all.
    Raises: ValueError if the truth is kept by a server, if a sequence is unknown, or for files that
      cannot be used.
    """
    benchmark = find_benchmark(name)
    if benchmark.server:
        raise ValueError(
            f"the truth of {name} is kept by its server: python -m launch.submit makes the file "
            "that is sent there."
        )
    if toolkit is not None and not benchmark.toolkit:
        raise ValueError(f"--toolkit: there is none for {name}; LaSOT, TNL2K and OTB have one.")
    dataset = make_dataset(name, root)
    annos = None if toolkit is None else open_store(toolkit)
    chosen = dataset if sequences is None else [dataset.find(name) for name in sequences]
    truths = {}
    for sequence in chosen:
        facts = read_scoring_facts(sequence, annos if benchmark.toolkit == "flags" else None)
        attributes = read_attributes(sequence, benchmark, facts.attributes, annos)
        truths[sequence.name] = Truth(
            sequence.boxes_xywh, facts.absent, facts.cover, facts.frame_size, attributes
        )
    return truths
