"""ADAE: a GAN whose generator and discriminator are both autoencoders.

Vu, Ueta, Hashimoto, Maeno, Pranata, Shen: Anomaly Detection with Adversarial Dual Autoencoders, arXiv 1902.06924, 2019.
The generator G redraws an image. The discriminator D redraws too: real images well, what G drew badly.

    L_G = ||x - G(x)|| + ||G(x) - D(G(x))||              G moves first
    L_D = ||x - D(x)|| - ||G(x) - D(G(x))||              then D
    score  ||x - D(G(x))||^2

An anomaly is drawn badly twice, by G and by D.

Where this differs:

- The authors released no code. The norms of the losses are means of absolute differences here, that of the score a sum
  of squares, and G and D are both the DCGAN blocks with codes of 100. Adam with beta1 0.5, 2e-4 for G.
- D learns at a tenth of that rate. L_D falls as D learns to draw G(x) badly, and nothing in the losses stops it. On
  digits, with narrow nets and equal rates, D wins: L_D goes to -0.6, G no longer draws x, and the AUROC of the 0 ends
  between 0.25 and 0.56. A tenth does not always prevent it (3e-3 and 3e-4 end at 0.45); with D at 1e-4 and G ten or
  forty times as fast the 0 has 0.86 to 0.88, and the 5 still 0.49. Larger sets and nets were not measured.
- D sees x and G(x) in one batch. Apart, its batch norms could tell them by their statistics in training and would mix
  them up in scoring.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import dcgan_decoder, dcgan_encoder, dcgan_initialise, dcgan_pm1, squared_error


class ADAE(nn.Module):
    """Two autoencoders of the DCGAN blocks, each with a code of `code` numbers, and the learning rates of G and D."""

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=100, lr=2e-4, discriminator_lr=2e-5):
        super().__init__()
        self.lr, self.discriminator_lr = lr, discriminator_lr
        self.generator, self.discriminator = (
            dcgan_initialise(nn.Sequential(
                dcgan_encoder(channels, code, side, width), dcgan_decoder(code, channels, side, width)))
            for _ in range(2)
        )  # fmt: skip

    def forward(self, x):
        return self.discriminator(self.generator(x))

    def players(self):
        adam = partial(torch.optim.Adam, betas=(0.5, 0.999))
        return [
            Player(self.generator_loss, self.generator.parameters(), partial(adam, lr=self.lr)),
            Player(self.discriminator_loss, self.discriminator.parameters(), partial(adam, lr=self.discriminator_lr)),
        ]

    def redraw(self, x, fake):
        """Return D(x) and D(fake), drawn in one batch."""
        return self.discriminator(torch.cat([x, fake])).chunk(2)

    def generator_loss(self, batch):
        fake = self.generator(batch.x)
        self.fake = fake.detach()  # for the discriminator's move
        return F.l1_loss(fake, batch.x) + F.l1_loss(self.redraw(batch.x, fake)[1], fake)

    def discriminator_loss(self, batch):
        real, fake = self.redraw(batch.x, self.fake)
        return F.l1_loss(real, batch.x) - F.l1_loss(fake, self.fake)

    def score(self, x):
        return squared_error(x, self(x))
