"""ESAT-ViTBase at 256 px. The paper has no such tracker: crops as OSTrack-256, the rest as at 384.

`:t2_baseline` is OSTrack-256.
"""

from ml_collections import ConfigDict

from configs.base import get_base_config
from configs.variants import apply_variants


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    config = get_base_config()
    config.template.size = 128  # OSTrack-256, as all values here
    config.search.size = 256
    config.search.factor = 4.0
    config.search.center_jitter = 3.0
    config.search.scale_jitter = 0.25
    return apply_variants(config, variants)
