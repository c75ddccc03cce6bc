"""GANomaly: encode, decode, encode again; an image whose second code is far from its first is anomalous.

Akcay, Atapour-Abarghouei, Breckon: GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training, ACCV 2018.
With z = G_E(x), x^ = G_D(z), z^ = E(x^) and f the last features of a discriminator D, equations 1 to 5:

    L_adv = ||f(x) - f(x^)||_2     L_con = ||x - x^||_1     L_enc = ||z - z^||_2
    G:  min  w_adv L_adv + w_con L_con + w_enc L_enc,   1, 50 and 1         D:  min  BCE(D(x), 1) + BCE(D(x^), 0)
    A(x) = mean (z - z^)^2

All networks are DCGAN blocks with first width 64 and 100 latents: 3,861,632 weights for 1x32x32, which is what ALCN's
Table 5 counts (3.86 million). Adam 2e-4 with beta1 = 0.5, 15 epochs of batches of 64.

Where this differs:

- From the paper: norms are means over pixels and features, and the score is a mean of squares, both as released; the
  paper scores by the L1 norm.
- From the released code: it never leaves training mode, so a test image is normalised together with its batch of 64.
  `batch_statistics=True` scores so, with the batches that the caller forms; the default is eval mode.
- It draws D anew whenever the loss of D falls below 1e-5. We do not: every step would wait for the device to tell. It
  also halves that loss, which Adam does not notice.
- It shifts and scales MNIST by its mean and deviation, beyond the range of the decoder's tanh; here pixels fill
  [-1, 1]. It scales the scores of the test set to [0, 1], and keeps the epoch with the best AUC on that set.
"""

from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F

from helpers import nets
from helpers.engine import Player


class GANomaly(nn.Module):
    """An encoder, a decoder, a second encoder and a discriminator for square images of `side` pixels.

    `width` is that of the first convolutions, `code` the length of z. `batch_statistics` scores as the released code.
    """

    prepare = staticmethod(nets.dcgan_pm1)

    def __init__(self, channels=1, side=32, width=64, code=100, w_adv=1, w_con=50, w_enc=1, batch_statistics=False):
        super().__init__()
        self.w_adv, self.w_con, self.w_enc = w_adv, w_con, w_enc
        self.batch_statistics = batch_statistics
        self.encoder = nets.dcgan_initialise(nets.dcgan_encoder(channels, code, side, width))
        self.decoder = nets.dcgan_initialise(nets.dcgan_decoder(code, channels, side, width))
        self.second = nets.dcgan_initialise(nets.dcgan_encoder(channels, code, side, width))
        self.features, self.classifier = nets.dcgan_discriminator(channels, side, width)

    def players(self):
        generator = [p for net in (self.encoder, self.decoder, self.second) for p in net.parameters()]
        discriminator = [*self.features.parameters(), *self.classifier.parameters()]
        return [Player(self.generator_loss, generator, nets.DCGAN_ADAM),
                Player(self.discriminator_loss, discriminator, nets.DCGAN_ADAM)]  # fmt: skip

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def generator_loss(self, batch):
        x = batch.x
        z = self.encoder(x)
        x_hat = self.decoder(z)
        self.drawn = x_hat.detach()  # the discriminator sees it in the same step
        with torch.no_grad():
            f = self.features(x)
        l_adv = F.mse_loss(self.features(x_hat), f)
        l_con = F.l1_loss(x_hat, x)
        l_enc = F.mse_loss(self.second(x_hat), z)
        return self.w_adv * l_adv + self.w_con * l_con + self.w_enc * l_enc

    def discriminator_loss(self, batch):
        real, drawn = (self.classifier(self.features(x)) for x in (batch.x, self.drawn))
        return nets.tell_apart(real, drawn)

    def score(self, x):
        with nets.batch_statistics(self) if self.batch_statistics else nullcontext():
            z = self.encoder(x)
            return (z - self.second(self.decoder(z))).square().mean(1)


class FeatureGANomaly(GANomaly):
    """GANomaly over vectors of `inputs` numbers, features of a frozen network, in place of images.

    ALGAN's Tables 2 and 3 list it after Rudolph et al. (DifferNet, WACV 2021), who do not describe its networks. Here
    each has three dense layers, as many as ALGAN-feature's: inputs, `width`, `width` / 2, `code` in the encoders, back
    in the decoder, and from inputs to one logit in the discriminator. Norms, activations and weights are a DCGAN's;
    the decoder ends linearly, for features have no bounds. The score of views (B, R, inputs) is their mean.
    """

    prepare = staticmethod(torch.Tensor.float)

    def __init__(self, inputs=2048, width=1024, code=100, w_adv=1, w_con=50, w_enc=1, batch_statistics=False):
        nn.Module.__init__(self)  # GANomaly's own would build networks for images
        self.w_adv, self.w_con, self.w_enc = w_adv, w_con, w_enc
        self.batch_statistics = batch_statistics
        self.encoder = dense(inputs, width, width // 2, code)
        self.decoder = dense(code, width // 2, width, inputs, decoder=True)
        self.second = dense(inputs, width, width // 2, code)
        judge = dense(inputs, width, width // 2, 1)
        self.features, self.classifier = judge[:-1], judge[-1]

    def score(self, x):
        return super().score(x.flatten(0, -2)).reshape(len(x), -1).mean(1)


def dense(a, b, c, d, decoder=False):
    """Return three dense layers from a to d numbers, with the norms and activations of a DCGAN's encoder or decoder."""
    norm, activation = (nn.BatchNorm1d(b), nn.ReLU()) if decoder else (nn.Identity(), nn.LeakyReLU(0.2))
    return nets.dcgan_initialise(nn.Sequential(
        nn.Linear(a, b), norm, activation, nn.Linear(b, c), nn.BatchNorm1d(c), activation, nn.Linear(c, d)))
