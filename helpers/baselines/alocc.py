"""ALOCC: one network repairs noisy images, another tells repairs from true images; its doubt of a repair is the score.

Sabokrou, Khalooei, Fathy, Adeli: Adversarially Learned One-Class Classifier for Novelty Detection, CVPR 2018. With
x~ = x + eta, eta ~ N(0, noise^2), a refiner R and a discriminator D:

    D:  min  BCE(D(x), 1) + BCE(D(R(x~)), 0)
    R:  min  BCE(D(R(x~)), 1) + lam ||x - R(x~)||^2,   lam = 0.4
    OCC1(x) = D(x)     OCC2(x) = D(R(x)), low for anomalies: R improves what is normal and distorts what is not

R is convolutional throughout, without a code: a DCGAN encoder down to 4x4 and a decoder back. With first width 32 it
goes down by 32, 64 and 128 features for 32x32, as the released one does. RMSprop 2e-3, batches of 128, 40 epochs.

Where this differs:

- The score is minus the logit of OCC2, which orders images as 1 - OCC2 does and does not saturate. The released test
  script scores by D(x) instead, OCC1; `scores` gives both.
- The squared norm is the mean over pixels, as averages stand in the released code.
- The released code moves R twice a step, so that D does not win (`steps=2`), and measures the repair otherwise, with
  weight 0.2 (`repair="cross-entropy"`, `lam=0.2`): R's output, a tanh, is taken for a logit, and its target is the
  noisy image, not the clean one. Both are its own; the paper is the default here.
- Optimiser, rate and noise are the code's, for the paper prints none: 0.155 where pixels fill [0, 1], and cut to the
  range of pixels. The code draws the noise once for all epochs, here it is new in each batch.
- The paper stops once ||x - R(x~)||^2 is small enough, and the code leaves the epoch to the eye. Here training runs on,
  and D may win or R collapse, as users of the code report.
- The released code never leaves training mode, so an image is scored with the statistics of its batch; here in
  eval mode. Its kernels are 5x5, its first layer has a batch norm too, and its way up has 32 and 16 features; here 4x4,
  none, and 64 and 32. Its D goes down by 16, 32, 64 and 128 features, here by 32, 64 and 128. Its images fill [0, 1]
  while R ends in a tanh; here both fill [-1, 1].
- ALGAN's comparison has pictures of 256x256, batches of 16, 512 epochs, and networks like a DCGAN's.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import (
    cross_entropy,
    dcgan_decoder,
    dcgan_discriminator,
    dcgan_encoder,
    dcgan_initialise,
    dcgan_pm1,
    tell_apart,
)

REPAIRS = ("squared", "cross-entropy")


class ALOCC(nn.Module):
    """A refiner and a discriminator for square images of `side` pixels; `width` is that of their first convolutions.

    `noise` is the deviation of eta where pixels fill [0, 1], `lam` the weight of the repair and `repair` its measure,
    one of REPAIRS; R moves `steps` times a batch. ValueError for another measure.
    """

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=32, noise=0.155, lam=0.4, repair="squared", steps=1, lr=2e-3):
        super().__init__()
        if repair not in REPAIRS:
            raise ValueError(f"ALOCC has no measure {repair!r} of a repair; possible are {', '.join(REPAIRS)}.")
        self.noise, self.lam, self.repair, self.steps, self.lr = noise, lam, repair, steps, lr
        down, up = dcgan_encoder(channels, 1, side, width)[:-2], dcgan_decoder(1, channels, side, width)[4:]
        self.refiner = dcgan_initialise(nn.Sequential(*down, *up))  # joined at 4x4
        self.discriminator = nn.Sequential(*dcgan_discriminator(channels, side, width))

    def players(self):
        rmsprop = partial(torch.optim.RMSprop, lr=self.lr, alpha=0.9)
        return [Player(self.discriminator_loss, self.discriminator.parameters(), rmsprop),
                Player(self.refiner_loss, self.refiner.parameters(), rmsprop, steps=self.steps)]  # fmt: skip

    def forward(self, x):
        return self.refiner(x)

    def spoil(self, x):
        """Return x~ for images x in [-1, 1]: with noise, and cut to that range."""
        return (x + 2 * self.noise * torch.randn_like(x)).clamp(-1, 1)

    def discriminator_loss(self, batch):
        with torch.no_grad():
            self.noisy = self.spoil(batch.x)  # the refiner sees it in the same step
            repaired = self.refiner(self.noisy)
        return tell_apart(self.discriminator(batch.x), self.discriminator(repaired))

    def refiner_loss(self, batch):
        repaired = self.refiner(self.noisy)
        if self.repair == "squared":
            error = F.mse_loss(repaired, batch.x)
        else:
            error = F.binary_cross_entropy_with_logits(repaired, (self.noisy + 1) / 2)
        return cross_entropy(self.discriminator(repaired), 1.0) + self.lam * error

    def scores(self, x):
        """Return minus the logits (B,) of D: "OCC1" of x itself, "OCC2" of R(x)."""
        return {"OCC1": -self.discriminator(x).squeeze(1), "OCC2": -self.discriminator(self.refiner(x)).squeeze(1)}

    def score(self, x):
        return self.scores(x)["OCC2"]
