"""CAE: the plain convolutional autoencoder, the baseline of every autoencoder for anomaly detection.

Masci, Meier, Ciresan, Schmidhuber: Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction, ICANN 2011;
here as in Cheng et al., IAEAD, equations 1 to 3:

    min over f, g of  mean (x - g(f(x)))^2          score  S(x) = ||x - g(f(x))||, by L1 or L2

Where sources differ, each is a preset (epochs and batch size are what `fit` gets):

- "as_printed": IAEAD's paper. SGD, learning rate 0.1, halved every 50 epochs; 250 epochs of batches of 256.
- "as_released": IAEAD's code. Its default "sgd" is not the "SGD" that it is compared with, so Adam runs, and a new
  Adam is made in every epoch.
- "e3": Wang et al., E3Outlier, NeurIPS 2019. One Adam, batches of 128, PyTorch's own initial weights, score by L2.

The first two draw small initial weights and score by L1. IAEAD's text leaves both open; its code decides.
"""

from functools import partial

from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam

from helpers.engine import Player, step_decay
from helpers.nets import decoder32, encoder32, pad32_pm1

E3_ADAM = partial(Adam, lr=1e-3, eps=1e-7, weight_decay=5e-4)
PRESETS = {  # a record does not notice another number in step_decay, so a change of it needs a name of its own
    "as_printed": dict(optimizer=partial(SGD, lr=0.1), schedule=step_decay(50), gain=0.02, error="l1"),
    "as_released": dict(optimizer=E3_ADAM, schedule=None, gain=0.02, error="l1"),
    "e3": dict(optimizer=E3_ADAM, schedule=None, gain=None, error="l2"),
}


class CAE(nn.Module):
    """An autoencoder of 2.85 million weights for images of 28x28 or 32x32 with `channels` channels.

    `preset` is one of PRESETS (see the head of this file); ValueError for any other.
    """

    prepare = staticmethod(pad32_pm1)

    def __init__(self, channels=1, preset="as_printed"):
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"The CAE has no preset {preset!r}; possible are {', '.join(PRESETS)}.")
        self.preset, chosen = preset, PRESETS[preset]
        self.error = chosen["error"]
        self.encoder = encoder32(channels, gain=chosen["gain"])
        self.decoder = decoder32(channels, gain=chosen["gain"])

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def loss(self, batch):
        return F.mse_loss(self(batch.x), batch.x)

    def players(self):
        chosen = PRESETS[self.preset]

        def optimizer(parameters):
            self.optimizer = chosen["optimizer"](parameters)
            return self.optimizer

        return [Player(self.loss, self.parameters(), optimizer, chosen["schedule"])]

    def after_epoch(self, epoch, data):
        if self.preset == "as_released":
            forget(self.optimizer)

    def scores(self, x):
        """Return the errors (B,) of images x (B, C, 32, 32): "l1" the sum of absolute, "l2" of squared differences."""
        difference = (x - self(x)).flatten(1)
        return {"l1": difference.abs().sum(1), "l2": difference.square().sum(1)}

    def score(self, x):
        return self.scores(x)[self.error]


def narrow(method, channels, width):
    """Give a method on the CAE of preset "e3" a network whose first convolution has `width` channels, not 64.

    The CAE itself takes no width: its records are found by its code.
    """
    if width != 64:
        method.encoder, method.decoder = encoder32(channels, width=width), decoder32(channels, width=width)


def forget(optimizer):
    """Put an optimiser back to its first step; in place, where a new one would leave the engine with the old."""
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()
