"""LSA: an autoencoder with an autoregressive density of its code; both a surprising code and a bad copy count.

Abati, Porrello, Calderara, Cucchiara: Latent Space Autoregression for Novelty Detection, CVPR 2019. The code z has 64
numbers in (0, 1). A density net gives, for each z_i, probabilities of 100 bins that depend on z_1 .. z_(i-1) alone:

    NLL(z) = -sum_i log p(bin of z_i | z_1 .. z_(i-1))
    loss = mean over images of  ||x - x^||^2 + lam NLL(z)                       lam = 1
    score = n(NLL) + n(||x - x^||^2)            n: the least becomes 0 and the greatest 1

The density net has four layers of 32 features a position and one of 100, masked so that no weight reaches a later
position. The first must not see its own position; the others may.

Where this differs:

- The released networks have residual blocks, one set for MNIST and one for CIFAR-10; here the DCGAN blocks, whose
  widths 64, 128 and 256 are those of the CIFAR-10 encoder, and pixels in [0, 1] that end in a sigmoid. The density net
  is the released one.
- The released code measures least and greatest on a tenth of the training images, kept back. Here `finish` measures
  them on all training images. No label and no test image enters either way.
- No code for training was released; Adam 1e-3 is our choice.
- The bin of z_i has no gradient, as released: the NLL moves the encoder only through what the density net sees.
"""

import torch
from torch import nn
from torch.nn import functional as F

from helpers.nets import dcgan_decoder, dcgan_encoder, dcgan_pm1, squared_error


class LSA(nn.Module):
    """LSA with `code` numbers in the code, `bins` bins, and `layers` layers of `hidden` features in the density net."""

    def __init__(self, channels=1, side=32, width=64, code=64, bins=100, hidden=32, layers=4, lam=1.0):
        super().__init__()
        self.bins, self.lam = bins, lam
        self.encoder = nn.Sequential(dcgan_encoder(channels, code, side, width), nn.Sigmoid())
        self.decoder = dcgan_decoder(code, channels, side, width, last=nn.Sigmoid)
        sizes = [1] + [hidden] * layers + [bins]
        self.density = nn.Sequential()
        for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
            self.density.extend([Masked(code, a, b, itself=i > 0), nn.LeakyReLU()])
        self.density[-1] = nn.Unflatten(1, (code, bins))
        self.register_buffer("low", torch.zeros(2))  # of NLL and error
        self.register_buffer("high", torch.ones(2))

    @staticmethod
    def prepare(images):
        return (dcgan_pm1(images) + 1) / 2

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def nll(self, z):
        """Return NLL (B,) of codes z (B, code) in [0, 1]."""
        log_p = self.density(z).float().log_softmax(2)  # (B, code, bins)
        bin_ = (z.detach().float() * self.bins).long().clamp(max=self.bins - 1)  # in bf16 a code would change bins
        return -log_p.gather(2, bin_[:, :, None]).sum((1, 2))

    def terms(self, x):
        """Return NLL and error, stacked to (B, 2), of images x (B, C, side, side)."""
        z = self.encoder(x)
        return torch.stack([self.nll(z), squared_error(x, self.decoder(z))], 1)

    def loss(self, batch):
        nll, error = self.terms(batch.x).unbind(1)
        return (error + self.lam * nll).mean()

    def finish(self, data):
        terms = data.map(self.terms)
        self.low.copy_(terms.amin(0))
        self.high.copy_(terms.amax(0))

    def scores(self, x):
        """Return the normalised terms (B,), "nll" and "reconstruction", and their sum, "novelty"."""
        nll, error = ((self.terms(x) - self.low) / (self.high - self.low)).unbind(1)
        return {"nll": nll, "reconstruction": error, "novelty": nll + error}

    def score(self, x):
        return self.scores(x)["novelty"]


class Masked(nn.Linear):
    """A dense layer from `positions` x a to `positions` x b features that looks only backwards.

    Inputs and outputs are (B, positions * features), the features of a position side by side. `itself` lets a position
    see itself too.
    """

    def __init__(self, positions, a, b, itself):
        super().__init__(positions * a, positions * b)
        allowed = torch.ones(positions, positions).tril(0 if itself else -1)
        self.register_buffer("mask", allowed.repeat_interleave(b, 0).repeat_interleave(a, 1), persistent=False)

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)
