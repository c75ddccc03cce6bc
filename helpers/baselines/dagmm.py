"""DAGMM: a Gaussian mixture over the code and the reconstruction error, learnt together with the autoencoder.

Zong, Song, Min, Cheng, Lumezanu, Cho, Chen: Deep Autoencoding Gaussian Mixture Model for Unsupervised Anomaly
Detection, ICLR 2018. With z = [code, ||x - x^|| / ||x||, cos(x, x^)] and memberships gamma = softmax(MLP(z)), equations
4 to 7:

    phi_k = mean gamma_k     mu_k, Sigma_k = mean and covariance of z, weighted by gamma_k
    E(z) = -log sum_k phi_k N(z; mu_k, Sigma_k)                                 the score
    loss = mean (x - x^)^2 + lam1 mean E(z) + lam2 sum_kd 1 / Sigma_kdd

Sizes are those of E3Outlier, whose code made IAEAD's table: a linear code of 5 from the shared encoder, an MLP
7-64-10-3 with tanh and dropout 0.5, lam1 0.1, lam2 0.005, Adam 1e-4, 200 epochs of batches of 1024, where IAEAD prints
250 epochs of batches of 256.

Where this differs:

- From the released code: it scores with the mixture of the last batch and replaces energies that are not finite; it
  adds 1e-7 to the diagonal of Sigma, to its determinant under the root, and to each density. Here the mixture that
  scores is that of the whole training set in eval mode, and 1e-6 on the diagonal and 64 bits for the 7 numbers of z
  keep each energy finite. A narrow component magnifies the rounding errors of z, which change with the size of a batch,
  so for scores the networks compute in 64 bits too.
- From the paper: it reconstructs with the squared norm; here, as released, with the mean over pixels.
"""

from copy import deepcopy
from functools import partial

import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import decoder32, encoder32, pad32_pm1


class DAGMM(nn.Module):
    """A mixture of `components` Gaussians over a code of `code` numbers and two errors, for images of 28x28 or 32x32.

    `lam1` weights the energy, `lam2` the penalty on small variances.
    """

    prepare = staticmethod(pad32_pm1)

    def __init__(self, channels=1, components=3, code=5, lam1=0.1, lam2=0.005, width=64):
        super().__init__()
        self.lam1, self.lam2 = lam1, lam2
        self.encoder = encoder32(channels, code, bounded=False, width=width)
        self.decoder = decoder32(channels, code, width=width)
        self.estimation = nn.Sequential(
            nn.Linear(code + 2, 64), nn.Tanh(), nn.Dropout(0.5),
            nn.Linear(64, 10), nn.Tanh(), nn.Dropout(0.5),
            nn.Linear(10, components), nn.Softmax(dim=1),
        )  # fmt: skip
        self.register_buffer("phi", torch.full((components,), 1 / components, dtype=torch.float64))
        self.register_buffer("mu", torch.zeros(components, code + 2, dtype=torch.float64))
        self.register_buffer("sigma", torch.eye(code + 2, dtype=torch.float64).repeat(components, 1, 1))

    def players(self):
        return [Player(self.loss, self.parameters(), partial(torch.optim.Adam, lr=1e-4))]

    def represent(self, x):
        """Return z (B, code + 2) of images x (B, C, 32, 32), and their reconstructions."""
        code = self.encoder(x)
        recon = self.decoder(code)
        a, b = x.flatten(1), recon.flatten(1)
        distance = (a - b).norm(dim=1) / a.norm(dim=1).clamp(min=1e-6)
        return torch.cat([code, distance[:, None], F.cosine_similarity(a, b)[:, None]], 1), recon

    def loss(self, batch):
        z, recon = self.represent(batch.x)
        phi, mu, sigma = mixture(z, self.estimation(z))
        spread = (1 / sigma.diagonal(dim1=1, dim2=2)).sum()
        return F.mse_loss(recon, batch.x) + self.lam1 * energy(z, phi, mu, sigma).mean() + self.lam2 * spread

    def finish(self, data):
        exact = deepcopy(self).double().eval()
        z = data.map(lambda x: exact.represent(x.double())[0])
        with torch.no_grad():
            for buffer, value in zip((self.phi, self.mu, self.sigma), mixture(z, exact.estimation(z)), strict=True):
                buffer.copy_(value)

    def score(self, x):
        exact = deepcopy(self).double()
        return energy(exact.represent(x.double())[0], self.phi, self.mu, self.sigma)


def mixture(z, gamma, jitter=1e-6):
    """Return phi (K,), mu (K, D) and sigma (K, D, D), float64, of z (B, D) with memberships gamma (B, K)."""
    z, gamma = z.double(), gamma.double()
    weight = gamma.sum(0)  # (K,)
    mu = gamma.T @ z / weight[:, None]
    centred = z[:, None] - mu  # (B, K, D)
    sigma = torch.einsum("bk,bkd,bke->kde", gamma, centred, centred) / weight[:, None, None]
    return weight / len(z), mu, sigma + jitter * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)


def energy(z, phi, mu, sigma):
    """Return -log density (B,) of z (B, D) under the mixture phi (K,), mu (K, D), sigma (K, D, D)."""
    factor = torch.linalg.cholesky_ex(sigma).L  # unlike cholesky, it does not wait for the device to check
    parts = MultivariateNormal(mu, scale_tril=factor, validate_args=False)
    return -MixtureSameFamily(Categorical(phi, validate_args=False), parts, validate_args=False).log_prob(z.double())
