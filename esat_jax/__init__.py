"""ESAT, a transformer tracker with position learning and force-directed attention, in JAX."""

__version__ = "0.1.0"
