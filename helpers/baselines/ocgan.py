"""OCGAN: a denoising autoencoder whose whole latent cube has to draw normal images, so that an anomaly has no code.

Perera, Nallapati, Xiang: OCGAN: One-class Novelty Detection Using GANs with Constrained Latent Representations, CVPR
2019. With noise n, a code l1 = En(x + n) in (-1, 1)^d, a random code l2 ~ U(-1, 1)^d, and three judges that give
logits, a step is

    D_v minimises  BCE(D_v(x), 1) + BCE(D_v(De(l2)), 0)             does it look like an image?
    D_l minimises  BCE(D_l(l2), 1) + BCE(D_l(l1), 0)                is it a random code?
    C   minimises  BCE(C(De(l1)), 1) + BCE(C(De(l2)), 0)            was it drawn from the code of an image?
    l2 <- l2 - eta grad BCE(C(De(l2)), 0)                           informative-negative mining
    En, De minimise  w_l BCE(D_l(l1), 1) + BCE(D_v(De(l2)), 1) + lam ||x - De(l1)||^2
    score  ||x - De(En(x))||^2

d = 16, n ~ N(0, 0.2^2), w_l = 10, lam = 250, mining from epoch 151 on, one step with eta = 2, batches of 512, Adam
2e-4 with beta1 0.5. The released option says 201 epochs, and its loop runs 200.

Where this differs:

- The released networks take 61x61 images with 5x5 convolutions, and De has a dropout; here En, De, D_v and C are the
  DCGAN blocks, with the released widths of 64, D_v with 12. D_l is 16-128-64-32-1.
- The released encoder ends in a leaky ReLU where the text needs a tanh, so its codes leave the cube, and D_l ends in 16
  sigmoids that a second sigmoid judges. Here a tanh, and one logit.
- There the squared error is half a mean over pixels, times 500 by default and 10 in the paper; here the mean, times
  250, which is the released default.
- There mined codes go through a tanh, and so do codes before mining starts, which leaves a smaller cube. Here a mined
  code is clipped to the cube.
- De draws from l1 and l2 in one batch, so that its batch norms score as they learn.
- There En and De train on other codes l2 than the judges; here on the same, or on those mined from them.
- There the noise of an image is drawn once for all epochs, here anew in each batch, and an iterator is reset inside its
  own loop; here an epoch ends. New images are scored without noise.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from helpers.engine import Player
from helpers.nets import batch_statistics, dcgan_decoder, dcgan_encoder, dcgan_initialise, dcgan_pm1, squared_error


class OCGAN(nn.Module):
    """OCGAN with a code of `code` numbers; `noise` is the deviation of n, `lam` and `latent_weight` weigh the losses.

    Mining starts with epoch `mine_from`, in `mine_steps` steps of size `mine_rate`.
    """

    prepare = staticmethod(dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, judge_width=12, code=16, noise=0.2, lam=250.0, latent_weight=10.0,
                 mine_from=151, mine_steps=1, mine_rate=2.0, lr=2e-4):  # fmt: skip
        super().__init__()
        self.noise, self.lam, self.latent_weight = noise, lam, latent_weight
        self.mine_from, self.mine_steps, self.mine_rate, self.lr = mine_from, mine_steps, mine_rate, lr
        self.encoder = nn.Sequential(dcgan_encoder(channels, code, side, width), nn.Tanh())
        self.decoder = dcgan_decoder(code, channels, side, width)
        self.visual = dcgan_encoder(channels, 1, side, judge_width)
        self.classifier = dcgan_encoder(channels, 1, side, width)
        self.latent = nn.Sequential(nn.Linear(code, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32),
                                    nn.ReLU(), nn.Linear(32, 1))  # fmt: skip
        for net in (self.encoder, self.decoder, self.visual, self.classifier):
            dcgan_initialise(net)

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def players(self):
        judges = self.visual, self.latent, self.classifier
        adam = partial(torch.optim.Adam, lr=self.lr, betas=(0.5, 0.999))
        return [
            Player(self.judges_loss, [p for net in judges for p in net.parameters()], adam),
            Player(self.loss, [*self.encoder.parameters(), *self.decoder.parameters()], adam),
        ]

    def start(self, data):
        self.after_epoch(0, data)

    def after_epoch(self, epoch, data):
        self.mining = epoch + 1 >= self.mine_from

    def mine(self, l2):
        """Return codes l2 (B, d), moved towards what the classifier calls not normal."""
        with batch_statistics(self.decoder, self.classifier):
            for _ in range(self.mine_steps):
                l2 = l2.detach().requires_grad_()
                each = F.softplus(self.classifier(self.decoder(l2)).float())  # BCE against 0
                (slope,) = torch.autograd.grad(each.sum(), l2)
                l2 = (l2 - self.mine_rate * slope).clamp(-1, 1)
        return l2.detach()

    def judges_loss(self, batch):
        self.noisy = batch.x + self.noise * torch.randn_like(batch.x)
        with torch.no_grad():
            l1 = self.encoder(self.noisy)
            self.l2 = torch.empty_like(l1).uniform_(-1, 1)
            recon, drawn = self.decoder(torch.cat([l1, self.l2])).chunk(2)
        return judge(self.visual, batch.x, drawn) + judge(self.latent, self.l2, l1) + judge(
            self.classifier, recon, drawn)  # fmt: skip

    def loss(self, batch):
        l1 = self.encoder(self.noisy)
        l2 = self.mine(self.l2) if self.mining else self.l2
        recon, drawn = self.decoder(torch.cat([l1, l2])).chunk(2)
        fooled = believe(self.visual(drawn)) + self.latent_weight * believe(self.latent(l1))
        return fooled + self.lam * F.mse_loss(recon, batch.x)

    def score(self, x):
        return squared_error(x, self(x))


def believe(logits):
    """Return the mean of BCE against 1, a scalar, that is -log sigmoid."""
    return F.softplus(-logits.float()).mean()


def judge(net, real, fake):
    """Return half of BCE(net(real), 1) + BCE(net(fake), 0), a scalar, for a net that gives logits."""
    return (believe(net(real)) + F.softplus(net(fake).float()).mean()) / 2
