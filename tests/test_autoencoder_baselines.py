"""Six rivals that redraw an image: their formulas by hand and against other libraries, and that they learn."""

import functools
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from helpers import engine, nets
from helpers.baselines import lsa, ocgan, vae
from helpers.baselines.adae import ADAE
from helpers.baselines.arae import ARAE
from helpers.baselines.lsa import LSA
from helpers.baselines.ocgan import OCGAN
from helpers.baselines.oled import OLED
from helpers.baselines.trivial import TRIVIAL
from helpers.baselines.vae import VAE
from helpers.images import load
from helpers.protocols import one_anomalous, one_normal

ALL = {
    "VAE": partial(VAE, width=8),
    "ADAE": partial(ADAE, width=8),
    "OLED": partial(OLED, width=8),
    "ARAE": partial(ARAE, width=64),
    "LSA": partial(LSA, width=8, code=8, hidden=4),
    "OCGAN": partial(OCGAN, width=8, judge_width=4),
}


def new(build, **settings):
    torch.manual_seed(0)
    return build(**settings)


@functools.cache
def images():
    return load("digits").x[:24]


def batch_of(method, n=24):
    return engine.Batch(method.prepare(images()[:n]), None, torch.arange(n))


def weights(*modules):
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels, side", [(1, 64), (3, 32)])
def test_each_redraws_images_of_other_sizes_and_scores_the_squared_error(name, channels, side):
    method = new(ALL[name], channels=channels, side=side)
    u8 = torch.randint(0, 256, (3, channels, side, side), dtype=torch.uint8)
    x = method.prepare(u8)
    with engine.evaluating(method):
        recon = method(x)
        scores = method.scores(x) if hasattr(method, "scores") else {"reconstruction": method.score(x)}
        error = np.square(x.numpy() - recon.numpy()).sum((1, 2, 3))
    assert recon.shape == x.shape
    np.testing.assert_allclose(scores["reconstruction"], error, rtol=1e-4)
    assert engine.score(method, u8).shape == (3,)


# VAE


def test_the_divergence_is_that_of_torch():
    mu, log_var = torch.randn(7, 5), torch.randn(7, 5)
    other = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(vae.kl(mu, log_var), other)
    assert vae.kl(torch.zeros(1, 5), torch.zeros(1, 5)).item() == 0


def test_the_code_is_drawn_with_its_mean_and_deviation_and_beta_weights_the_divergence():
    method = new(VAE, width=8, code=3, beta=2.5)
    mu, log_var = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, -2.0, 2.0])
    seen = []

    class Blank(nn.Module):
        def forward(self, z):
            seen.append(z)
            return torch.zeros(len(z), 1, 32, 32)

    method.encode = lambda x: (mu.expand(len(x), 3), log_var.expand(len(x), 3))
    method.decoder = Blank()
    x = torch.full((4000, 1, 32, 32), 0.5)
    loss = method.loss(engine.Batch(x, None, None))
    assert loss.item() == pytest.approx(0.25 * 1024 + 2.5 * vae.kl(mu[None], log_var[None]).item(), rel=1e-5)
    z = seen[0]
    np.testing.assert_allclose(z.mean(0), mu, atol=0.15)
    np.testing.assert_allclose(z.std(0), (log_var / 2).exp(), rtol=0.1)
    scores = method.scores(x[:2])
    assert torch.equal(seen[1], mu.expand(2, 3))  # nothing is drawn
    torch.testing.assert_close(scores["elbo"], scores["reconstruction"] + 2.5 * vae.kl(mu[None], log_var[None]))


# ADAE


def test_the_losses_of_the_dual_autoencoders_by_hand():
    method = new(ADAE, width=8)
    batch, G, D = batch_of(method), method.generator, method.discriminator
    with torch.no_grad():
        loss_G, loss_D = method.generator_loss(batch), method.discriminator_loss(batch)
        fake = G(batch.x)
        real_again, fake_again = D(torch.cat([batch.x, fake])).chunk(2)
    x_d, x_g, g_d = (float(np.abs(a.numpy() - b.numpy()).mean())
                     for a, b in ((batch.x, real_again), (batch.x, fake), (fake, fake_again)))  # fmt: skip
    assert loss_G.item() == pytest.approx(x_g + g_d, rel=1e-4)
    assert loss_D.item() == pytest.approx(x_d - g_d, rel=1e-3, abs=1e-5)


def test_each_dual_autoencoder_leaves_the_other_alone():
    method = new(ADAE, width=8)
    batch = batch_of(method)
    method.generator_loss(batch)
    method.discriminator_loss(batch).backward()
    assert all(p.grad is None for p in method.generator.parameters())
    generator, discriminator = method.players()
    assert weights(method.generator).numel() == sum(p.numel() for p in generator.parameters)
    assert not {id(p) for p in method.generator.parameters()} & {id(p) for p in discriminator.parameters}


# OLED


def test_an_eighth_of_the_pixels_is_hidden_where_the_ratings_are_highest():
    method = new(OLED, width=8)
    x = batch_of(method).x
    with torch.no_grad():
        M, rating = method.mask(x), method.masker(x)
    assert M.shape == (24, 1, 32, 32) and set(M.unique().tolist()) == {0.0, 1.0}
    assert (M == 0).sum((1, 2, 3)).tolist() == [128] * 24
    for m, a in zip(M, rating, strict=True):
        assert a[m == 0].min() >= a[m == 1].max()


def test_a_pixel_is_rated_higher_where_hiding_it_costs_more():
    method = new(OLED, width=8)
    rating = torch.randn(1, 1, 32, 32, requires_grad=True)
    method.masker.forward = lambda x: rating
    x, worth = torch.ones(1, 1, 32, 32), torch.randn(1, 1, 32, 32)
    gain = (method.mask(x) * x * worth).sum()  # what the reconstructor would lose with the pixels
    gain.backward()
    torch.testing.assert_close(rating.grad, -worth)


def test_the_two_losses_of_oled_by_hand():
    method = new(OLED, width=8, k=7.0).eval()  # in eval mode a batch and its parts agree
    batch = batch_of(method)
    with torch.no_grad():
        x, M = batch.x, method.mask(batch.x)
        plain, filled = method(x).numpy(), method(M * x).numpy()
        loss = method.loss(batch).item()
        adversarial = method.adversarial(x, M, method(M * x)).item()
    x, M = x.numpy(), M.numpy()
    hidden = ((x - filled) ** 2).mean() + 7 * np.abs((1 - M) * (x - filled)).mean()
    assert adversarial == pytest.approx(hidden, rel=1e-4)
    assert loss == pytest.approx(((x - plain) ** 2).mean() + hidden, rel=1e-4)


def test_the_mask_net_plays_against_in_every_third_epoch_and_moves_nothing_else():
    method = new(OLED, width=8)
    mine, other = method.players()
    assert [bool(other.schedule(epoch)) for epoch in range(1, 8)] == [True, False, False, True, False, False, True]
    batch = batch_of(method)
    before = {name: b.clone() for name, b in method.reconstructor.named_buffers()}
    loss = other.loss(batch)
    assert loss.item() < 0
    loss.backward(inputs=list(method.masker.parameters()))
    assert any(p.grad.abs().max() > 0 for p in method.masker.parameters())
    assert all(p.grad is None for p in method.reconstructor.parameters())
    assert all(torch.equal(b, before[name]) for name, b in method.reconstructor.named_buffers())


# ARAE


def test_the_network_of_the_paper():
    shapes = [tuple(layer.weight.shape) for layer in new(ARAE, side=28).modules() if isinstance(layer, nn.Linear)]
    assert shapes == [(512, 784), (256, 512), (128, 256), (256, 128), (512, 256), (784, 512)]
    layers = [layer for layer in new(ARAE).modules() if isinstance(layer, nn.Sigmoid)]
    assert len(layers) == 6


def test_the_attack_stays_within_its_radius_and_moves_the_code_further_than_chance():
    method = new(ARAE, width=64, eps=0.1, steps=5)
    x = batch_of(method).x
    with torch.no_grad():
        near = method.attack(x)
        code = method.encoder(x)
        chance = (x + 0.1 * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
        moved, by_chance = ((method.encoder(y) - code).square().sum(1) for y in (near, chance))
    assert (near - x).abs().max() <= 0.1 + 1e-6 and near.min() >= 0 and near.max() <= 1
    assert (moved > 2 * by_chance).all()


def test_one_step_of_the_attack_by_hand():
    method = new(ARAE, width=64, eps=0.1, steps=1)
    x = batch_of(method, 4).x
    torch.manual_seed(1)
    near = method.attack(x)
    torch.manual_seed(1)
    delta = torch.empty_like(x).uniform_(-0.1, 0.1)
    start = (x + delta).clamp(0, 1).requires_grad_()
    (method.encoder(start) - method.encoder(x).detach()).square().sum().backward()
    by_hand = (x + (delta + 0.25 * start.grad.sign()).clamp(-0.1, 0.1)).clamp(0, 1)
    torch.testing.assert_close(near, by_hand)


def test_the_robust_loss_by_hand_and_fresh_adversaries_each_epoch():
    method, task = new(ARAE, width=64, steps=1, gamma=0.3), small_task()
    for p in method.parameters():
        p.data *= 4  # else the first images hardly differ
    data = engine.Data(method, task.train, task.train_y, "cpu")
    method.start(data)
    first = method.adversaries
    assert first.shape == (len(task.train), 1, 32, 32)
    index = torch.tensor([3, 0])
    batch = data.batch(index)
    code, plain = method.encoder(first[index]), method.encoder(batch.x)
    by_hand = ((method.decoder(code) - batch.x) ** 2).mean() + 0.3 * ((plain - code) ** 2).mean()
    torch.testing.assert_close(method.loss(batch), by_hand, rtol=1e-6, atol=0)
    method.after_epoch(1, data)
    assert not torch.equal(method.adversaries, first)
    assert not any("adversaries" in key for key in method.state_dict())


def test_arae_pads_and_refuses():
    assert new(ARAE).prepare(images()).shape == (24, 1, 32, 32)
    assert new(ARAE, side=28).prepare(images()).shape == (24, 1, 28, 28)
    for method, wrong in ((new(ARAE, side=28), (1, 1, 32, 32)), (new(ARAE, side=31), (1, 1, 28, 28))):
        with pytest.raises(ValueError, match=f"at most {method.side} pixels a side"):
            method.prepare(torch.zeros(wrong, dtype=torch.uint8))


# LSA


def test_no_bin_depends_on_its_own_position_or_a_later_one():
    method = new(LSA, width=8, code=6, hidden=3, layers=2, bins=5)
    z = torch.rand(1, 6, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(method.density.double(), z).squeeze()  # (6, 5, 6)
    depends = slope.abs().sum(1) > 0  # (6, 6): bins of i on z_j
    assert torch.equal(depends, torch.ones(6, 6, dtype=torch.bool).tril(-1))


def test_the_density_is_one_over_all_codes():
    method = new(LSA, width=8, code=2, hidden=3, layers=2, bins=7)
    centres = (torch.arange(7) + 0.5) / 7
    z = torch.cartesian_prod(centres, centres)
    with torch.no_grad():
        # z_2's bin needs z_1 itself, so the sum is over bins of z_2 for each z_1, and of z_1
        assert (-method.nll(z)).exp().sum().item() == pytest.approx(1, rel=1e-5)


def test_the_likelihood_by_hand_and_its_edges():
    method = new(LSA, width=8, code=3, hidden=4, bins=10)
    z = torch.tensor([[0.0, 0.55, 1.0]])
    with torch.no_grad():
        p = method.density(z)[0].softmax(1).numpy()  # (3, 10)
        assert method.nll(z).item() == pytest.approx(-np.log(p[0, 0] * p[1, 5] * p[2, 9]), rel=1e-5)


def test_the_loss_is_error_and_likelihood_and_the_least_and_greatest_of_training_images_become_0_and_1():
    method, task = new(LSA, width=8, code=8, hidden=4, lam=0.5), small_task()
    method.eval()
    with torch.no_grad():
        x = method.prepare(task.train)
        z = method.encoder(x)
        error, nll = nets.squared_error(x, method.decoder(z)), method.nll(z)
        loss = method.loss(engine.Batch(x, None, None))
        method.finish(engine.Data(method, task.train, task.train_y, "cpu"))
        scores = method.scores(x)
    torch.testing.assert_close(loss, (error + 0.5 * nll).mean())
    for name, values in (("nll", nll), ("reconstruction", error)):
        low, high = values.min(), values.max()
        torch.testing.assert_close(scores[name], (values - low) / (high - low), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scores["novelty"], scores["nll"] + scores["reconstruction"])


def test_the_released_density_net_has_its_size():
    # four layers of 32 features and one of 100 bins for each of 64 positions
    counted = sum(a * b + b for a, b in zip([64, 2048, 2048, 2048, 2048], [2048, 2048, 2048, 2048, 6400]))
    assert len(weights(new(LSA, width=8).density)) == counted
    assert isinstance(new(LSA, width=8).density[-2], lsa.Masked)


# OCGAN


def test_the_judges_by_hand():
    logits = torch.tensor([[2.0], [-1.0]])
    assert ocgan.believe(logits).item() == pytest.approx(
        F.binary_cross_entropy_with_logits(logits, torch.ones(2, 1)).item())
    real, fake = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [-2.0]])
    by_hand = F.binary_cross_entropy(torch.cat([real, fake]).sigmoid(), torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
    assert ocgan.judge(nn.Identity(), real, fake).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_the_generator_by_hand():
    method = new(OCGAN, width=8, judge_width=4, lam=3.0, latent_weight=5.0)
    method.start(None)
    batch = batch_of(method)
    method.judges_loss(batch)
    method.eval()
    with torch.no_grad():
        loss = method.loss(batch).item()
        l1 = method.encoder(method.noisy)
        D_v, D_l = method.visual(method.decoder(method.l2)).sigmoid(), method.latent(l1).sigmoid()
        error = (method.decoder(l1) - batch.x).square().mean()
    assert loss == pytest.approx((-5 * D_l.log().mean() - D_v.log().mean() + 3 * error).item(), rel=1e-4)
    assert (method.noisy - batch.x).std().item() == pytest.approx(0.2, rel=0.02)
    assert l1.abs().max() < 1 and method.l2.abs().max() <= 1
    assert method.l2.std().item() == pytest.approx(3**-0.5, rel=0.1)  # uniform


def test_a_mined_code_stays_in_the_cube_and_looks_less_normal():
    method = new(OCGAN, width=8, judge_width=4, mine_rate=0.5, mine_steps=2)
    l2 = torch.rand(24, 16) * 2 - 1
    with nets.batch_statistics(method), torch.no_grad():
        before = method.classifier(method.decoder(l2))
    buffers = {name: b.clone() for name, b in method.named_buffers()}
    mined = method.mine(l2)
    assert all(torch.equal(b, buffers[name]) for name, b in method.named_buffers())
    with nets.batch_statistics(method), torch.no_grad():
        after = method.classifier(method.decoder(mined))
    assert not torch.equal(mined, l2) and mined.abs().max() <= 1 and not mined.requires_grad
    assert after.mean() < before.mean()


def test_mining_waits_for_its_epoch():
    method, seen = new(OCGAN, width=4, judge_width=4, mine_from=3), []
    method.mine = lambda l2: seen.append(len(seen)) or l2
    task = small_task()
    counts = []
    engine.fit(method, task, epochs=4, batch_size=20, device="cpu", progress=lambda epoch: counts.append(len(seen)))
    assert counts[:2] == [0, 0] and counts[2] == len(task.train) // 20 and counts[3] == 2 * counts[2]


# They learn


@functools.cache
def small_task():
    return one_anomalous(load("digits"), 0, seed=0, limit=40)


@functools.cache
def whole_task(protocol, which):
    return one_normal(load("digits"), which) if protocol is one_normal else one_anomalous(load("digits"), which, seed=0)


def auroc(task, build, epochs, batch_size=32):
    method = new(build)
    engine.fit(method, task, epochs, batch_size=batch_size, device="cpu")
    return roc_auc_score(task.anomalous, engine.score(method, task.test))


LEARN = {  # the task, the method, epochs, batch size, and the least AUROC
    "VAE": ((one_anomalous, 0), partial(VAE, width=8, code=16), 4, 32, 0.85),
    "ADAE": ((one_anomalous, 0), partial(ADAE, width=8, code=16, lr=4e-3, discriminator_lr=1e-4), 7, 32, 0.7),
    "OLED": ((one_anomalous, 0), partial(OLED, width=8), 4, 32, 0.75),
    "ARAE": ((one_normal, 1), partial(ARAE, side=28, width=128, steps=1, eps=0.05, lr=3e-3), 100, 16, 0.9),
    "LSA": ((one_anomalous, 0), partial(LSA, width=8, code=16, hidden=8, bins=20), 6, 32, 0.75),
    "OCGAN": ((one_anomalous, 0), partial(OCGAN, width=8, judge_width=4, mine_from=4, lr=1e-3), 5, 64, 0.85),
}


@pytest.mark.parametrize("name", LEARN)
def test_it_beats_the_detectors_that_learn_nothing(name):
    where, build, epochs, batch_size, least = LEARN[name]
    task = whole_task(*where)
    ours = auroc(task, build, epochs, batch_size)
    trivial = max(auroc(task, one, 1) for one in TRIVIAL.values())
    print(f"{name}: {ours:.3f}, without learning {trivial:.3f}")
    assert ours > max(trivial, least)
