"""Compiled programs that outlive the processes that tests start."""


def variables(folder):
    """Environment variables with which a process keeps every program that it compiles there."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
