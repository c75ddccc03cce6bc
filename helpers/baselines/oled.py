"""OLED: one network hides the part of an image that another finds hardest to fill in.

Jewell, Khazaie, Mohsenzadeh: One-Class Learned Encoder-Decoder Network with Adversarial Context Masking for Novelty
Detection, WACV 2022. A mask net rates every pixel, and the highest eighth (12.5 %) of an image is set to 0: M(x) is 0
there and 1 elsewhere. With R the encoder and decoder:

    L_normal = mean (x - R(x))^2               L_masked = mean (x - R(M x))^2
    L_missing = mean |(1 - M) (x - R(M x))|
    R minimises L_normal + L_masked + k L_missing;  the mask net maximises L_masked + k L_missing, in every third epoch
    score  ||x - R(x)||^2

k is 12.5 for MNIST, 30 for CIFAR-10, 50 for UCSD; both nets learn with Adam 5e-4, betas (0.5, 0.9), for 400 epochs.
`scores` also gives the other two errors, summed over an image.

Where this differs:

- The released networks have 5x5 convolutions; here R is the DCGAN blocks, and the mask net has the released widths,
  32 and 48, in 4x4 convolutions.
- The released code writes the mask as r / (r + 1e-12) with r = max(0, t - a), t the percentile of the ratings a. Its
  value is 0 or 1, but its slope is about 1e-12 / r^2, so next to no gradient reaches the mask net. Here it is 0 or 1,
  and the gradient goes through as if M were -a: a pixel is rated higher where hiding it costs R more.
- There many zeros of a last ReLU share a rating; here that ReLU is left out, and exactly an eighth is hidden.
- There both nets move from one pass; here R moves first. R sees x and M x in one batch, so that its batch norms score
  as they learn.
- For CIFAR-10 the released mask net moves in every fourth epoch (`every=4`) and has a third width, 64, R has 128 to 768
  features, and the code 256 numbers.
- The released checkpoint is the one with the best AUROC on labelled anomalies. There is none of that here.
"""

from functools import partial

import torch
from torch import nn

from helpers.engine import Player
from helpers.nets import batch_statistics, dcgan_decoder, dcgan_encoder, dcgan_pm1, squared_error


class OLED(nn.Module):
    """OLED with a code of `code` numbers; `k` weights the missing part, and `share` of the pixels is hidden.

    The mask net plays in every `every`-th epoch, from the first on.
    """

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=64, k=12.5, share=0.125, every=3):
        super().__init__()
        self.k, self.share, self.every = k, share, every
        self.reconstructor = nn.Sequential(
            dcgan_encoder(channels, code, side, width), dcgan_decoder(code, channels, side, width))  # fmt: skip
        a, b = width // 2, 3 * width // 4  # 32 and 48
        self.masker = nn.Sequential(
            nn.Conv2d(channels, a, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(b, a, 4, 2, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(a, 1, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x):
        return self.reconstructor(x)

    def players(self):
        adam = partial(torch.optim.Adam, lr=5e-4, betas=(0.5, 0.9))
        return [
            Player(self.loss, self.reconstructor.parameters(), adam),
            Player(self.masker_loss, self.masker.parameters(), adam, lambda epoch: (epoch - 1) % self.every == 0),
        ]

    def mask(self, x):
        """Return M (B, 1, H, W), 0 at the pixels of images x (B, C, H, W) that are rated highest and 1 elsewhere."""
        a = self.masker(x).float()
        flat = a.flatten(1)
        top = flat.topk(round(self.share * flat.shape[1])).indices
        hard = torch.ones_like(flat).scatter(1, top, 0.0).view_as(a)
        return hard + (a.detach() - a)

    def loss(self, batch):
        x = batch.x
        with torch.no_grad():
            M = self.mask(x)
        recon, filled = self(torch.cat([x, M * x])).chunk(2)
        return (recon - x).square().mean() + self.adversarial(x, M, filled)

    def masker_loss(self, batch):
        M = self.mask(batch.x)
        with batch_statistics(self.reconstructor):  # its averages are of images and masked ones, not of these alone
            return -self.adversarial(batch.x, M, self(M * batch.x))

    def adversarial(self, x, M, filled):
        """Return L_masked + k L_missing, a scalar; the place of the missing part gives no gradient, as released."""
        return (filled - x).square().mean() + self.k * ((1 - M.detach()) * (filled - x)).abs().mean()

    def scores(self, x):
        """Return the sums (B,) over each of images x (B, C, H, W): "reconstruction", "masked" and "missing"."""
        M = self.mask(x)
        filled = self(M * x)
        missing = ((1 - M) * (filled - x)).abs().flatten(1).sum(1)
        return {"reconstruction": self.score(x), "masked": squared_error(x, filled), "missing": missing}

    def score(self, x):
        return squared_error(x, self(x))
