"""RSRAE: between encoder and decoder a linear layer looks for a subspace that outliers cannot pull away.

Lai, Zou, Lerman: Robust Subspace Recovery Layer for Unsupervised Anomaly Detection, ICLR 2020. With z = f(x) and the
layer A (d, D), section 3:

    L_AE = mean ||x - g(A z)||_2       L_1 = mean ||z - A^T A z||_2       L_2 = ||A A^T - I||_F^2
    RSRAE moves by L_AE, then by L_2, then by L_1, on each batch;   RSRAE+ moves by L_AE + lam1 L_1 + lam2 L_2

No norm of an image is squared, which is what makes the layer robust. The score is minus the cosine of x and x^.

Where this differs:

- This is our port: IAEAD says "the same CAE architecture", and the code it cites has no RSRAE. The layer sits on the
  code of 256 of the shared CAE, d = 10. The released network is smaller (5x5 and 3x3 convolutions, 32, 64, 128).
- As released: A z is scaled to length 1 before the decoder; Adam 2.5e-4, and 10 times that for L_1 and L_2; L_2 is a
  mean, not a sum. With a loss of its own and Adam, a factor on L_1 or L_2 changes nothing: lam1 and lam2 are RSRAE+'s.
- A starts with orthonormal rows; as released it starts from N(0, 1), far from L_2 = 0.
- Images are in [-1, 1], as IAEAD states for all methods; `as_released=True` scales each to length 1.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import decoder32, encoder32, pad32_pm1


class RSRAE(nn.Module):
    """The shared CAE with a subspace of `d` dimensions in its code, for images of 28x28 or 32x32.

    `plus` trains the sum of the three losses (RSRAE+) by one optimiser, with the weights `lam1` and `lam2`.
    """

    def __init__(self, channels=1, d=10, plus=False, lam1=0.1, lam2=0.1, as_released=False, width=64):
        super().__init__()
        self.plus, self.lam1, self.lam2, self.as_released = plus, lam1, lam2, as_released
        self.encoder = encoder32(channels, width=width)
        self.A = nn.Parameter(nn.init.orthogonal_(torch.empty(d, 256)))
        self.decoder = decoder32(channels, d, width=width)

    def prepare(self, images):
        x = pad32_pm1(images)
        return F.normalize(x.flatten(1), dim=1).view_as(x) if self.as_released else x

    def forward(self, x):
        return self.decoder(F.normalize(self.encoder(x) @ self.A.T, dim=1))

    def reconstruction(self, batch):
        return (batch.x - self(batch.x)).flatten(1).norm(dim=1).mean()

    def projection(self, batch):
        z = self.encoder(batch.x)
        return (z - z @ self.A.T @ self.A).norm(dim=1).mean()

    def orthogonality(self, batch):
        return (self.A @ self.A.T - torch.eye(len(self.A), device=self.A.device)).square().mean()

    def loss(self, batch):
        return self.reconstruction(batch) + self.lam1 * self.projection(batch) + self.lam2 * self.orthogonality(batch)

    def players(self):
        slow, fast = partial(torch.optim.Adam, lr=2.5e-4), partial(torch.optim.Adam, lr=2.5e-3)
        if self.plus:
            return [Player(self.loss, self.parameters(), slow)]
        return [
            Player(self.reconstruction, self.parameters(), slow),
            Player(self.orthogonality, [self.A], fast),
            Player(self.projection, [self.A, *self.encoder.parameters()], fast),
        ]

    def scores(self, x):
        """Return two scores (B,) of images x (B, C, 32, 32): "cosine" in [-1, 1] and "l2", the norm of the error."""
        a, b = x.flatten(1), self(x).flatten(1)
        return {"cosine": -F.cosine_similarity(a, b), "l2": (a - b).norm(dim=1)}

    def score(self, x):
        return self.scores(x)["cosine"]
