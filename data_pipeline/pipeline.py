"""Batches for training and validation: samples made in worker processes, in a fixed order.

Sample `index` of `epoch` is a function of the seed alone. So batches are the same for any number
of workers and hosts, and the position in the data is one number: the batches that were taken.
"""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence as Several

from data_pipeline.augment import AugmentRule, CropRule
from data_pipeline.batches import Batches, Share
from data_pipeline.datasets import make_dataset
from data_pipeline.pairs import PairSampler
from data_pipeline.samples import SampleMaker
from data_pipeline.sequences import Dataset

VALIDATION_SEED = 42


def make_train_batches(
    config: Mapping,
    datasets: Several[Dataset] | None = None,
    *,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Batches:
    """Endless training batches of this host's share.

    Args:
      config: the whole configuration; `data`, `template`, `search`, `backbone.patch_size`,
        `spl.template_labels`, `batch_size` and `seed` are used.
      datasets: to draw from, instead of those that config.data.datasets names.
      shard_index, shard_count: this host and the number of hosts. Their batches, one after the
        other, are the batch of a single host.
    Raises: ValueError for settings or data sets that no batch can be made of.
    """
    data = config["data"]
    return _make_batches(
        config,
        open_datasets(data, "datasets") if datasets is None else datasets,
        Share(config["batch_size"], shard_index, shard_count),
        _augment_rule(data),
        ratios=data["ratios"],
        samples_per_epoch=data["samples_per_epoch"],
    )


def make_val_batches(
    config: Mapping,
    datasets: Several[Dataset] | None = None,
    *,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Batches:
    """The validation batches of this host's share, the same ones in every validation.

    As make_train_batches, with config.data.val_datasets and val_samples, without the augmentation
    of single crops; they end when val_samples are used up. They are the same for every config.seed,
    so that runs can be compared pair by pair. OSTrack draws new ones every time.
    """
    data = config["data"]
    return _make_batches(
        config,
        open_datasets(data, "val_datasets") if datasets is None else datasets,
        Share(config["batch_size"], shard_index, shard_count),
        _augment_rule(data).for_validation(),
        samples_per_epoch=data["val_samples"],
        num_epochs=1,
        stream=1,
    )


def open_datasets(data: Mapping, key: str) -> list[Dataset]:
    """The data sets that config.data's `key` names, without what it says to leave out."""
    return [
        make_dataset(
            name,
            data["root"],
            skip=data["skip_sequences"],
            max_skip_share=data["max_skip_share"],
        )
        for name in data[key]
    ]


def _augment_rule(data: Mapping) -> AugmentRule:
    flip = data["flip_probability"]
    return AugmentRule(
        data["gray_probability"],
        flip,
        flip,
        data["brightness_jitter"],
        data["color_jitter"],
        data["still_turn"],
        data["still_stretch"],
        data["still_bend"],
        data["degrade_probability"],
    )


def _make_batches(
    config: Mapping,
    datasets: Several[Dataset],
    share: Share,
    rule: AugmentRule,
    *,
    samples_per_epoch: int,
    num_epochs: int | None = None,
    ratios: Several[float] = (),
    stream: int = 0,
) -> Batches:
    data, num_search = config["data"], config["search"]["number"]
    fields = [field.name for field in dataclasses.fields(CropRule)]
    template, search = (
        CropRule(**{name: config[crop][name] for name in fields}) for crop in ("template", "search")
    )
    maker = SampleMaker(
        PairSampler(
            datasets, ratios=ratios, max_interval=data["max_interval"], num_search=num_search
        ),
        template,
        search,
        rule,
        num_search=num_search,
        patch_size=config["backbone"]["patch_size"],
        template_labels=config["spl"]["template_labels"],
        seed=VALIDATION_SEED if stream else config["seed"],
        reduced_decoding=data["reduced_decoding"],
        stream=stream,
    )
    return Batches(
        maker,
        samples_per_epoch=samples_per_epoch,
        share=share,
        num_workers=data["num_workers"],
        max_skip_share=data["max_skip_share"],
        num_epochs=num_epochs,
    )
