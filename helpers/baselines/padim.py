"""PaDiM: one Gaussian a position, over features of a frozen network; the Mahalanobis distance is the map.

Defard, Setkov, Loesch, Audigier: PaDiM: A Patch Distribution Modeling Framework for Anomaly Detection and Localization,
ICPR Workshops 2021. Maps of three early stages, as one vector x_ij of d numbers at each position, d drawn at random
among all channels. Over the N training images,

    mu_ij = mean x_ij        Sigma_ij = 1 / (N - 1) sum (x_ij - mu_ij)(x_ij - mu_ij)^T + 0.01 I         (equation 1)
    M(x_ij) = sqrt((x_ij - mu_ij)^T Sigma_ij^-1 (x_ij - mu_ij))                                         (equation 2)

The map is M at the size of the picture, smoothed by a Gaussian of 4 pixels; the score is its largest value. ResNet-18
has d = 100 of 448, Wide ResNet-50 d = 550 of 1792.

It reads patches of the stages of stride 4, 8 and 16: `features.of_task(task, kind="patches", stages=(2, 3, 5))` for
lite0, which has 176 channels there, and (0, 1, 2) for a ResNet.

Where this differs: smaller maps are resized bilinearly to the largest, where the paper repeats their values.
"""

import torch
from torch import nn

from helpers.features.patches import smoothed

AT_ONCE = 64  # positions whose covariances are inverted at once, in double precision


class PaDiM(nn.Module):
    """PaDiM with `dims` random channels and `eps` on the diagonal; `side` and `sigma` are those of the map, in pixels.

    ValueError where there are fewer than two training images.
    """

    prepare = staticmethod(torch.Tensor.float)

    def __init__(self, dims=100, eps=0.01, side=224, sigma=4.0):
        super().__init__()
        self.dims, self.eps, self.side, self.sigma = dims, eps, side, sigma

    def players(self):
        return []

    def start(self, data):
        if len(data) < 2:
            raise ValueError("A covariance needs two training images at least; there is one.")
        dims = torch.randperm(data.images.shape[1])[:self.dims].sort().values.to(data.images.device)
        x = data.images[:, dims].flatten(2).permute(2, 0, 1)  # (P, N, d)
        mu, whitening = zip(*[self.gaussian(some.double()) for some in x.split(AT_ONCE)])
        self.register_buffer("channels", dims)
        self.register_buffer("mu", torch.cat(mu).float())  # (P, d)
        self.register_buffer("whitening", torch.cat(whitening).float())  # (P, d, d)

    def gaussian(self, x):
        """Return mu (P, d) and W (P, d, d), W^T W = Sigma^-1, of vectors x (P, N, d)."""
        mu = x.mean(1)
        x = x - mu[:, None]
        identity = torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
        sigma = x.mT @ x / (x.shape[1] - 1) + self.eps * identity
        L = torch.linalg.cholesky(sigma)
        return mu, torch.linalg.solve_triangular(L, identity.expand_as(L), upper=False)

    def distances(self, x):
        """Return M (B, h, w) of maps x (B, C, h, w)."""
        at = x[:, self.channels].flatten(2).permute(2, 1, 0) - self.mu[:, :, None]  # (P, d, B)
        return (self.whitening @ at).norm(dim=1).T.reshape(len(x), *x.shape[2:])

    def maps(self, x):
        """Return M as smooth maps (B, side, side)."""
        return smoothed(self.distances(x), self.side, self.sigma)

    def score(self, x):
        return self.maps(x).amax((1, 2))
