"""Deep SVDD: a network that maps normal images close to one point; the distance to it is the score.

Ruff, Vandermeulen, Goernitz, Deecke, Siddiqui, Binder, Mueller, Kloft: Deep One-Class Classification, ICML 2018.
With d = ||phi(x) - c||^2, equations 3 and 4 (their weight decay is the optimiser's):

    one-class       loss = mean d                                     score  d
    soft boundary   loss = R^2 + (1 / nu) mean max(0, d - R^2)        score  d - R^2

An autoencoder is trained first, in the first `pretrain_epochs` of the epochs that `fit` gets. Its encoder becomes phi,
and c the mean of phi over the training set, with each |c_j| < 0.1 pushed to 0.1. The other epochs train phi. R is the
(1 - nu) quantile of the distances in a batch, taken after each step, from the 11th of these epochs on.

Networks, preprocessing and numbers are those of the authors' code: batches of 200, Adam 1e-4. For MNIST 150 + 150
epochs, with a tenth of the rate after the 50th of each phase; for CIFAR-10 350 + 150, after the 250th and the 50th.
Global contrast normalisation:

    x <- (x - mean x) / mean |x - mean x|  for each image,  then the training set's range goes to [0, 1]

Where this differs:

- From the released code: that range is measured on the training images; there it is a constant for each class. The
  autoencoder's error is the mean over pixels, there the sum, and its weight decay is 5e-4 for three channels too, there
  5e-7 for CIFAR-10: so the decay weighs more here while it is trained.
- From what IAEAD ran (nu = 0.1, soft boundary; `gcn=False`): no normalisation, inputs 2 x / 255 - 1, while the decoder
  still ends in a sigmoid and can never return a negative value. They also pad MNIST to 32 and resize it back to 28;
  we do not. Their epochs are the authors'.
- IAEAD's paper says nu = 1. Then R^2 + mean max(0, d - R^2) = mean d, for R is the smallest distance: the soft boundary
  is the one-class loss.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player

OBJECTIVES = ("one-class", "soft-boundary")
EPOCHS = {1: 300, 3: 500}  # of both phases together, by channels: MNIST and CIFAR-10


def phases(epochs, channels=1):
    """Return the settings that part `epochs` into two phases as the authors' code parts its 300, or its 500 in colour.

    ValueError for other numbers of channels than 1 and 3.
    """
    if channels not in EPOCHS:
        raise ValueError(f"Deep SVDD has networks for 1 and for 3 channels, not for {channels!r}.")
    full, of_full = EPOCHS[channels], dict(pretrain_epochs=150, pretrain_drop=50, drop=50)
    if channels == 3:
        of_full |= dict(pretrain_epochs=350, pretrain_drop=250)
    return {name: max(1, epochs * n // full) for name, n in of_full.items()} | {"warm_up": epochs * 10 // full}


class DeepSVDD(nn.Module):
    """Deep SVDD with the LeNet for 1x28x28 images (`channels=1`) or for 3x32x32 (`channels=3`).

    `pretrain_epochs` of the epochs train the autoencoder. The learning rate falls to a tenth after `pretrain_drop` of
    them, and again from the start after `drop` epochs of the second phase, where R rests for `warm_up` epochs. `gcn`
    normalises contrast. ValueError for another objective, nu outside (0, 1] or other numbers of channels.
    """

    def __init__(self, channels=1, objective="one-class", nu=0.1, gcn=True, pretrain_epochs=150, pretrain_drop=50,
                 drop=50, warm_up=10):  # fmt: skip
        super().__init__()
        if objective not in OBJECTIVES:
            raise ValueError(f"Deep SVDD has no objective {objective!r}; possible are {', '.join(OBJECTIVES)}.")
        if not 0 < nu <= 1:
            raise ValueError(f"nu must be above 0 and at most 1, not {nu!r}.")
        if channels not in (1, 3):
            raise ValueError(f"Deep SVDD has networks for 1 and for 3 channels, not for {channels!r}.")
        self.objective, self.nu, self.gcn = objective, nu, gcn
        self.pretrain_epochs, self.pretrain_drop = pretrain_epochs, pretrain_drop
        self.drop, self.warm_up = drop, warm_up
        self.encoder, self.decoder = mnist_lenet() if channels == 1 else cifar_lenet()
        self.register_buffer("c", torch.zeros(32 if channels == 1 else 128))
        self.register_buffer("R", torch.zeros(()))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.ones(()))
        self.register_buffer("moving", torch.zeros(()), persistent=False)  # 1 once R follows the batches
        self.register_buffer("d", torch.zeros(1), persistent=False)  # squared distances of the last batch

    def prepare(self, images):
        x = images.float() / 255
        return (contrast(x) - self.low) / (self.high - self.low) if self.gcn else 2 * x - 1

    def players(self):
        n, adam = self.pretrain_epochs, partial(torch.optim.Adam, lr=1e-4)
        return [  # a player whose rate is 0 sits out
            Player(self.reconstruction, [*self.encoder.parameters(), *self.decoder.parameters()],
                   partial(adam, weight_decay=5e-4), lambda epoch: (epoch <= n) * tenth(epoch, self.pretrain_drop)),
            Player(self.loss, self.encoder.parameters(), partial(adam, weight_decay=5e-7),
                   lambda epoch: (epoch > n) * tenth(epoch - n, self.drop)),
        ]  # fmt: skip

    def reconstruction(self, batch):
        return F.mse_loss(self.decoder(self.encoder(batch.x)), batch.x)

    def distance(self, x):
        """Return the squared distances to c (B,) of images x (B, C, H, W)."""
        return (self.encoder(x) - self.c).square().sum(1)

    def loss(self, batch):
        d = self.distance(batch.x)
        self.d = d.detach()
        return soft_boundary(d, self.R, self.nu) if self.objective == "soft-boundary" else d.mean()

    def start(self, data):
        if self.gcn:
            extremes = data.map(lambda x: torch.stack(x.flatten(1).aminmax(dim=1), 1))  # (N, 2)
            self.low.copy_(extremes[:, 0].min())
            self.high.copy_(extremes[:, 1].max())
        self.after_epoch(0, data)

    def after_step(self, batch):
        if self.objective == "soft-boundary":
            self.R.lerp_(self.d.float().sqrt().quantile(1 - self.nu), self.moving)

    def after_epoch(self, epoch, data):
        if epoch == self.pretrain_epochs:
            c = data.map(self.encoder).mean(0)
            self.c.copy_(torch.where(c.abs() < 0.1, 0.1 * torch.where(c < 0, -1.0, 1.0), c))
        if epoch == self.pretrain_epochs + self.warm_up:
            self.moving.fill_(1)

    def score(self, x):
        return self.distance(x) - (self.R.square() if self.objective == "soft-boundary" else 0)


def soft_boundary(d, R, nu):
    """Return R^2 + mean max(0, d - R^2) / nu, a scalar, for squared distances d (B,), a radius R and nu in (0, 1]."""
    return R.square() + (d - R.square()).relu().mean() / nu


def contrast(x):
    """Return images x (B, C, H, W) less their mean, divided by their mean absolute value: mean 0, mean |x| 1."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    return x / x.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-6)


def tenth(epoch, drop):
    """Return the factor of the learning rate: 1 in the first `drop` epochs, then 0.1."""
    return 1.0 if epoch <= drop else 0.1


def mnist_lenet():
    """Return the encoder from (B, 1, 28, 28) to (B, 32) and its decoder."""
    encoder = nn.Sequential(*down(1, 8), *down(8, 4), nn.Flatten(), nn.Linear(196, 32, bias=False))
    decoder = nn.Sequential(
        nn.Unflatten(1, (2, 4, 4)), *widen(), up(2, 4), norm(4), *widen(),
        up(4, 8, padding=3), norm(8), *widen(), up(8, 1), nn.Sigmoid(),  # a padding of 3: from 16x16 to 14x14
    )  # fmt: skip
    return encoder, decoder


def cifar_lenet():
    """Return the encoder from (B, 3, 32, 32) to (B, 128) and its decoder, which normalises the code first."""
    encoder = nn.Sequential(
        *down(3, 32), *down(32, 64), *down(64, 128), nn.Flatten(), nn.Linear(2048, 128, bias=False))
    decoder = nn.Sequential(
        nn.BatchNorm1d(128, eps=1e-4, affine=False), nn.Unflatten(1, (8, 4, 4)), nn.LeakyReLU(),
        up(8, 128), norm(128), *widen(), up(128, 64), norm(64), *widen(), up(64, 32), norm(32), *widen(),
        up(32, 3), nn.Sigmoid(),
    )  # fmt: skip
    for layer in [*encoder, *decoder]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight, nn.init.calculate_gain("leaky_relu"))
    return encoder, decoder


def down(a, b):
    return nn.Conv2d(a, b, 5, padding=2, bias=False), norm(b), nn.LeakyReLU(), nn.MaxPool2d(2)


def widen():
    return nn.LeakyReLU(), nn.Upsample(scale_factor=2)


def up(a, b, padding=2):
    return nn.ConvTranspose2d(a, b, 5, padding=padding, bias=False)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-4, affine=False)
