"""Reports of trackers on a benchmark, as one HTML file that needs nothing else."""
