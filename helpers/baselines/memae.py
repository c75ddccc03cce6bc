"""MemAE: the decoder sees no code of its own image, only a sparse blend of codes that a memory has stored.

Gong, Liu, Le, Saha, Mansour, Venkatesh, van den Hengel: Memorizing Normality to Detect Anomaly: Memory-augmented Deep
Autoencoder for Unsupervised Anomaly Detection, ICCV 2019. With the memory M (N, C), equations 3 to 10:

    w = softmax(d(z, m_1), .., d(z, m_N))           d: cosine similarity
    w^ = max(w - t, 0) w / (|w - t| + eps),   then  w^ <- w^ / ||w^||_1           hard shrinkage
    z^ = w^ M        loss = ||x - g(z^)||^2 + alpha sum -w^ log w^                score  ||x - g(z^)||^2

Where this differs:

- The authors' code is for video only. The paper describes its networks for images, and IAEAD says that it took them;
  here the memory sits on the code of 256 of the shared CAE. The paper's memories are N = 100 for MNIST and 500 for
  CIFAR-10.
- The released code (for video) takes the dot product z M for d; `as_released=True` does too.
- The threshold t is 1 / N, the lower end of the paper's range [1/N, 3/N].
- The error is the mean over pixels, as released, so that alpha = 0.0002 has the released weight. Adam 1e-4.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player

from .cae import CAE, narrow


class MemAE(CAE):
    """The CAE with PyTorch's initial weights and a memory of `size` codes; `alpha` weights the entropy of w^."""

    def __init__(self, channels=1, size=100, alpha=2e-4, as_released=False, width=64):
        super().__init__(channels, preset="e3")
        narrow(self, channels, width)
        self.alpha, self.as_released = alpha, as_released
        self.memory = nn.Parameter(torch.empty(size, 256).uniform_(-1 / 16, 1 / 16))  # 1 / sqrt(256)

    def players(self):
        return [Player(self.loss, self.parameters(), partial(torch.optim.Adam, lr=1e-4))]

    def address(self, z):
        """Return the weights w^ (B, N) of the memory's rows for codes z (B, 256); each row sums to 1."""
        if self.as_released:
            similarity = z @ self.memory.T
        else:
            similarity = F.normalize(z, dim=1) @ F.normalize(self.memory, dim=1).T
        w = similarity.float().softmax(1)
        above = w - 1 / len(self.memory)
        return F.normalize(above.relu() * w / (above.abs() + 1e-12), p=1, dim=1)

    def forward(self, x):
        return self.decoder(self.address(self.encoder(x)) @ self.memory)

    def loss(self, batch):
        w = self.address(self.encoder(batch.x))
        entropy = -(w * (w + 1e-12).log()).sum(1).mean()
        return F.mse_loss(self.decoder(w @ self.memory), batch.x) + self.alpha * entropy
