"""ESAT-S, a small tracker at 224 px: the first eight blocks of DINOv2's ViT-S/14.

Not in the paper. Template and search have 8 x 8 and 16 x 16 tokens, as OSTrack-256 has. The recipe
is for one GPU, some minutes, and little data: a few sequences, photographs with boxes, any part of
any photograph, and videos made of cut-outs, since a network this size soon knows by heart what it
sees twice.
"""

from ml_collections import ConfigDict

from configs.base import get_base_config
from configs.variants import apply_variants


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    config = get_base_config()
    config.backbone.width = 384  # ViT-S/14 of DINOv2, as all values of the backbone but the depth
    config.backbone.depth = 8
    config.backbone.heads = 6
    config.backbone.patch_size = 14
    config.backbone.layer_scale = True
    config.backbone.cls_token = True
    config.backbone.target_mark = True
    config.template.size = 112  # 8 tokens of 14 px
    config.search.size = 224  # 16 tokens of 14 px
    config.search.factor = 4.0  # OSTrack-256, as the centre's jitter
    config.search.center_jitter = 3.0
    config.search.scale_jitter = 0.25
    config.ce.layers = (2, 4, 6)
    config.ce.keep_ratio = (0.85, 0.85, 0.85)
    config.ce.template_range = "GT_BOX"
    config.ce.max_ratios = 1  # the run is too short for a slow start
    config.loss.true_cell = 1.0
    config.optim.epochs = 31
    config.optim.lr_drop_epoch = 30  # not read: the schedule has no drop
    config.optim.grad_clip_norm = 1.0
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 200
    config.optim.ema_decay = 0.999
    config.data.datasets = ("folders", "stills_pseudo", "stills_regions", "synthetic:.")
    config.data.ratios = (30.0, 20.0, 20.0, 30.0)
    config.data.samples_per_epoch = 25_600
    config.data.val_datasets = ("folders:../val",)
    config.data.val_samples = 1_024
    config.data.val_every_epochs = 10
    config.data.gray_probability = 0.15
    config.data.color_jitter = 0.4
    config.data.degrade_probability = 0.5
    config.data.still_turn = 15.0
    config.data.still_stretch = 0.3
    config.data.still_bend = 0.12
    config.data.max_interval = 100
    return apply_variants(config, variants)
