"""VAE: an autoencoder whose code is a Gaussian, held close to one fixed Gaussian.

Kingma, Welling: Auto-Encoding Variational Bayes, ICLR 2014; as a detector An, Cho: Variational Autoencoder based
Anomaly Detection using Reconstruction Probability, SNU Data Mining Center, 2015. The encoder gives mu and log sigma^2
of J numbers, and with z = mu + sigma eps, eps ~ N(0, I), their equation 10:

    KL = -1/2 sum_j (1 + log sigma_j^2 - mu_j^2 - sigma_j^2)
    loss = mean over images of  ||x - g(z)||^2 + beta KL

With beta = 1 this is the negative evidence lower bound (ELBO) of a decoder with variance 1/2, less a constant. Scores,
both with z = mu, so nothing is drawn:

    reconstruction  ||x - g(mu)||^2          elbo  ||x - g(mu)||^2 + beta KL

Where this differs:

- From Kingma and Welling: two dense layers there; here the DCGAN blocks, a code of J = 100, and Adam 1e-3, as most
  tables that name a VAE leave its network open. ALCN does too.
- From An and Cho: their score is a mean over draws of z with a learnt variance of each pixel; here one pass through mu.
"""

from torch import nn

from helpers.nets import dcgan_decoder, dcgan_encoder, dcgan_pm1, squared_error


class VAE(nn.Module):
    """A VAE of the DCGAN blocks with `code` latent numbers; `beta` weights the KL divergence."""

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=100, beta=1.0):
        super().__init__()
        self.beta = beta
        self.encoder = dcgan_encoder(channels, 2 * code, side, width)
        self.decoder = dcgan_decoder(code, channels, side, width)

    def encode(self, x):
        """Return mu and log sigma^2, each (B, J), of images x (B, C, side, side)."""
        return self.encoder(x).float().chunk(2, dim=1)

    def forward(self, x):
        return self.decoder(self.encode(x)[0])

    def loss(self, batch):
        mu, log_var = self.encode(batch.x)
        z = mu + (log_var / 2).exp() * mu.new_empty(mu.shape).normal_()
        return (squared_error(batch.x, self.decoder(z)) + self.beta * kl(mu, log_var)).mean()

    def scores(self, x):
        mu, log_var = self.encode(x)
        error = squared_error(x, self.decoder(mu))
        return {"reconstruction": error, "elbo": error + self.beta * kl(mu, log_var)}

    def score(self, x):
        return self.scores(x)["reconstruction"]


def kl(mu, log_var):
    """Return KL(N(mu, sigma^2) || N(0, I)) (B,) for mu and log sigma^2, each (B, J)."""
    return (mu.square() + log_var.exp() - 1 - log_var).sum(1) / 2
