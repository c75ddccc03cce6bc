"""Folders and archives of picture files: read in order, decoded once in parallel, kept as pixels in the cache."""

import hashlib
import lzma
import os
import tarfile
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from .cache import read_cached, write_cached

VERSION = 2  # of the cache: raise it when the same file would give other pixels
HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
           tarfile.GNUTYPE_LONGLINK)  # fmt: skip
LONGEST = 2**20  # bytes of such a header: names and times
LARGEST = 256 * 2**20  # bytes of an archive's member; no picture is as large, and one claim must not fill the memory


class Decoded(NamedTuple):
    """What a folder or archive holds, sorted by name, however it was packed.

    names: of the pictures; x (N, 3, size, size) uint8; mask_names; masks (M, 1, size, size) bool; broken: one
    "name (why)" for each file that could not be read; unjudged: names of files that were only counted.
    """

    names: list[str]
    x: np.ndarray
    mask_names: list[str]
    masks: np.ndarray
    broken: list[str]
    unjudged: list[str]


def decoded(path: Path, size: int, label: str, wanted) -> Decoded:
    """Decode the files of a folder or archive (.tar, .tar.xz, .tar.gz, .zip), or read them from the cache.

    `wanted(name)` says how a file is decoded: "picture" (squeezed to `size`), "exact" (it has that size), "mask",
    "unjudged" (its name alone is kept), or None for not at all. `label` names the choice in the cache's
    file name. The cache is keyed by the archive's SHA-256, or a folder's names, sizes and times, and by `size`.
    ValueError for an archive that is damaged, has a member above 256 MiB, or has members that point outside of it.
    """
    cached = f"{label}-{fingerprint(path)}-{size}-v{VERSION}"
    kept = read_cached(cached)
    if kept and _fits(kept, size):
        return Decoded(*(kept[field] if field in ("x", "masks") else kept[field].tolist() for field in Decoded._fields))
    found = _decode(path, size, wanted)
    if found.names and not any("(cannot be read" in one for one in found.broken):  # which may be, another time
        texts = {field: np.array(value or [""])[:len(value)]  # an empty list alone would be an array of floats
                 for field, value in found._asdict().items() if isinstance(value, list)}
        write_cached(cached, x=found.x, masks=found.masks, **texts)
    return found


def heeded(found: Decoded, path: Path, broken: str) -> Decoded:
    """Stop with the names of the broken files, or warn of them and go on, as `broken` says."""
    if found.broken:
        some = f"{len(found.broken)} of {len(found.broken) + len(found.names) + len(found.mask_names)} files"
        listed = f"{some} in {path} cannot be used: {', '.join(found.broken)}"
        if broken == "stop":
            raise ValueError(f"{listed}; repair or remove them, or go on without them with "
                             "broken='skip' (in the Mixer chapter: -p broken skip).")
        warnings.warn(f"{listed}; going on without them.", stacklevel=2)
    return found


def fingerprint(path: Path) -> str:
    """16 hex digits that change when the archive, or a name, size or time in the folder, changes."""
    if path.is_dir():
        sha = hashlib.sha256()
        for name, file in _listed(path):
            sha.update(f"{name}\0{file.stat().st_size}\0{file.stat().st_mtime_ns}\0".encode(errors="surrogateescape"))
        return sha.hexdigest()[:16]
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def walked(folder: Path, most: int | None = None) -> tuple[list[Path], list[str]]:
    """The files below a folder, sorted, and the names of what may not be read.

    Hidden files and folders and what file managers leave are passed over, and linked folders are not entered.
    ValueError for more than `most` files, before the walk goes on.
    """
    files, unread, seen = [], [], 0
    for place, folders, names in os.walk(folder, onerror=lambda error: unread.append(str(error.filename))):
        seen += len(names)
        if most is not None and seen > most:
            raise ValueError(f"{folder} holds more than {most:,} files; name the folder of the pictures alone.")
        folders[:] = [name for name in folders if not _left_alone(name)]
        for name in names:
            file = Path(place, name)
            try:
                if not _left_alone(name) and file.is_file():
                    files.append(file)
            except OSError:
                unread.append(str(file))
    return sorted(files), unread


def _left_alone(name):
    return name.startswith(".") or "__MACOSX" in name or name in ("Thumbs.db", "desktop.ini")


def _hidden(name):
    return any(map(_left_alone, PurePosixPath(name).parts))


def _listed(folder: Path):
    return [(file.relative_to(folder).as_posix(), file) for file in walked(folder)[0]]


def _fits(kept, size):
    """Whether arrays belong together as a Decoded does, which the checksums of each do not say."""
    def held(field, names, kind, channels):
        return kept[field].dtype == kind and kept[field].shape == (len(kept[names]), channels, size, size)

    whole = set(kept) == set(Decoded._fields)
    return whole and held("x", "names", np.uint8, 3) and held("masks", "mask_names", bool, 1)


def _files(path: Path, wanted, bar):
    """Yield (name, kind, where its bytes are) of the wanted files: a path, or the bytes of an archive's member."""
    if path.is_dir():
        listed = [(name, wanted(name), file) for name, file in _listed(path)]
        bar.reset(sum(file.stat().st_size for _, kind, file in listed if kind))
        for name, kind, file in listed:
            if kind:
                yield name, kind, file
                bar.update(file.stat().st_size)
        return
    bar.reset(path.stat().st_size)
    try:
        yield from (_zipped if zipfile.is_zipfile(path) else _tarred)(path, wanted, bar)
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be unpacked ({_first_line(error)}); pack it without a password, as .tar.gz or "
                         "a plain .zip.") from error  # fmt: skip
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged or half downloaded ({_first_line(error)}); fetch it again.") from error


def _first_line(error):
    return str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__


def _tarred(path, wanted, bar):
    class Member(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, *given):
            member = super().frombuf(*given)
            if member.type in HEADERS and member.size > LONGEST:  # tarfile reads those by itself
                raise ValueError(f"{path} is refused: a header in it has {member.size:,} bytes, more than {LONGEST:,}.")
            return member

    with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:*", tarinfo=Member) as archive:
        for member in archive:
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"{path} is refused: its member {member.name!r} is a link or a device.")
            _check_inside(path, member.name)
            name = PurePosixPath(member.name).as_posix()  # without the "./" of some packers
            kind = wanted(name) if member.isfile() and not _hidden(name) else None
            if kind:
                _check_size(path, name, member.size)
                yield name, kind, archive.extractfile(member).read()
            archive.members.clear()  # which a million empty ones would fill
            bar.update(file.tell() - bar.n)
        # tarfile takes a file that stops between two members for a whole one; a whole one ends in an empty block
        if archive.fileobj.tell() <= archive.offset:
            raise tarfile.ReadError("its end is missing")
        while archive.fileobj.read(2**20):  # to the very end, where gzip has its checksum
            pass


def _zipped(path, wanted, bar):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.external_attr >> 28 == 0o12:
                raise ValueError(f"{path} is refused: its member {member.filename!r} is a link.")
            _check_inside(path, member.filename)
            name = PurePosixPath(member.filename).as_posix()
            kind = None if member.is_dir() or _hidden(name) else wanted(name)
            if kind:
                _check_size(path, name, member.file_size)
                yield name, kind, archive.read(member)
            bar.update(member.compress_size)


def _check_inside(path, name):
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
        raise ValueError(f"{path} is refused: its member {name!r} points outside of the archive.")


def _check_size(path, name, size):
    if size > LARGEST:
        raise ValueError(f"{path} is refused: its member {name!r} has {size:,} bytes, more than {LARGEST:,}.")


def _decode(path, size, wanted) -> Decoded:
    from tqdm.auto import tqdm

    with tqdm(total=0, desc=f"decoding {path.name}", unit="B", unit_scale=True) as bar:
        files, results = _files(path, wanted, bar), []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while some := _some(files):
                results += pool.map(lambda file: _one(*file, size), some)
    results.sort(key=lambda result: result[0])
    for (name, *_), (following, *_) in pairwise(results):
        if name == following:  # a picture that counts twice, or one of two that should not
            raise ValueError(f"{path} is refused: it has two members {name!r}.")
    good = [result for result in results if result[1] not in ("broken", "unjudged")]
    sorts = [[(name, pixels) for name, kind, pixels in good if (kind == "mask") == masks] for masks in (False, True)]
    (names, x), (mask_names, masks) = (zip(*part, strict=True) if part else ((), ()) for part in sorts)
    return Decoded(
        list(names), np.stack(x) if x else np.zeros((0, 3, size, size), np.uint8),
        list(mask_names), np.stack(masks) if masks else np.zeros((0, 1, size, size), bool),
        [f"{name} ({why})" for name, kind, why in results if kind == "broken"],
        [name for name, kind, _ in results if kind == "unjudged"])


def _some(files, most=128):
    """Take files until they are so many, or in memory as large as the largest may be."""
    some, size = [], 0
    for file in files:
        some.append(file)
        size += len(file[2]) if isinstance(file[2], bytes) else 0
        if len(some) == most or size >= LARGEST:
            break
    return some


def _one(name, kind, source, size):
    """Decode one file: (name, kind, pixels), or (name, "broken", why)."""
    from .decoding import BrokenPicture, exact, mask, picture  # they need Pillow, which reading the cache does not

    try:
        name.encode()
    except UnicodeEncodeError:  # no table of results could name it
        return name.encode(errors="replace").decode(), "broken", "has a name that is not UTF-8"
    if kind == "unjudged":
        return name, kind, None
    try:
        if isinstance(source, Path) and source.stat().st_size > LARGEST:
            return name, "broken", f"has more than {LARGEST:,} bytes"
        raw = source.read_bytes() if isinstance(source, Path) else source
        return name, kind, {"picture": picture, "exact": exact, "mask": mask}[kind](raw, size)
    except BrokenPicture as error:
        return name, "broken", str(error)
    except OSError as error:
        return name, "broken", f"cannot be read: {error.strerror}"
