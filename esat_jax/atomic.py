"""Files that appear complete or not at all."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def complete_file(path: str | Path) -> Iterator[Path]:
    """Yields an empty temporary file beside `path`; it takes that name at the end.

    If the block raises, it is removed and `path` stays as it was. The permissions are those that
    the user's umask gives, whatever writes the file.
    Raises: FileNotFoundError if the folder does not exist.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch()
        permissions = stat.S_IMODE(part.stat().st_mode)
        yield part
        part.chmod(permissions)  # safetensors leaves files that only their owner can read
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
