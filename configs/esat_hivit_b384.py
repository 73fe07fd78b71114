"""ESAT-HiViT at 384 px, the paper's second tracker (Sec. 4.1, A.1): "parameter settings consistent
with AQAT", so what the paper leaves out comes from AQATrack-ep150-full-384.

The paper reports LaSOT AUC 72.8, GOT-10k AO 75.9 (with `:got10k`), TNL2K AUC 59.5 (Table 1), after
150 epochs on eight A100.
"""

from ml_collections import ConfigDict

from configs.base import get_base_config
from configs.variants import apply_variants


def get_hivit_config() -> ConfigDict:
    """What the HiViT trackers share, at 384 px; unlocked."""
    config = get_base_config()
    config.backbone.name = "hivit"
    config.backbone.width = 512  # HiViT-B; its first stages have 128 and 256
    config.backbone.depth = 20  # attention blocks (Sec. 4.1); eight MLP blocks come before them
    config.backbone.heads = 8  # HiViT-B
    config.ce.layers = ()  # A.2: candidate elimination is removed
    config.ce.keep_ratio = ()
    config.search.factor = 4.5  # AQATrack
    config.search.number = 4  # AQATrack
    config.data.max_interval = 400  # AQATrack
    config.data.samples_per_epoch = 15_000  # AQATrack: times 4 search frames
    config.data.val_samples = 2_500  # AQATrack
    config.batch_size = 32  # A.1: 4, read as per GPU on 8 GPUs; times 4 search frames
    config.optim.epochs = 150  # A.1
    config.optim.lr_drop_epoch = 120  # A.1
    config.optim.lr = ConfigDict({"backbone": 2e-5, "default": 2e-4})  # A.1
    return config


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    return apply_variants(get_hivit_config(), variants)
