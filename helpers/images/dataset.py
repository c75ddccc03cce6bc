"""What every data set is here: uint8 images with labels, class names and the official test part."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory, on the CPU.

    x (N, C, H, W) uint8 in 0..255; y (N,) int64, index into `classes`; test (N,) bool, True in the test part;
    masks (N, 1, H, W) bool, True = defect, or None; kinds: per image "good" or the defect's name, or None
    (industrial sets only, where y is the product category); files: per image the name of its file, or None;
    groups (N,) int64: images with one number show the same thing, so no split may part them, or None.
    """

    name: str
    x: torch.Tensor
    y: torch.Tensor
    classes: tuple[str, ...]
    test: torch.Tensor
    masks: torch.Tensor | None = None
    kinds: tuple[str, ...] | None = None
    files: tuple[str, ...] | None = None
    groups: torch.Tensor | None = None

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 over shape and bytes of x, y, test and masks; without masks, of kinds too.

        JPEG pictures may decode to other bytes under another build of Pillow: those of Magnetic Tile Defects did.
        """
        sha = hashlib.sha256()
        for part in (self.x, self.y, self.test, self.masks):
            if part is not None:
                sha.update(repr(tuple(part.shape)).encode())
                sha.update(part.contiguous().numpy())
        if self.kinds is not None and self.masks is None:
            sha.update(repr(self.kinds).encode())
        return sha.hexdigest()[:16]


def class_index(images: Images, wanted) -> int:
    """The index of a class given by name or by index, a number or its digits; ValueError lists the classes."""
    if isinstance(wanted, str) and wanted in images.classes:
        return images.classes.index(wanted)
    index = int(wanted) if isinstance(wanted, str) and wanted.isascii() and wanted.isdecimal() else wanted
    if isinstance(index, Integral) and not isinstance(index, bool) and 0 <= index < len(images.classes):
        return int(index)
    listed = ", ".join(f"{i} ({c})" if str(i) != c else c for i, c in enumerate(images.classes))
    raise ValueError(f"{images.name} has no class {wanted!r}; its classes are {listed}.")


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Resize (N, C, H, W) uint8 images to (N, C, size, size), bilinear with anti-aliasing.

    Pillow computes in whole numbers, so the result and its digest are the same on every machine.
    """
    if tuple(x.shape[2:]) == (size, size):
        return x
    from PIL import Image

    out = np.empty((*x.shape[:2], size, size), np.uint8)
    for planes, small in zip(x.numpy(), out, strict=True):
        for plane, target in zip(planes, small, strict=True):
            target[:] = Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(out)
