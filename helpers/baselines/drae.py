"""DRAE: errors of one batch are split into a low and a high group, and only the low group is reconstructed.

Xia, Cao, Wen, Hua, Sun: Learning Discriminative Reconstructions for Unsupervised Outlier Removal, ICCV 2015.
With the errors e of a batch in ascending order, the first k of them the low group (presumed normal):

    h(k) = within-group scatter(k) / total scatter          k* = argmin h
    loss = mean(e_1 .. e_k*) + lam h(k*)                    score  ||x - x^||^2

Where this differs from the paper, and agrees with the code behind IAEAD's table (E3Outlier):

- The paper encodes features of a network trained on ImageNet, here pixels are encoded.
- The paper splits the whole set once an epoch, here every batch is split.
- An error is the sum over pixels, so lam h is small beside it: the choice of the low group does the work.

The released loop over all k with a comparison each is one cumulative sum here; the values are the same.
"""

import torch

from .cae import CAE, narrow


class DRAE(CAE):
    """The CAE of preset "e3", trained by the split errors; `lam` weights h, 0.1 as released."""

    def __init__(self, channels=1, lam=0.1, width=64):
        super().__init__(channels, preset="e3")
        narrow(self, channels, width)
        self.lam = lam

    def loss(self, batch):
        low, h = split((batch.x - self(batch.x)).square().flatten(1).sum(1))
        return low + self.lam * h


def split(errors):
    """Return the mean of the low group and h in [0, 1], two scalars, at the best split of errors (B,), B > 1."""
    e = errors.float().sort().values
    n = len(e)
    k = torch.arange(1, n, device=e.device)  # the size of the low group
    centred = e - e.mean()
    total = centred.square().sum().clamp(min=1e-12)
    between = centred.cumsum(0)[:-1].square() * (1 / k + 1 / (n - k))  # within = total - between
    h = 1 - between / total
    best = h.argmin(0, keepdim=True)
    low = e.cumsum(0)[:-1] / k
    return low.gather(0, best).squeeze(), h.gather(0, best).squeeze()
