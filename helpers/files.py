"""Files that are whole or not there, whatever happens to the process that writes them."""

import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 3600  # seconds after which a temporary file belongs to a writer that was killed


@contextmanager
def whole(path):
    """Give a binary file to write to; it takes the name `path` when the block ends, whole and on the disk.

    A block that raises leaves what stood at `path` before. Processes may write the same name at once, since each
    writes a file of its own and renames it, which replaces in one step. The folder is made where it is missing.
    OSError where it cannot be written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes private files; these are for everyone
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _clear(folder):
    """Remove what killed writers left; a young file may belong to a writer that is at work."""
    for left in folder.glob(".*.part"):
        with suppress(OSError):  # another process may be faster
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
