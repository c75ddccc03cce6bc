"""Where industrial sets are on the disk, and how names of files become categories, kinds, parts and masks."""

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from .archives import Decoded
from .cache import roots
from .dataset import Images

PACKED = ("", ".tar", ".tar.xz", ".tar.gz", ".tgz", ".zip")  # "": a folder
MVTEC = re.compile(r"(?:^|/)(?:([^/]+)/)?(train|test|ground_truth)/([^/]+)/([^/]+)$")
MARKS = ("train", "test", "ground_truth", "good", "bad", "score")  # folders of a reader's own that say what they hold


class Place(NamedTuple):
    """Where a file belongs: part is "train", "test" or "ground_truth", kind "good" or the defect's name."""

    category: str
    part: str
    kind: str
    file: str


def place(name: str, category: str) -> Place | None:
    """The place of a file in MVTec AD's layout; `category` counts where the path does not name one; None elsewhere."""
    match = MVTEC.search(name)
    return match and Place(match[1] or category, *match.groups()[1:])


def own_place(name: str, category: str) -> Place | None:
    """The place of a file in a reader's own folder, by the first folder of MARKS on its path; None without one.

    What stands before that folder names the product, else `category` does. train/, train/good/ and good/ train;
    test/<kind>/ and bad/<kind>/ are known; test/, score/ and test/unknown/ are not. Folders below belong to the file's
    name, so that none is lost. train/<kind>/ of another kind than good is None, too. Capital letters do not matter in
    these names, in "good" and in "unknown".
    """
    *folders, file = PurePosixPath(name).parts
    at = next((i for i, folder in enumerate(folders) if folder.lower() in MARKS), None)
    if at is None:
        return None
    product, mark, below = "/".join(folders[:at]) or category, folders[at].lower(), folders[at + 1:]
    if below and below[0].lower() in ("good", "unknown"):
        below = [below[0].lower(), *below[1:]]

    def within(part, kind, inner):
        return Place(product, part, kind, "/".join([*inner, file]))

    if mark == "good":
        return within("train", "good", below)
    if mark == "score":
        return within("test", "unknown", below)
    if mark == "bad":
        return within("test", below[0] if below else "bad", below[1:])
    if mark == "train":
        return within("train", "good", below[1:]) if below[:1] in ([], ["good"]) else None
    return within(mark, below[0] if below else "unknown", below[1:])


def marked(at: Place) -> tuple:
    """What a picture and its mask have in common."""
    return at.category, at.kind, str(PurePosixPath(at.file).with_suffix("")).removesuffix("_mask")


def kind_of_file(where: Place | None) -> str | None:
    """What `archives.decoded` shall do with a file of this place."""
    return where and ("mask" if where.part == "ground_truth" else "picture")


def assemble(name: str, found: list[tuple[Decoded, object]], classes: tuple[str, ...]) -> Images:
    """Join decoded sets into Images, sorted by category, part (train first), kind and file.

    Each set comes with its function from a file's name to its Place. Where there are masks, every defect needs
    one (else ValueError); a defect whose mask is among the broken files is left out.
    """
    rows, masks, broken_masks = [], {}, set()
    for held, where in found:
        rows += [(where(file), picture) for file, picture in zip(held.names, held.x, strict=True)]
        for file, mask in zip(held.mask_names, held.masks, strict=True):
            masks[marked(where(file))] = mask
        places = [where(entry.rpartition(" (")[0]) for entry in held.broken]  # an entry is "file (why)"
        broken_masks |= {marked(at) for at in places if at and at.part == "ground_truth"}
    rows.sort(key=lambda row: (classes.index(row[0].category), row[0].part != "train", *row[0][2:]))
    kept, outlines = [], []
    for at, picture in rows:
        outline = masks.get(marked(at))
        if outline is None:
            if masks and at.kind != "good":
                if marked(at) in broken_masks:
                    continue
                raise ValueError(f"{'/'.join(at)} has no mask {'/'.join(marked(at)[1:])}.png in ground_truth/, though "
                                 "other pictures have one.")  # fmt: skip
            outline = np.zeros((1, *picture.shape[1:]), bool)
        kept.append((at, picture))
        outlines.append(outline)
    return Images(
        name=name, x=torch.from_numpy(np.stack([picture for _, picture in kept])),
        y=torch.tensor([classes.index(at.category) for at, _ in kept]), classes=classes,
        test=torch.tensor([at.part == "test" for at, _ in kept]),
        masks=torch.from_numpy(np.stack(outlines)) if masks else None,
        kinds=tuple(at.kind for at, _ in kept), files=tuple("/".join(at) for at, _ in kept))


# -- on the disk ---------------------------------------------------------------------------------------------------


def find(names, data_root) -> Path | None:
    """The first folder or archive of one of these names (without suffix) below the roots."""
    return next((path for root in roots(data_root) if (path := find_in(root, names))), None)


def find_in(root: Path, names) -> Path | None:
    """The first folder or archive of one of these names (without suffix) in one folder."""
    paths = (root / (name + suffix) for name in names for suffix in PACKED)
    return next((path for path in paths if path.exists()), None)


def archives_in(folder: Path) -> list[Path]:
    """The archives directly in a folder, sorted."""
    return sorted(file for file in folder.glob("*") if file.name.endswith(PACKED[1:]) and file.is_file())


def missing(what: str, data_root, files: str, download: bool = False) -> FileNotFoundError:
    """The error that says where a set was looked for and how to get it: put `files` there, or `download` it."""
    looked = " or ".join(map(str, roots(data_root)))
    how = "fetch it with download=True (for a notebook: -p download True), or put" if download else "put"
    return FileNotFoundError(f"{what} was not found in {looked}: {how} {files} there.")


def damaged(path: Path, why: str) -> ValueError:
    """The error for a file, or a folder of files, that is not what it should be."""
    return ValueError(f"{path} is damaged, incomplete or half downloaded ({why}); delete it and get it again.")


# -- splits that a set does not bring itself -----------------------------------------------------------------------


def seed_in(choice: str, name: str) -> int:
    """The seed in a data set's name, 0 if there is none."""
    if not re.fullmatch(r"\d*", choice):
        raise ValueError(f"After {name}: comes a seed, a whole number, not {choice!r}.")
    return int(choice or 0)


def draw_train(groups: np.ndarray, good: np.ndarray, seed: int) -> np.ndarray:
    """Draw half of the good pictures for training, (N,) bool, in whole groups that hold no defect."""
    clean = np.setdiff1d(groups, groups[~good])
    train, wanted = np.zeros(len(groups), bool), good.sum() // 2
    for group in np.random.RandomState(seed).permutation(clean):
        if train.sum() >= wanted:
            break
        train |= groups == group
    return train
