"""CutPaste: which pixels a patch and a scar change, how colours do, and what the classifier makes of it."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from torch import nn

from helpers import engine, metrics
from helpers.baselines import cutpaste
from helpers.baselines.cutpaste import CutPaste, change_colours, paste_patch, paste_scar
from helpers.baselines.trivial import TRIVIAL
from helpers.images import load
from helpers.protocols import train_on_good


def new(**settings):
    torch.manual_seed(0)
    return CutPaste(width=4, **settings)


# What it pastes


def numbered(n, height, width, channels=1):
    """Images in [0, 1] of whose pixels no two are equal."""
    count = height * width
    x = torch.arange(count, dtype=torch.float64).reshape(1, 1, height, width) / count
    return x.repeat(n, channels, 1, 1)


def box(changed):
    """Top, left, height and width of the smallest rectangle around the pixels (H, W) that changed."""
    rows, columns = (torch.nonzero(changed.any(axis)).flatten() for axis in (1, 0))
    return rows[0].item(), columns[0].item(), len(range(rows[0], rows[-1] + 1)), len(range(columns[0], columns[-1] + 1))


@pytest.mark.parametrize("height, width, area, aspect", [
    (64, 64, (0.02, 0.15), (0.3, 3.3)),
    (48, 96, (0.02, 0.15), (0.3, 3.3)),
    (64, 64, (0.2, 0.3), (1 / 3, 3)),  # ALGAN's section 5.7
])  # fmt: skip
def test_a_patch_is_a_rectangle_of_the_right_size_and_nothing_else_changes(height, width, area, aspect):
    torch.manual_seed(0)
    x = torch.rand(400, 3, height, width) * 0.8 + 0.1
    changed = (paste_patch(x, area, aspect) != x).any(1)
    sides = []
    for one in changed:
        _, _, h, w = box(one)
        assert one.sum() == h * w  # the whole box, and by the meaning of `box` nothing else
        sides.append((h, w))
    h, w = np.array(sides).T
    assert ((h + 0.5) * (w + 0.5) >= area[0] * height * width).all()
    assert ((h - 0.5) * (w - 0.5) <= area[1] * height * width).all()
    assert ((h + 0.5) / (w - 0.5) >= aspect[0]).all() and ((h - 0.5) / (w + 0.5) <= aspect[1]).all()
    share, log_aspect = h * w / (height * width), np.log(h / w)
    near = 0.1 * (area[1] - area[0])
    np.testing.assert_allclose(np.quantile(share, [0.02, 0.98]), area, atol=near)  # the bounds are reached
    assert share.mean() == pytest.approx(np.mean(area), rel=0.06)
    assert log_aspect.max() > 0.8 * math.log(aspect[1]) and log_aspect.min() < 0.8 * math.log(aspect[0])
    assert log_aspect.mean() == pytest.approx(0, abs=0.12)


def test_a_patch_comes_from_one_place_of_the_same_image():
    torch.manual_seed(0)
    x = numbered(300, 40, 50)
    pasted = paste_patch(x, jitter=0.0)
    origin = (pasted * 2000).round().long()[:, 0]  # the number of the pixel that each one holds now
    here = torch.arange(2000).reshape(40, 50)
    shifts, corners = [], []
    for one in origin:
        changed = one != here
        if changed.any():  # it may be pasted where it was
            rows, columns = one[changed] // 50 - here[changed] // 50, one[changed] % 50 - here[changed] % 50
            assert len(rows.unique()) == len(columns.unique()) == 1
            shifts.append((rows[0].item(), columns[0].item()))
            corners.append(box(changed)[:2])
    for values in (*zip(*shifts, strict=True), *zip(*corners, strict=True)):
        assert len(set(values)) > 20  # every image has its own
    rows, columns = (np.array(values) for values in zip(*shifts, strict=True))
    assert abs(rows.mean()) < 2 and abs(columns.mean()) < 2  # up as often as down


def test_an_upright_scar_has_the_sides_of_the_paper():
    torch.manual_seed(0)
    x = torch.rand(100, 1, 256, 256) * 0.8 + 0.1
    sides = np.array([box(one)[2:] for one in (paste_scar(x, angle=0) != x)[:, 0]])
    assert sides[:, 0].min() in (10, 11) and sides[:, 0].max() in (24, 25)
    assert sides[:, 1].min() in (2, 3) and sides[:, 1].max() in (15, 16)
    small = torch.rand(100, 1, 64, 64) * 0.8 + 0.1
    sides = np.array([box(one)[2:] for one in (paste_scar(small, angle=0) != small)[:, 0]])
    assert set(sides[:, 0]) <= set(range(2, 7)) and set(sides[:, 1]) <= set(range(1, 5))  # a quarter


def test_a_turned_scar_is_a_turned_copy():
    torch.manual_seed(0)
    x = numbered(200, 256, 256)
    pasted = paste_scar(x, width=(16, 16), height=(60, 60), jitter=0.0)[:, 0]
    origin = (pasted * 256**2).round().long()
    here = torch.arange(256**2).reshape(256, 256)
    turns = []
    for one in origin:
        changed = one != here
        assert 0.95 < changed.sum() / (16 * 60) < 1.05
        target = torch.stack([here[changed] // 256, here[changed] % 256], 1).double()
        source = torch.stack([one[changed] // 256, one[changed] % 256], 1).double()
        assert (source.amax(0) - source.amin(0)).tolist() in ([59, 15], [58, 15], [59, 14], [58, 14])
        target, source = target - target.mean(0), source - source.mean(0)
        u, _, v = torch.linalg.svd(target.T @ source)
        turn = u @ v  # the best rotation between them
        assert (source @ turn.T - target).norm(dim=1).max() < 1.5
        assert torch.linalg.det(turn) > 0  # not mirrored
        turns.append(math.degrees(math.atan2(turn[1, 0], turn[0, 0])))
    assert -47 < min(turns) < -38 and 38 < max(turns) < 47 and abs(np.mean(turns)) < 8


@pytest.mark.parametrize("side", [8, 16, 32])
def test_no_scar_vanishes_in_a_small_picture(side):
    torch.manual_seed(0)
    x = torch.rand(3000, 1, side, side) * 0.8 + 0.1
    count = (paste_scar(x) != x).flatten(1).sum(1)
    assert count.min() >= 1 and count.max() < 0.15 * side**2


def test_every_place_of_a_picture_can_be_hit():
    torch.manual_seed(0)
    x = torch.rand(3000, 1, 16, 16) * 0.8 + 0.1
    for spoilt in (paste_patch(x), paste_scar(x)):
        assert (spoilt != x).any(0).all()


def test_colours_change_within_their_bounds():
    torch.manual_seed(0)
    everywhere = torch.ones(2000, 1, 1, 2)
    grey = torch.tensor([0.2, 0.6]).expand(2000, 3, 1, 2)
    changed = change_colours(grey, everywhere, 0.1)
    torch.testing.assert_close(changed[:, 0], changed[:, 1])  # greys stay grey
    torch.testing.assert_close(changed[:, 0], changed[:, 2])
    brightness = changed[:, 0].mean((1, 2)) / 0.4
    contrast = (changed[:, 0, 0, 1] - changed[:, 0, 0, 0]) / 0.4 / brightness
    for factor in (brightness, contrast):
        assert 0.9 <= factor.min() < 0.905 and 1.095 < factor.max() <= 1.1001
    assert np.corrcoef(brightness, contrast)[0, 1] == pytest.approx(0, abs=0.1)
    assert change_colours(grey, everywhere, 3.0).aminmax() == (0, 1)  # and stay in the range of pixels


def test_hue_and_saturation_turn_and_stretch_a_colour_about_the_grey_axis():
    torch.manual_seed(0)
    red = torch.tensor([0.6, 0.4, 0.4]).reshape(1, 3, 1, 1).expand(2000, 3, 1, 1)
    x = change_colours(red, torch.zeros(2000, 1, 1, 1) + 1, 0.1)[:, :, 0, 0].double().numpy()
    brightness = x.mean(1) / (1.4 / 3)
    colour = x - x.mean(1, keepdims=True)
    axes = np.array([[2, -1, -1], [0, 1, -1]]) / np.sqrt([[6], [2]])  # red, and a quarter of a turn on
    along, across = (colour @ axes.T).T
    turn = np.degrees(np.arctan2(across, along))
    assert -36.01 <= turn.min() < -35 and 35 < turn.max() <= 36.01  # a tenth of a turn
    # of brightness, contrast about the mean of all channels, and saturation
    stretch = np.hypot(along, across) / (0.2 * np.sqrt(2 / 3)) / brightness
    assert 0.81 <= stretch.min() < 0.85 and 1.17 < stretch.max() <= 1.2101


def test_contrast_is_about_the_mean_of_the_part():
    torch.manual_seed(0)
    x = torch.full((500, 1, 2, 2), 0.3)
    x[:, :, 0] = 0.6
    part = torch.zeros(500, 1, 2, 2)
    part[:, :, 0] = 1
    changed = change_colours(x, part, 0.1)
    brightness = changed[:, 0, 0, 0] / 0.6  # contrast leaves the mean of the part alone
    contrast = (changed[:, 0, 0, 0] - changed[:, 0, 1, 0]) / 0.3 / brightness
    assert 0.9 <= brightness.min() and brightness.max() <= 1.1001
    assert 0.9 <= contrast.min() and contrast.max() <= 1.1001
    torch.testing.assert_close(change_colours(x, part, 0.0), x)


# What it learns


def test_the_loss_of_cutpaste_names_the_three_kinds(monkeypatch):
    method = new(jitter=0.0)
    monkeypatch.setattr(cutpaste, "paste_patch", lambda x, **_: x + 1)
    monkeypatch.setattr(cutpaste, "paste_scar", lambda x, **_: x + 2)
    x = torch.full((4, 3, 8, 8), 0.1)

    class Fixed(nn.Module):
        def __init__(self, answers):
            super().__init__()
            self.answers = torch.tensor(answers)

        def forward(self, x):
            return self.answers[x.mean((1, 2, 3)).long()]

    def by(answers):
        method.net, method.head = Fixed(answers), nn.Identity()
        return method.loss(engine.Batch(x, None, None)).item()

    assert by([[0.0, 0, 0]] * 3) == pytest.approx(math.log(3))
    assert by([[50.0, 0, 0], [0, 50, 0], [0, 0, 50]]) == pytest.approx(0, abs=1e-6)
    assert by([[0.0, 50, 0], [0, 50, 0], [0, 0, 50]]) == pytest.approx(50 / 3)


def test_the_score_of_cutpaste_is_that_of_other_libraries():
    method, x = new(), torch.randint(0, 256, (30, 3, 32, 32), dtype=torch.uint8)
    data = engine.Data(method, x, torch.zeros(30), "cpu")
    method.finish(data)
    f = data.map(method.net).double().numpy()
    gaussian = LedoitWolf().fit(f)
    expected = [mahalanobis(one, f.mean(0), np.linalg.inv(gaussian.covariance_)) ** 2 for one in f]
    np.testing.assert_allclose(engine.score(method, x), expected, rtol=1e-4)


def test_the_settings_of_cutpaste():
    with torch.device("meta"):
        net, d = cutpaste.resnet(3)
        grey = cutpaste.resnet(1)[0]
    assert d == 512 and sum(p.numel() for p in net.parameters()) == 11_689_512 - 513_000  # without its last layer
    assert grey.conv1.in_channels == 1
    (player,) = new(epochs=40).players()
    sgd = player.optimizer(list(player.parameters)).defaults
    assert (sgd["lr"], sgd["momentum"], sgd["weight_decay"]) == (0.03, 0.9, 3e-5)
    rates = [player.schedule(epoch) for epoch in range(1, 43)]
    assert rates[0] == 1 and rates[20] == pytest.approx(0.5) and rates[40] == rates[41] == 0
    assert rates == sorted(rates, reverse=True) and rates[39] > 0


def washers():
    return train_on_good(load("parts", size=64), ["washer"])


def test_it_learns_to_tell_copies_apart_and_finds_more_defects_than_what_learns_nothing():
    task = washers()

    def auroc(method, epochs):
        losses = engine.fit(method, task, epochs, batch_size=32, device="cpu")
        return metrics.auroc(task.anomalous.numpy(), engine.score(method, task.test)), losses

    torch.manual_seed(0)
    ours, losses = auroc(CutPaste(side=64, width=8, epochs=10), 10)
    assert losses[-3:].mean() < 0.85 * math.log(3)  # each step draws new copies, so none was seen before
    assert ours > max(auroc(build(), 0)[0] for build in TRIVIAL.values()) + 0.1
