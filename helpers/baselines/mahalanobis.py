"""Mahalanobis-AD: a Gaussian for each level of a frozen network; the sum of the distances to their means is the score.

Rippel, Mertens, Merhof: Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly Detection,
ICPR 2021. Every stage l of the network, averaged over positions, gives a vector x_l. Its mean mu_l and covariance
Sigma_l come from the training images; the covariance is shrunk as Ledoit and Wolf do (2004):

    Sigma_l = (1 - rho_l) S_l + rho_l tr(S_l) / d_l  I
    score = sum over l of  sqrt((x_l - mu_l)^T Sigma_l^-1 (x_l - mu_l))

It reads levels, `features.of_task(task, kind="levels")`, and their `widths` from `features.layout(kind="levels")`. The
paper has the nine levels of EfficientNet-B4, which are nine in lite0 as well. The shrinkage is scikit-learn's.

Where this differs: images are cut to the middle that `of_task` gives; the paper resizes them whole, to the 380 pixels
of its network.
"""

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from torch import nn


class MahalanobisAD(nn.Module):
    """Gaussians for levels of so many numbers, `widths`, which lie side by side in a row."""

    prepare = staticmethod(torch.Tensor.float)

    def __init__(self, widths):
        super().__init__()
        self.widths = list(widths)

    def players(self):
        return []

    def start(self, data):
        self.register_buffer("mu", data.images.double().mean(0).float())
        for level, x in enumerate(data.images.double().cpu().split(self.widths, 1)):
            precision = LedoitWolf().fit(x.numpy()).precision_
            W = torch.from_numpy(np.linalg.cholesky(precision).T.copy())  # W^T W = Sigma^-1
            self.register_buffer(f"whitening_{level}", W.float().to(data.images.device))

    def distances(self, x):
        """Return the distance of each level, (B, levels)."""
        levels = (x - self.mu).split(self.widths, 1)
        return torch.stack([(at @ getattr(self, f"whitening_{level}").T).norm(dim=1)
                            for level, at in enumerate(levels)], 1)  # fmt: skip

    def score(self, x):
        return self.distances(x).sum(1)
