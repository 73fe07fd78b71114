"""ESAT-XS, a tracker for processors without a GPU: six blocks, half the tokens.

Not in the paper. Template and search have 6 x 6 and 12 x 12 tokens; the rest, and the recipe, is
ESAT-S's.
"""

from ml_collections import ConfigDict

from configs import esat_vit_s224
from configs.variants import apply_variants


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    config = esat_vit_s224.get_config().unlock()
    config.backbone.depth = 6
    config.template.size = 84  # 6 tokens of 14 px
    config.search.size = 168  # 12 tokens of 14 px
    config.ce.layers = (2, 4)
    config.ce.keep_ratio = (0.75, 0.75)
    config.head.channels = 128
    return apply_variants(config, variants)
