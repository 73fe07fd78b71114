"""How a worker process gets the memory for its frames."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST = 32 << 20  # bytes; glibc accepts no more


def keep_freed_memory() -> bool:
    """Lets this process use the memory of one frame again for the next; says whether it can.

    Otherwise the C library returns large blocks to the system and asks for new ones, which the
    system has to clear: a fifth of the time of decoding. Has an effect with glibc (Linux) only.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, 8 * _LARGEST))
