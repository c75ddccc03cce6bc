"""Figures that chapters share, looked at pixel by pixel, and what is written beside them."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from helpers import figures
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


class Dimmed(nn.Module):
    """Redraws an image at half of its brightness; the score is its mean."""

    def forward(self, x):
        return x / 2

    def score(self, x):
        return x.mean((1, 2, 3))


def test_redrawings_stand_below_their_images_with_their_scores():
    white, dark = torch.full((1, 4, 4), 255, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8)
    figures.redrawings({"half": Dimmed()}, {"white": white, "dark": dark}, caption="score {:.1f}")
    axes = np.array(plt.gcf().axes).reshape(2, 2)
    assert [[ax.images[0].get_array().mean() for ax in row] for row in axes] == [[1, 0], [0.5, 0]]
    assert [ax.get_title() for ax in axes[0]] == ["white", "dark"]
    assert [row[0].get_ylabel() for row in axes] == ["input", "half"]
    assert [[ax.get_xlabel() for ax in row] for row in axes] == [["", ""], ["score 1.0", "score 0.0"]]
    plt.close("all")


def test_arrows_of_a_chain_end_at_its_boxes_however_wide_they_are():
    figures.flow([("name", ["$x$", ("a box with many words in it", "#cfe3f7"), "$y$"])])
    figure = plt.gcf()
    figure.canvas.draw()
    texts = figure.axes[0].texts
    boxes = [text.get_bbox_patch().get_window_extent() for text in texts if text.get_bbox_patch()]
    arrows = [text.arrow_patch.get_window_extent() for text in texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == len(boxes) - 1 == 2
    for arrow, left, right in zip(arrows, boxes, boxes[1:], strict=False):
        assert left.x1 <= arrow.x0 and arrow.x1 <= right.x0
    plt.close("all")


def test_no_maps_draw_no_figure():
    before = plt.get_fignums()
    figures.heat_maps({}, "AUROC")
    assert plt.get_fignums() == before


def test_a_short_row_leaves_its_last_places_empty(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    figures.pictures([torch.rand(1, 3, 4, 4), torch.rand(3, 3, 4, 4)])
    drawn = [bool(ax.images) for ax in plt.gcf().axes]
    plt.close("all")
    assert drawn == [True, False, False, True, True, True]
