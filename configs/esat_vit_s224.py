"""A small ESAT at 224 px: the ViT-S/14 trunk of DINOv2, for computers without a large GPU.

Not in the paper. Template and search have 8 x 8 and 16 x 16 tokens, as OSTrack-256 has.
"""

from ml_collections import ConfigDict

from configs.base import get_base_config
from configs.variants import apply_variants


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    config = get_base_config()
    config.backbone.width = 384  # ViT-S/14 of DINOv2, as all values of the backbone here
    config.backbone.heads = 6
    config.backbone.patch_size = 14
    config.backbone.layer_scale = True
    config.backbone.cls_token = True
    config.template.size = 112  # 8 tokens of 14 px
    config.search.size = 224  # 16 tokens of 14 px
    config.search.factor = 4.0  # OSTrack-256, as the jitters
    config.search.center_jitter = 3.0
    config.search.scale_jitter = 0.25
    return apply_variants(config, variants)
