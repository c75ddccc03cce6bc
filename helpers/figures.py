"""Figures that more than one chapter draws, in one style: white ground, so that they read on light and dark pages."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib_inline.backend_inline import set_matplotlib_formats

from . import engine


def use_style():
    """Set the book's style: white ground, readable sizes, sharp pictures on a dense screen."""
    sns.set_theme(style="ticks", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 100,
                         "axes.spines.top": False, "axes.spines.right": False, "image.cmap": "gray"})  # fmt: skip
    set_matplotlib_formats("retina")


def picture(ax, x, caption="", **options):
    """Draw one image x (C, H, W), values in [0, 1], on axes without ticks, with a caption below."""
    x = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, float)
    ax.imshow(x[0] if len(x) == 1 else x.transpose(1, 2, 0).clip(0, 1), **({"vmin": 0, "vmax": 1} | options))
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(caption, fontsize=9)
    for spine in ax.spines.values():
        spine.set_visible(False)


def pictures(grid, columns=(), rows=(), captions=None, size=1.4):
    """Draw a grid of images, a list of rows of (C, H, W) in [0, 1], with column titles, row names and captions.

    A row that is shorter than the longest leaves its last places empty.
    """
    height, width = len(grid), max(map(len, grid))
    figure, axes = plt.subplots(height, width, squeeze=False, layout="constrained",
                                figsize=(size * width, size * height * (1.12 if captions else 1)))  # fmt: skip
    for i, row in enumerate(grid):
        for j, x in enumerate(row):
            picture(axes[i][j], x, captions[i][j] if captions else "")
        for ax in axes[i][len(row):]:
            ax.axis("off")
    for j, title in enumerate(columns):
        axes[0][j].set_title(title, fontsize=10)
    for i, name in enumerate(rows):
        axes[i][0].set_ylabel(name, fontsize=10)
    plt.show()


def redrawings(methods, examples, caption="error {:.4f}", size=1.5):
    """Draw a column an example: the image, and below it what each method makes of it, with its score as the caption.

    `methods` maps names to trained methods, whose call redraws a batch, `examples` titles to images (C, H, W) uint8.
    """
    u8 = torch.stack(list(examples.values()))
    redrawn = [engine.each_image(method, u8, method) for method in methods.values()]
    captions = [[caption.format(score) for score in engine.score(method, u8)] for method in methods.values()]
    pictures([u8 / 255, *redrawn], examples, ["input", *methods], [[""] * len(u8), *captions], size)


def overlay(image, heat, mask=None, ax=None, limits=None):
    """Draw an anomaly map over its image, with the mask's outline; return the axes.

    image (C, H, W) uint8, one or three channels; heat (H, W) or (1, H, W); mask (H, W) or (1, H, W) bool or None.
    `limits` (low, high) are the scores that are drawn as nothing and as full colour: give the same to all
    pictures of a figure. None takes the map's own median and maximum.
    """
    image, heat = np.asarray(image), np.asarray(heat, dtype=float).reshape(np.shape(image)[1:])
    ax = ax or plt.subplots(figsize=(2.4, 2.4))[1]
    low, high = limits or (np.median(heat), heat.max())
    strength = np.clip((heat - low) / max(high - low, 1e-12), 0, 1)
    grey = image.mean(0) / 255
    ax.imshow(np.repeat(grey[..., None], 3, -1) * 0.8 + 0.1)
    ax.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * np.sqrt(strength))
    if mask is not None and np.asarray(mask).any():
        ax.contour(np.asarray(mask).reshape(heat.shape), levels=[0.5], colors=["#35d0ff"], linewidths=1.2)
    ax.set_axis_off()
    return ax


def heat_maps(frames, label, vmin=0.5, vmax=1.0, xlabel="", ylabel=""):
    """Draw one heat map a data frame, {title: frame}, one above the other on one colour scale; nothing for none."""
    if not frames:
        return
    n = len(frames)
    rows, columns = next(iter(frames.values())).shape
    figure, axes = plt.subplots(n, 1, squeeze=False, layout="constrained",
                                figsize=(0.62 * columns + 2, n * (0.42 * rows + 1.1)))  # fmt: skip
    for ax, (title, frame) in zip(axes.flat, frames.items(), strict=True):
        sns.heatmap(frame, ax=ax, vmin=vmin, vmax=vmax, cmap="viridis", annot=True, fmt=".2f", linewidths=0.5,
                    annot_kws={"fontsize": 8}, cbar_kws={"label": label})  # fmt: skip
        ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
        ax.tick_params(length=0)
        plt.setp(ax.get_yticklabels(), rotation=0)
    plt.show()


def flow(rows, width=8.5):
    """Draw chains of boxes joined by arrows: rows of (name, list of box texts); text in (…, colour) pairs is tinted."""
    figure, axes = plt.subplots(len(rows), 1, figsize=(width, 0.6 * len(rows)), squeeze=False, layout="constrained")
    arrow = {"arrowstyle": "->", "color": "#5c6570", "shrinkA": 3, "shrinkB": 3}
    for ax, (name, boxes) in zip(axes.flat, rows, strict=True):
        ax.set(xlim=(-0.9, len(boxes) - 0.5), ylim=(0, 1))
        ax.axis("off")
        ax.text(-0.9, 0.5, name, va="center", weight="bold")
        drawn = []
        for k, box in enumerate(boxes):
            text, colour = box if isinstance(box, tuple) else (box, "#eef2f7")
            frame = {"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "#5c6570"}
            drawn.append(ax.text(k, 0.5, text, ha="center", va="center", fontsize=9, bbox=frame))
        figure.draw_without_rendering()  # only now the boxes have their sizes, between which the arrows go
        for k, (left, right) in enumerate(pairwise(drawn)):
            ends = {"patchA": left.get_bbox_patch(), "patchB": right.get_bbox_patch()}
            ax.annotate("", (k + 1, 0.5), (k, 0.5), arrowprops=arrow | ends)
    plt.show()


def side_by_side(draw, frames, missing="not run", **options):
    """Draw `frames`, {title: frame}, beside each other by draw(ax, frame); an empty frame says `missing` instead.

    `options` are those of plt.subplots.
    """
    figure, axes = plt.subplots(1, len(frames), squeeze=False, layout="constrained",
                                **({"figsize": (5 * len(frames), 3.6)} | options))  # fmt: skip
    for ax, (title, frame) in zip(axes.flat, frames.items()):
        ax.set_title(title, fontsize=11)
        if len(frame):
            draw(ax, frame)
        else:
            ax.set_axis_off()
            ax.text(0.5, 0.5, missing, ha="center", va="center", fontsize=8, wrap=True, transform=ax.transAxes)
    plt.show()
