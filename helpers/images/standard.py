"""Sets of small images with class labels: scikit-learn's digits, MNIST and Fashion-MNIST, SVHN.

A reader returns x (N, C, H, W) uint8, y (N,), the class names and the number of training images, which come first.
FileNotFoundError where its files are not in the folder, ValueError for a damaged one.
"""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import torch

from .dataset import resize
from .layouts import damaged

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# Of each file in <folder>/raw: the MD5 of the packed file, as published, and of what it unpacks to.
IDX = {
    "MNIST": {
        "train-images-idx3-ubyte.gz": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
        "train-labels-idx1-ubyte.gz": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
        "t10k-images-idx3-ubyte.gz": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        "t10k-labels-idx1-ubyte.gz": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
        "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
        "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
    },
}


def read_digits():
    """scikit-learn's 1,797 handwritten 8x8 digits at 28x28.

    There is no official split. The last 599 images are the test part, without shuffling: neighbours often
    share a writer, who would otherwise be in both parts.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = np.rint(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return resize(torch.from_numpy(x), 28).numpy(), y, DIGITS, len(y) - 599


def read_mnist(root: Path):
    """The four official .gz files, or the same files unpacked."""
    return _read_idx_files(root, "MNIST", DIGITS)


def read_fashion_mnist(root: Path):
    """As MNIST, of which it has the form."""
    return _read_idx_files(root, "FashionMNIST", CLOTHES)


def _read_idx_files(root: Path, name: str, classes):
    x_train, y_train, x_test, y_test = (_read_idx(root / name / "raw" / file, *md5) for file, md5 in IDX[name].items())
    return np.concatenate([x_train, x_test])[:, None], np.concatenate([y_train, y_test]), classes, len(y_train)


def _read_idx(path: Path, packed_md5: str, md5: str) -> np.ndarray:
    """One file of MNIST's own format: two zeros, the type (8 = uint8), the rank, the shape, the bytes."""
    packed = path.exists()
    path = path if packed else path.with_suffix("")
    raw = path.read_bytes()
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() != (packed_md5 if packed else md5):
        raise damaged(path, "its MD5 is not that of the official file")
    raw = gzip.decompress(raw) if packed else raw
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def read_svhn(root: Path):
    """Street View House Numbers, read by torchvision."""
    from torchvision.datasets import SVHN

    for _, file, _ in (SVHN.split_list[part] for part in ("train", "test")):
        if not (root / file).exists():
            raise FileNotFoundError(root / file)
    train, test = (verified(SVHN, root, root, split=part) for part in ("train", "test"))
    y = np.concatenate([train.labels, test.labels])
    return np.concatenate([train.data, test.data]), y, DIGITS, len(train.labels)


def verified(official, root: Path, folder: Path, **split):
    """torchvision's own data set, which checks the MD5 of its files; ValueError names the folder where one differs."""
    try:
        return official(root, **split)
    except RuntimeError as error:
        raise damaged(folder, "a file is missing or its MD5 is not the published one") from error
