"""Three detectors that learn nothing worth the name; a method has to beat them (every results table lists them)."""

from torch import nn


class EverythingAnomalous(nn.Module):
    """Give every image the same score; at any threshold below it every image is flagged."""

    def players(self):
        return []

    def score(self, x):
        return x.new_ones(len(x))


class MeanIntensity(EverythingAnomalous):
    """Score an image by how far its mean grey value lies from the training images' mean grey value."""

    def start(self, data):
        self.register_buffer("mean", data.map(lambda x: x.mean((1, 2, 3))).mean())

    def score(self, x):
        return (x.mean((1, 2, 3)) - self.mean).abs()


class DistanceToMean(EverythingAnomalous):
    """Score an image by its mean squared distance to the mean training image."""

    def start(self, data):
        total = sum(data.map(lambda x: x.sum(0, keepdim=True)))  # a sum a chunk: the set itself never floats whole
        self.register_buffer("mean", total / len(data))  # (C, H, W)

    def score(self, x):
        return (x - self.mean).square().mean((1, 2, 3))


TRIVIAL = {
    "everything anomalous": EverythingAnomalous,
    "mean intensity": MeanIntensity,
    "distance to mean image": DistanceToMean,
}

