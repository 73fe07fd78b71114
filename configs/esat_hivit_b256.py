"""ESAT-HiViT at 256 px. The paper has no such tracker: values of AQATrack-ep150-full-256."""

from ml_collections import ConfigDict

from configs.esat_hivit_b384 import get_hivit_config
from configs.variants import apply_variants


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    config = get_hivit_config()
    config.template.size = 128  # AQATrack-256, as all values here
    config.search.size = 256
    config.search.factor = 4.0
    config.search.center_jitter = 3.5
    config.optim.lr = ConfigDict({"backbone": 4e-5, "default": 4e-4})  # 8 a GPU on 4 GPUs: 32
    return apply_variants(config, variants)
