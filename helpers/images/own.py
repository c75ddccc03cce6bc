"""A reader's own folder of photographs: what is in it, what is passed over and why, and squares for a detector.

A detector looks at squares. `shape` says how a picture becomes some: "pad" puts black bars beside it, "squeeze" makes
it a square, and "tile" covers it with squares, `tiles` of them along its shorter side.
"""

import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..files import MANIFEST, noted
from .archives import LARGEST, walked
from .decoding import FEW, BrokenPicture, brightest, mask, opened
from .layouts import MARKS, Place, marked, own_place

SHAPES = ("pad", "squeeze", "tile")
MOST_FILES = 3000  # their squares and maps are all in memory, a gigabyte and a half
MOST_SQUARES = 64  # of one picture
THUMBNAIL = 320  # pixels of its longer side
WHITES = (255, 1023, 4095, 16383, 65535)  # the largest values that cameras of 8 to 16 bits give


class Picture(NamedTuple):
    """A photograph of a reader's folder.

    file: its path below the folder; part: "train", "test", or "all" where the folder does not say; kind: "good",
    "unknown" or a defect's name; size: (width, height); squares (T, 3, S, S) uint8; boxes (T, 4): where they lie, left,
    top, right and bottom as shares of the picture; thumbnail: a JPEG; mask (S, S) bool of the whole picture, or None.
    """

    file: str
    product: str
    part: str
    kind: str
    size: tuple[int, int]
    squares: torch.Tensor
    boxes: np.ndarray
    thumbnail: bytes
    mask: np.ndarray | None


@dataclass
class Folder:
    """What `look` found: pictures, sorted by file; passed_over, a "file (why)" each; how the pictures were read."""

    path: Path
    pictures: list[Picture]
    passed_over: list[str]
    how: dict  # size, shape, tiles, white


def look(folder, size=256, shape="pad", tiles=1, white=None) -> Folder:
    """Read the pictures of a folder in squares of size x size pixels.

    `white` is the largest value of pictures with 16 bits a pixel; None takes the smallest of WHITES that holds them.
    FileNotFoundError where there is no folder; ValueError for another shape, for pictures brighter than white or all
    too dark for it, and for a folder without pictures or with more than MOST_FILES files.
    """
    folder = Path(os.path.expanduser(folder)).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if shape not in SHAPES:
        raise ValueError(f"There is no shape {shape!r}; possible are {', '.join(SHAPES)}.")
    files, passed_over = _files(folder)
    places = {name: own_place(name, folder.name) for name in files}
    if not any(places.values()):
        places = {name: Place(folder.name, "all", "unknown", name) for name in files}
    strayed = [name for name, at in places.items() if at is None]
    passed_over += [f"{name} (lies in none of the folders {', '.join(MARKS)})" for name in strayed]
    marks = {marked(at): files[name] for name, at in places.items() if at and at.part == "ground_truth"}
    wanted = [(name, at) for name, at in places.items() if at and at.part != "ground_truth"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        values = dict(zip((name for name, _ in wanted), pool.map(brightest, (files[name] for name, _ in wanted))))
        largest = max(values.values(), default=0)
        if white is None:
            white = next((value for value in WHITES if largest <= value), WHITES[-1]) if largest else WHITES[-1]
        elif largest > white or 0 < largest < FEW <= (white + 1) // 4:
            raise ValueError(f"{max(values, key=values.get)} in {folder} uses {largest.bit_length()} bits, but {white} "
                             "counts as white for this detector; move it away, or fit one to pictures like it.")
        how = dict(size=size, shape=shape, tiles=tiles, white=white)
        read = list(pool.map(lambda one: _read(files[one[0]], *one, marks.get(marked(one[1])), how), wanted))
    pictures = [one for one in read if isinstance(one, Picture)]
    passed_over += [one for one in read if isinstance(one, str)]
    if not pictures:
        why = f": {'; '.join(passed_over[:3])}" if passed_over else ""
        raise ValueError(f"{folder} holds no picture that can be used{why}.")
    return Folder(folder, pictures, passed_over, how)


def described(found: Folder) -> list[str]:
    """What a folder holds, in sentences: counts, products, labels, sizes, what is passed over."""
    pictures, how = found.pictures, found.how
    plural = "s" * (len(pictures) != 1)
    lines = [f"{found.path.name}: {len(pictures)} picture{plural}, {_counted(one.size for one in pictures)} pixels."]
    for product in sorted({picture.product for picture in pictures}):
        of_it = [picture for picture in pictures if picture.product == product]
        learn, judge = ([one for one in of_it if one.part == part] for part in ("train", "test"))
        told = [f"{len(learn)} to learn from"] * bool(learn)
        told += [f"{len(judge)} to judge ({_kinds(judge)})"] * bool(judge)
        whole = len(of_it) - len(learn) - len(judge)
        told += [f"{whole} in no folder named good, bad, score, train or test: they count as good"] * bool(whole)
        lines.append(f"{product}: {', '.join(told)}.")
    defects = [one for one in pictures if one.part == "test" and one.kind not in ("good", "unknown")]
    masked = [one for one in defects if one.mask is not None]
    if masked:
        empty = sum(not one.mask.any() for one in masked)
        lines.append(f"{len(masked)} of {len(defects)} pictures of defects have a mask"
                     + (f", {empty} of them an empty one." if empty else "."))  # fmt: skip
    if how["white"] < WHITES[-1]:
        lines.append(f"Pictures of 16 bits a pixel use no more than {how['white'].bit_length()} of them: "
                     f"{how['white']} counts as white.")  # fmt: skip
    if found.passed_over:
        more = f" and {len(found.passed_over) - 12} more" if len(found.passed_over) > 12 else ""
        lines.append(f"Passed over: {'; '.join(found.passed_over[:12])}{more}.")
    return lines


def save(images, folder, products):
    """Write these products of Images as PNG files in a layout that `look` reads: train, test, ground_truth in each."""
    for i, (x, product, kind) in enumerate(zip(images.x, images.y.tolist(), images.kinds)):
        if images.classes[product] not in products:
            continue

        def write(pixels, *parts, number=f"{i:04d}.png", product=images.classes[product]):
            path = Path(folder, product, *parts, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)

        write(x.permute(1, 2, 0).numpy(), "test" if images.test[i] else "train", kind)
        if images.masks is not None and kind != "good":
            write(images.masks[i, 0].numpy().astype(np.uint8) * 255, "ground_truth", kind)


def _files(folder):
    """The files of a folder, {name: path}, without what this book wrote; and what is passed over."""
    files, unread = walked(folder, MOST_FILES)
    places = sorted(file.parent for file in files if file.name == MANIFEST)
    ours = {place / name for place in places for name in (MANIFEST, *noted(place))}  # results are no new pictures
    kept = [file for file in files if file not in ours]
    passed_over = [f"{name} (may not be read)" for name in unread]
    passed_over += [f"{place.relative_to(folder).as_posix()}/{MANIFEST} and what it names (were written by this book)"
                    for place in places]  # fmt: skip
    unnameable = [file for file in kept if not _nameable(file)]
    passed_over += [f"{file.name.encode(errors='replace').decode()} (has a name that is not UTF-8)"
                    for file in unnameable]  # fmt: skip
    return {file.relative_to(folder).as_posix(): file for file in kept if file not in unnameable}, passed_over


def _nameable(file):
    try:
        return bool(str(file).encode())
    except UnicodeEncodeError:
        return False


def _read(path, name, at, mask_path, how):
    """The Picture of a file, or "name (why not)"."""
    try:
        if path.stat().st_size > LARGEST:
            return f"{name} (has more than {LARGEST:,} bytes)"
        image = opened(path.read_bytes(), how["white"])
        boxes = _boxes(*image.size, how["shape"], how["tiles"])
        squares = np.stack([_square(image, box, how["size"]) for box in boxes])
        shares = np.array(boxes) / np.array([*image.size] * 2)
    except (BrokenPicture, OSError) as error:
        return f"{name} ({error})"
    outline = None
    if mask_path:
        try:
            outline = mask(mask_path.read_bytes(), how["size"])[0]
        except (BrokenPicture, OSError) as error:
            return f"{name} (its mask {error})"
    size = image.size
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(thumbnail := io.BytesIO(), "JPEG", quality=85)
    return Picture(name, at.category, at.part, at.kind, size, torch.from_numpy(squares), shares, thumbnail.getvalue(),
                   outline)  # fmt: skip


def _boxes(width, height, shape, tiles):
    """Where the squares of a picture lie, (left, top, right, bottom) in its pixels; those of "pad" reach beyond it."""
    if shape == "squeeze":
        return [(0, 0, width, height)]
    if shape == "pad":
        side = max(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return [(left, top, left + side, top + side)]
    side = max(1, min(width, height) // tiles)
    columns, rows = ceil(width / side), ceil(height / side)
    if columns * rows > MOST_SQUARES:
        raise BrokenPicture(f"would take {columns * rows} squares, more than {MOST_SQUARES}; take fewer tiles, or pad")
    lefts, tops = (np.linspace(0, length - side, n).astype(int).tolist() for length, n in
                   ((width, columns), (height, rows)))  # fmt: skip
    return [(left, top, left + side, top + side) for top in tops for left in lefts]


def _square(image, box, size):
    part = image if box == (0, 0, *image.size) else image.crop(box)  # what lies beyond the picture is black
    return np.ascontiguousarray(np.asarray(part.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1))


def _counted(sizes):
    """Sizes in words, the most frequent first, or their range where there are many."""
    counts = Counter(sizes).most_common()
    if len(counts) == 1:
        return "all of {} x {}".format(*counts[0][0])
    if len(counts) <= 3:
        return ", ".join(f"{n} of {w} x {h}" for (w, h), n in counts)
    sides = [size for size, _ in counts]
    (low, lowest), (high, highest) = min(sides), max(sides)
    return f"of {len(counts)} sizes from {low} x {lowest} to {high} x {highest}"


def _kinds(pictures):
    return ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(picture.kind for picture in pictures).items()))
