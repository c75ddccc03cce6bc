"""AnoGAN: a GAN draws normal images only; how badly its best drawing matches an image is the score.

Schlegl, Seeboeck, Waldstein, Schmidt-Erfurth, Langs: Unsupervised Anomaly Detection with Generative Adversarial
Networks to Guide Marker Discovery, IPMI 2017. With z ~ N(0, I) and f the last features of the discriminator D:

    D:  min  BCE(D(x), 1) + BCE(D(G(z)), 0)         G:  min  BCE(D(G(z)), 1)
    A(x) = min over z of  (1 - w) ||x - G(z)||_1 + w ||f(x) - f(G(z))||_1,   w = 0.1

The minimum costs 500 steps of Adam on z for every test image, and these make AnoGAN slow. The rate is 0.01 for the
first 40 % of them, 0.001 up to 60 %, then 0.0005. A search of fewer steps takes longer ones, so that z gets as far.

Sizes are those of a DCGAN: 100 latents, first width 64, 1.73 million weights for 1x32x32; Adam 2e-4 with beta1 = 0.5.

Where this differs:

- From the paper: its latents are uniform, and it does not print the rates of the search. Ours are those of Zenati et
  al., who wrote an AnoGAN beside their EGBAD, with steps at 200 and at 300 of 500.
- From their code: it has dense layers, 200 latents, Adam 1e-5 and a running average of the weights, and f is a dense
  layer of 1,024. Each search there begins at a point of its own. Here all begin at one that is drawn with the network,
  so that the score of an image does not depend on the others.
- The search is not convex and the L1 norm has kinks: over 500 steps rounding grows, and the same image in a batch of
  another size can score a little differently.
- ALCN, Table 5, counts 233.04 million parameters. No network of these sizes has so many; ours has the paper's blocks.
"""

from functools import partial

import torch
from torch import nn

from helpers.engine import Player
from helpers.nets import (
    DCGAN_ADAM,
    cross_entropy,
    dcgan_decoder,
    dcgan_discriminator,
    dcgan_initialise,
    dcgan_pm1,
    tell_apart,
)


class AnoGAN(nn.Module):
    """A DCGAN with `code` latents, first width `width`, for square images of `side` pixels, and a search of z.

    `steps` is the length of the search, `w` the share of the features in its loss, `lr` the rate of both networks.
    """

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=100, steps=500, w=0.1, lr=2e-4):
        super().__init__()
        self.steps, self.w, self.lr = steps, w, lr
        self.generator = dcgan_initialise(dcgan_decoder(code, channels, side, width))
        self.features, self.classifier = dcgan_discriminator(channels, side, width)
        self.register_buffer("z0", torch.randn(code))

    def players(self):
        adam = partial(DCGAN_ADAM, lr=self.lr)
        discriminator = [*self.features.parameters(), *self.classifier.parameters()]
        return [Player(self.discriminator_loss, discriminator, adam),
                Player(self.generator_loss, self.generator.parameters(), adam)]  # fmt: skip

    def draw(self, x):
        """Return new images, as many as x has."""
        return self.generator(torch.randn(len(x), len(self.z0), device=x.device))

    def judge(self, x):
        return self.classifier(self.features(x))  # (B, 1), logits

    def discriminator_loss(self, batch):
        with torch.no_grad():
            drawn = self.draw(batch.x)
        return tell_apart(self.judge(batch.x), self.judge(drawn))

    def generator_loss(self, batch):
        return cross_entropy(self.judge(self.draw(batch.x)), 1.0)

    def residual(self, x, f, z):
        """Return the loss (B,) of latents z (B, code) for images x with features f."""
        drawn = self.generator(z)
        pixels, features = (x - drawn).abs().flatten(1), (f - self.features(drawn)).abs().flatten(1)
        return (1 - self.w) * pixels.sum(1) + self.w * features.sum(1)

    def invert(self, x, f):
        """Return the latents (B, code) that `steps` steps of Adam find for images x with features f."""
        z = self.z0.repeat(len(x), 1).requires_grad_()
        adam = torch.optim.Adam([z])
        with torch.enable_grad():
            for step in range(self.steps):
                adam.param_groups[0]["lr"] = search_rate(step, self.steps)
                (z.grad,) = torch.autograd.grad(self.residual(x, f, z).sum(), z)
                adam.step()
        return z.detach()

    def forward(self, x):
        """Return the drawings G(z) that come closest to images x (B, C, H, W)."""
        return self.generator(self.invert(x, self.features(x)))

    def score(self, x):
        f = self.features(x)
        return self.residual(x, f, self.invert(x, f))


def search_rate(step, steps):
    """Return the learning rate at a step, from 0 on, of a search of so many steps."""
    part = step / steps
    return (0.01 if part < 0.4 else 0.001 if part < 0.6 else 0.0005) * 500 / steps
