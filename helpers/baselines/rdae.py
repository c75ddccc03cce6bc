"""RDAE: each image is split into a part L that an autoencoder explains and a part S that is shrunk towards zero.

Zhou, Paffenroth: Anomaly Detection with Robust Deep Autoencoders, KDD 2017, the form with the l2,1 norm:

    min  ||L - g(f(L))||^2 + lam sum_i ||S_i||_2      subject to  X = L + S

Each epoch trains on L = X - S and ends with S <- prox(X - g(f(L))), image by image:

    prox(s) = max(0, 1 - lam / ||s||) s               score  ||x - g(f(x))||^2

Where this differs:

- From the released code (E3Outlier: 20 epochs, lam 0.00065): its factor reads 1 - 1 / min(||s|| / lam, 1), which is 0
  for every image with ||s|| > lam and negative below. So S stays 0, and its row "RDAE" is a CAE trained for 20 epochs.
  `released_bug=True` does the same. IAEAD took this code and prints 250 epochs of batches of 256 for it.
- The squared error that is trained is the mean over pixels, as released.
- With the right factor and lam 0.00065, S takes all that is not reconstructed, of every image, and nothing is learnt.
  The paper tunes lam against labels. Here lam is a multiple of the median error of the training images, measured
  after each epoch. At 0.3, as chapter 2 has it, every image keeps an S, most of what is not reconstructed; above 1 only
  those whose error stands out.
- From both: a new image has no S, so the score is the error of x itself. The released score is the error of X - S,
  which is the same as long as S is 0.
"""

import torch
from torch.nn import functional as F

from helpers.engine import evaluating

from .cae import CAE, narrow


class RDAE(CAE):
    """The CAE of preset "e3", trained on X - S.

    `lam` is the threshold on an image's error norm, as a multiple of the median over the training images. With
    `released_bug` the factor is the released one, and the threshold 0.00065 itself.
    """

    def __init__(self, channels=1, lam=1.5, released_bug=False, width=64):
        super().__init__(channels, preset="e3")
        narrow(self, channels, width)
        self.lam, self.released_bug = lam, released_bug

    def start(self, data):
        S = torch.zeros(len(data), *data.batch(torch.tensor([0])).x.shape[1:], device=data.images.device)
        self.register_buffer("S", S, persistent=False)  # (N, C, 32, 32): one for each training image

    def loss(self, batch):
        L = batch.x - self.S[batch.index]
        return F.mse_loss(self(L), L)

    def after_epoch(self, epoch, data):
        with evaluating(self):
            for index in torch.arange(len(data), device=self.S.device).split(1024):
                x = data.batch(index).x
                self.S[index] = x - self(x - self.S[index])
            if self.released_bug:
                self.S.copy_(prox_released(self.S, 0.00065))
            else:
                self.S.copy_(prox(self.S, self.lam * norms(self.S).median()))


def prox(s, lam):
    """Return max(0, 1 - lam / ||s||) s for each image of s (B, C, H, W): what minimises ||S - s||^2 / 2 + lam ||S||."""
    return s * (1 - lam / norms(s).clamp(min=1e-12)).clamp(min=0)


def prox_released(s, lam):
    """Return the released (1 - 1 / min(||s|| / lam, 1)) s: 0 above lam, with its sign turned below."""
    return s * (1 - 1 / (norms(s) / lam).clamp(min=1e-12, max=1))


def norms(s):
    """Return the l2 norm of each image of s (B, C, H, W) as (B, 1, 1, 1)."""
    return s.flatten(1).norm(dim=1)[:, None, None, None]
