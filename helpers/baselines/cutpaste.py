"""CutPaste: a classifier learns to tell images from copies with a misplaced patch; what it looks at has a Gaussian.

Li, Sohn, Yoon, Pfister: CutPaste: Self-Supervised Learning for Anomaly Detection and Localization, CVPR 2021. A copy is
spoilt in one of two ways, and a network f with a head g tells three classes apart:

    patch   a rectangle of 2 to 15 % of the image, sides 3.3:1 to 1:3.3, its colours changed, pasted elsewhere
    scar    one 2 to 16 wide and 10 to 25 high where an image has 256 pixels a side, turned by up to 45 degrees as well
    loss = mean of CE(g(f(x)), 0), CE(g(f(patch(x))), 1) and CE(g(f(scar(x))), 2)
    score = (f(x) - mu)^T Sigma^-1 (f(x) - mu),   mu and Sigma of f over the normal training images

The score is twice the negative logarithm of the Gaussian's density, but for a constant. f is a ResNet-18 that is
trained from scratch up to its mean over positions, 512 numbers. SGD 0.03 with momentum 0.9 and weight decay 3e-5, on a
cosine to 0 over 256 epochs of 256 steps; batches of 32 images, which make 96.

Where this differs (the authors released no code):

- The loss is the mean over the three kinds; the paper prints a sum, which with SGD is three times the learning rate.
- The head has one hidden layer here. Reimplementations have nine, eight of 512 and one of 128, as in earlier code of
  the authors; which sizes the paper's own runs had is open.
- With more dimensions than images Sigma has no inverse, so here it is shrunk as Ledoit and Wolf do.
- The colours of each image change before it is spoilt, as there; there it is shifted at random as well.
- `width` puts the blocks of a DCGAN in place of the ResNet, for small pictures and slow machines.
- The paper also fine-tunes an EfficientNet-B4 from ImageNet, and learns from patches to localise; both are left out.
"""

import math
from functools import partial

import torch
from sklearn.covariance import LedoitWolf
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from helpers.engine import Player
from helpers.nets import dcgan_encoder

SGD = partial(torch.optim.SGD, lr=0.03, momentum=0.9, weight_decay=3e-5)


class CutPaste(nn.Module):
    """The three-way CutPaste for images (B, channels, H, W) in [0, 1], with a ResNet-18.

    With a `width`, f is a DCGAN's encoder instead, for square images of `side` pixels, and `width` its first. The
    learning rate falls to 0 over `epochs` epochs. `jitter` bounds the change of colours.
    """

    def __init__(self, channels=3, side=32, width=None, epochs=256, jitter=0.1):
        super().__init__()
        self.epochs, self.jitter = epochs, jitter
        self.net, d = resnet(channels) if width is None else small(channels, side, width)
        self.head = nn.Sequential(nn.Linear(d, d), nn.BatchNorm1d(d), nn.ReLU(), nn.Linear(d, 3))
        self.register_buffer("mu", torch.zeros(d, dtype=torch.float64))
        self.register_buffer("precision", torch.eye(d, dtype=torch.float64))  # Sigma^-1

    def players(self):
        return [Player(self.loss, self.parameters(), SGD, lambda epoch: cosine(epoch, self.epochs))]

    def loss(self, batch):
        x = batch.x
        x = change_colours(x, torch.ones_like(x[:, :1]), self.jitter)
        views = torch.cat([x, paste_patch(x, jitter=self.jitter), paste_scar(x, jitter=self.jitter)])
        kind = torch.arange(3, device=x.device).repeat_interleave(len(x))
        return F.cross_entropy(self.head(self.net(views)), kind)

    def finish(self, data):
        gaussian = LedoitWolf().fit(data.map(self.net).double().cpu().numpy())
        self.mu.copy_(torch.from_numpy(gaussian.location_))
        self.precision.copy_(torch.from_numpy(gaussian.precision_))

    def score(self, x):
        off = self.net(x).double() - self.mu
        return torch.einsum("bi,ij,bj->b", off, self.precision, off)


def paste_patch(x, area=(0.02, 0.15), aspect=(0.3, 3.3), jitter=0.1):
    """Return images x (B, C, H, W) in [0, 1], each with a rectangle of its own pasted elsewhere, its colours changed.

    `area` bounds the rectangle's share of the image and `aspect` its height / width, to the nearest whole pixels and
    within the image; the logarithm of the aspect is uniform, so that lying is as frequent as standing. ALGAN, section
    5.7, pastes an area of (0.2, 0.3) with an aspect of (1 / 3, 3).
    """
    size, ratio = uniform(x, *area) * x[0, 0].numel(), uniform(x, *map(math.log, aspect)).exp()
    return paste(x, (size * ratio).sqrt(), (size / ratio).sqrt(), torch.zeros_like(size), jitter)


def paste_scar(x, width=(2, 16), height=(10, 25), angle=45, jitter=0.1):
    """Return images x (B, C, H, W) in [0, 1], each with a small rectangle of its own pasted elsewhere, turned.

    `width` and `height` bound its sides, in pixels of an image 256 wide; `angle` bounds its turn in degrees.
    """
    scale = x.shape[-1] / 256
    sides = (uniform(x, *(scale * bound for bound in bounds)) for bounds in (height, width))
    return paste(x, *sides, uniform(x, -1, 1) * math.radians(angle), jitter)


def paste(x, height, width, angle, jitter):
    """Cut a rectangle of each image x (B, C, H, W), change its colours, turn it and paste it at another place.

    Heights, widths and angles, in radians, are (B, 1, 1); sides become whole pixels, at least 1. Both places are
    uniform among those inside the image, the second for the box around the turned rectangle. Pixels are moved, not
    mixed.
    """
    H, W = x.shape[-2:]
    height, width = height.round().clamp(1, H), width.round().clamp(1, W)
    cos, sin = angle.cos(), angle.sin()
    box = (height * cos + width * sin.abs()).round(), (width * cos + height * sin.abs()).round()
    top, left = (place(side, room) for side, room in zip((height, width), (H, W)))  # of the source
    centre = [place(side, room) + side / 2 for side, room in zip(box, (H, W))]  # of the target
    # where each pixel of the picture lies in the frame of the pasted rectangle, from its centre
    down = torch.arange(H, device=x.device)[:, None] + 0.5 - centre[0]
    right = torch.arange(W, device=x.device) + 0.5 - centre[1]
    down, right = cos * down - sin * right, sin * down + cos * right
    inside = (down.abs() < height / 2) & (right.abs() < width / 2)  # (B, H, W)
    row = (top + height / 2 + down).floor().clamp(0, H - 1)
    column = (left + width / 2 + right).floor().clamp(0, W - 1)
    source = (row * W + column).long().flatten(1)[:, None].expand(-1, x.shape[1], -1)
    moved = x.flatten(2).gather(2, source).reshape(x.shape)
    inside = inside[:, None]
    return torch.where(inside, change_colours(moved, inside, jitter), x)


def change_colours(x, part, strength):
    """Return images x (B, C, H, W) in [0, 1] with other brightness, contrast, saturation and hue, each by chance.

    The first three are factors within 1 +- strength, the last turns colours about the grey axis by up to that share of
    a full turn; contrast is about the mean of `part` (B, 1, H, W). Grey images have the first two alone.
    """
    x = x * uniform(x, 1 - strength, 1 + strength)[:, None]
    mean = (x * part).sum((1, 2, 3), keepdim=True) / (part.sum((1, 2, 3), keepdim=True) * x.shape[1])
    x = mean + (x - mean) * uniform(x, 1 - strength, 1 + strength)[:, None]
    if x.shape[1] == 3:
        grey = x.mean(1, keepdim=True)
        turn = uniform(x, -strength, strength)[:, None] * 2 * math.pi
        across = (x.roll(1, 1) - x.roll(-1, 1)) / math.sqrt(3)  # the colour, turned by a quarter
        colour = turn.cos() * (x - grey) + turn.sin() * across
        x = grey + uniform(x, 1 - strength, 1 + strength)[:, None] * colour
    return x.clamp(0, 1)


def uniform(x, low, high):
    """Return a random number (B, 1, 1) for each image of x, uniform from low to high."""
    return low + (high - low) * torch.rand(len(x), 1, 1, device=x.device)


def place(side, room):
    """Return where segments of whole lengths `side` (B, 1, 1) begin, uniform among the places within `room` pixels."""
    return (torch.rand_like(side) * (room - side + 1).clamp(min=1)).floor()


def cosine(epoch, epochs):
    """Return the factor of the learning rate in an epoch, from 1 in the first towards 0 after `epochs`."""
    return (1 + math.cos(math.pi * min((epoch - 1) / epochs, 1))) / 2


def resnet(channels):
    """Return a ResNet-18 without its last layer and the length of what it returns."""
    net = resnet18(weights=None)
    net.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    net.fc = nn.Identity()
    return net, 512


def small(channels, side, width):
    """Return a DCGAN's encoder down to its last 4x4 features, their mean, and its length."""
    net = dcgan_encoder(channels, 1, side, width)
    return nn.Sequential(*net[:-2], nn.AdaptiveAvgPool2d(1), nn.Flatten()), net[-2].in_channels
