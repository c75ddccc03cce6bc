"""DifferNet: a normalizing flow carries features of normal images to a Gaussian; how far out one lands is its score.

Rudolph, Wandt, Rosenhahn: Same Same But DifferNet: Semi-Supervised Defect Detection with Normalizing Flows, WACV 2021.
Features y (d,) of a frozen network pass coupling blocks to z = f(y). With |J| the determinant of the whole map:

    -log p(y) = ||z||^2 / 2 - log |J| + constant          loss = mean (||z||^2 / 2 - log |J|) / d
    score = mean of z^2, over the d numbers and over the views of a picture

A block permutes its input, halves it to u and v, and scales and shifts each half by what a network sees in the other:

    u <- e^s(v) u + t(v)     v <- e^s(u) v + t(u)     s <- (2 c / pi) atan(s / c), a soft clamp to (-c, c)

8 blocks, networks with hidden layers of 2,048, c = 3, Adam 2e-4 with betas 0.8, eps 1e-4, weight decay 1e-5, 192 epochs
of batches of 96 (24 pictures, 4 turned views each). A test picture has 64 turned views.

Where this differs:

- The features come from elsewhere (`helpers.features`): AlexNet's at three sizes, 768 numbers, in the paper. In the
  released code each view has a random angle, in training a new one in each epoch; here R views have the angles k 360 /
  R, the same for every picture and epoch.
- Betas, epsilon, weight decay, permutations, and which half moves first are the released code's.
- From the released code: it cuts what a block returns to 10^6, and a cut map is no bijection; 2/pi is 0.636 there. The
  permutations come from this method's seed, not from the number of the block.
- It reports the greatest AUC on the test set over all epochs. Here the last epoch scores.
"""

import math
from functools import partial

import torch
from torch import nn

from helpers.engine import Player


class DifferNet(nn.Module):
    """A flow of `blocks` coupling blocks over vectors of `inputs` numbers; `width` is that of the hidden layers.

    It trains on features (B, inputs) and scores such, or (B, R, inputs) of R views of each picture. `clamp` is c, `lr`
    the learning rate. ValueError for fewer than 2 inputs.
    """

    prepare = staticmethod(torch.Tensor.float)

    def __init__(self, inputs=2048, width=2048, blocks=8, clamp=3.0, lr=2e-4):
        super().__init__()
        if inputs < 2:
            raise ValueError(f"A coupling block needs 2 numbers or more, one for each half, not {inputs}.")
        self.lr = lr
        self.blocks = nn.ModuleList(Coupling(inputs, width, clamp) for _ in range(blocks))

    def players(self):
        adam = partial(torch.optim.Adam, lr=self.lr, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5)
        return [Player(self.loss, self.parameters(), adam)]

    def forward(self, y):
        """Return z, as y (..., inputs), and log |J| (...)."""
        log_det = 0
        for block in self.blocks:
            y, change = block(y)
            log_det = log_det + change
        return y, log_det

    def inverse(self, z):
        """Return the features y whose z these are."""
        for block in reversed(self.blocks):
            z = block.inverse(z)
        return z

    def loss(self, batch):
        z, log_det = self(batch.x)
        return (z.square().sum(-1) / 2 - log_det).mean() / z.shape[-1]

    def score(self, y):
        return self(y)[0].square().flatten(1).mean(1)


class Coupling(nn.Module):
    """A coupling block on vectors of n numbers, after a permutation that is drawn with it; `clamp` bounds |s|."""

    def __init__(self, n, width, clamp):
        super().__init__()
        self.clamp, self.sizes = clamp, (n // 2, n - n // 2)
        self.register_buffer("order", torch.randperm(n))
        self.of_v = subnet(self.sizes[1], 2 * self.sizes[0], width)
        self.of_u = subnet(self.sizes[0], 2 * self.sizes[1], width)

    def scale_shift(self, net, half):
        """Return the clamped s and t for the other half."""
        s, t = net(half).chunk(2, -1)
        return 2 * self.clamp / math.pi * (s / self.clamp).atan(), t

    def forward(self, x):
        """Return what becomes of x (..., n), and the logarithm (...) of the determinant."""
        u, v = x[..., self.order].split(self.sizes, -1)
        s_u, t_u = self.scale_shift(self.of_v, v)
        u = s_u.exp() * u + t_u
        s_v, t_v = self.scale_shift(self.of_u, u)
        v = s_v.exp() * v + t_v
        return torch.cat([u, v], -1), s_u.sum(-1) + s_v.sum(-1)

    def inverse(self, y):
        u, v = y.split(self.sizes, -1)
        s_v, t_v = self.scale_shift(self.of_u, u)
        v = (v - t_v) / s_v.exp()
        s_u, t_u = self.scale_shift(self.of_v, v)
        u = (u - t_u) / s_u.exp()
        return torch.cat([u, v], -1)[..., self.order.argsort()]


def subnet(a, b, width):
    """Return a network from a to b numbers with three hidden layers of `width`."""
    layers = []
    for n in (a, width, width):
        layers += [nn.Linear(n, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, b))
