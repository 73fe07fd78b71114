"""ESAT-ViTBase at 384 px, the paper's first tracker (Sec. 4.1, A.1). It is the base as it stands.

The paper reports LaSOT AUC 71.6, GOT-10k AO 74.7 (with `:got10k`), TNL2K AUC 58.2 (Table 1), after
300 epochs on eight A100. `:t2_baseline` is OSTrack-384.
"""

from ml_collections import ConfigDict

from configs.base import get_base_config
from configs.variants import apply_variants


def get_config(variants: str = "") -> ConfigDict:
    """The locked configuration with the comma-separated `variants` applied."""
    return apply_variants(get_base_config(), variants)
