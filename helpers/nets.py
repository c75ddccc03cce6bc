"""The 32x32 autoencoder that IAEAD and most of its rivals share, and how images enter it.

Cheng et al., IAEAD, section 4.3: four blocks down, four blocks up (the "RAE" of Wang et al., E3Outlier, NeurIPS 2019).
"""

from torch import nn
from torch.nn import functional as F


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
