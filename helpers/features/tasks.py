"""From a task with images to one with features, computed once and kept in the cache."""

import hashlib
from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F

from .. import engine
from ..images import resize
from ..images.cache import read_cached, write_cached
from .extractors import entry, network, shapes

VERSION = 1  # of the numbers: raise it when the same image would give other features
KINDS = ("pooled", "levels", "patches", "patches+pooled")
AT_ONCE = 16  # images in one pass; more are no faster and take more memory


def of_task(task, extractor="lite0", kind="pooled", size=256, crop=224, stages=None, average=1, rotations=None,
            download=False, device=None):  # fmt: skip
    """Return the task with float16 features of a frozen network where its images were: in train, test and held.

    Images are resized to size x size and cut to the crop x crop pixels in their middle; masks as well, so that they lie
    on what the network sees: (m, 1, crop, crop). A grey image gets three equal channels. `protocol` gains "features", a
    text that says how they were made. The project's cache keeps them, by the pixels and that text.

    For patches, `stages` are the maps to take, counted from 0 as `network` gives them, resized to the first of them
    (bilinear); None means the last ones of stride 8 and 16. `average` is the side, 1 or 3, of the window over which a
    map is averaged before that, with zeros around it (PatchCore, equations 1 and 2). `rotations` = (R, S) turns each
    picture to R or S angles, k 360 / R: train becomes (n R, d), where the turns of a picture follow each other, each of
    train_y R times, and train_groups keep them together; test and held become (m, S, d). A corner that a turned picture
    leaves bare is black before the cut, as in the released code of DifferNet (Rudolph et al., WACV 2021).

    ValueError for what is not possible; other errors as in `network`, where the cache does not hold the features.
    """
    stages = _checked(extractor, kind, size, crop, stages, average, rotations)
    description = _description(extractor, kind, size, crop, stages, average, rotations)
    compute = partial(_computed, extractor=extractor, kind=kind, size=size, crop=crop, stages=stages, average=average,
                      download=download, device=device)  # fmt: skip
    R, S = rotations or (1, 1)

    def test_features(images):
        x = _cached(images, S, description, compute)
        return x if rotations else x.squeeze(1)

    train = _cached(task.train, R, description, compute).flatten(0, 1)
    test = train if task.test is task.train and not rotations else test_features(task.test)
    held = None if task.held is None else test_features(task.held)
    masks = None if task.masks is None else _masks(task.masks, size, crop)
    groups = task.train_groups
    if R > 1:  # the turns of a picture show the same thing
        groups = (torch.arange(len(task.train)) if groups is None else groups).repeat_interleave(R)
    return replace(task, train=train, train_y=task.train_y.repeat_interleave(R), test=test, held=held,
                   masks=masks, train_groups=groups, protocol=task.protocol | {"features": description})  # fmt: skip


def reader(extractor="lite0", kind="pooled", size=256, crop=224, stages=None, average=1, download=False, device=None):
    """Return a function from uint8 images (n, 1 or 3, H, W) to their float16 features, without a cache.

    Arguments and errors as in `of_task`. The function takes an angle in degrees, too, by which pictures are turned.
    """
    from torchvision.transforms.functional import InterpolationMode, center_crop, rotate

    stages = _checked(extractor, kind, size, crop, stages, average, None)
    device = torch.device(device or engine.default_device())
    net = network(extractor, download).to(device, memory_format=torch.channels_last)  # twice as fast on a CPU
    mean, sd = (torch.tensor(v, device=device).view(3, 1, 1) for v in (entry(extractor).mean, entry(extractor).sd))

    @torch.inference_mode()
    def read(images, angle=0):
        x = resize(images, size).expand(-1, 3, -1, -1).to(device)
        x = rotate(x, angle, InterpolationMode.BILINEAR) if angle else x
        x = (center_crop(x, crop).float() / 255 - mean) / sd
        return _reduced(net(x.contiguous(memory_format=torch.channels_last)), kind, stages, average).half()

    return read


def layout(extractor="lite0", kind="levels", stages=None, crop=224):
    """Return how features lie in an image's row or map, a list of whole numbers; needs no weights.

    [d] for pooled, [d1, d2, ...], a width a stage, for levels, [C, h, w] for patches with or without pooled. Errors as
    in `of_task`.
    """
    stages = _checked(extractor, kind, crop, crop, stages, 1, None)
    every = shapes(extractor, crop)
    if "patches" not in kind:
        return [c for c, _, _ in (every if kind == "levels" else every[-1:])]
    return [sum(every[k][0] for k in stages), *every[stages[0]][1:]]


def _checked(extractor, kind, size, crop, stages, average, rotations):
    """Return the stages to take, all for levels; ValueError for anything that is not possible."""
    chosen = entry(extractor)
    if kind not in KINDS:
        raise ValueError(f"There are no features {kind!r}; possible are {', '.join(KINDS)}.")
    if not 64 <= crop <= size:
        raise ValueError(f"The crop must be 64 pixels or more, and not more than the size {size}, not {crop!r}.")
    if average not in (1, 3):
        raise ValueError(f"Maps are averaged over 1 x 1 or 3 x 3 positions, not over {average!r}.")
    if rotations and ("patches" in kind or len(rotations) != 2 or min(rotations) < 1):
        raise ValueError(f"rotations must be two numbers, for training and for testing, of pooled or levels; got "
                         f"{rotations!r} for {kind}.")  # fmt: skip
    if "patches" not in kind:
        return None
    stages, known = tuple(stages or chosen.middle), len(shapes(extractor, 64))
    if not set(stages) <= set(range(known)):
        raise ValueError(f"{extractor} has the stages 0 to {known - 1}, not {', '.join(map(str, stages))}.")
    return stages


def _description(extractor, kind, size, crop, stages, average, rotations):
    """How features are made, in words: what records are found by, and what tables show."""
    words = [f"{extractor} {kind}", f"{size} pixels" + (f" cut to {crop}" if crop < size else "")]
    words += [f"stages {' '.join(map(str, stages))}"] if stages else []
    words += [f"mean of {average} x {average}"] if average > 1 else []
    words += [f"{rotations[0]} and {rotations[1]} rotations"] if rotations else []
    return ", ".join(words) + f" (v{VERSION})"


def _cached(images, turns, description, compute):
    """The features (n, turns, ...) of images, from the cache, or computed and kept there."""
    sha = hashlib.sha256(f"{description} {turns} {tuple(images.shape)}".encode())
    sha.update(images.contiguous().numpy())
    name = f"features-{description.split(',')[0].replace(' ', '-')}-{sha.hexdigest()[:16]}"
    kept = read_cached(name)
    if kept is not None:
        return torch.from_numpy(kept["x"])
    x = compute(images, [k * 360 / turns for k in range(turns)])
    write_cached(name, x=x.numpy())
    return x


def _computed(images, angles, extractor, download, device, **how):
    """Features (n, len(angles), ...) float16, on the CPU, of uint8 images (n, 1 or 3, H, W)."""
    from tqdm.auto import tqdm

    read, found = reader(extractor, download=download, device=device, **how), []
    with tqdm(total=len(images) * len(angles), desc=f"features of {extractor}", unit="") as bar:
        for some in images.split(AT_ONCE):
            found.append(torch.stack([read(some, angle).cpu() for angle in angles], 1))
            bar.update(len(some) * len(angles))
    return torch.cat(found)


def _reduced(maps, kind, stages, average):
    """Features of a kind (B, ...) from the maps of all stages."""
    if kind == "levels":
        return torch.cat([m.mean((2, 3)) for m in maps], 1)
    pooled = maps[-1].mean((2, 3))
    if kind == "pooled":
        return pooled
    taken = [F.avg_pool2d(maps[k], average, 1, average // 2) for k in stages]
    side = taken[0].shape[-2:]
    patches = torch.cat([F.interpolate(m, side, mode="bilinear", align_corners=False) for m in taken], 1)
    return patches.contiguous() if kind == "patches" else torch.cat([patches.flatten(1), pooled], 1)


def _masks(masks, size, crop):
    """Masks (m, 1, H, W) bool, resized and cut as their pictures: True where at least half of a pixel is."""
    from torchvision.transforms.functional import center_crop

    return center_crop(resize(masks.to(torch.uint8) * 255, size) > 127, crop)
