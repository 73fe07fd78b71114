"""Measurements outside the tests; each script prints JSON lines, kept in results.md."""
