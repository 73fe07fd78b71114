"""Files that appear complete or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def complete_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes its name at the end.

    If the block raises, the temporary file is removed and `path` stays as it was.
    Raises: FileNotFoundError if the folder does not exist.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
