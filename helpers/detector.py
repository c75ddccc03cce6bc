"""A detector for a reader's own pictures: fitted to good ones, with a threshold that has a rate, in one file.

Every good picture is scored once by a method that has not seen it: the pictures of a product, in the order of their
names, are cut into at most five parts, and each part is scored by a method fitted to the others. These held-out scores
set the threshold (`thresholds.for_false_alarms`), without a label. The detector that is kept learns from all good
pictures, of more than MOST from so many, and so scores new good ones a little lower than the parts did.
"""

import math
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from . import engine, features, metrics, pixel_metrics
from .baselines.cae import CAE
from .baselines.mahalanobis import MahalanobisAD
from .baselines.padim import PaDiM
from .baselines.patchcore import PatchCore
from .baselines.spade import SPADE
from .baselines.trivial import DistanceToMean
from .images import own, resize
from .thresholds import Threshold, for_false_alarms

FORMAT = "The Annotated Anomaly, detector 1"
FOLDS = 5
MOST = 400  # good pictures a product that a method learns from; of more, every so-many-th
REMEMBERED = 5_000  # patches in PatchCore's memory
EPOCHS = {"CAE": 100}  # the others are not trained by steps
# What makes a method for squares of so many pixels, and what it reads: features of lite0, or pixels of a small square.
METHODS = {
    "PatchCore": (lambda size: PatchCore(side=size), dict(kind="patches", average=3)),
    "PaDiM": (lambda size: PaDiM(side=size), dict(kind="patches")),
    "SPADE": (lambda size: SPADE(features.layout(kind="patches", crop=size), side=size), dict(kind="patches+pooled")),
    "Mahalanobis-AD": (lambda size: MahalanobisAD(features.layout(kind="levels", crop=size)), dict(kind="levels")),
    "CAE": (lambda size: CAE(3, "e3"), 32),
    "distance to mean image": (lambda size: DistanceToMean(), 64),
}


class Part(NamedTuple):
    """What a detector holds of a product.

    A fitted method; the held-out scores (n,) of good pictures and the threshold that they set; `limits` (low, high) of
    the heat that is drawn as nothing and as full colour.
    """

    method: torch.nn.Module
    held: np.ndarray
    threshold: Threshold
    limits: tuple[float, float]


@dataclass
class Detector:
    """A part for each product. `config`: method, false_alarms, and size, shape, tiles, white as in `own.look`."""

    config: dict
    parts: dict[str, Part]


class Judged(NamedTuple):
    """Pictures with scores: `lines`, a frame with the most suspicious first; heats, {file: map (S, S) of it all}.

    The columns are file, product, kind, score, threshold, ratio (of the two) and verdict, "flagged" or "passed".
    `held_out`: these are the good pictures that set the threshold, so that their verdicts test nothing.
    """

    lines: pd.DataFrame
    heats: dict[str, np.ndarray]
    held_out: bool = False


def fit(found, method="PatchCore", false_alarms=0.05, device=None):
    """Return a Detector fitted to the good pictures of an `own.Folder`, and these pictures Judged, held out.

    Good are those of the part "train", or all of a folder that does not say. ValueError for a method that is not in
    METHODS, a product with fewer than two good pictures (three for PaDiM), and a rate as in `for_false_alarms`.
    """
    if method not in METHODS:
        raise ValueError(f"There is no method {method!r} for own pictures; possible are {', '.join(METHODS)}.")
    for_false_alarms([0.0], false_alarms)  # before any work
    good = {product: [one for one in found.pictures if one.product == product and one.part != "test"]
            for product in sorted({one.product for one in found.pictures})}  # fmt: skip
    least = 3 if method == "PaDiM" else 2
    for product, pictures in good.items():
        if not pictures and any(good.values()):
            strange = next(one.file for one in found.pictures if one.product == product)
            home = next(name for name in good if good[name])
            raise ValueError(f"{product} has pictures to judge, such as {strange}, but no good ones to learn from: put "
                             f"such into {product}/good, or the others into their product's folder, such as "
                             f"{home}/score.")  # fmt: skip
        if len(pictures) < least:
            raise ValueError(f"{product} has too few good pictures to learn from: {len(pictures)}, and {method} needs "
                             f"{least}; they lie in a folder named good.")  # fmt: skip
    config = dict(method=method, false_alarms=float(false_alarms), **found.how)
    read, parts, lines, heats = reader(config, device), {}, [], {}
    for product, pictures in good.items():
        seen = [read(picture.squares) for picture in pictures]
        scored = held_out(config, seen, device)
        held = np.array([score for score, _ in scored])
        threshold = for_false_alarms(held, false_alarms)
        parts[product] = Part(_fitted(config, seen, device), held, threshold, _limits(scored))
        lines += [_line(picture, product, score, threshold) for picture, (score, _) in zip(pictures, scored)]
        heats |= _heats(pictures, scored, config["size"])
    return Detector(config, parts), _judged(lines, heats)._replace(held_out=True)


def held_out(config, seen, device=None):
    """Return (score, maps or None) of what was read of each picture, by a method fitted to other parts of the list.

    Parts are runs of neighbours: pictures with names that follow each other may show the same thing.
    """
    folds = np.array_split(np.arange(len(seen)), min(FOLDS, len(seen)))
    scored = {}
    for fold in folds:
        method = _fitted(config, [x for i, x in enumerate(seen) if i not in fold], device)
        scored |= {i: _scored(method, seen[i]) for i in fold}
    return [scored[i] for i in range(len(seen))]


def look(detector, folder):
    """Return the `own.Folder` of a path, read as the pictures were that the detector learned from; errors as there."""
    return own.look(folder, **{name: detector.config[name] for name in ("size", "shape", "tiles", "white")})


def judge(detector, found, device=None):
    """Return the pictures of an `own.Folder` Judged.

    Judged are those of the part "test" where there are some, else all. A detector of one product takes every picture
    for that one; else a picture of no known product goes to `found.passed_over`. ValueError where this leaves none.
    """
    read, lines, heats, unknown = reader(detector.config, device), [], {}, []
    tests = [picture for picture in found.pictures if picture.part == "test"]
    for picture in tests or found.pictures:
        product = _product(picture, detector.parts)
        if product is None:
            unknown.append(f"{picture.file} (lies in no folder named after a product of the detector)")
            continue
        part = detector.parts[product]
        scored = _scored(part.method, read(picture.squares))
        lines.append(_line(picture, product, scored[0], part.threshold))
        heats |= _heats([picture], [scored], detector.config["size"])
    if not lines:
        raise ValueError(f"The detector knows the products {', '.join(detector.parts)}, and {found.path} has no folder "
                         "of such a name.")  # fmt: skip
    found.passed_over += [note for note in unknown if note not in found.passed_over]
    return _judged(lines, heats)


def reader(config, device=None):
    """Return a function from the squares of a picture (T, 3, S, S) uint8 to what the method reads, on the CPU."""
    how = METHODS[config["method"]][1]
    if isinstance(how, int):
        return lambda squares: resize(squares, how)
    read = features.reader(size=config["size"], crop=config["size"], device=device, **how)
    return lambda squares: read(squares).cpu()


def qualities(judged, found):
    """Return frames of what labels show: one of products, one of defects; both empty where they show nothing.

    Products: good and defective pictures, how many of each were flagged, auroc, and aupro where masks are; NaN where it
    needs what is not there. Defects: pictures and how many of them were flagged.
    """
    lines = judged.lines[(judged.lines.kind != "unknown") & (not judged.held_out)]
    masks = {picture.file: picture.mask for picture in found.pictures}
    products, defects = [], []
    for product, some in lines.groupby("product"):
        bad, flagged = some.kind != "good", some.verdict == "flagged"
        both = bad.any() and not bad.all()
        outlined = {file: masks[file] if is_bad else np.zeros_like(judged.heats[file], bool)
                    for file, is_bad in zip(some.file, bad) if file in judged.heats}  # fmt: skip
        outlined = {file: outline for file, outline in outlined.items() if outline is not None}
        products.append({
            "product": product, "good": int((~bad).sum()), "false alarms": int((~bad & flagged).sum()),
            "defective": int(bad.sum()), "found": int((bad & flagged).sum()),
            "AUROC": metrics.auroc(bad, some.score) if both else np.nan,
            "AUPRO": pixel_metrics.aupro([judged.heats[file] for file in outlined], list(outlined.values()))
            if any(outline.any() for outline in outlined.values()) else np.nan})  # fmt: skip
        defects += [{"product": product, "defect": kind, "pictures": len(of_kind),
                     "found": int((of_kind.verdict == "flagged").sum())}
                    for kind, of_kind in some[bad].groupby("kind")]  # fmt: skip
    return pd.DataFrame(products), pd.DataFrame(defects)


def save(detector, file):
    """Write a detector to an open binary file, or to a path."""
    torch.save({"format": FORMAT, "config": detector.config | {"features": features.tasks.VERSION}, "products": {
        name: {"state": part.method.state_dict(), "held": torch.from_numpy(part.held), "limits": part.limits,
               "threshold": part.threshold._asdict()} for name, part in detector.parts.items()}}, file)  # fmt: skip


def load(path) -> Detector:
    """Read a detector that `save` wrote; nothing in the file is run.

    FileNotFoundError where there is none; ValueError for a file that is damaged or something else, and for one whose
    features other code made.
    """
    try:
        with open(path, "rb") as file:
            with zipfile.ZipFile(file) as archive:
                if archive.testzip():  # torch looks at no checksum
                    raise zipfile.BadZipFile
            file.seek(0)
            kept = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise FileNotFoundError(f"{path} cannot be read ({error.strerror}).") from None
    except Exception as error:  # torch raises many types on damaged bytes
        raise ValueError(f"{path} is damaged, or no detector of this book.") from error
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise ValueError(f"{path} is no detector of this book.")
    try:
        config = dict(kept["config"])
        if config.pop("features") != features.tasks.VERSION:
            raise ValueError(f"{path} was fitted to features that this version of the book does not make; fit again.")
        parts = {str(name): Part(_restored(config, part["state"]), part["held"].numpy(), Threshold(**part["threshold"]),
                                 part["limits"]) for name, part in kept["products"].items()}  # fmt: skip
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: it lacks what a detector needs.") from error
    return Detector(config, parts)


def _restored(config, state):
    method = METHODS[config["method"]][0](config["size"])
    for name, tensor in state.items():
        if "." not in name and name not in dict(method.named_buffers()):  # what `start` registers
            method.register_buffer(name, tensor)
    method.load_state_dict(state)
    return method.to(memory_format=torch.channels_last).eval()  # as in training: else convolutions give other bits


def _fitted(config, seen, device):
    make, how = METHODS[config["method"]]
    some = seen if len(seen) <= MOST else [seen[i] for i in np.linspace(0, len(seen) - 1, MOST).astype(int)]
    x, method = torch.cat(some), make(config["size"])
    if isinstance(method, PatchCore):
        method.share = min(method.share, REMEMBERED / (len(x) * x[0, 0].numel()))
    torch.manual_seed(0)  # a trained method draws its first weights here
    task = SimpleNamespace(train=x, train_y=torch.zeros(len(x), dtype=torch.int64))
    engine.fit(method, task, EPOCHS.get(config["method"], 0), batch_size=32, device=device)
    return method.cpu()


def _scored(method, x):
    """Score, and maps (T, S, S) where the method draws some, of what was read of one picture.

    One picture at a time: its score does not depend on its company, not even in its last bit.
    """
    with engine.evaluating(method):
        x = engine.prepare(method, x)
        score = method.score(x).max().item()
        if not math.isfinite(score):
            raise ValueError("A score is not finite; fit a detector to other pictures, or with another method.")
        return score, method.maps(x).numpy() if hasattr(method, "maps") else None


def _product(picture, products):
    if len(products) == 1:
        return next(iter(products))
    named = [picture.product, *map(str, PurePosixPath(picture.file).parents)]
    return next((name for name in named if name in products), None)


def _line(picture, product, score, threshold):
    return {"file": picture.file, "product": product, "kind": "good" if picture.part == "train" else picture.kind,
            "score": score, "threshold": threshold.value, "ratio": score / max(threshold.value, 1e-12),
            "verdict": "flagged" if score > threshold.value else "passed"}  # fmt: skip


def _judged(lines, heats):
    return Judged(pd.DataFrame(lines).sort_values("ratio", ascending=False, kind="stable", ignore_index=True), heats)


def _heats(pictures, scored, size):
    return {picture.file: whole(maps, picture.boxes, size) for picture, (_, maps) in zip(pictures, scored)
            if maps is not None}  # fmt: skip


def whole(maps, boxes, size):
    """Return one map (size, size) of a whole picture from those of its squares (T, h, w).

    Where squares overlap, the largest counts. `boxes` (T, 4) as in `own.Picture`.
    """
    found, middle = np.full((size, size), -np.inf, np.float32), (np.arange(size) + 0.5) / size
    for values, (left, top, right, bottom) in zip(maps, boxes):
        x, y = (middle >= left) & (middle < right), (middle >= top) & (middle < bottom)
        column = ((middle[x] - left) / (right - left) * values.shape[1]).astype(int)
        row = ((middle[y] - top) / (bottom - top) * values.shape[0]).astype(int)
        place = np.ix_(y, x)
        found[place] = np.maximum(found[place], values[np.ix_(row, column)])
    return found


def _limits(scored):
    """What of a heat is drawn as nothing and as full colour: the usual largest of a good picture, and twice that."""
    largest = [maps.max() for _, maps in scored if maps is not None]
    usual = float(np.median(largest)) if largest else 0.0
    return usual, 2 * usual
