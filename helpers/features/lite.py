"""EfficientNet-Lite0, a small network for ImageNet, whose weights come inside a package on the index.

Described at github.com/tensorflow/tpu, models/official/efficientnet/lite: EfficientNet-B0 (Tan, Le, ICML 2019, Table 1)
without squeeze-and-excitation, and with ReLU6 where it has swish. A block widens by a 1x1 convolution, filters each
channel, and narrows by a 1x1 convolution without a nonlinearity (MobileNetV2, Sandler et al., CVPR 2018).
"""

import math

from torch import nn
from torch.nn import functional as F

BLOCKS = (  # factor of widening, channels, blocks, stride of the first, side of the filters
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def lite0():
    """Return the nine stages of EfficientNet-Lite0, up to its last map, as a list of modules.

    From (B, 3, 224, 224) they give 32x112x112, 16x112x112, 24x56x56, 40x28x28, 80x14x14, 112x14x14, 192x7x7, 320x7x7
    and 1280x7x7.
    """
    stages, a = [nn.Sequential(*convolution(3, 32, 3, 2))], 32
    for widen, b, blocks, stride, side in BLOCKS:
        first, *others = ((a, stride), *[(b, 1)] * (blocks - 1))
        stages.append(nn.Sequential(*[Block(c, b, widen, s, side) for c, s in (first, *others)]))
        a = b
    return [*stages, nn.Sequential(*convolution(a, 1280))]


def convolution(a, b, side=1, stride=1, groups=1):
    """Return a convolution from a to b channels, its batch norm and a ReLU6, a list."""
    return [SamePadded(a, b, side, stride, groups=groups, bias=False), nn.BatchNorm2d(b, eps=1e-3), nn.ReLU6()]


class Block(nn.Module):
    """An inverted bottleneck from a to b channels; its input is added where it has the shape of the output."""

    def __init__(self, a, b, widen, stride, side):
        super().__init__()
        wide = a * widen
        self.added = a == b and stride == 1
        self.path = nn.Sequential(*(convolution(a, wide) if widen > 1 else []),
                                  *convolution(wide, wide, side, stride, groups=wide),
                                  *convolution(wide, b)[:-1])  # fmt: skip

    def forward(self, x):
        return x + self.path(x) if self.added else self.path(x)


class SamePadded(nn.Conv2d):
    """A convolution that pads as TensorFlow does: to a map of ceil(side / stride), the odd zero right and below."""

    def forward(self, x):
        pad = []
        for n, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):  # width first
            missing = max((math.ceil(n / s) - 1) * s + k - n, 0)
            pad += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pad) if any(pad) else x)
