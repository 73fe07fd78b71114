"""Result files, the scoring rules of the benchmarks' own codes, and submissions; NumPy only."""
