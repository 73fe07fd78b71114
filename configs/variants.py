"""Named overrides: `configs/esat_vit_b384.py:t2_abs_fda,got10k` applies two, left to right.

`t<table>_<row>` is a row of the paper's Tables 2 to 5. A value is a flat dict of dotted keys, or
a function of the config that returns one.
"""

from difflib import get_close_matches

from ml_collections import ConfigDict


def _parts(abs_weight: float = 0.0, pn_weight: float = 0.0, fda: bool = False) -> dict:
    return {"loss.abs": float(abs_weight), "loss.pn": float(pn_weight), "fda.enabled": fda}


def _smoke(config: ConfigDict) -> dict:
    """Two small blocks and twenty steps on made-up videos, for tests; any tracker shrinks."""
    patch_size = config.backbone.patch_size
    return {
        "backbone.depth": 2,
        "backbone.width": 128,
        "backbone.heads": 2,  # head dimension 64, as everywhere, so that fda.delta stays right
        "template.size": 2 * patch_size,
        "search.size": 4 * patch_size,
        "ce.layers": (1,) if config.ce.layers else (),
        "ce.keep_ratio": config.ce.keep_ratio[:1],
        "ce.start_epoch": 0,
        "ce.warm_epochs": 1,
        "head.channels": 32,
        "spl.channels": (32, 16),
        "batch_size": 8,
        "optim.epochs": 2,
        "optim.lr_drop_epoch": 1,
        "optim.warmup_steps": 0,
        "data.datasets": ("synthetic",),
        "data.ratios": (),
        "data.val_datasets": ("synthetic",),
        "data.samples_per_epoch": 80,
        "data.val_samples": 16,
        "data.val_every_epochs": 1,
        "data.num_workers": 0,
        "checkpoint.every_steps": 4,
        "log.every_steps": 1,
    }


COMPONENTS = {  # rows of Table 2 (ViT-B) and Table 5 (HiViT)
    "baseline": _parts(),
    "abs": _parts(abs_weight=0.01),
    "pn": _parts(pn_weight=0.1),
    "fda": _parts(fda=True),
    "abs_pn": _parts(0.01, 0.1),
    "abs_fda": _parts(abs_weight=0.01, fda=True),
    "pn_fda": _parts(pn_weight=0.1, fda=True),
    "full": _parts(0.01, 0.1, fda=True),
}
TABLE_3 = {
    **{f"abs{a}": _parts(abs_weight=a) for a in (0.001, 0.01, 0.1)},
    **{f"pn{p}": _parts(pn_weight=p) for p in (0.01, 0.1, 1)},
    **{f"abs{a}_pn{p}": _parts(a, p) for a in (0.01, 0.1) for p in (0.01, 0.1)},
}
TABLE_4 = ((0.01, 0.01), (0.01, 0.1), (0.1, 0.01), (0.1, 0.1), (0.1, 1), (1, 0.1), (1, 1))

VARIANTS = {
    **{f"t2_{row}": keys for row, keys in COMPONENTS.items()},
    **{f"t3_{row}": keys for row, keys in TABLE_3.items()},
    **{f"t4_a{a}_b{b}": {"fda.alpha": float(a), "fda.beta": float(b)} for a, b in TABLE_4},
    **{f"t5_{row}": keys for row, keys in COMPONENTS.items()},
    "ostrack": _parts(),  # the tracker that ESAT starts from, on a ViT file
    "no_ce": {  # A.2 suspects that candidate elimination weakens FDA
        "ce.layers": (),
        "ce.keep_ratio": (),
    },
    "got10k": {  # A.1; the shorter warm-up of candidate elimination is OSTrack's
        "data.datasets": ("got10k_train",),
        "optim.epochs": 100,
        "optim.lr_drop_epoch": 80,
        "ce.warm_epochs": 50,
    },
    "smoke": _smoke,
}

TABLE_FILES = {  # table -> the configuration files that its rows are trained with
    "t2": ("esat_vit_b384",),
    "t3": ("esat_vit_b384",),
    "t4": ("esat_vit_b384", "esat_hivit_b384"),
    "t5": ("esat_hivit_b384",),
}


def apply_variants(config: ConfigDict, names: str) -> ConfigDict:
    """Returns a locked copy of `config` with the comma-separated variants applied in order.

    Raises: ValueError for a name that is not in VARIANTS; KeyError for a key not in `config`.
    """
    config = config.copy_and_resolve_references().lock()
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in VARIANTS:
            near = get_close_matches(name, VARIANTS) or sorted(VARIANTS)
            raise ValueError(f"unknown variant {name!r}; did you mean one of {near}?")
        keys = VARIANTS[name]
        config.update_from_flattened_dict(keys(config) if callable(keys) else keys)
    return config
