"""Skip-GANomaly: a U-Net redraws the image, and a discriminator's features say how true the drawing is.

Akcay, Atapour-Abarghouei, Breckon: Skip-GANomaly: Skip Connected and Adversarially Trained Encoder-Decoder Anomaly
Detection, IJCNN 2019. With x^ = G(x) and f the code of a discriminator D:

    G:  min  w_adv BCE(D(x^), 1) + w_con mean |x - x^| + w_lat mean (f(x) - f(x^))^2,   1, 50 and 1
    D:  min  BCE(D(x), 1) + BCE(D(x^), 0)
    A(x) = lam mean (x - x^)^2 + (1 - lam) mean (f(x) - f(x^))^2,   lam = 0.9

The U-Net goes down to a single pixel. What goes down is handed across on every level, so an anomaly can pass too. D is
a DCGAN encoder to a code of 100, and a linear layer. With first width 64 that makes 17.7 million weights for 1x32x32.
Adam 2e-4 with beta1 = 0.5, batches of 64; 15 epochs, and 25 in the released script for CIFAR-10.

Where this differs:

- Weights of the losses, rates and sizes are those of the released code, as are the means in place of norms.
- There D ends in a 3x3 convolution over a map of 1x1, of whose nine weights only the middle one ever meets more than
  padding. The linear layer computes the same without the other eight.
- There w_lat's term is added to the loss of D as well, which then learns not to see the differences that the score
  looks for; newer versions of PyTorch refuse that step. Here G alone has it, as in the paper.
- There a noise is added to the input in training, from memory that was never filled; here none is.
- The released code never leaves training mode, and draws D anew whenever the loss of D falls below 1e-5. It shifts and
  scales MNIST beyond the tanh, scales the scores of the test set to [0, 1], and keeps the epoch with the best AUC on
  that set. Here none of this is done, as in GANomaly.
"""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from helpers import nets
from helpers.engine import Player


class SkipGANomaly(nn.Module):
    """A U-Net and a discriminator for square images of `side` pixels; `width` is that of their first convolutions.

    `code` is the length of f, `lam` the share of the pixels in the score. `batch_statistics` scores as the released
    code, which never leaves training mode.
    """

    prepare = staticmethod(nets.dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=100, w_adv=1, w_con=50, w_lat=1, lam=0.9,
                 batch_statistics=False):  # fmt: skip
        super().__init__()
        self.w_adv, self.w_con, self.w_lat, self.lam = w_adv, w_con, w_lat, lam
        self.batch_statistics = batch_statistics
        self.generator = nets.dcgan_initialise(UNet(channels, side, width))
        self.features = nn.Sequential(*nets.dcgan_discriminator(channels, side, width, code))
        self.classifier = nets.dcgan_initialise(nn.Linear(code, 1, bias=False))

    def players(self):
        discriminator = [*self.features.parameters(), *self.classifier.parameters()]
        return [Player(self.generator_loss, self.generator.parameters(), nets.DCGAN_ADAM),
                Player(self.discriminator_loss, discriminator, nets.DCGAN_ADAM)]  # fmt: skip

    def forward(self, x):
        return self.generator(x)

    def generator_loss(self, batch):
        x, x_hat = batch.x, self(batch.x)
        self.drawn = x_hat.detach()  # the discriminator sees it in the same step
        with torch.no_grad():
            f = self.features(x)
        f_hat = self.features(x_hat)
        l_adv = nets.cross_entropy(self.classifier(f_hat), 1.0)
        l_con = F.l1_loss(x_hat, x)
        l_lat = F.mse_loss(f_hat, f)
        return self.w_adv * l_adv + self.w_con * l_con + self.w_lat * l_lat

    def discriminator_loss(self, batch):
        real, drawn = (self.classifier(self.features(x)) for x in (batch.x, self.drawn))
        return nets.tell_apart(real, drawn)

    def score(self, x):
        with nets.batch_statistics(self) if self.batch_statistics else nullcontext():
            x_hat = self(x)
            pixels = (x - x_hat).square().mean((1, 2, 3))
            features = (self.features(x) - self.features(x_hat)).square().mean(1)
        return self.lam * pixels + (1 - self.lam) * features


class UNet(nn.Module):
    """From (B, channels, side, side) to the same shape in (-1, 1): down to 1x1 and up, with a skip on every level.

    The channels double with each level, from `width` to at most eight times as many.
    """

    def __init__(self, channels, side, width):
        super().__init__()
        nets.check_side(side)
        sizes = [width * min(2**level, 8) for level in range(side.bit_length() - 1)]  # 32: 16x16, 8, 4, 2, 1
        down = [nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b))
                for a, b in zip(sizes[:-2], sizes[1:-1], strict=True)]  # fmt: skip
        self.down = nn.ModuleList([
            nn.Conv2d(channels, width, 4, 2, 1, bias=False), *down,
            nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(sizes[-2], sizes[-1], 4, 2, 1, bias=False)),
        ])  # fmt: skip
        inputs = [sizes[-1], *(2 * size for size in sizes[-2:0:-1])]  # but for the first, half of it is the skip
        self.up = nn.ModuleList([
            nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b))
            for a, b in zip(inputs, sizes[-2::-1], strict=True)
        ])  # fmt: skip
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, channels, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = torch.cat([skip, up(x)], 1)
        return self.last(x)
