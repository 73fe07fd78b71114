"""Files that appear complete or not at all, and folders that can hold them."""

import contextlib
import os
import stat
import tempfile
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


def check_writable(folder: str | Path) -> None:
    """Makes the folder if it is not there, and writes into it.

    Raises: OSError that names the folder, if that is not possible.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
