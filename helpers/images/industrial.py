"""Industrial picture sets by name: MVTec AD, Magnetic Tile Defects, COIL-100, PlantVillage, a reader's own folder.

    parts   parts:SEED                               generated, needs no files
    mvtec:bottle   mvtec:bottle,screw   mvtec:*      categories of MVTec AD (Bergmann et al., CVPR 2019)
    mtd   mtd:SEED   mtd:random   mtd:random:SEED    Magnetic Tile Defects (Huang et al., 2020)
    coil100   coil100:SEED                           COIL-100 (Nene et al., 1996)
    plantvillage:apple   plantvillage:apple:color    PlantVillage (Hughes and Salathé, 2015); healthy is normal
    folder:PATH                                      your own pictures

Every picture is squeezed into a square of `size` pixels and has three channels.
"""

import os
import re
import warnings
from numbers import Integral
from pathlib import Path

import numpy as np
import torch

from .archives import decoded, heeded, walked
from .dataset import Images
from .layouts import (
    archives_in,
    assemble,
    draw_train,
    find,
    kind_of_file,
    missing,
    own_place,
    place,
    seed_in,
)

MVTEC = ("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw",
         "tile", "toothbrush", "transistor", "wood", "zipper")
NAMES = ("parts", "mvtec:CATEGORY", "mvtec:*", "mtd", "mtd:random", "coil100", "coil100:SEED", "plantvillage:CROP",
         "folder:PATH")
MOST_FILES = 100_000  # in a reader's own folder; one with more is not the folder that was meant
TILE = re.compile(r"(?:^|/)MT_(\w+)/Imgs/exp(\d+)_num_(\d+)\.(jpg|png)$")
COIL = re.compile(r"(?:^|/)obj(\d+)__(\d+)\.png$")
LEAF = re.compile(r"(?:^|/)([^/]+?)___([^/]+)/([^/]*?)(\d*)(_final_masked)?\.[^./]+$")


def load_industrial(name: str, data_root=None, size: int = 128, broken: str = "stop") -> Images:
    """Load a set by a name of the table above: x (N, 3, size, size), y the category, kinds, files.

    `broken` says what to do about files that are no picture or a damaged one: "stop" names them in an error,
    "skip" in a warning. ValueError for a wrong choice behind the colon, a wrong size or a damaged archive,
    FileNotFoundError for a set that is not there.
    """
    family, _, choice = str(name).partition(":")
    if not isinstance(size, Integral) or size < 8:
        raise ValueError(f"The size must be a whole number of pixels, 8 or more, not {size!r}.")
    if broken not in ("stop", "skip"):
        raise ValueError(f"broken must be 'stop' or 'skip', not {broken!r}.")

    def read(path, label, wanted):
        return heeded(decoded(path, size, label, wanted), path, broken)

    return FAMILIES[family](choice, data_root, size, read)


def tiles(files) -> np.ndarray:
    """Group pictures of Magnetic Tile Defects by tile, (N,) int.

    A tile was taken about six times, exp1 to exp6, and the number in `exp<E>_num_<ID>` rises by some 10 to 60
    from view to view. Pictures linked by steps of at most 300 form a group: 184 groups of up to 24 pictures. Of
    the pictures with a twin (correlation above .95 at 32 x 32), 98.6 % are in the group of their twin; a plain
    random half leaves the twin of every second picture on the other side.
    """
    number = np.array([int(TILE.search(file)[3]) for file in files])
    order = np.argsort(number, kind="stable")
    group = np.zeros(len(number), int)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(number[order]) > 300)])
    return group


# -- one function a family: what was asked for after the colon -> Images -------------------------------------------


def _parts(choice, data_root, size, read):
    from .parts import make  # it needs SciPy, which reading files does not

    return make(size, seed=seed_in(choice, "parts"))


def _mvtec(choice, data_root, size, read):
    """Categories from folders, from one archive each, or from the official archive of all."""
    asked = {category.strip() for category in choice.split(",")}
    if wrong := asked - {*MVTEC, "*"}:
        raise ValueError(f"MVTec AD has no category {min(wrong)!r}; it has {', '.join(MVTEC)}, or * for all: write "
                         "mvtec:bottle, mvtec:bottle,screw or mvtec:*.")  # fmt: skip
    every = "*" in asked
    asked = [category for category in MVTEC if every or category in asked]
    whole = find(["mvtec_anomaly_detection", "MVTecAD/mvtec_anomaly_detection"], data_root)
    sources = {}  # path: the categories it is read for
    for category in asked:
        names = [f"{folder}{category}" for folder in ("MVTecAD/", "mvtec_anomaly_detection/", "")]
        if path := find(names, data_root) or whole:
            sources.setdefault(path, []).append(category)
    found, seen = [], set()
    for path, categories in sources.items():
        def where(name, categories=tuple(categories)):
            at = place(name, categories[0])
            return at if at and at.category in categories else None

        held = read(path, "mvtec-" + "-".join(categories), lambda name, where=where: kind_of_file(where(name)))
        found.append((held, where))
        seen.update(where(name).category for name in held.names)
    classes = tuple(category for category in asked if category in seen)
    if not classes or (not every and len(classes) < len(asked)):
        raise missing(
            f"MVTec AD's {', '.join(category for category in asked if category not in seen)}", data_root,
            "MVTecAD/<category>/, MVTecAD/<category>.tar or mvtec_anomaly_detection.tar.xz, from "
            "https://www.mvtec.com/company/research/datasets/mvtec-ad,")
    if len(asked) == 1:
        return assemble(f"MVTec AD, {classes[0]}", found, classes)
    return assemble("MVTec AD" + (f", {len(classes)} of 15" if len(classes) < 15 else ""), found, classes)


def _folder(choice, data_root, size, read):
    """A reader's own pictures, where `layouts.own_place` finds them; those of no known kind are left out."""
    path = Path(os.path.expanduser(choice)).resolve()  # Path's own fails for a user who does not exist
    if not choice or not path.exists():
        raise FileNotFoundError(f"There is no folder {choice!r}; write folder:PATH with the path of your pictures.")

    def where(name):
        return own_place(name, path.name.split(".")[0])

    def wanted(name):
        at = where(name)
        if at and at.kind == "unknown":  # counted, and not decoded
            return None if at.part == "ground_truth" else "unjudged"
        return kind_of_file(at)

    if path.is_dir():
        unread = walked(path, MOST_FILES)[1]
        if unread:
            warnings.warn(f"{len(unread)} files or folders in {path} may not be read and are passed over, the first is "
                          f"{unread[0]}.", stacklevel=2)  # fmt: skip
    held = read(path, "placed", wanted)
    if held.unjudged:
        warnings.warn(f"{len(held.unjudged)} files in {path} are left out, since no folder says whether they are good.",
                      stacklevel=2)  # fmt: skip
    places = [where(name) for name in held.names]
    if not any(at.part == "train" for at in places):
        raise ValueError(f"{path} holds no good pictures to train on; put them into train/good/.")
    tested = {at.kind == "good" for at in places if at.part == "test"}
    if len(tested) < 2:
        raise ValueError(f"{path} needs pictures in test/good/ and in test/<kind of defect>/, or nothing can be "
                         "measured; the notebook your-own-pictures does without.")  # fmt: skip
    return assemble(f"folder {path.name}", [(held, where)], tuple(sorted({at.category for at in places})))


def _mtd(choice, data_root, size, read):
    """No official split: half of the good pictures train, in whole tiles, or plainly at random as in ALGAN's paper.

    That paper (Murase and Fukumizu) takes 50, 25 and 25 % of the good pictures for training, validation and test;
    here the last two are the test part. Groups with a defective tile are never trained on. Four pictures of kind
    "uneven" have an empty mask.
    """
    plain = choice == "random" or choice.startswith("random:")
    seed = seed_in(choice.removeprefix("random").removeprefix(":") if plain else choice, "mtd or mtd:random")
    path = find(["MTD", "Magnetic-tile-defect-datasets.", "Magnetic-tile-defect-datasets.-master"], data_root)
    if path and path.is_dir() and archives_in(path):
        path = archives_in(path)[0]
    if path is None:
        raise missing("The Magnetic Tile Defects set", data_root, "MTD/magnetic_tile_defects.tar or MTD/MT_*/Imgs/, "
                      "from https://github.com/abin24/Magnetic-tile-defect-datasets.,")
    held = read(path, "mtd", lambda name: (m := TILE.search(name)) and ("picture" if m[4] == "jpg" else "mask"))
    masks = {name[:-4]: mask for name, mask in zip(held.mask_names, held.masks, strict=True)}
    rows = [i for i, name in enumerate(held.names) if name[:-4] in masks]
    if not rows:
        raise FileNotFoundError(f"{path} holds no pictures with masks, such as MT_Free/Imgs/exp1_num_1.jpg and .png.")
    files = tuple(held.names[i] for i in rows)
    kinds = tuple(TILE.search(file)[1].lower().replace("free", "good") for file in files)
    groups = None if plain else tiles(files)
    train = draw_train(np.arange(len(rows)) if plain else groups, _good(kinds), seed)
    return Images(
        f"MTD{', random split' if plain else ''}{f' {seed}' if seed else ''}", torch.from_numpy(held.x[rows]),
        torch.zeros(len(rows), dtype=torch.int64), ("magnetic_tile",), torch.from_numpy(~train),
        torch.from_numpy(np.stack([masks[file[:-4]] for file in files])), kinds, files,
        None if plain else torch.from_numpy(groups))


def _coil(choice, data_root, size, read):
    """Without a seed: 100 classes, every second view is test. With a seed: ten objects are one product, the others not.

    Murase and Fukumizu ("Datasets") train on 60 % of the views of ten objects and call the other 90 objects
    anomalous. Which ten is not printed, so the seed draws them. A copy that lacks views says so in its name.
    """
    seed = seed_in(choice, "coil100")
    path = find(["coil-100", "COIL-100", "coil100", "COIL100"], data_root)
    if path is None:
        raise missing("COIL-100", data_root, "coil-100/obj<k>__<angle>.png or coil-100.zip, from "
                      "https://www.cs.columbia.edu/CAVE/software/softlib/coil-100.php,")
    held = read(path, "coil100", lambda name: COIL.search(name) and "picture")
    views = sorted((int(COIL.search(name)[1]), int(COIL.search(name)[2]), i) for i, name in enumerate(held.names))
    if not views:
        raise FileNotFoundError(f"{path} holds no pictures of objects, such as obj1__0.png.")
    objects = sorted({thing for thing, _, _ in views})
    order = [i for _, _, i in views]
    y = np.array([objects.index(thing) for thing, _, _ in views])
    classes, kinds = tuple(f"obj{thing}" for thing in objects), None
    words, test = ["COIL-100"], np.array([angle // 5 % 2 == 1 for _, angle, _ in views])
    if choice:
        random = np.random.RandomState(seed)
        good = np.isin(y, random.permutation(len(objects))[:10])
        train = random.permutation(np.flatnonzero(good))[:round(0.6 * good.sum())]
        words, classes = ["COIL-100", f"ten normal{f' {seed}' if seed else ''}"], ("ten objects",)
        y, test = np.zeros_like(y), ~np.isin(np.arange(len(y)), train)
        kinds = tuple(np.where(good, "good", "other object").tolist())
    words += [f"{len(views):,} of 7,200 views"] if len(views) < 7200 else []
    return Images(
        ", ".join(words), torch.from_numpy(held.x[order]), torch.from_numpy(y), classes,
        torch.from_numpy(test), None, kinds, tuple(held.names[i] for i in order))


def _plantvillage(choice, data_root, size, read):
    """No official split: half of the healthy leaves train, blocks of ten consecutive photographs together."""
    crop, _, variant = choice.partition(":")
    if not crop or variant not in ("", "color", "segmented"):
        raise ValueError(f"Write plantvillage:CROP, with :color or :segmented if you have both, not {choice!r}.")
    path = find(["PlantVillage", "PlantVillage-Dataset", "PlantVillage-Dataset-master"], data_root)
    if path is None:
        raise missing("PlantVillage", data_root, "PlantVillage/<Crop>___<disease>/ or an archive of it in "
                      "PlantVillage/, from https://github.com/spMohanty/PlantVillage-Dataset,")

    def wanted(name):
        leaf = LEAF.search(name)
        fits = leaf and crop in ("*", _crop(leaf)) and variant in ("", _variant(leaf))
        return "picture" if fits and "grayscale/" not in name else None

    paths = (path.is_dir() and archives_in(path)) or [path]
    label = f"plantvillage-{crop.replace('*', 'all')}-{variant or 'any'}"
    sets = [read(path, label, wanted) for path in paths]
    leaves = [LEAF.search(name) for held in sets for name in held.names]
    if not leaves:
        raise FileNotFoundError(f"{path} holds no pictures of {choice!r}, such as Apple___healthy for apple.")
    if len({_variant(leaf) for leaf in leaves}) > 1:
        raise ValueError(f"{path} holds both variants; write plantvillage:{crop}:color or ...:segmented.")
    classes = tuple(sorted({_crop(leaf) for leaf in leaves}))
    y = np.array([classes.index(_crop(leaf)) for leaf in leaves])
    kinds = tuple("good" if leaf[2] == "healthy" else leaf[2] for leaf in leaves)
    named = [f"{leaf[1]} {leaf[2]} {leaf[3].split('___')[-1]} {int(leaf[4] or 0) // 10}" for leaf in leaves]
    blocks, train = np.unique(named, return_inverse=True)[1], np.zeros(len(y), bool)
    for k in range(len(classes)):
        train[y == k] = draw_train(blocks[y == k], _good(kinds)[y == k], 0)
    return Images(
        f"PlantVillage {crop.replace('*', 'all crops')}, {_variant(leaves[0])}",
        torch.from_numpy(np.concatenate([held.x for held in sets])), torch.from_numpy(y), classes,
        torch.from_numpy(~train), None, kinds, tuple(leaf.string for leaf in leaves))


def _crop(leaf):
    return re.split("[_,(]", leaf[1])[0].lower()


def _variant(leaf):
    return "segmented" if leaf[5] else "color"


def _good(kinds):
    return np.array([kind == "good" for kind in kinds])


FAMILIES = {
    "parts": _parts, "mvtec": _mvtec, "mtd": _mtd, "coil100": _coil, "plantvillage": _plantvillage,
    "folder": _folder,
}
