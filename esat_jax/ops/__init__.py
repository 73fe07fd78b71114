"""Numerical pieces that hold no parameters."""
