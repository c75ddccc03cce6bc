"""Figures that chapters share, looked at pixel by pixel."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from helpers.figures import overlay

matplotlib.use("Agg")


@pytest.mark.parametrize("channels", [1, 3])
def test_the_overlay_is_bright_where_the_map_is_high_and_outlines_the_mask(channels):
    image = torch.full((channels, 32, 32), 128, dtype=torch.uint8)
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 4:12, 4:12] = True
    heat = np.zeros((32, 32))
    heat[20:28, 20:28] = 5
    figure, ax = plt.subplots(figsize=(3.2, 3.2), dpi=100)
    figure.subplots_adjust(0, 0, 1, 1)
    overlay(image, heat, mask, ax=ax)
    figure.canvas.draw()
    shown = np.asarray(figure.canvas.buffer_rgba()).astype(int)[..., :3]
    plt.close(figure)
    box = np.array(ax.get_window_extent().extents, int)
    shown = shown[320 - box[3]:320 - box[1], box[0]:box[2]]
    cell = shown.shape[0] / 32

    def at(row, column):
        return shown[int((row + 0.5) * cell), int((column + 0.5) * cell)]

    assert np.abs(at(16, 16) - at(8, 8)).max() < 5  # nothing is drawn inside the outline, nor far from it
    assert np.ptp(at(16, 16)) < 5 and np.abs(at(24, 24) - at(16, 16)).max() > 40
    edge = shown[int(4 * cell) - 3:int(4 * cell) + 3, int(8 * cell)]
    assert (edge[:, 2] - edge[:, 0]).max() > 80  # the outline is blue


def test_the_overlay_without_a_mask_or_contrast():
    ax = overlay(np.zeros((3, 8, 8), np.uint8), np.ones((1, 8, 8)))
    assert len(ax.images) == 2 and not ax.collections
    plt.close(ax.figure)
