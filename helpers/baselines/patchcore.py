"""PatchCore: remember patches of normal images, as few as cover them all; the patch farthest from memory is the score.

Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler: Towards Total Recall in Industrial Anomaly Detection, CVPR 2022. Maps of
two middle stages of a frozen network, averaged over 3 x 3 positions, give a vector p for each position of an image.
Memory M is a share of the vectors of all training images, 25, 10 or 1 %, chosen greedily (Algorithm 1) on a random
projection psi to 128 dimensions:

    m_i = argmax over p of  min over m in M of  ||psi(p) - psi(m)||        M <- M + {m_i}
    s* = max over p of s(p)        s(p) = min over m in M of ||p - m||                                  (equation 6)
    s = (1 - exp s* / sum over m in N_b(m*) of exp ||p* - m||) s*                                       (equation 7)

p* is the patch with the largest s(p), m* its neighbour in M, and N_b(m*) are the b nearest to m* in M, m* among them.
The map is s(p) at the size of the picture, smoothed by a Gaussian of 4 pixels.

It reads patches: `features.of_task(task, kind="patches", average=3)`.

Where this differs:

- From the paper: the score is s*, as in the released code; `neighbours=b` gives equation 7. b is not printed.
- The released code first averages windows of the concatenated vector down to 1024 numbers a stage, and to 1024 in all;
  here all channels are kept as they are.
- The first distances are the means of those to ten patches, drawn at random, as in the released code. The paper
  starts from an empty M, which has no distance.
- Algorithm 1 looks at every patch for each m_i. `coreset` makes the same choices in rounds, ten times as fast.
"""

import torch
from torch import nn

from helpers.features.patches import closeness, nearest, rows, smoothed

STARTS = 10
CANDIDATES = 1024


class PatchCore(nn.Module):
    """PatchCore with a `share` of the patches in memory; `neighbours` is b of equation 7, and 0 leaves it out.

    `projection` is the number of dimensions in which patches are chosen; `side` and `sigma` are those of the map, in
    pixels. ValueError for a share outside of (0, 1].
    """

    prepare = staticmethod(torch.Tensor.float)

    def __init__(self, share=0.25, neighbours=0, projection=128, side=224, sigma=4.0):
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"The share of patches in memory must be above 0 and at most 1, not {share!r}.")
        self.share, self.neighbours, self.projection = share, neighbours, projection
        self.side, self.sigma = side, sigma

    def players(self):
        return []

    def start(self, data):
        n, C, h, w = data.images.shape
        psi = torch.randn(C, self.projection).to(data.images.device) if C > self.projection else None
        points = data.map(lambda x: rows(x) if psi is None else rows(x) @ psi, batch_size=16)
        starts = torch.randperm(len(points))[:STARTS].to(points.device)
        index = coreset(points, max(1, int(self.share * len(points))), starts)
        image, position = index // (h * w), index % (h * w)
        self.register_buffer("memory", data.images.flatten(2)[image, :, position].float())  # (m, C)

    def distances(self, x):
        """Return s(p) (B, h w) and the index of the neighbour in memory, of maps x (B, C, h, w)."""
        s, neighbour = nearest(rows(x), self.memory)
        return s.view(len(x), -1), neighbour.view(len(x), -1)

    def score(self, x):
        s, neighbour = self.distances(x)
        s, at = s.max(1)
        if not self.neighbours:
            return s
        b = min(self.neighbours, len(self.memory))
        m = self.memory[neighbour.gather(1, at[:, None])[:, 0]]  # m* (B, C)
        around = self.memory[nearest(m, self.memory, b)[1]]  # N_b(m*) (B, b, C)
        p = x.flatten(2)[torch.arange(len(x)), :, at]  # p* (B, C)
        exponents = (p[:, None] - around).norm(dim=2)
        return (1 - (s - exponents.logsumexp(1)).exp()) * s

    def maps(self, x):
        """Return s(p) as smooth maps (B, side, side)."""
        return smoothed(self.distances(x)[0].view(len(x), *x.shape[2:]), self.side, self.sigma)


def coreset(points, count, starts):
    """Return the indices (count,) of points (n, d) that are chosen greedily: each is the farthest from those before.

    Before the first, a point's distance is its mean distance to points[starts]. A round looks at CANDIDATES, the
    farthest points, and at their distances to each other. As long as the farthest of them is farther than the farthest
    point outside was at the beginning, it is the farthest of all, for distances only shrink. Then all points learn of
    the chosen ones, in one matrix product. Ties aside, the choice is that of one step a point.
    """
    points = points - points.mean(0)  # less cancellation in the squares
    squares = points.square().sum(1)
    d = torch.stack([(points - start).norm(dim=1) for start in points[starts]]).mean(0).square()
    chosen = []
    while len(chosen) < count:
        top = d.topk(min(CANDIDATES + 1, len(d)))
        outside = top.values[-1].item() if len(d) > CANDIDATES else -1.0
        candidates = top.indices[:CANDIDATES]
        new = candidates[_farthest(points[candidates], d[candidates], outside, count - len(chosen))]
        chosen += new.tolist()
        _shrink(d, points, squares, points[new])
        d[new] = -1.0  # never again
    return torch.tensor(chosen, device=points.device)


def _farthest(points, d, outside, most):
    """Choose greedily among points (n, d), as long as one is farther than `outside`; return positions, 1 to `most`."""
    between = torch.cdist(points, points).square().cpu().numpy()
    d, chosen = d.cpu().numpy().copy(), []
    while len(chosen) < min(most, len(d)):
        i = d.argmax()
        if chosen and d[i] < outside:
            break
        chosen.append(int(i))
        d = between[i].clip(max=d)
        d[chosen] = -1.0
    return chosen


def _shrink(d, points, squares, new):
    """Set d (n,) to the squared distance to the nearest of the new points, where that is smaller."""
    for at, table in closeness(points, new):
        to_nearest = (squares[at] - 2 * table.amax(1)).clamp(min=0)
        d[at] = torch.minimum(d[at], to_nearest)
