"""Networks that several methods share, and how images enter them.

`encoder32` and `decoder32` are the autoencoder of Cheng et al., IAEAD, section 4.3: four blocks down, four blocks up
(the "RAE" of Wang et al., E3Outlier, NeurIPS 2019). `dcgan_encoder` and `dcgan_decoder` are the discriminator and the
generator of Radford, Metz, Chintala: Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks, ICLR 2016, from which GANomaly and most adversarial detectors are built.
"""

from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

DCGAN_ADAM = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999))


def pad32_pm1(images):
    """Turn uint8 images (B, C, 28 or 32, the same) into float (B, C, 32, 32) in [-1, 1].

    Images of 28x28 are padded with black before they are scaled, so the border is -1. ValueError for other sizes.
    """
    height, width = images.shape[-2:]
    if (height, width) not in ((28, 28), (32, 32)):
        raise ValueError(f"This network takes images of 28x28 or 32x32, not {height}x{width}; load them with size=32.")
    return F.pad(images, [(32 - height) // 2] * 4).float() * 2 / 255 - 1


def encoder32(channels=1, code=256, bounded=True, gain=None, width=64):
    """Return a network from (B, channels, 32, 32) to (B, code): three convolutions of stride 2, then a linear layer.

    `bounded` ends it with tanh, so the code lies in (-1, 1). `gain` as in `initialise`; None keeps PyTorch's default.
    `width` is that of the first convolution, 64 in the paper; a quarter of it is sixteen times as fast.
    """
    return initialise(nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),  # 16x16
        nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),  # 8x8
        nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.BatchNorm2d(4 * width), nn.ReLU(),  # 4x4
        nn.Flatten(), nn.Linear(64 * width, code), nn.Tanh() if bounded else nn.Identity(),
    ), gain)  # fmt: skip


def decoder32(channels=1, code=256, gain=None, width=64):
    """Return the mirror of `encoder32`, from (B, code) to (B, channels, 32, 32) in (-1, 1)."""
    return initialise(nn.Sequential(
        nn.Linear(code, 64 * width), nn.BatchNorm1d(64 * width), nn.ReLU(), nn.Unflatten(1, (4 * width, 4, 4)),
        nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),  # 8x8
        nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), nn.BatchNorm2d(width), nn.ReLU(),  # 16x16
        nn.ConvTranspose2d(width, channels, 3, 2, 1, 1), nn.Tanh(),
    ), gain)  # fmt: skip


def initialise(net, gain):
    """Draw a network's weights as IAEAD's released code does and return it; a gain of None changes nothing.

    Weights of convolutions and linear layers are Xavier-normal with this gain (0.02 there, so that first codes are
    tiny), those of batch norms N(1, 0.02); every bias is 0.
    """
    for layer in net.modules() if gain is not None else ():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_normal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(layer.weight, 1, 0.02)
    return net


def check_side(side):
    """Return how many times a DCGAN halves images of `side` pixels, down to 4; ValueError where it cannot."""
    halvings = side.bit_length() - 3
    if halvings < 2 or side != 4 << halvings:
        raise ValueError(f"These networks take images of 28, 16, 32, 64, 128 or 256 pixels a side, not {side}; "
                         "load them with size=64.")  # fmt: skip
    return halvings


def dcgan_pm1(images):
    """Turn uint8 images (B, C, H, H) into float in [-1, 1]; H a power of two from 16 on, and 28 is padded to 32.

    ValueError for other sizes.
    """
    height, width = images.shape[-2:]
    if height == width == 28:
        return pad32_pm1(images)
    if height != width:
        raise ValueError(f"These networks take square images, not {height}x{width}; load them with size=64.")
    check_side(height)
    return images.float() * 2 / 255 - 1


def dcgan_side(images):
    """Return the side that uint8 images (B, C, H, H) have after `dcgan_pm1`, 32 for 28; ValueError for other sizes.

    It is the `side` that networks are made with.
    """
    return dcgan_pm1(images[:1]).shape[-1]


def dcgan_encoder(channels=1, code=100, side=32, width=64):
    """Return a network from (B, channels, side, side) to (B, code): 4x4 convolutions of stride 2 down to 4x4, then one
    over the whole map.

    Each doubles the channels of the one before, from `width` on; all but the first and the last have a batch norm, all
    but the last a leaky ReLU. `[:-2]` gives the last 4x4 features. ValueError for a side that is no power of two.
    """
    layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for _ in range(check_side(side) - 1):
        layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        width *= 2
    return nn.Sequential(*layers, nn.Conv2d(width, code, 4, bias=False), nn.Flatten())


def dcgan_decoder(code=100, channels=1, side=32, width=64, last=nn.Tanh):
    """Return the mirror of `dcgan_encoder`, from (B, code) to (B, channels, side, side); `last` bounds the pixels."""
    width <<= check_side(side) - 1
    layers = [nn.Unflatten(1, (code, 1, 1)), nn.ConvTranspose2d(code, width, 4, bias=False), nn.BatchNorm2d(width),
              nn.ReLU()]  # fmt: skip
    for _ in range(check_side(side) - 1):
        layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU()]
        width //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), last())


def dcgan_initialise(net):
    """Draw a network's weights as DCGANs have them and return it: N(0, 0.02), those of batch norms N(1, 0.02)."""
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0, 0.02)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(layer.weight, 1, 0.02)
    return net


def dcgan_discriminator(channels, side, width, code=1):
    """Return a DCGAN discriminator in two parts: up to its last 4x4 features, and from there to (B, code)."""
    net = dcgan_initialise(dcgan_encoder(channels, code, side, width))
    return net[:-2], net[-2:]


def cross_entropy(logits, label):
    """Return the mean binary cross-entropy of logits with one label for all, 1.0 real or 0.0 drawn."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, label, dtype=torch.float32))


def tell_apart(real, drawn):
    """Return a discriminator's loss for its logits of real and of drawn images."""
    return cross_entropy(real, 1.0) + cross_entropy(drawn, 0.0)


def squared_error(x, recon):
    """Return ||x - x^||^2 (B,), the sum over an image, for two tensors (B, C, H, W)."""
    return (x - recon).square().flatten(1).sum(1)


@contextmanager
def batch_statistics(*nets):
    """Let every batch norm use the statistics of its batch, as in training, and leave its running ones as they are.

    So score models that never call eval(); a score then depends on the images beside it. Enter it inside of a method's
    `score`: `engine.score` itself sets every layer to eval mode first.
    """
    norms = [layer for net in nets for layer in net.modules() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
    before = [(layer.training, layer.track_running_stats) for layer in norms]
    try:
        for layer in norms:
            layer.training, layer.track_running_stats = True, False
        yield
    finally:
        for layer, (training, tracking) in zip(norms, before, strict=True):
            layer.training, layer.track_running_stats = training, tracking
