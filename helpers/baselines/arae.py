"""ARAE: an autoencoder that has to redraw an image from its worst near neighbour, and to give both the same code.

Salehi, Arya, Pajoum, Otoofi, Shaeiri, Rohban, Rabiee: ARAE: Adversarially Robust Training of Autoencoders Improves
Novelty Detection, Neural Networks 144, 2021. With encoder E and decoder D, at the start of every epoch an adversary is
crafted for each training image by projected gradient ascent (PGD) in steps of size alpha, from a random start:

    x* = argmax ||E(x*) - E(x)||^2    over  |x* - x| <= eps  at every pixel, and x* in [0, 1]
    loss = mean (x - D(E(x*)))^2 + gamma mean (E(x) - E(x*))^2            score  ||x - D(E(x))||^2

Layers 784-512-256-128 and back, each with a sigmoid, Xavier-normal weights, Adam 1e-3, gamma 0.1, 40 steps, alpha
2.5 eps / 40. MNIST: eps 0.2, 1,600 epochs of batches of 256; Fashion-MNIST: eps 0.05, 8,000 epochs; COIL-100: eps 0.05,
20 steps, 1,000 epochs of batches of 16. The paper's CIFAR-10 has no released network.

Where this differs:

- Images of any side and number of channels; smaller ones are padded with black. `side=28` gives the paper's network.
- The last epoch crafts one set more than it needs, as no epoch knows that it is the last.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import squared_error


class ARAE(nn.Module):
    """ARAE with layers of `width`, `width` / 2 and `width` / 4 numbers; `steps` steps of attack stay within `eps`.

    ValueError for images that no even border makes square with `side` pixels a side.
    """

    def __init__(self, channels=1, side=32, width=512, eps=0.2, gamma=0.1, steps=40, lr=1e-3):
        super().__init__()
        self.side, self.eps, self.gamma, self.steps, self.lr = side, eps, gamma, steps, lr
        sizes = [channels * side * side, width, width // 2, width // 4]
        self.encoder = nn.Sequential(nn.Flatten(), *sigmoids(sizes))
        self.decoder = nn.Sequential(*sigmoids(sizes[::-1]), nn.Unflatten(1, (channels, side, side)))

    def prepare(self, images):
        border, odd = divmod(self.side - images.shape[-1], 2)
        if border < 0 or odd or images.shape[-1] != images.shape[-2]:
            raise ValueError(f"This ARAE takes square images of at most {self.side} pixels a side, by an even number, "
                             f"not {images.shape[-2]}x{images.shape[-1]}.")  # fmt: skip
        return F.pad(images, [border] * 4).float() / 255

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def players(self):
        return [Player(self.loss, self.parameters(), partial(torch.optim.Adam, lr=self.lr))]

    def start(self, data):
        self.after_epoch(0, data)

    def after_epoch(self, epoch, data):
        self.register_buffer("adversaries", data.map(self.attack), persistent=False)  # (N, C, side, side)

    def attack(self, x):
        """Return x* for images x (B, C, side, side)."""
        with torch.enable_grad():
            code = self.encoder(x).detach()
            delta = torch.empty_like(x).uniform_(-self.eps, self.eps)
            for _ in range(self.steps):
                near = (x + delta).clamp(0, 1).requires_grad_()
                (slope,) = torch.autograd.grad(squared_error(self.encoder(near), code).sum(), near)
                delta = (delta + 2.5 * self.eps / self.steps * slope.sign()).clamp(-self.eps, self.eps)
        return (x + delta).clamp(0, 1)

    def loss(self, batch):
        code = self.encoder(self.adversaries[batch.index])
        return F.mse_loss(self.decoder(code), batch.x) + self.gamma * F.mse_loss(code, self.encoder(batch.x))

    def score(self, x):
        return squared_error(x, self(x))


def sigmoids(sizes):
    """Return dense layers through these sizes, each with Xavier-normal weights, no bias at first, and a sigmoid."""
    layers = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), nn.Sigmoid()]
        nn.init.xavier_normal_(layers[-2].weight)
        nn.init.zeros_(layers[-2].bias)
    return layers
