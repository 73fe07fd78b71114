"""From data on disk to training batches: numpy, OpenCV and grain, never jax."""
