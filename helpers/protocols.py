"""From a data set to a task: which images are normal, which are trained on, which are scored.

Papers use the words "one versus rest" for opposite things, so the functions say which side is the one:
`one_normal` trains on one class, `one_anomalous` on all classes but one.
"""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import torch

from .images import Images, class_index
from .images.industrial import NAMES


@dataclass(frozen=True, eq=False)
class Task:
    """Training images, test images and which of the test images are anomalous.

    train (n, C, H, W) and test (m, C, H, W) uint8; train_y (n,) and test_y (m,) int64, index into `classes`;
    anomalous (m,) bool; masks (m, 1, H, W) bool and m kinds of the test images, None but for industrial sets.
    `protocol` names the rule, the data set and every parameter; `digest` is that of the whole data set.
    held (k, C, H, W) and held_y (k,) are training images kept back by `hold_out`, else None. train_groups (n,) int64:
    training images with one number show the same thing, None where all show different ones. A task that
    `features.of_task` made has float16 features in place of the images.
    """

    train: torch.Tensor
    train_y: torch.Tensor
    test: torch.Tensor
    test_y: torch.Tensor
    anomalous: torch.Tensor
    classes: tuple[str, ...]
    protocol: dict
    digest: str
    masks: torch.Tensor | None = None
    kinds: tuple[str, ...] | None = None
    held: torch.Tensor | None = None
    held_y: torch.Tensor | None = None
    train_groups: torch.Tensor | None = None


def one_normal(images: Images, normal_class, limit: int | None = None) -> Task:
    """Train on the training part of one class, test on the whole test part; every other class is anomalous.

    The protocol of Schneider et al. and ALCN's protocol 2 ("rest vs. 1"). `limit` keeps at most so many
    training and so many test images, evenly spread over the classes. ValueError for a class that does not
    exist or a limit below the number of classes.
    """
    normal = class_index(images, normal_class)
    check_limit(limit, images)
    train = _thin(torch.nonzero(~images.test & (images.y == normal)).flatten(), images.y, limit)
    test = _thin(torch.nonzero(images.test).flatten(), images.y, limit)
    protocol = _protocol("one_normal", images, normal_class=images.classes[normal], limit=limit)
    return _task(images, train, test, images.y[test] != normal, protocol)


def one_anomalous(images: Images, anomalous_class, seed: int, limit: int | None = None) -> Task:
    """Train on 80 % of all classes but one, test on their other 20 % and on the whole anomalous class.

    ALCN's protocol 1 ("1 vs. rest", section 4.2). The official parts are pooled, and
    numpy.random.RandomState(seed) draws the 80 %. `limit` and errors as in `one_normal`.
    """
    anomalous = class_index(images, anomalous_class)
    check_limit(limit, images)
    normals = np.flatnonzero(images.y != anomalous)
    shuffled = torch.from_numpy(np.random.RandomState(seed).permutation(normals))
    cut = len(normals) * 4 // 5
    train = shuffled[:cut].sort().values
    test = torch.cat([shuffled[cut:], torch.nonzero(images.y == anomalous).flatten()]).sort().values
    train, test = _thin(train, images.y, limit), _thin(test, images.y, limit)
    protocol = _protocol(
        "one_anomalous", images, anomalous_class=images.classes[anomalous], seed=seed, limit=limit)
    return _task(images, train, test, images.y[test] == anomalous, protocol)


def contaminated(images: Images, normal_class, ratio: float, seed: int, cap: int = 12000) -> Task:
    """Train on one class mixed with images of all others, and score these same images (IAEAD, section 4).

    The official parts are pooled. To the n images of the class come int(n * ratio / (1 - ratio)) others,
    drawn without replacement, so `ratio`, in (0, 0.5], is the share of anomalies in the result. More than
    `cap` images are cut to a uniform subset of `cap`. Both draws come from numpy.random.RandomState(seed),
    whose stream is the same in every version of numpy. `train` and `test` are the same tensor. ValueError for
    a wrong class, ratio or cap, or where the other classes have too few images.
    """
    normal = class_index(images, normal_class)
    if not 0 < ratio <= 0.5:
        raise ValueError(f"The ratio of anomalies must be above 0 and at most 0.5, not {ratio!r}.")
    if not isinstance(cap, Integral) or cap < 2:
        raise ValueError(f"The cap must be a whole number of images, 2 or more, not {cap!r}.")
    inliers, others = np.flatnonzero(images.y == normal), np.flatnonzero(images.y != normal)
    wanted = int(len(inliers) * ratio / (1 - ratio))
    if wanted > len(others):
        raise ValueError(
            f"A ratio of {ratio} needs {wanted} images of other classes; {images.name} has {len(others)}.")
    random = np.random.RandomState(seed)
    index = np.concatenate([inliers, random.choice(others, wanted, replace=False)])
    if len(index) > cap:
        index = random.choice(index, cap, replace=False)
    index = torch.from_numpy(index)
    protocol = _protocol(
        "contaminated", images, normal_class=images.classes[normal], ratio=ratio, seed=seed, cap=cap)
    return _task(images, index, index, images.y[index] != normal, protocol)


def train_on_good(images: Images, categories=None) -> Task:
    """Train on the good images of the training part, test on the test part, where every defect is anomalous.

    The protocol of MVTec AD. `categories` lists the products to use, by index or name; None means all.
    ValueError for an unknown category or a data set without defects.
    """
    _check_kinds(images, "train_on_good")
    wanted = sorted({class_index(images, c) for c in (images.classes if categories is None else categories)})
    chosen = torch.isin(images.y, torch.tensor(wanted))
    good = torch.tensor([kind == "good" for kind in images.kinds])
    train = torch.nonzero(chosen & ~images.test & good).flatten()
    test = torch.nonzero(chosen & images.test).flatten()
    protocol = _protocol("train_on_good", images, categories=[images.classes[c] for c in wanted])
    return _task(images, train, test, ~good[test], protocol)


def hold_out(task: Task, share: float, seed: int = 0) -> Task:
    """Keep back a share of the training images of every class, for thresholds and for when to stop.

    Of n images of a class, round(share * n) go to `held`, but at least one and never the last;
    numpy.random.RandomState(seed) draws them. Images that show the same thing stay together, since a picture whose twin
    was trained on would make a threshold too tight; so the last group drawn may bring more. ValueError for a share
    outside of (0, 1), or a class that shows one thing alone.
    """
    if not 0 < share < 1:
        raise ValueError(f"The share to hold out must be above 0 and below 1, not {share!r}.")
    together = task.train_groups is not None
    things = task.train_groups if together else torch.arange(len(task.train))
    random, held = np.random.RandomState(seed), torch.zeros(len(task.train), dtype=torch.bool)
    for c in task.train_y.unique().tolist():
        of_class = task.train_y == c
        names = things[of_class].unique()
        if len(names) < 2:
            one = "has one training image" if of_class.sum() == 1 else "shows one thing in all training images"
            raise ValueError(f"{task.classes[c]} {one}, so none can be held out.")
        for thing in names[random.permutation(len(names))[:-1]]:
            held |= of_class & (things == thing)
            if (held & of_class).sum() >= round(share * int(of_class.sum())):
                break
    drawn = {"held_out": share, "held_out_seed": seed} | ({"held_out_by": "group"} if together else {})
    return replace(task, train=task.train[~held], train_y=task.train_y[~held], held=task.train[held],
                   held_y=task.train_y[held], train_groups=task.train_groups[~held] if together else None,
                   protocol=task.protocol | drawn)


def _protocol(rule: str, images: Images, **parameters) -> dict:
    return {"name": rule, "dataset": images.name, **parameters}


def _task(images, train, test, anomalous, protocol) -> Task:
    """Gather the images by index; ValueError if nothing could be learnt or measured."""
    if len(train) == 0:
        raise ValueError(f"{protocol['name']} leaves no training image of {images.name}.")
    if not 0 < anomalous.sum() < len(anomalous):
        lacks = "image" if len(test) == 0 else "normal image" if anomalous.all() else "anomalous image"
        raise ValueError(f"{protocol['name']} leaves no {lacks} to test on {images.name}.")
    train_x, train_y = _rows(images.x, train), images.y[train]
    same = test is train
    return Task(
        train=train_x, train_y=train_y,
        test=train_x if same else _rows(images.x, test), test_y=train_y if same else images.y[test],
        anomalous=anomalous, classes=images.classes, protocol=protocol, digest=images.digest,
        masks=None if images.masks is None else _rows(images.masks, test),
        kinds=None if images.kinds is None else tuple(images.kinds[i] for i in test.tolist()),
        train_groups=None if images.groups is None else images.groups[train],
    )


def _rows(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """x[index], without a copy where the rows follow each other (an official test part does)."""
    first, count = int(index[0]), len(index)
    if torch.equal(index, torch.arange(first, first + count)):
        return x[first:first + count]
    return x[index]


def check_limit(limit, images: Images) -> None:
    """Raise ValueError for a limit that is neither None nor a whole number with an image for each class."""
    least = len(images.classes)
    if limit is not None and (not isinstance(limit, Integral) or limit < least):
        raise ValueError(
            f"The limit must be None or a whole number of at least {least}, an image a class, not {limit!r}.")


def _check_kinds(images, rule):
    if images.kinds is None:
        marked = ", ".join(name for name in NAMES if name != "coil100")
        raise ValueError(f"{images.name} does not mark defects, which {rule} needs; sets that do are {marked}.")


def _thin(index: torch.Tensor, y: torch.Tensor, limit: int | None) -> torch.Tensor:
    """At most `limit` of the indices, evenly spaced after sorting by class, in their old order."""
    if limit is None or len(index) <= limit:
        return index
    by_class = index[torch.argsort(y[index], stable=True)]
    return by_class[(torch.arange(limit) * 2 + 1) * len(index) // (2 * limit)].sort().values
