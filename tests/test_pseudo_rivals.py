"""The rivals of the chapter on pseudo-anomalies: what each does by hand, and that it learns more than nothing.

What CutPaste pastes and learns has its own file.
"""

import copy
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import engine, metrics
from helpers.baselines.alocc import ALOCC
from helpers.baselines.cutpaste import CutPaste
from helpers.baselines.differnet import Coupling, DifferNet
from helpers.baselines.ganomaly import FeatureGANomaly, GANomaly
from helpers.baselines.trivial import TRIVIAL
from helpers.engine import Batch
from helpers.images import load
from helpers.protocols import one_anomalous, one_normal

ON_IMAGES = {"ALOCC": partial(ALOCC, channels=3, width=4), "CutPaste": partial(CutPaste, width=4)}
ON_FEATURES = {
    "DifferNet": partial(DifferNet, inputs=9, width=8),
    "GANomaly": partial(FeatureGANomaly, inputs=9, width=8, code=3),
}
ALL = ON_IMAGES | ON_FEATURES
each = pytest.mark.parametrize("name", ALL)


def new(name, **settings):
    torch.manual_seed(0)
    return ALL[name](**settings)


def inputs(name, n):
    random = torch.Generator().manual_seed(1)
    return torch.rand(n, *((3, 32, 32) if name in ON_IMAGES else (9,)), generator=random)


def batch(x):
    return Batch(x, torch.zeros(len(x)), torch.arange(len(x)))


def task_of(x, test):
    """A task of these training and test images or vectors, with nothing else in it."""
    some = one_normal(load("digits"), 0, limit=10)
    return replace(some, train=x, train_y=torch.zeros(len(x), dtype=torch.long), test=test)


# All four


@each
def test_the_players_move_every_weight_and_share_none(name):
    method = new(name)
    moved = [id(p) for player in method.players() for p in player.parameters]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in method.parameters()}


@each
def test_a_player_moves_nothing_but_its_own(name):
    method = new(name)
    for player in method.players():
        parameters, optimizer = engine.make_optimizer(player)
        before = copy.deepcopy(dict(method.named_parameters()))
        player.loss(batch(inputs(name, 8))).backward(inputs=parameters)
        optimizer.step()
        moved = {id(p) for key, p in method.named_parameters() if not torch.equal(p, before[key])}
        assert moved and moved <= {id(p) for p in parameters}


@each
def test_a_score_depends_neither_on_the_batch_nor_on_its_order(name):
    method, x = new(name), inputs(name, 40)
    x = (x * 255).byte() if name in ON_IMAGES else x
    engine.fit(method, task_of(x, x), epochs=1, batch_size=8)
    whole = engine.score(method, x)
    assert whole.shape == (40,) and whole.std() > 0
    np.testing.assert_allclose(engine.score(method, x, batch_size=3), whole, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(engine.score(method, x.flip(0))[::-1], whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ON_FEATURES)
def test_the_score_of_several_views_is_their_mean(name):
    method, views = new(name), torch.randn(5, 4, 9)
    alone = np.stack([engine.score(method, views[:, i]) for i in range(4)])
    np.testing.assert_allclose(engine.score(method, views), alone.mean(0), rtol=1e-5)
    np.testing.assert_allclose(engine.score(method, views[:, :1]), alone[0], rtol=1e-5)


# ALOCC


def outputs(net, *x):
    with torch.no_grad():
        return net(*x)


def cross_entropy(logits, label):
    p = logits.double().sigmoid()
    return -(p.log() if label else (1 - p).log()).mean().item()


def lively(**settings):
    """An ALOCC whose last layers are a hundred times as large, so that neither logits nor pixels are all but 0."""
    method = new("ALOCC", **settings)
    for net in (method.refiner[-2], method.discriminator[-1][0]):
        net.weight.data *= 100
    return method


@pytest.mark.parametrize("repair", ["squared", "cross-entropy"])
def test_the_losses_of_alocc_by_hand(repair):
    method, x = lively(repair=repair, lam=3.0), inputs("ALOCC", 6) * 2 - 1
    D, R = method.discriminator, method.refiner
    loss_D, loss_R = (player.loss(batch(x)).item() for player in method.players())
    noisy = method.noisy
    repaired = outputs(R, noisy)
    assert loss_D == pytest.approx(cross_entropy(outputs(D, x), 1) + cross_entropy(outputs(D, repaired), 0), rel=1e-4)
    if repair == "squared":
        error = (x - repaired).square().mean().item()
    else:
        p, target = repaired.double().sigmoid(), (noisy.double() + 1) / 2
        error = -(target * p.log() + (1 - target) * (1 - p).log()).mean().item()
    assert loss_R == pytest.approx(cross_entropy(outputs(D, repaired), 1) + 3 * error, rel=1e-4)


def test_the_noise_of_alocc():
    x = torch.zeros(50, 3, 32, 32)
    noisy = new("ALOCC").spoil(x)
    assert noisy.std().item() == pytest.approx(0.31, rel=0.01)  # 0.155 of a range of 2
    assert not torch.equal(noisy[0], noisy[1])
    assert new("ALOCC").spoil(torch.ones_like(x)).max() == 1


def test_alocc_doubts_what_its_discriminator_takes_for_drawn():
    method, x = new("ALOCC"), inputs("ALOCC", 4)
    method.refiner, method.discriminator = nn.Tanh(), nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    scores = outputs(method.scores, x)
    for name, seen in (("OCC1", x), ("OCC2", outputs(method, x))):
        believed = outputs(method.discriminator, seen).sigmoid().squeeze(1)
        torch.testing.assert_close(1 - believed, scores[name].sigmoid())
    assert torch.equal(outputs(method.score, x), scores["OCC2"])


def test_the_networks_of_alocc():
    method = ALOCC()
    seen = [tuple(layer.weight.shape[:2]) for layer in method.refiner if hasattr(layer, "stride")]
    assert seen == [(32, 1), (64, 32), (128, 64), (128, 64), (64, 32), (32, 1)]
    for channels, side in ((1, 64), (3, 16)):
        method, x = ALOCC(channels, side, 4).eval(), torch.rand(2, channels, side, side)
        assert outputs(method, x).shape == x.shape and outputs(method.score, x).shape == (2,)
    assert [player.steps for player in ALOCC(width=4, steps=2).players()] == [1, 2]
    optimizers = [player.optimizer(list(player.parameters)) for player in method.players()]
    assert [(type(o), o.defaults["lr"]) for o in optimizers] == [(torch.optim.RMSprop, 2e-3)] * 2


def test_alocc_refuses_another_measure():
    with pytest.raises(ValueError, match="no measure 'L1' of a repair; possible are squared, cross-entropy"):
        ALOCC(repair="L1")


# DifferNet


@pytest.mark.parametrize("n", [2, 7, 8])
def test_the_flow_is_invertible_and_its_determinant_that_of_the_jacobian(n):
    torch.manual_seed(0)
    flow = DifferNet(n, width=16, blocks=3).double()
    y = 3 * torch.randn(6, n, dtype=torch.float64)
    z, log_det = flow(y)
    torch.testing.assert_close(flow.inverse(z), y)
    assert not torch.allclose(z, y)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda one: flow(one)[0], one) for one in y])
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet)
    views = flow(y.reshape(2, 3, n))
    torch.testing.assert_close(views[0].flatten(0, 1), z)
    torch.testing.assert_close(views[1].flatten(), log_det)


def test_a_coupling_block_by_hand():
    torch.manual_seed(0)
    block = Coupling(3, 4, clamp=2.0)
    block.order.copy_(torch.tensor([2, 0, 1]))
    block.of_v, block.of_u = nn.Linear(2, 2), nn.Linear(1, 4)
    for net, weight, bias in ((block.of_v, [[1.0, 0], [0, 1]], [0.0, 0]), (block.of_u, [[0.0]] * 4, [2, -2, 5, 7.0])):
        net.weight.data, net.bias.data = torch.tensor(weight), torch.tensor(bias)
    y, log_det = block(torch.tensor([[10.0, 20.0, 1.0]]))  # u = 1, v = (10, 20)
    s = 4 / math.pi * math.atan(5)  # of v: s = 10, t = 20
    torch.testing.assert_close(y, torch.tensor([[math.exp(s) + 20, 10 * math.e + 5, 20 / math.e + 7]]))
    assert log_det.item() == pytest.approx(s + 1 - 1)  # atan(1) = pi / 4, so 2 is clamped to 1


def test_the_clamp_bounds_every_scale():
    block = Coupling(4, 4, clamp=3.0)
    for net in (block.of_u, block.of_v):
        net[-1].bias.data.fill_(1e9)
    assert block(torch.zeros(1, 4))[1].item() == pytest.approx(4 * 3)


def test_the_loss_of_differnet_is_the_likelihood_per_number():
    method, y = new("DifferNet"), inputs("DifferNet", 5)
    z, log_det = method(y)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    constant = 9 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(method.loss(batch(y)), (-normal - constant).mean() / 9)
    torch.testing.assert_close(method.score(y), (z**2).sum(1) / 9)


def test_the_flow_makes_a_correlated_gaussian_a_standard_one():
    random = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.5, 0.7]])
    y = torch.randn(6000, 3, generator=random) @ mix.T + torch.tensor([1.0, -0.5, 0])
    method, train, test = new("DifferNet", inputs=3, width=16, blocks=4, lr=2e-3), y[:4000], y[4000:]
    losses = engine.fit(method, task_of(train, test), epochs=20, batch_size=200, device="cpu")
    z = outputs(method, test)[0]
    np.testing.assert_allclose(z.mean(0), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=0.15)
    best = (3 / 2 + torch.linalg.slogdet(mix).logabsdet.item()) / 3  # the entropy, but for the constant
    assert losses[-1, 0] == pytest.approx(best, abs=0.05) and losses[0, 0] > best + 0.1


def test_the_flow_refuses_a_single_number_and_has_the_sizes_of_the_paper():
    with pytest.raises(ValueError, match="2 numbers or more, one for each half, not 1"):
        DifferNet(1)
    with torch.device("meta"):
        method = DifferNet(768)
    assert len(method.blocks) == 8
    layers = [layer for layer in method.blocks[0].of_u if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == [2048, 2048, 2048, 768]
    adam = method.players()[0].optimizer([torch.zeros(1)]).defaults
    assert (adam["lr"], adam["betas"], adam["eps"], adam["weight_decay"]) == (2e-4, (0.8, 0.8), 1e-4, 1e-5)


# GANomaly on features


def test_the_losses_of_ganomaly_hold_for_features():
    method, x = new("GANomaly"), inputs("GANomaly", 6)
    z = outputs(method.encoder, x)
    x_hat = outputs(method.decoder, z)
    z_hat, f, f_hat = outputs(method.second, x_hat), outputs(method.features, x), outputs(method.features, x_hat)
    expected = ((f - f_hat) ** 2).mean() + 50 * (x - x_hat).abs().mean() + ((z - z_hat) ** 2).mean()
    torch.testing.assert_close(method.generator_loss(batch(x)).detach(), expected)
    real, drawn = outputs(method.classifier, f), outputs(method.classifier, f_hat)
    expected = cross_entropy(real, 1) + cross_entropy(drawn, 0)
    assert method.discriminator_loss(batch(x)).item() == pytest.approx(expected, rel=1e-4)
    method.eval()
    z = outputs(method.encoder, x)
    expected = (z - outputs(method.second, outputs(method, x))).square().mean(1)
    torch.testing.assert_close(outputs(method.score, x), expected)


def test_the_networks_of_ganomaly_on_features():
    method = FeatureGANomaly(40, width=16, code=5)
    sizes = {name: [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
             for name, net in method.named_children()}  # fmt: skip
    down = [(40, 16), (16, 8), (8, 5)]
    assert sizes["encoder"] == sizes["second"] == down
    assert sizes["decoder"] == [(5, 8), (8, 16), (16, 40)]
    assert sizes["features"] == down[:2] and sizes["classifier"] == [(8, 1)]
    norms = {name: sum(isinstance(m, nn.BatchNorm1d) for m in net.modules()) for name, net in method.named_children()}
    assert norms == {"encoder": 1, "decoder": 2, "second": 1, "features": 1, "classifier": 0}
    assert sum(p.numel() for p in GANomaly().parameters()) == 3_861_632  # that of images is as it was
    method.decoder[-1].bias.data.fill_(7)
    assert outputs(method, torch.rand(8, 40)).max() > 6  # features have no bounds


# They learn


def auroc(method, task, epochs, batch_size=32):
    engine.fit(method, task, epochs, batch_size, device="cpu")
    return metrics.auroc(task.anomalous.numpy(), engine.score(method, task.test))


def inverted(images):
    """Half of the images, by lot, in white on black and half in black on white."""
    half = torch.rand(len(images), 1, 1, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    return torch.where(half, 255 - images, images)


def sixes():
    task = one_normal(load("digits"), 6)
    return replace(task, train=inverted(task.train), test=inverted(task.test))


def averaged(images):
    return F.avg_pool2d(images.float() / 255, 4).flatten(1)


def as_vectors(task):
    return replace(task, train=averaged(task.train), test=averaged(task.test))


def zeros_anomalous():
    return one_anomalous(load("digits"), 0, seed=0)


LEARN = {  # the method, the task, whether it gets vectors, epochs
    "ALOCC": (partial(ALOCC, width=8, lr=2e-4), sixes, False, 40),
    "DifferNet": (partial(DifferNet, 49, width=64, lr=1e-3), zeros_anomalous, True, 8),
    "GANomaly": (partial(FeatureGANomaly, 49, width=64, code=16), zeros_anomalous, True, 8),
}


@pytest.mark.parametrize("name", LEARN)
def test_it_learns_more_than_nothing(name):
    build, task, vectors, epochs = LEARN[name]
    task = task()
    trivial = max(auroc(one(), task, 0) for one in TRIVIAL.values())
    torch.manual_seed(0)
    ours = auroc(build(), as_vectors(task) if vectors else task, epochs)
    print(f"{name}: {ours:.3f}, without learning {trivial:.3f}")
    assert ours > trivial + 0.1
