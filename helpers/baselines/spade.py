"""SPADE: the nearest normal images judge the whole, the nearest patches in these images judge each position.

Cohen, Hoshen: Sub-Image Anomaly Detection with Deep Pyramid Correspondences, arXiv 2005.02357, 2020. f is the last map
of a frozen network, averaged over positions, and N_K(y) are the K training images nearest to y in f (section 3.2):

    score(y) = 1 / K sum over t in N_K(y) of ||f(t) - f(y)||^2

F(y, p) are maps of early and middle stages, side by side, at position p. The gallery G(y) holds those of all positions
of the K images, and N_k(y, p) are the k in it that are nearest to F(y, p) (section 3.3):

    map(y, p) = 1 / k sum over g in N_k(y, p) of ||F(y, p) - g||^2

K = 50 and k = 1. The map is brought to the size of the picture and smoothed by a Gaussian of 4 pixels.

It reads both kinds of features in one row, `features.of_task(task, kind="patches+pooled")`, and the `shape` of the
patches from `features.layout(kind="patches")`.

Where this differs:

- The paper's stages have strides 4, 8 and 16. `of_task` gives 8 and 16 where it is not asked for others: each position
  looks through K h w others, so maps of twice the side cost sixteen times as much.
- The ports of this method that are in use have K = 5, and means of distances in place of squares.
"""

import math

import torch
from torch import nn

from helpers.features.patches import nearest, rows, smoothed


class SPADE(nn.Module):
    """SPADE for patches of `shape` (C, h, w), with K `images` and k `patches`; side and sigma of the map in pixels."""

    prepare = staticmethod(torch.Tensor.float)

    def __init__(self, shape, images=50, patches=1, side=224, sigma=4.0):
        super().__init__()
        self.shape, self.images, self.patches, self.side, self.sigma = shape, images, patches, side, sigma

    def players(self):
        return []

    def start(self, data):
        self.register_buffer("F", data.images[:, :math.prod(self.shape)])  # float16, since it is large
        self.register_buffer("f", data.images[:, math.prod(self.shape):].float())  # (n, d)

    def neighbours(self, x):
        """Return distance and index, each (B, K), of the nearest training images."""
        return nearest(x[:, math.prod(self.shape):], self.f, min(self.images, len(self.f)))

    def score(self, x):
        return self.neighbours(x)[0].square().mean(1)

    def maps(self, x):
        """Return smooth maps (B, side, side)."""
        found = []
        for own, index in zip(x[:, :math.prod(self.shape)], self.neighbours(x)[1]):
            gallery = rows(self.F[index].float().unflatten(1, self.shape))  # (K h w, C)
            distance, _ = nearest(rows(own.view(1, *self.shape)), gallery, self.patches)
            found.append(distance.square().mean(1).view(self.shape[1:]))
        return smoothed(torch.stack(found), self.side, self.sigma)
