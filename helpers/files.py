"""Files that are whole or not there, whatever happens to their writer; and only our own replaced."""

import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

MANIFEST = "written-by-this-book.txt"  # in a reader's folder: the names of the files that are ours
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


def check_output(folder, names):
    """Raise OSError where files of these names cannot be written to a folder, or would replace somebody else's.

    Writes nothing itself; the folder need not exist yet.
    """
    folder = Path(folder)
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"Nothing can be written to {folder}: {there} is not a folder that you may write to.")
    ours = _ours(folder)
    foreign = [name for name in names if (folder / name).exists() and name not in ours]
    if foreign:
        raise FileExistsError(f"{folder / foreign[0]} was not written by this book: name another folder for output.")


def renew(folder, names):
    """Make a folder ready for files of these names: delete the files of the last call, and note the new names.

    A file that no call has named is never touched. Errors as in `check_output`.
    """
    folder = Path(folder)
    check_output(folder, names)
    for name in _ours(folder):
        (folder / name).unlink(missing_ok=True)
    with whole(folder / MANIFEST) as file:  # before the files: one that is killed now still knows its own
        file.write("".join(f"{name}\n" for name in names).encode())


def _ours(folder):
    """The files that the manifest of a folder names, without what would lead out of the folder."""
    manifest = folder / MANIFEST
    names = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    return [name for name in names if Path(name).name == name and (folder / name).is_file()]


def _clear(folder):
    """Remove what killed writers left; a young file may belong to a writer that is at work."""
    for left in folder.glob(".*.part"):
        with suppress(OSError):  # another process may be faster
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
