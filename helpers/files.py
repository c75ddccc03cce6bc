"""Files that are whole or not there, whatever happens to their writer; and only our own replaced."""

import hashlib
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

MANIFEST = "written-by-this-book.txt"  # in a reader's folder: the SHA-256 and the names of the files that are ours
ABANDONED = 3600  # seconds after which a temporary file belongs to a writer that was killed


@contextmanager
def whole(path):
    """Give a binary file to write to; it takes the name `path` when the block ends, whole and on the disk.

    A block that raises leaves what stood at `path` before. Processes may write the same name at once, since each
    writes a file of its own and renames it, which replaces in one step. The folder is made where it is missing.
    OSError, which names the path, where it cannot be written to.
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
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which
        raise


def check_output(folder, names):
    """Raise OSError where files of these names cannot be written to a folder, or would replace somebody else's.

    Somebody else's is also what this book wrote and a reader has changed. Leaves nothing behind; the folder need not
    exist yet.
    """
    folder = Path(folder)
    try:
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    except OSError as error:
        raise OSError(f"{folder} cannot be the name of a folder ({error.strerror}).") from None
    try:
        tempfile.TemporaryFile(dir=there).close()  # permissions alone do not say it: not for root, not in /proc
    except OSError as error:
        raise PermissionError(f"Nothing can be written to {folder}: {there} is not a folder that you may write to "
                              f"({error.strerror}).") from None  # fmt: skip
    ours = _ours(folder)
    foreign = [name for name in names if os.path.lexists(folder / name) and name not in ours]
    if foreign:
        raise FileExistsError(f"{folder / foreign[0]} is not, or no longer, what this book wrote: move it away, or "
                              "name another folder for output.")  # fmt: skip


@contextmanager
def renewed(folder, names):
    """Give a folder in which to write files of these names, without those that the last call wrote there.

    A file that no call has named, or that has changed since, is never touched. Errors as in `check_output`.
    """
    folder = Path(folder)
    check_output(folder, names)
    for name in _ours(folder):
        (folder / name).unlink(missing_ok=True)
    _note(folder, {name: "" for name in names})  # before the files: one that is killed now still knows its own
    yield folder
    _note(folder, {name: _sha256(folder / name) for name in names if (folder / name).is_file()})


def _note(folder, digests):
    with whole(folder / MANIFEST) as file:
        file.write("".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode())


def noted(folder):
    """Return {name: SHA-256} of the files that a folder's manifest names, "" for one that was being written."""
    manifest = Path(folder) / MANIFEST
    text = manifest.read_text(encoding="utf-8", errors="replace") if manifest.exists() else ""
    named = {name: digest for digest, _, name in (line.rpartition("  ") for line in text.splitlines())}
    return {name: digest for name, digest in named.items() if Path(name).name == name}  # no way out of this folder


def _ours(folder):
    """The files of a folder that are as its manifest says, or were being written when it was noted."""
    return [name for name, digest in noted(folder).items()
            if (folder / name).is_file() and digest in ("", _sha256(folder / name))]


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clear(folder):
    """Remove what killed writers left; a young file may belong to a writer that is at work."""
    for left in folder.glob(".*.part"):
        with suppress(OSError):  # another process may be faster
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
