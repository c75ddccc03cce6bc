"""Data sets by name: the right pixels, and one clear sentence when a file is not what it should be."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits
from torchvision import datasets

from helpers.images import NAMES, Images, archives, cache, cifar, class_index, load, standard

DATA = Path(os.environ.get("DATA_ROOT") or "missing")


def real(*folders):
    """Skip where the real files are not at hand."""
    missing = [f for f in folders if not (DATA / f).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"DATA_ROOT has no {', '.join(missing)}")


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No real data and no real cache: the only folders searched are below tmp_path."""
    monkeypatch.delenv("DATA_ROOT", raising=False)
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def md5(content):
    return hashlib.md5(content).hexdigest()


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def small_mnist(monkeypatch, alone):
    """MNIST with 50 + 20 images in a folder of its own, known by its MD5 values to us and to torchvision."""
    rng, folder, resources = np.random.default_rng(0), alone / "small" / "MNIST" / "raw", []
    known = {}
    folder.mkdir(parents=True)
    for name, _ in datasets.MNIST.resources:
        n = 50 if name.startswith("train") else 20
        array = rng.integers(0, 256, (n, 28, 28)) if "images" in name else np.arange(n) % 10
        unpacked = idx(array.astype(np.uint8))
        packed = gzip.compress(unpacked)
        (folder / name).write_bytes(packed)
        known[name] = md5(packed), md5(unpacked)
        resources.append((name, md5(packed)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setitem(standard.IDX, "MNIST", known)
    return alone / "small"


def assert_same(ours, train, test):
    """Our images are torchvision's, training part first."""
    assert torch.equal(ours.x, torch.as_tensor(np.concatenate([train[0], test[0]])))
    assert ours.y.tolist() == [*map(int, train[1]), *map(int, test[1])]
    assert ours.test.tolist() == [False] * len(train[1]) + [True] * len(test[1])
    assert ours.x.dtype == torch.uint8 and ours.y.dtype == torch.int64 and ours.test.dtype == torch.bool


def torchvision_mnist(cls, root):
    train, test = (cls(root, train=part, download=True) for part in (True, False))
    return [(part.data[:, None].numpy(), part.targets) for part in (train, test)]


def fails(error, call):
    """The message of the expected error, which must be a single sentence on one line."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


# Embedded digits.

def test_digits_are_the_handwriting_of_scikit_learn(alone):
    ours, theirs = load("digits"), load_digits()
    assert ours.x.shape == (1797, 1, 28, 28) and ours.y.tolist() == theirs.target.tolist()
    exact = torch.nn.functional.interpolate(
        torch.tensor(theirs.images)[:, None] * 255 / 16, size=28, mode="bilinear", align_corners=False)
    assert (ours.x - exact).abs().max() <= 1.5  # rounded three times: the grey level, the rows, the columns
    assert ours.test.sum() == 599 and not ours.test[:1198].any()
    assert min(ours.y[ours.test].bincount().min(), ours.y[~ours.test].bincount().min()) > 50


def test_digits_have_the_same_bytes_everywhere(alone):
    assert load("digits").digest == "2b7e4d2613f9e726"


# The official files.

@pytest.mark.parametrize("cls", [datasets.MNIST, datasets.FashionMNIST])
def test_the_table_of_files_is_torchvisions(cls):
    assert [(file, packed) for file, (packed, _) in standard.IDX[cls.__name__].items()] == cls.resources


def test_the_names_of_clothes_and_their_order_are_torchvisions():
    assert list(standard.CLOTHES) == datasets.FashionMNIST.classes


@real("MNIST", "FashionMNIST")
@pytest.mark.parametrize("name", standard.IDX)
def test_the_table_of_files_knows_what_they_unpack_to(name):
    for file, sums in standard.IDX[name].items():
        packed = (DATA / name / "raw" / file).read_bytes()
        assert (md5(packed), md5(gzip.decompress(packed))) == sums


@real("MNIST", "FashionMNIST")
@pytest.mark.parametrize("name, cls", [("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST)])
def test_official_files_give_what_torchvision_gives(name, cls, tmp_path):
    copy = tmp_path / cls.__name__ / "raw"
    shutil.copytree(DATA / cls.__name__ / "raw", copy, copy_function=shutil.copyfile)
    copy.chmod(0o755)
    assert_same(load(name), *torchvision_mnist(cls, tmp_path))


@real("MNIST", "FashionMNIST", "CIFAR10-jpeg")
@pytest.mark.parametrize("name, digest", [
    ("mnist", "8d2abbed94bcc982"), ("fashion_mnist", "5a6644470d56cb9a"), ("cifar10_jpeg", "f0fc113bc9f2c24a"),
])
def test_digests_are_the_recorded_ones(name, digest):
    assert load(name).digest == digest


@real("MNIST", "FashionMNIST", "CIFAR10-jpeg")
@pytest.mark.parametrize("name, train, test", [
    ("mnist", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
     [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ("fashion_mnist", [6000] * 10, [1000] * 10),
    ("cifar10_jpeg", [5000] * 10, [1000] * 10),
])
def test_every_class_has_its_published_count(name, train, test):
    ours = load(name)
    assert ours.y[~ours.test].bincount().tolist() == train
    assert ours.y[ours.test].bincount().tolist() == test


def test_packed_and_unpacked_files_are_read_alike(small_mnist):
    packed = load("mnist", small_mnist)
    assert_same(packed, *torchvision_mnist(datasets.MNIST, small_mnist))  # unpacks beside the .gz files
    for file in small_mnist.rglob("*.gz"):
        file.unlink()
    assert load("mnist", small_mnist).digest == packed.digest
    assert packed.classes == tuple("0123456789")


@pytest.mark.parametrize("harm", [
    lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: raw[:-1] + b"!",
    lambda raw: b"<html>not here</html>",
])
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_named(small_mnist, harm, packed):
    file = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    if packed:
        file.write_bytes(harm(whole))
    else:
        file.unlink()
        file = file.with_suffix("")
        file.write_bytes(harm(gzip.decompress(whole)))
    message = fails(ValueError, lambda: load("mnist", small_mnist))
    assert str(file) in message and "damaged" in message


def test_labels_of_another_part_are_refused(small_mnist):
    raw = small_mnist / "MNIST" / "raw"
    for file in raw.glob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    shutil.copy(raw / "t10k-labels-idx1-ubyte", raw / "train-labels-idx1-ubyte")
    assert "train-labels-idx1-ubyte is damaged" in fails(ValueError, lambda: load("mnist", small_mnist))


def test_a_read_only_folder_is_read_and_left_alone(small_mnist):
    before = {p: p.stat().st_mtime_ns for p in small_mnist.rglob("*")}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert len(load("mnist", small_mnist).x) == 70
    assert {p: p.stat().st_mtime_ns for p in small_mnist.rglob("*")} == before


BARE = """
import sys
for name in ("torchvision", "PIL", "joblib", "tqdm", "sklearn", "scipy", "pandas", "matplotlib"):
    sys.modules[name] = None  # importing it is an error
from helpers import images
from helpers.images import standard
standard.IDX["MNIST"] = eval(sys.argv[2])
print(images.load("mnist", sys.argv[1]).digest)
"""


def test_mnist_needs_only_torch_and_numpy(small_mnist):
    command = [sys.executable, "-c", BARE, small_mnist, repr(standard.IDX["MNIST"])]
    root = Path(standard.__file__).parents[2]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120).stdout
    assert printed.strip() == load("mnist", small_mnist).digest


# Missing sets, and downloads (from a real server on this machine).

@pytest.mark.parametrize("name", [n for n in NAMES if n != "digits"])
def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(name, alone, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(alone / "env"))
    (alone / "own").mkdir()
    message = fails(FileNotFoundError, lambda: load(name, alone / "own"))
    assert name in message and all(str(alone / place) in message for place in ("own", "env", "cache"))
    assert ("download=True" in message) == (name != "cifar10_jpeg")
    assert not (alone / "cache").exists()


def test_a_data_root_that_is_no_folder_is_refused(alone):
    assert "nowhere" in fails(FileNotFoundError, lambda: load("mnist", alone / "nowhere"))


def test_data_root_comes_before_the_environment_and_the_cache(small_mnist, alone, monkeypatch):
    for place in ("env", "cache"):
        shutil.copytree(small_mnist, alone / place)
    (alone / "env" / "MNIST/raw/train-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    monkeypatch.setenv("DATA_ROOT", str(alone / "env"))
    assert len(load("mnist", small_mnist).x) == 70
    assert str(alone / "env") in fails(ValueError, lambda: load("mnist"))
    monkeypatch.setenv("DATA_ROOT", "")
    assert len(load("mnist").x) == 70


@pytest.fixture
def mirror(small_mnist, monkeypatch):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = small_mnist / "MNIST" / "raw"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        yield small_mnist
        server.shutdown()


def test_a_download_beside_a_read_only_folder_goes_to_the_cache(mirror, alone):
    (alone / "own").mkdir(mode=0o555)
    ours = load("mnist", alone / "own", download=True)
    assert_same(ours, *torchvision_mnist(datasets.MNIST, mirror))
    assert list((alone / "own").iterdir()) == [] and (alone / "cache" / "MNIST").is_dir()


def test_a_download_goes_to_the_folder_that_was_named(mirror, alone):
    assert len(load("mnist", alone / "new", download=True).x) == 70
    assert (alone / "new" / "MNIST").is_dir() and not (alone / "cache").exists()


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"something else")])
def test_a_download_that_fails_says_so_and_leaves_nothing_that_loads(mirror, alone, harm):
    harm(mirror / "MNIST/raw/t10k-labels-idx1-ubyte.gz")
    assert "download of mnist" in fails(OSError, lambda: load("mnist", alone / "new", download=True))
    with pytest.raises((ValueError, FileNotFoundError)):
        load("mnist", alone / "new")


def test_a_download_that_was_cut_off_is_named_and_can_be_had_again(mirror, alone):
    broken = alone / "new" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes((mirror / "MNIST" / "raw" / broken.name).read_bytes()[:1000])
    message = fails(ValueError, lambda: load("mnist", alone / "new", download=True))
    assert str(broken) in message and "half downloaded" in message
    broken.unlink()
    assert len(load("mnist", alone / "new", download=True).x) == 70


def test_a_download_with_nowhere_to_write_is_an_error(mirror, alone, monkeypatch):
    (alone / "own").mkdir(mode=0o555)
    monkeypatch.setattr(cache, "cache_folder", lambda: alone / "own" / "data" / "cache")
    assert "written" in fails(OSError, lambda: load("mnist", alone / "own", download=True))


# CIFAR and SVHN in torchvision's own formats, small.

def write_md5(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5(content)


@pytest.fixture
def small_cifar(alone, monkeypatch):
    """Both sets in torchvision's form, with three training images and one test image a class, in no order."""
    rng = np.random.default_rng(1)
    for cls, key in [(datasets.CIFAR10, "labels"), (datasets.CIFAR100, "fine_labels")]:
        monkeypatch.setitem(cifar.PER_CLASS, cls.__name__, {"train": 3, "test": 1})
        classes, folder = sorted(cifar.LABELS[cls.__name__]), alone / cls.base_folder
        for which, n in (("train_list", 3), ("test_list", 1)):
            files, batches = getattr(cls, which), []
            labels = np.array_split(rng.permutation(np.repeat(np.arange(len(classes)), n)), len(files))
            for (file, _), some in zip(files, labels, strict=True):
                batch = {"data": rng.integers(0, 256, (len(some), 3072), dtype=np.uint8), key: some.tolist()}
                batches.append([file, write_md5(folder / file, pickle.dumps(batch))])
            monkeypatch.setattr(cls, which, batches)
        names = write_md5(folder / cls.meta["filename"], pickle.dumps({cls.meta["key"]: classes}))
        monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": names})
    return alone


def torchvision_cifar(cls, root):
    """Of each part the pixels (n, 3, 32, 32) and the names of the classes."""
    parts = [cls(root, train=train) for train in (True, False)]
    return [(part.data.transpose(0, 3, 1, 2), [part.classes[k] for k in part.targets]) for part in parts]


def rows(x, y):
    return sorted((int(label), np.asarray(pixels).tobytes()) for pixels, label in zip(x, y, strict=True))


@pytest.mark.parametrize("name, cls", [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar_is_torchvisions_sorted_by_part_class_and_pixels(small_cifar, name, cls):
    ours = load(name, small_cifar)
    for part, (x, names) in zip((~ours.test, ours.test), torchvision_cifar(cls, small_cifar), strict=True):
        y = [cifar.LABELS[cls.__name__][fine] for fine in names]
        here = zip(ours.y[part].tolist(), (pixels.numpy().tobytes() for pixels in ours.x[part]), strict=True)
        assert list(here) == rows(x, y)
    assert not ours.test[: (~ours.test).sum()].any()
    assert ours.classes == (cifar.CIFAR10 if name == "cifar10" else tuple(cifar.COARSE))


# The coarse class of each fine one, both numbered in the order of their names, as the official batches hold them.
FINE_TO_COARSE = """
    4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 6 13 15 3 15 0 11 1 10 12 14 16 9 11 5
    5 19 8 8 15 13 14 17 18 10 16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 16 12 9 13 15 13
    16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13"""


def test_coarse_classes_are_those_of_the_official_batches():
    assert [k for _, k in sorted(cifar.LABELS["CIFAR100"].items())] == [int(k) for k in FINE_TO_COARSE.split()]
    assert list(cifar.COARSE) == sorted(cifar.COARSE) and list(cifar.CIFAR10) == sorted(cifar.CIFAR10)


def export(root, cls, target, first=""):
    """Write torchvision's images as PNG files named by number, in a folder; return it."""
    for part, (x, names) in zip(("train", "test"), torchvision_cifar(cls, root), strict=True):
        for i, (pixels, name) in enumerate(zip(x, names, strict=True)):
            file = target / first / part / name / f"{len(x) - i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file)
    (target / first / "README.md").write_text("what it is")
    return target


def packed(folder, path):
    """The files of a folder in an archive, last name first; the folder goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = sorted((file for file in folder.rglob("*") if file.is_file()), reverse=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:" + {".gz": "gz", ".tgz": "gz", ".xz": "xz"}.get(path.suffix, "")) as archive:
            for file in files:
                archive.add(file, file.relative_to(folder))
    shutil.rmtree(folder)
    return path


@pytest.mark.parametrize("name, cls", [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
@pytest.mark.parametrize("form", ["{}", "{}.tar", "{}.tar.gz", "{}.tgz", "{}.tar.xz", "{}.zip"])
def test_png_files_give_the_same_data_as_the_batches_however_they_are_packed(small_cifar, name, cls, form):
    expected = load(name, small_cifar)
    folder = export(small_cifar, cls, small_cifar / "png" / cls.__name__, "some-folder-1234")
    if form != "{}":
        packed(folder, small_cifar / "png" / form.format(cls.__name__))
    for _ in range(2):  # from the files, then from the cache
        found = load(name, small_cifar / "png")
        assert found.digest == expected.digest and found.classes == expected.classes


@pytest.mark.parametrize("folder", ["CIFAR100", "cifar100", "cifar-100", "CIFAR-100", "CIFAR-100-dataset"])
def test_png_files_are_found_under_the_usual_names(small_cifar, folder):
    export(small_cifar, datasets.CIFAR100, small_cifar / "png" / folder)
    assert load("cifar100", small_cifar / "png").digest == load("cifar100", small_cifar).digest


def blank(side=32):
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("file, content, said", [
    ("train/cat/1000.png", blank(), "4 images in train/cat, where 3 belong"),
    ("train/cat/{}", None, "2 images in train/cat, where 3 belong"),
    ("test/frog", None, "0 images in test/frog, where 1 belong"),
    ("test/lynx/0.png", blank(), "1 images in test/lynx, where 0 belong"),
    ("test/frog/{}", blank(64), "has 64 x 64 pixels, not 32 x 32"),
    ("test/frog/{}", b"half", "1 of its files cannot be used"),
])
def test_an_export_that_is_not_the_whole_set_is_refused(small_cifar, file, content, said):
    folder = export(small_cifar, datasets.CIFAR10, small_cifar / "png" / "CIFAR10")
    path = folder / file.format(next((folder / file).parent.glob("*.png"), Path("0.png")).name)
    if content is None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    message = fails(ValueError, lambda: load("cifar10", small_cifar / "png"))
    assert said in message and str(folder) in message


def test_a_folder_without_png_files_is_not_the_set(alone):
    (alone / "own" / "CIFAR10" / "train" / "cat").mkdir(parents=True)
    (alone / "own" / "CIFAR10" / "train" / "cat" / "0000.jpg").write_bytes(jpeg(1))
    assert "was not found" in fails(FileNotFoundError, lambda: load("cifar10", alone / "own"))


@pytest.mark.parametrize("name, file", [
    ("cifar10", "data_batch_3"), ("cifar100", "test"), ("cifar100", "meta"),
])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:100])])
def test_a_damaged_cifar_is_named(small_cifar, name, file, harm):
    harm(next(small_cifar.rglob(file)))
    assert "damaged, incomplete" in fails(ValueError, lambda: load(name, small_cifar))


def test_svhn_is_torchvisions(alone, monkeypatch):
    rng, listed = np.random.default_rng(2), dict(datasets.SVHN.split_list)
    for part, n in (("train", 12), ("test", 6)):
        file = f"{part}_32x32.mat"
        content = io.BytesIO()
        x, y = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8), 1 + np.arange(n)[:, None] % 10
        savemat(content, {"X": x, "y": y})
        listed[part] = ["", file, write_md5(alone / file, content.getvalue())]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    train, test = (datasets.SVHN(alone, split=part) for part in ("train", "test"))
    ours = load("svhn", alone)
    assert_same(ours, *((part.data, part.labels) for part in (train, test)))
    assert 10 not in ours.y and ours.y[9] == 0
    (alone / "test_32x32.mat").write_bytes(b"half")
    assert "damaged" in fails(ValueError, lambda: load("svhn", alone))


# The JPEG copy of CIFAR-10.

@real("CIFAR10-jpeg")
def test_the_jpeg_copy_is_what_pillow_decodes():
    ours = load("cifar10_jpeg")
    test = iter(ours.x[ours.test])
    with tarfile.open(DATA / "CIFAR10-jpeg" / "cifar10_test_jpeg.tar.xz") as archive:
        for member in (m for m in archive if m.isfile()):  # the archive lies in class order, then number
            pixels = np.asarray(Image.open(archive.extractfile(member)).convert("RGB"))
            assert np.array_equal(next(test).permute(1, 2, 0), pixels), member.name
    assert next(test, None) is None


@real("CIFAR10-jpeg")
def test_the_jpeg_copy_loses_as_much_as_measured():
    ours = load("cifar10_jpeg")
    lossless = np.load(DATA / "CIFAR10-jpeg" / "cifar10_train_first4000_lossless.npz")
    seen, psnr = [0] * 10, []
    for pixels, label in zip(lossless["x"], lossless["y"].tolist(), strict=True):
        jpeg = ours.x[label * 5000 + seen[label]].permute(1, 2, 0).numpy()
        seen[label] += 1
        psnr.append(10 * np.log10(255**2 / np.mean((pixels - jpeg.astype(float)) ** 2)))
    assert [np.mean(psnr), min(psnr), max(psnr)] == pytest.approx([30.5, 23.1, 39.6], abs=0.06)


def pack(path, members):
    """A tar.xz of {member name: bytes}; None makes a symbolic link to /etc/hostname."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:xz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))


def jpeg(value, size=(32, 32)):
    out = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(out, "JPEG")
    return out.getvalue()


def small_members(part, n):
    classes = enumerate(cifar.CIFAR10)
    return {f"{part}/{c}/{i:04d}.jpg": jpeg(20 * k + i) for k, c in classes for i in range(n)}


@pytest.fixture
def small_jpegs(alone, monkeypatch):
    monkeypatch.setitem(cifar.PER_CLASS, "CIFAR10", {"train": 3, "test": 2})
    for part, n in (("train", 3), ("test", 2)):
        pack(alone / f"CIFAR10-jpeg/cifar10_{part}_jpeg.tar.xz", small_members(part, n))
    return alone


def test_images_are_ordered_by_class_and_number_whatever_the_archives_order(small_jpegs):
    first = load("cifar10_jpeg", small_jpegs)
    assert first.x[:30, 0, 0, 0].tolist() == [20 * k + i for k in range(10) for i in range(3)]
    assert first.y.tolist() == [k for n in (3, 2) for k in range(10) for _ in range(n)]
    shuffled = dict(reversed(small_members("train", 3).items()))
    pack(small_jpegs / "CIFAR10-jpeg/cifar10_train_jpeg.tar.xz", shuffled)
    assert load("cifar10_jpeg", small_jpegs).digest == first.digest


def test_decoding_keeps_rows_columns_and_colours(small_jpegs):
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:10], picture[:, 20:], picture[25:, :5] = (250, 10, 10), (10, 250, 10), (10, 10, 250)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG")
    changed = small_members("train", 3) | {"train/cat/0001.jpg": out.getvalue()}
    pack(small_jpegs / "CIFAR10-jpeg/cifar10_train_jpeg.tar.xz", changed)
    ours = load("cifar10_jpeg", small_jpegs).x[3 * 3 + 1].permute(1, 2, 0)
    assert np.array_equal(ours, np.asarray(Image.open(out).convert("RGB")))


@pytest.mark.parametrize("name, content", [
    ("../outside.jpg", jpeg(1)), ("/tmp/outside.jpg", jpeg(1)), ("train/../../outside.jpg", jpeg(1)),
    ("train/cat/0003.jpg", jpeg(1)), ("test/cat/0000.jpg", jpeg(1)), ("train/lynx/0000.jpg", jpeg(1)),
    ("train/cat/0001.jpg", None),
])
def test_a_member_that_does_not_belong_is_refused(small_jpegs, name, content):
    before = {p for p in small_jpegs.rglob("*") if p.is_file()}
    pack(small_jpegs / "CIFAR10-jpeg/cifar10_train_jpeg.tar.xz", small_members("train", 3) | {name: content})
    assert repr(name) in fails(ValueError, lambda: load("cifar10_jpeg", small_jpegs))
    assert {p for p in small_jpegs.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("harm", [
    lambda path: path.write_bytes(path.read_bytes()[:-200]),
    lambda path: path.write_bytes(b"<html>not here</html>"),
    lambda path: pack(path, small_members("train", 2)),
    lambda path: pack(path, small_members("train", 3) | {"train/cat/0001.jpg": b"no picture"}),
    lambda path: pack(path, small_members("train", 3) | {"train/cat/0001.jpg": jpeg(1, (64, 64))}),
])
def test_a_damaged_archive_is_named(small_jpegs, harm):
    path = small_jpegs / "CIFAR10-jpeg/cifar10_train_jpeg.tar.xz"
    harm(path)
    message = fails(ValueError, lambda: load("cifar10_jpeg", small_jpegs))
    assert str(path) in message and "damaged" in message


def test_decoded_pixels_come_from_the_cache_the_second_time(small_jpegs, monkeypatch):
    first = load("cifar10_jpeg", small_jpegs)
    monkeypatch.setattr(archives, "_decode", lambda *_: pytest.fail("decoded again"))
    assert load("cifar10_jpeg", small_jpegs).digest == first.digest


def test_another_archive_is_not_read_from_the_old_cache(small_jpegs):
    first = load("cifar10_jpeg", small_jpegs)
    changed = small_members("train", 3) | {"train/cat/0001.jpg": jpeg(255)}
    pack(small_jpegs / "CIFAR10-jpeg/cifar10_train_jpeg.tar.xz", changed)
    second = load("cifar10_jpeg", small_jpegs)
    assert (first.x != second.x).flatten(1).any(1).nonzero().flatten().tolist() == [3 * 3 + 1]


def test_a_damaged_cache_is_replaced(small_jpegs):
    first = load("cifar10_jpeg", small_jpegs)
    cached = next((small_jpegs / "cache").glob("cifar10_jpeg-train-*.npz"))
    whole = cached.read_bytes()
    cached.write_bytes(whole[: len(whole) // 2])
    assert load("cifar10_jpeg", small_jpegs).digest == first.digest
    assert cached.stat().st_size == len(whole)


def test_a_cache_that_cannot_be_written_does_not_matter(small_jpegs, monkeypatch):
    (small_jpegs / "file").write_text("in the way")
    monkeypatch.setattr(cache, "cache_folder", lambda: small_jpegs / "file" / "cache")
    assert len(load("cifar10_jpeg", small_jpegs).x) == 50


# Names, sizes, classes, digests.

@pytest.mark.parametrize("name", ["mnst", "MNIST", "", None, "../mnist"])
def test_an_unknown_name_lists_what_is_known(name, alone):
    message = fails(ValueError, lambda: load(name))
    assert all(known in message for known in NAMES)


@pytest.mark.parametrize("size", [8, 14, 32, 64])
def test_another_size_is_the_same_picture(size, alone):
    native, other = load("digits"), load("digits", size=size)
    assert other.x.shape == (1797, 1, size, size) and other.name == "digits"
    expected = torch.nn.functional.interpolate(native.x.double(), size=size, mode="bilinear", antialias=True)
    assert (other.x - expected).abs().max() <= 1.01  # rounded twice
    assert load("digits", size=28).digest == native.digest != other.digest


@pytest.mark.parametrize("size", [0, -1, 2.5, "28"])
def test_an_impossible_size_is_refused(size, alone):
    assert repr(size) in fails(ValueError, lambda: load("digits", size=size))


def example(**changed):
    parts = {"x": torch.arange(48, dtype=torch.uint8).reshape(3, 1, 4, 4), "y": torch.tensor([0, 1, 1]),
             "test": torch.tensor([False, False, True]), "masks": torch.zeros(3, 1, 4, 4, dtype=torch.bool)}
    return Images("example", classes=("plain", "odd"), **parts | changed)


def test_the_digest_sees_every_change_and_only_changes():
    same = example()
    pixel, mask = same.x.clone(), same.masks.clone()
    pixel[2, 0, 3, 3] += 1
    mask[0, 0, 0, 0] = True
    variants = [example(x=pixel), example(x=same.x.reshape(3, 1, 2, 8)), example(y=torch.tensor([0, 1, 0])),
                example(test=torch.tensor([False, True, True])), example(masks=mask), example(masks=None)]
    assert len({same.digest, *(v.digest for v in variants)}) == 7
    assert len(same.digest) == 16 and int(same.digest, 16) >= 0
    view = same.x.transpose(2, 3).contiguous().transpose(2, 3)  # equal values, other strides
    assert example(x=view).digest == same.digest == example().digest


def test_a_class_is_found_by_index_and_by_name():
    assert [class_index(example(), w) for w in (0, 1, "plain", "odd", np.int64(1), "1")] == [0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("wanted", [2, -1, "even", None, 1.0, True, "2", "-1", "²"])
def test_an_impossible_class_lists_what_is_possible(wanted):
    message = fails(ValueError, lambda: class_index(example(), wanted))
    assert repr(wanted) in message and "plain" in message and "odd" in message
