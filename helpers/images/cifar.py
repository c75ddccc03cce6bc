"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the official batches or from PNG files, and CIFAR-10's JPEG copy.

An export to PNG files keeps part and class of each image and loses the order across classes. So that equal pixels
make equal data, whatever they come from, images lie in an order of their own: by part, by class, then by their bytes.
Readers return what those of `standard` do.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from .archives import decoded
from .layouts import damaged, find_in
from .standard import verified

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COARSE = {  # the 20 coarse classes of CIFAR-100, each with its five fine ones
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
CIFAR100 = tuple(COARSE)
LABELS = {  # of each class that has a folder of its own
    "CIFAR10": {name: k for k, name in enumerate(CIFAR10)},
    "CIFAR100": {fine: k for k, fines in enumerate(COARSE.values()) for fine in fines},
}
PER_CLASS = {"CIFAR10": {"train": 5000, "test": 1000}, "CIFAR100": {"train": 500, "test": 100}}
BATCHES = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}
EXPORTS = {  # folders and archives (without suffix) with PNG files
    name: [name, name.lower(), *(first + rest for rest in ("", "-dataset", "-dataset-main", "-dataset-master")
                                 for first in (f"CIFAR-{n}", f"cifar-{n}"))]
    for name, n in (("CIFAR10", 10), ("CIFAR100", 100))}  # fmt: skip
PNG = re.compile(r"(?:^|/)(train|test)/([^/]+)/[^/.][^/]*\.(?i:png)$")
SIDE = 32  # pixels


def read_cifar10(root: Path):
    """CIFAR-10: 50,000 + 10,000 images of 3x32x32, ten classes."""
    return _read("CIFAR10", root, CIFAR10)


def read_cifar100(root: Path):
    """CIFAR-100 with its 20 coarse classes as labels: 50,000 + 10,000 images of 3x32x32."""
    return _read("CIFAR100", root, CIFAR100)


def _read(name: str, root: Path, classes):
    """Read the batches, or else PNG files, into the order that this module's text describes."""
    batches, export = root / BATCHES[name], find_in(root, EXPORTS[name])
    if not batches.is_dir() and not export:
        raise FileNotFoundError(batches)
    x, places = _read_batches(name, root, batches) if batches.is_dir() else _read_pngs(name, export)
    keys = [(part != "train", LABELS[name][folder], pixels.tobytes())
            for (part, folder), pixels in zip(places, x, strict=True)]
    order = sorted(range(len(x)), key=keys.__getitem__)
    return x[order], [keys[i][1] for i in order], classes, sum(part == "train" for part, _ in places)


def _read_batches(name: str, root: Path, folder: Path):
    """x (N, 3, 32, 32), and of each image its part and the name of its class."""
    from torchvision import datasets

    parts = {part: verified(getattr(datasets, name), root, folder, train=part == "train") for part in ("train", "test")}
    x = np.concatenate([held.data for held in parts.values()]).transpose(0, 3, 1, 2)
    return x, [(part, held.classes[target]) for part, held in parts.items() for target in held.targets]


def _read_pngs(name: str, path: Path):
    """As `_read_batches`, from {train,test}/<class>/*.png in a folder or archive; other files are passed over."""
    held = decoded(path, SIDE, name.lower(), lambda file: PNG.search(file) and "exact")
    if not held.names and not held.broken:
        raise FileNotFoundError(path)
    _check_whole(held, path)
    places = [PNG.search(file).groups() for file in held.names]
    found = Counter(places)
    belong = Counter({(part, folder): n for part, n in PER_CLASS[name].items() for folder in LABELS[name]})
    for place in [*belong, *found]:
        if found[place] != belong[place]:
            where = "/".join(place)
            raise damaged(path, f"it holds {found[place]:,} images in {where}, where {belong[place]:,} belong")
    return held.x, places


def read_cifar10_jpeg(root: Path):
    """The lossy JPEG copy of CIFAR-10 (quality 75, 4:2:0), ordered by part, class and number."""
    paths = {part: root / "CIFAR10-jpeg" / f"cifar10_{part}_jpeg.tar.xz" for part in ("train", "test")}
    if missing := [path for path in paths.values() if not path.exists()]:
        raise FileNotFoundError(missing[0])
    x = np.concatenate([_read_jpegs(path, part) for part, path in paths.items()])
    y = np.concatenate([np.repeat(np.arange(10), n) for n in PER_CLASS["CIFAR10"].values()])
    return x, y, CIFAR10, 10 * PER_CLASS["CIFAR10"]["train"]


def _read_jpegs(path: Path, part: str) -> np.ndarray:
    """The images <part>/<class>/<number>.jpg of one archive; sorted by name they are sorted by class and number."""
    belong = [f"{part}/{name}/{i:04d}.jpg" for name in CIFAR10 for i in range(PER_CLASS["CIFAR10"][part])]
    known = set(belong)

    def wanted(file):
        if file not in known:
            raise ValueError(f"{path} holds {file!r}, which does not belong to this data set.")
        return "exact"

    held = decoded(path, SIDE, f"cifar10_jpeg-{part}", wanted)
    _check_whole(held, path)
    if held.names != belong:
        raise damaged(path, f"it holds {len(held.names):,} of {len(belong):,} images")
    return held.x


def _check_whole(held, path: Path) -> None:
    if held.broken:
        raise damaged(path, f"{len(held.broken):,} of its files cannot be used, the first is {held.broken[0]}")
