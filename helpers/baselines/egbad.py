"""EGBAD: a bidirectional GAN learns an encoder beside its generator, so that no search has to invert it.

Zenati, Foo, Lecouat, Manek, Chandrasekhar: Efficient GAN-Based Anomaly Detection, ICLR workshop 2018. The
discriminator D judges pairs of an image and its latents, with z ~ N(0, I) and f its last features:

    D:  min  BCE(D(x, E(x)), 1) + BCE(D(G(z), z), 0)
    E and G:  min  BCE(D(x, E(x)), 0) + BCE(D(G(z), z), 1)
    A(x) = (1 - w) ||x - G(E(x))||_1 + w L_D(x),   w = 0.1, where L_D is one of
        "features"       ||f(x, E(x)) - f(G(E(x)), E(x))||_1
        "cross-entropy"  BCE(D(x, E(x)), 1)

Each weight that scores is a running average, 0.999 of the one before and 0.001 of the newest, from the first weights
on. 200 latents, Adam 1e-5 with beta1 = 0.5, batches of 100. The first width is 64: 8.43 million weights for 1x32x32;
ALCN, Table 5, counts 8.65 million, of networks that it does not describe. The authors' own have 12.04 million at 28x28.

Where this differs:

- From the released code: E and G are DCGAN blocks, and so is the side of D that sees images; there they have fewer
  convolutions and large dense layers, and leaky ReLUs of slope 0.1. The sizes of the side that sees latents and of the
  joint layer are kept, and so are their dropouts, but the convolutions have none.
- There "cross-entropy" is that of the pair (G(E(x)), E(x)); here, as in the paper, that of (x, E(x)).
- As there, D moves before E and G, which then draw a new z; there they also see another batch.

Nothing in these losses asks G(E(x)) to be close to x, and on small digits it was not stable. Trained on ones, the AUC
rose to 0.88 and fell back to 0.66 within a hundred epochs, on both sides of the distance to the mean image; with zero
left out it was 0.74 after 10 epochs and 0.57 after 14, mean of three seeds, and on another processor 0.53 after 10.
"""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import (
    DCGAN_ADAM,
    check_side,
    dcgan_decoder,
    dcgan_discriminator,
    dcgan_encoder,
    dcgan_initialise,
    dcgan_pm1,
    tell_apart,
)

TERMS = ("features", "cross-entropy")


class EGBAD(nn.Module):
    """A bidirectional GAN with `code` latents for square images of `side` pixels; `width` as in a DCGAN.

    `term` is one of TERMS, `w` its share in the score, `lr` the rate of all networks, `decay` the share of the old
    weights in the running averages. ValueError for another term.
    """

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=200, term="features", w=0.1, lr=1e-5, decay=0.999):
        super().__init__()
        if term not in TERMS:
            raise ValueError(f"EGBAD has no term {term!r}; possible are {', '.join(TERMS)}.")
        self.code, self.term, self.w, self.lr, self.decay = code, term, w, lr, decay
        self.encoder = dcgan_initialise(dcgan_encoder(channels, code, side, width))
        self.generator = dcgan_initialise(dcgan_decoder(code, channels, side, width))
        self.discriminator = PairDiscriminator(channels, side, width, code)
        self.average = copy.deepcopy(self.trained()).requires_grad_(False)

    def trained(self):
        return nn.ModuleList([self.encoder, self.generator, self.discriminator])

    def players(self):
        adam = partial(DCGAN_ADAM, lr=self.lr)
        both = [*self.encoder.parameters(), *self.generator.parameters()]  # they share none, so one Adam is two
        return [Player(self.discriminator_loss, self.discriminator.parameters(), adam),
                Player(self.pair_loss, both, adam)]  # fmt: skip

    def pairs(self, x):
        """Return the pairs (x, E(x)) and as many pairs (G(z), z)."""
        z = torch.randn(len(x), self.code, device=x.device)
        return (x, self.encoder(x)), (self.generator(z), z)

    def discriminator_loss(self, batch):
        with torch.no_grad():
            real, drawn = self.pairs(batch.x)
        return tell_apart(self.discriminator(*real)[0], self.discriminator(*drawn)[0])

    def pair_loss(self, batch):
        real, drawn = self.pairs(batch.x)
        return tell_apart(self.discriminator(*drawn)[0], self.discriminator(*real)[0])

    def after_step(self, batch):
        with torch.no_grad():
            for mean, newest in zip(self.average.parameters(), self.trained().parameters(), strict=True):
                mean.lerp_(newest, 1 - self.decay)

    def finish(self, data):
        for buffer, newest in zip(self.average.buffers(), self.trained().buffers(), strict=True):
            buffer.copy_(newest)  # the statistics of batch norms are averages already

    def forward(self, x):
        encoder, generator, _ = self.average
        return generator(encoder(x))

    def score(self, x):
        encoder, generator, discriminator = self.average
        z = encoder(x)
        x_hat = generator(z)
        logits, f = discriminator(x, z)
        if self.term == "features":
            l_d = (f - discriminator(x_hat, z)[1]).abs().sum(1)
        else:
            l_d = F.softplus(-logits.squeeze(1))  # BCE with the label 1
        return (1 - self.w) * (x - x_hat).abs().flatten(1).sum(1) + self.w * l_d


class PairDiscriminator(nn.Module):
    """From images (B, channels, side, side) and latents (B, code) to logits (B, 1) and features (B, 16 width)."""

    def __init__(self, channels, side, width, code):
        super().__init__()
        below, _ = dcgan_discriminator(channels, side, width)
        self.image = nn.Sequential(below, nn.Flatten(), nn.Dropout(0.5))
        self.latent = nn.Sequential(nn.Linear(code, 8 * width), nn.LeakyReLU(0.2), nn.Dropout(0.5))
        inputs = 16 * (width << check_side(side) - 1) + 8 * width  # the 4x4 features of the image, and the latents
        self.joint = nn.Sequential(nn.Linear(inputs, 16 * width), nn.LeakyReLU(0.2), nn.Dropout(0.5))
        self.last = nn.Linear(16 * width, 1)
        dcgan_initialise(nn.ModuleList([self.latent, self.joint, self.last]))

    def forward(self, x, z):
        f = self.joint(torch.cat([self.image(x), self.latent(z)], 1))
        return self.last(f), f
