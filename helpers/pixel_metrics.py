"""How well an anomaly map finds the pixels of a defect.

A map gives one score a pixel, higher = more anomalous. Pixel AUROC counts pixels, so large defects count most;
AUPRO counts connected regions, so a scratch weighs as much as a stain.
"""

import numpy as np
from scipy import ndimage
from sklearn.metrics import auc, roc_auc_score


def pixel_auroc(maps, masks) -> float:
    """Area under the ROC curve over all pixels of all test images, in 0..1.

    maps (N, H, W) or (N, 1, H, W) real, masks of the same shape bool. ValueError for other shapes, maps that are
    not finite, or masks without a defect or without a good pixel.
    """
    maps, masks = _checked(maps, masks)
    return float(roc_auc_score(masks.ravel(), maps.ravel()))


def aupro(maps, masks, limit: float = 0.3) -> float:
    """Area under the per-region overlap curve up to a false positive rate of `limit`, divided by `limit`, in 0..1.

    At a threshold t, the per-region overlap is the share of a connected region (8 neighbours) that scores t or
    more, averaged over all regions of all images; the false positive rate is the share of good pixels of all
    images that does. The curve is linear between neighbouring thresholds (Bergmann et al., IJCV 2021, section
    5.1). A map without information reaches limit / 2 on average. Shapes and errors as in `pixel_auroc`, and
    ValueError for a limit outside of (0, 1].
    """
    if not 0 < limit <= 1:
        raise ValueError(f"The limit of the false positive rate must be above 0 and at most 1, not {limit!r}.")
    maps, masks = _checked(maps, masks)
    regions, count = _regions(masks)
    # Lowering t past a pixel adds one step to its curve: 1 / good pixels, or 1 / (its region's size * regions).
    weight = 1 / np.bincount(regions.ravel(), minlength=count + 1)
    weight[1:] /= count
    order = np.argsort(-maps, axis=None)
    scores, label = maps.ravel()[order], regions.ravel()[order]
    step = weight[label]
    fpr, pro = np.cumsum(np.where(label == 0, step, 0)), np.cumsum(np.where(label == 0, 0, step))
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # equal scores pass the threshold together
    fpr, pro = np.append(0, fpr[last]), np.append(0, pro[last])
    end = np.searchsorted(fpr, limit)  # the first point at or beyond the limit; the curve is cut there
    at = np.interp(limit, fpr[end - 1:end + 1], pro[end - 1:end + 1])
    return float(auc(np.append(fpr[:end], limit), np.append(pro[:end], at)) / limit)


def _regions(masks):
    """Number the 8-connected regions of all images 1, 2, ... (N, H, W), 0 where there is no defect."""
    neighbours = np.zeros((3, 3, 3))
    neighbours[1] = 1  # within an image, not from one image to the next
    return ndimage.label(masks, neighbours)


def _checked(maps, masks):
    """Both as (N, H, W) arrays; ValueError says what does not fit."""
    maps, masks = (np.asarray(values) for values in (maps, masks))
    if maps.shape != masks.shape or maps.ndim not in (3, 4) or (maps.ndim == 4 and maps.shape[1] != 1):
        raise ValueError(f"Maps and masks must both be (N, H, W) or (N, 1, H, W), not {maps.shape} and {masks.shape}.")
    maps, masks = (values.reshape(len(values), *values.shape[-2:]) for values in (maps, masks.astype(bool)))
    if not np.isfinite(maps).all():
        raise ValueError("The maps hold values that are not finite.")
    if masks.all() or not masks.any():
        raise ValueError("The masks must hold defective and good pixels.")
    return maps, masks
