"""Pixel metrics against hand-computed cases and a slow, direct reading of their definitions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers.pixel_metrics import aupro, pixel_auroc


def slow_aupro(maps, masks, limit):
    """The definition, threshold by threshold and region by region, integrated on a fine grid."""
    regions = []
    for i, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(i, labels == k + 1) for k in range(count)]
    points = [(0.0, 0.0)]
    for t in sorted(set(maps.ravel().tolist()), reverse=True):
        overlap = np.mean([(maps[i][region] >= t).mean() for i, region in regions])
        points.append(((maps[~masks] >= t).mean(), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > limit:
            if x0 < limit:
                at = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
                area += (limit - x0) * (y0 + at) / 2
            break
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def scene(seed, levels=None, n=4, side=24):
    rng = np.random.default_rng(seed)
    masks = ndimage.gaussian_filter(rng.standard_normal((n, side, side)), (0, 2, 2)) > 0.25
    maps = masks * rng.uniform(0, 2) + rng.standard_normal(masks.shape)
    return (np.round(maps * levels) / levels if levels else maps), masks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [None, 2], ids=["distinct", "many ties"])
def test_aupro_is_its_definition(seed, limit, levels):
    maps, masks = scene(seed, levels)
    assert aupro(maps, masks, limit) == pytest.approx(slow_aupro(maps, masks, limit), abs=1e-9)


def test_a_case_by_hand():
    """Ten good pixels; a region of two and one of one. Scores fall from 9; the threshold passes them in turn."""
    masks = np.array([[[1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]], bool)
    maps = np.array([[[9, 5, 7, 6, 4, 3, 2, 1, 0, -1, -2, -3, -4]]], float)
    # (fpr, pro): (0, 1/4) (.1, 1/4) (.1, 3/4) (.1, 1) (.2, 1) ... ; area to .3 = .1 * .25 + .2 * 1
    assert aupro(maps, masks, 0.3) == pytest.approx((0.025 + 0.2) / 0.3)
    # area to .05 = .05 * .25; to .1, where the curve jumps, .1 * .25
    assert aupro(maps, masks, 0.05) == aupro(maps, masks, 0.1) == pytest.approx(0.25)
    # of the 30 pairs of a defective and a good pixel, 9 and 6 and 5 against 7: two are wrong
    assert pixel_auroc(maps, masks) == pytest.approx(28 / 30)


def test_a_small_region_counts_as_much_as_a_large_one():
    masks = np.zeros((1, 20, 20), bool)
    masks[0, :10, :10] = True
    masks[0, 15, 15] = True
    large, small = masks & (np.arange(20) < 12), masks & (np.arange(20) > 12)
    assert aupro(large.astype(float), masks) == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-9)
    assert aupro(small.astype(float), masks) == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-9)
    assert pixel_auroc(large.astype(float), masks) > 0.99 > 0.51 > pixel_auroc(small.astype(float), masks)


def test_regions_touch_at_corners_and_end_at_the_image():
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 2, 2] = masks[0, 3, 3] = True  # one region, corner to corner
    masks[1, 2, 2] = True  # the same place in the next image: another region
    maps = np.zeros((2, 6, 6))
    maps[0, 2, 2] = maps[0, 3, 3] = 1
    assert aupro(maps, masks, 1.0) == pytest.approx((0.5 + 1) / 2)


def test_perfect_inverted_and_constant_maps():
    _, masks = scene(1)
    assert aupro(masks.astype(float), masks) == pytest.approx(1)
    assert aupro(-masks.astype(float), masks) == pytest.approx(0)
    assert aupro(np.zeros(masks.shape), masks) == pytest.approx(0.15)
    assert pixel_auroc(masks.astype(float), masks) == 1 and pixel_auroc(np.zeros(masks.shape), masks) == 0.5


def test_only_the_order_of_scores_counts_and_not_that_of_images():
    maps, masks = scene(2)
    for metric in (aupro, pixel_auroc):
        value = metric(maps, masks)
        assert metric(np.exp(maps), masks) == pytest.approx(value)
        assert metric(maps[::-1], masks[::-1]) == pytest.approx(value)
        assert metric(maps[:, ::-1, ::-1], masks[:, ::-1, ::-1]) == pytest.approx(value)
        assert metric(torch.from_numpy(maps)[:, None], torch.from_numpy(masks)[:, None]) == pytest.approx(value)


def test_bad_input_is_named():
    maps, masks = scene(3)
    for metric in (aupro, pixel_auroc):
        with pytest.raises(ValueError, match="must both be"):
            metric(maps[:2], masks)
        with pytest.raises(ValueError, match="not finite"):
            metric(np.where(masks, np.nan, maps), masks)
        for fill in (False, True):
            with pytest.raises(ValueError, match="defective and good pixels"):
                metric(maps, np.full_like(masks, fill))
    for limit in (0, 1.5):
        with pytest.raises(ValueError, match="limit"):
            aupro(maps, masks, limit)
