"""What detectors on maps of features share: patches as rows, nearest neighbours in bounded memory, smooth maps."""

import torch
from torch.nn import functional as F

TABLE = 2**24  # bytes of distances that are in memory at once; more are slower: they leave the processor's cache


def rows(x):
    """Return maps (B, C, h, w) as a vector a position, (B h w, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def nearest(x, bank, k=1):
    """Return distance and index, each (n, k), of the k nearest rows of bank (m, d) to each row of x (n, d), in order.

    The distance is Euclidean, in the unit of the features. Brute force, piece by piece, as `closeness`. ValueError for
    more neighbours than the bank has rows.
    """
    if k > len(bank):
        raise ValueError(f"{k} nearest neighbours were asked for, of {len(bank)} rows.")
    index = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    centre = bank.mean(0)  # squares of small numbers cancel less
    for at, table in closeness(x - centre, bank - centre):
        index[at] = table.argmax(1, keepdim=True) if k == 1 else table.topk(k).indices
    distance = torch.stack([(x - bank[neighbour]).norm(dim=1) for neighbour in index.T], 1)  # without cancellation
    return distance, index


def closeness(x, bank):
    """Yield (|x|^2 - |x - b|^2) / 2 of each row of x (n, d) to all rows b of bank (m, d), piece by piece.

    A piece is a slice of x and a table (rows of the slice, m) of no more than TABLE bytes, or of one row. The next
    piece overwrites it: tables that come and go leave holes in the memory, which then grows without end.
    """
    half, at_once = bank.square().sum(1) / 2, max(1, TABLE // (4 * len(bank)))
    table = x.new_empty(min(at_once, len(x)), len(bank))
    for start in range(0, len(x), at_once):
        some = x[start:start + at_once]
        yield slice(start, start + at_once), torch.addmm(half, some, bank.T, beta=-1, out=table[:len(some)])


def smoothed(maps, side, sigma):
    """Return maps (B, h, w) at the size of the pictures, (B, side, side): bilinear, then a Gaussian of sigma pixels."""
    from torchvision.transforms.functional import gaussian_blur

    large = F.interpolate(maps[:, None], (side, side), mode="bilinear", align_corners=False)
    return gaussian_blur(large, 2 * int(4 * sigma) + 1, sigma)[:, 0]
