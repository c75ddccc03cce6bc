"""The rivals: their formulas against other libraries and by hand, and each of them through the engine on digits."""

import copy
import functools
import io
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import nn

from helpers import engine
from helpers.baselines import dagmm, deep_svdd, drae, rdae
from helpers.baselines.adae import ADAE
from helpers.baselines.anogan import AnoGAN
from helpers.baselines.arae import ARAE
from helpers.baselines.cae import CAE, E3_ADAM, PRESETS
from helpers.baselines.dagmm import DAGMM
from helpers.baselines.deep_svdd import DeepSVDD
from helpers.baselines.drae import DRAE
from helpers.baselines.egbad import EGBAD
from helpers.baselines.ganomaly import GANomaly
from helpers.baselines.lsa import LSA
from helpers.baselines.memae import MemAE
from helpers.baselines.ocgan import OCGAN
from helpers.baselines.oled import OLED
from helpers.baselines.rdae import RDAE
from helpers.baselines.rsrae import RSRAE
from helpers.baselines.skip_ganomaly import SkipGANomaly
from helpers.baselines.vae import VAE
from helpers.images import load
from helpers.nets import decoder32, encoder32, pad32_pm1
from helpers.protocols import contaminated

SVDD = partial(DeepSVDD, pretrain_epochs=1, warm_up=1)
METHODS = {
    "CAE as printed": CAE,
    "CAE as released": partial(CAE, preset="as_released"),
    "CAE e3": partial(CAE, preset="e3"),
    "DRAE": DRAE,
    "RDAE": partial(RDAE, lam=1.0),
    "RDAE released": partial(RDAE, released_bug=True),
    "DAGMM": DAGMM,
    "MemAE": MemAE,
    "MemAE as released": partial(MemAE, as_released=True),
    "RSRAE": RSRAE,
    "RSRAE+ as released": partial(RSRAE, plus=True, as_released=True),
    "one-class Deep SVDD": SVDD,
    "soft Deep SVDD": partial(SVDD, objective="soft-boundary"),
    "soft Deep SVDD without GCN": partial(SVDD, objective="soft-boundary", gcn=False),
    "AnoGAN": partial(AnoGAN, width=8, steps=5),
    "EGBAD": partial(EGBAD, width=8, lr=1e-3, decay=0.5),
    "EGBAD by cross-entropy": partial(EGBAD, width=8, lr=1e-3, decay=0.5, term="cross-entropy"),
    "GANomaly": partial(GANomaly, width=8),
    "Skip-GANomaly": partial(SkipGANomaly, width=8),
    "VAE": partial(VAE, width=8),
    "ADAE": partial(ADAE, width=8, lr=1e-3, discriminator_lr=1e-3),
    "OLED": partial(OLED, width=8),
    "ARAE": partial(ARAE, width=64, steps=2),
    "LSA": partial(LSA, width=8, code=8, hidden=4),
    "OCGAN": partial(OCGAN, width=8, judge_width=4, mine_from=3),
}
LOSS = {"OCGAN": 1, "ADAE": 1}  # whose loss falls where it is not the first: De's, and D's, which drives up that of G
each = pytest.mark.parametrize("name", METHODS)


@functools.cache
def task():
    return contaminated(load("digits"), 0, ratio=0.1, seed=0, cap=64)


def new(build, seed=0):
    torch.manual_seed(seed)
    return build()


@functools.cache
def fitted(name):
    method = new(METHODS[name])
    return method, engine.fit(method, task(), epochs=4, batch_size=32)


def weights(*modules):
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()])


def batches(method, epochs, batch_size=32, seed=0):
    """The batches of engine.fit, one list an epoch."""
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield [(method.prepare(task().train[index]), index)
               for index in engine.epoch_batches(len(task().train), batch_size, order)]  # fmt: skip


# Every method through the engine


@each
def test_training_lowers_the_loss(name):
    losses = fitted(name)[1]
    phase = losses[1:, 1] if "SVDD" in name else losses[:, LOSS.get(name, 0)]
    assert phase[-1] < phase[0]


@each
def test_a_score_depends_on_its_image_alone(name):
    method, test = fitted(name)[0], task().test
    together = engine.score(method, test)
    assert together.shape == (len(test),) and np.isfinite(together).all() and np.ptp(together) > 0
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * np.abs(together).max())
    close(engine.score(method, test[:5], batch_size=1), together[:5])
    order = torch.randperm(len(test))
    close(engine.score(method, test[order], batch_size=40), together[order.numpy()])


@each
def test_scoring_leaves_the_method_as_it_was(name):
    method = fitted(name)[0]
    before = copy.deepcopy(method.state_dict())
    first = engine.score(method, task().test[:8])
    assert np.array_equal(first, engine.score(method, task().test[:8]))
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@each
def test_a_saved_method_scores_the_same(name):
    method, file = fitted(name)[0], io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    copied = new(METHODS[name], seed=1)
    copied.load_state_dict(torch.load(file, weights_only=True))
    assert np.array_equal(engine.score(copied, task().test[:8]), engine.score(method, task().test[:8]))


# The shared network


def test_the_shared_network_has_the_size_of_the_papers():
    parameters = len(weights(encoder32(1), decoder32(1)))
    assert parameters == 2_850_049  # 2.85 M
    x = torch.rand(2, 3, 32, 32)
    code = encoder32(3)(x)
    assert code.shape == (2, 256) and code.abs().max() < 1
    assert decoder32(3)(code).shape == x.shape


def test_small_initial_weights_give_small_codes():
    x = pad32_pm1(task().train[:32])
    net = encoder32(1, gain=0.02)
    assert weights(net[10]).std().item() == pytest.approx(0.02 * (2 / (4096 + 256)) ** 0.5, rel=0.02)
    assert net[10].bias.abs().max() == 0
    assert net(x).abs().max() < 0.1 < encoder32(1)(x).abs().max()


def test_images_are_padded_with_black_and_scaled():
    images = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    x = pad32_pm1(images)
    assert x.shape == (2, 3, 32, 32) and (x[..., :2] == -1).all() and (x[..., 30:, :] == -1).all()
    torch.testing.assert_close(x[..., 2:30, 2:30], images / 127.5 - 1)
    extremes = torch.tensor([0, 255], dtype=torch.uint8).repeat(1, 1, 32, 16)
    assert pad32_pm1(extremes).unique().tolist() == [-1, 1]
    with pytest.raises(ValueError, match=r"28x28 or 32x32, not 64x64.*size=32"):
        pad32_pm1(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


# CAE


def as_the_engine(method):
    """Lay the weights out as the engine does.

    A bias before a batch norm has a gradient of rounding errors, which Adam turns into full steps: the bits must agree.
    """
    return method.to(memory_format=torch.channels_last)


def test_the_released_cae_makes_a_new_adam_each_epoch():
    method, plain = new(METHODS["CAE as released"]), as_the_engine(new(METHODS["CAE as released"]))
    engine.fit(method, task(), epochs=2, batch_size=32)
    plain.train()
    for epoch in batches(plain, 2):
        adam = E3_ADAM(plain.parameters(), fused=True)
        for x, _ in epoch:
            adam.zero_grad()
            nn.functional.mse_loss(plain(x), x).backward()
            adam.step()
    torch.testing.assert_close(weights(method), weights(plain), rtol=1e-4, atol=1e-6)


def test_the_printed_cae_halves_its_rate_every_50_epochs():
    (player,) = CAE().players()
    optimizer = player.optimizer(list(player.parameters))
    assert type(optimizer) is torch.optim.SGD and optimizer.defaults["lr"] == 0.1
    assert [player.schedule(epoch) for epoch in (1, 49, 50, 99, 100, 250)] == [1, 1, 0.5, 0.5, 0.25, 0.5**5]


def test_the_scores_are_sums_over_an_image():
    method, printed = fitted("CAE e3")[0], fitted("CAE as printed")[0]
    x = method.prepare(task().test[:3])
    with engine.evaluating(method), engine.evaluating(printed):
        scores, difference = method.scores(x), x - method(x)
        torch.testing.assert_close(scores["l1"][1], difference[1].abs().sum())
        torch.testing.assert_close(scores["l2"][1], (difference[1] ** 2).sum())
        assert torch.equal(method.score(x), scores["l2"])
        assert torch.equal(printed.score(x), printed.scores(x)["l1"])


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="no preset 'sgd'; possible are as_printed, as_released, e3"):
        CAE(preset="sgd")


def test_the_losses_on_the_shared_network_are_the_sums_that_the_papers_write():
    batch = engine.Batch(pad32_pm1(task().train[:16]), None, None)
    x = batch.x
    with torch.no_grad():
        method = new(partial(MemAE, alpha=3.0, width=8))
        w = method.address(method.encoder(x))
        entropy = -torch.xlogy(w, w).sum(1).mean()
        expected = nn.functional.mse_loss(method.decoder(w @ method.memory), x) + 3 * entropy
        torch.testing.assert_close(method.loss(batch), expected)
        method = new(partial(DAGMM, lam1=2.0, lam2=0.5, width=8)).eval()  # without dropout
        z, recon = method.represent(x)
        phi, mu, sigma = dagmm.mixture(z, method.estimation(z))
        narrow = sum(1 / sigma[k, d, d] for k in range(len(phi)) for d in range(z.shape[1]))
        expected = nn.functional.mse_loss(recon, x) + 2 * dagmm.energy(z, phi, mu, sigma).mean() + 0.5 * narrow
        torch.testing.assert_close(method.loss(batch), expected)
        method = new(partial(RSRAE, lam1=3.0, lam2=5.0, width=8, plus=True))
        method.A.mul_(2)
        z, A = method.encoder(x).numpy(), method.A.numpy()
        error = np.linalg.norm((x - method(x)).flatten(1).numpy(), axis=1).mean()  # not squared
        apart = np.linalg.norm(z - z @ A.T @ A, axis=1).mean()
        expected = error + 3 * apart + 5 * ((A @ A.T - np.eye(len(A))) ** 2).mean()
        assert method.reconstruction(batch).item() == pytest.approx(error, rel=1e-4)
        assert method.loss(batch).item() == pytest.approx(expected, rel=1e-4)
        method = new(partial(DRAE, lam=3.0, width=8))
        low, h = drae.split((x - method(x)).square().sum((1, 2, 3)))
        torch.testing.assert_close(method.loss(batch), low + 3 * h)


def rates_of(method):
    return [player.optimizer(list(player.parameters)).defaults["lr"] for player in method.players()]


def test_rates_that_a_paper_prints():
    assert rates_of(RSRAE(width=8)) == [2.5e-4, 2.5e-3, 2.5e-3]  # the error; the two losses of the subspace
    halved = PRESETS["as_printed"]["schedule"]
    assert [halved(epoch) for epoch in (49, 50, 100)] == [1, 0.5, 0.25] and rates_of(CAE(1, "as_printed")) == [0.1]


# DRAE


@pytest.mark.parametrize("n", [2, 3, 17, 64])
def test_the_split_is_that_of_brute_force(n):
    errors = np.random.default_rng(n).gamma(2.0, 50.0, n)
    e = np.sort(errors)
    h = [(e[:k].var() * k + e[k:].var() * (n - k)) / (e.var() * n) for k in range(1, n)]
    k = int(np.argmin(h)) + 1
    low, best = drae.split(torch.tensor(errors))
    assert low.item() == pytest.approx(e[:k].mean(), rel=1e-5)
    assert best.item() == pytest.approx(min(h), abs=1e-5)


def test_the_split_finds_two_clusters_and_pulls_only_the_low_one_down():
    errors = torch.tensor([9.0, 1.0, 1.1, 10.0, 0.9], requires_grad=True)
    low, h = drae.split(errors)
    assert low.item() == pytest.approx(1.0) and h.item() < 0.02
    low.backward()
    assert errors.grad.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 0, 1 / 3])


def test_equal_errors_stay_finite():
    low, h = drae.split(torch.full((8,), 3.0))
    assert low.item() == 3 and h.isfinite()


# RDAE


def test_prox_by_hand():
    s = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])[:, None, None]  # norms 5, 0.5 and 0
    torch.testing.assert_close(rdae.prox(s, 1.0).squeeze(), torch.tensor([[2.4, 3.2], [0, 0], [0, 0]]))
    # The released factor: 0 above lam; below it 1 - 1 / 0.5 = -1
    torch.testing.assert_close(rdae.prox_released(s, 1.0).squeeze(), torch.tensor([[0, 0], [-0.3, -0.4], [0, 0]]))


def test_prox_minimises_its_objective():
    torch.manual_seed(0)
    s = torch.randn(50, 2, 3, 4)

    def objective(S):
        return (S - s).square().sum((1, 2, 3)) / 2 + 4.8 * S.flatten(1).norm(dim=1)

    best = rdae.prox(s, 4.8)
    zero = best.flatten(1).norm(dim=1) == 0
    assert 0 < zero.sum() < 50
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        assert (objective(best) <= objective(best + scale * torch.randn_like(s)) + 1e-5).all()


def test_s_holds_what_is_not_explained():
    method = fitted("RDAE")[0]
    norms = method.S.flatten(1).norm(dim=1)
    assert (norms > 0).sum() in (31, 32)  # lam is the median error of 64 images


def test_training_leaves_s_out():
    method = copy.deepcopy(fitted("RDAE")[0])
    x, index = method.prepare(task().train[:4]), torch.arange(4)
    method.S[:4] = x  # then L = 0
    with engine.evaluating(method):
        loss = method.loss(engine.Batch(x, None, index))
        torch.testing.assert_close(loss, method(torch.zeros_like(x)).square().mean())


@pytest.mark.parametrize("settings", [dict(lam=100.0), dict(released_bug=True)])
def test_rdae_without_s_is_the_cae(settings):
    method = new(partial(RDAE, **settings))
    losses = engine.fit(method, task(), epochs=2, batch_size=32)
    assert np.array_equal(losses, fitted("CAE e3")[1][:2])
    assert method.S.abs().max() == 0


@pytest.mark.parametrize("method", [DRAE, RDAE, MemAE, DAGMM, RSRAE])
def test_rivals_on_the_shared_network_can_be_narrow_and_are_not_by_default(method):
    def weights(net):
        return sum(w.numel() for w in net.parameters())

    as_before, full, narrow = (new(partial(method, **size)) for size in ({}, {"width": 64}, {"width": 8}))
    assert all(torch.equal(a, b) for a, b in zip(as_before.parameters(), full.parameters(), strict=True))
    assert weights(narrow.encoder) < weights(full.encoder) / 7 and weights(narrow.decoder) < weights(full.decoder) / 7
    redraw = narrow if method is not DAGMM else lambda x: narrow.represent(x)[1]
    assert redraw(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)


# DAGMM


def test_energy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + np.repeat([[0], [5], [-7]], 100, axis=0)
    other = GaussianMixture(3, random_state=0, reg_covar=1e-6).fit(z)
    phi, mu, sigma = (torch.tensor(v) for v in (other.weights_, other.means_, other.covariances_))
    np.testing.assert_allclose(dagmm.energy(torch.tensor(z), phi, mu, sigma), -other.score_samples(z), rtol=1e-10)


def test_mixture_is_weighted_means_and_covariances():
    rng = np.random.default_rng(0)
    z, gamma = rng.normal(size=(50, 4)), rng.dirichlet([1, 1, 1], 50)
    phi, mu, sigma = dagmm.mixture(torch.tensor(z), torch.tensor(gamma), jitter=0)
    np.testing.assert_allclose(phi, gamma.mean(0))
    for k in range(3):
        np.testing.assert_allclose(mu[k], np.average(z, axis=0, weights=gamma[:, k]))
        np.testing.assert_allclose(sigma[k], np.cov(z.T, aweights=gamma[:, k], ddof=0))


def test_the_jitter_keeps_a_flat_mixture_finite():
    z = torch.ones(20, 7)
    gamma = torch.full((20, 3), 1 / 3)
    assert dagmm.energy(z, *dagmm.mixture(z, gamma)).isfinite().all()


def test_the_scoring_mixture_is_that_of_the_whole_set():
    method = fitted("DAGMM")[0]
    with engine.evaluating(method):
        x = method.prepare(task().train)
        z, _ = method.represent(x)
        a, b = x.flatten(1).numpy(), method.decoder(z[:, :5]).flatten(1).numpy()
        phi, mu, _ = dagmm.mixture(z, method.estimation(z))
    torch.testing.assert_close(method.mu, mu, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.phi, phi, rtol=1e-4, atol=1e-6)
    norm = np.linalg.norm
    np.testing.assert_allclose(z[:, 5], norm(a - b, axis=1) / norm(a, axis=1), rtol=1e-4)
    np.testing.assert_allclose(z[:, 6], (a * b).sum(1) / norm(a, axis=1) / norm(b, axis=1), atol=1e-5)


def test_a_narrow_component_does_not_magnify_what_the_size_of_a_batch_rounds():
    method = copy.deepcopy(fitted("DAGMM")[0])
    torch.linalg.cholesky(method.sigma)  # still one of covariances when it is a thousandth as wide
    method.sigma *= 1e-6
    test = task().test
    together = engine.score(method, test)
    for size in (1, 7, 64):
        np.testing.assert_allclose(engine.score(method, test, batch_size=size), together, rtol=1e-6)
    order = torch.randperm(len(test))
    np.testing.assert_allclose(engine.score(method, test[order], batch_size=40), together[order.numpy()], rtol=1e-6)


# MemAE


@pytest.mark.parametrize("as_released", [False, True])
def test_memory_weights_are_a_sparse_convex_blend(as_released):
    method = new(partial(MemAE, size=30, as_released=as_released))
    z = torch.randn(40, 256)
    w = method.address(z).detach()
    assert (w >= 0).all()
    torch.testing.assert_close(w.sum(1), torch.ones(40))
    assert 0.2 < (w == 0).float().mean() < 0.9
    M, z = method.memory.detach().numpy(), z.numpy()
    similar = z @ M.T
    if not as_released:
        similar = similar / np.linalg.norm(z, axis=1, keepdims=True) / np.linalg.norm(M, axis=1)
    soft = np.exp(similar) / np.exp(similar).sum(1, keepdims=True)
    kept = np.where(soft > 1 / 30, soft, 0)
    np.testing.assert_allclose(w, kept / kept.sum(1, keepdims=True), rtol=1e-3, atol=1e-5)


def test_the_decoder_sees_only_the_memory():
    method = fitted("MemAE")[0]
    seen = []
    handle = method.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = method.prepare(task().test[:6])
    with engine.evaluating(method):
        method(x)
        torch.testing.assert_close(seen[0], method.address(method.encoder(x)) @ method.memory)
    handle.remove()


# RSRAE


def test_an_orthonormal_layer_projects():
    method = new(RSRAE)
    P = (method.A.T @ method.A).detach()
    torch.testing.assert_close(P @ P, P, rtol=1e-4, atol=1e-5)
    assert method.orthogonality(None).item() < 1e-10
    method.encoder = nn.Identity()
    inside = torch.randn(8, 10) @ method.A.detach()
    outside = torch.randn(8, 256)
    outside -= outside @ P
    assert method.projection(engine.Batch(inside, None, None)).item() < 1e-4
    length = method.projection(engine.Batch(inside + outside, None, None))
    torch.testing.assert_close(length, outside.norm(dim=1).mean(), rtol=1e-4, atol=1e-4)


def test_rsrae_scores_and_inputs():
    method, released = fitted("RSRAE")[0], fitted("RSRAE+ as released")[0]
    x = method.prepare(task().test[:4])
    with engine.evaluating(method):
        scores, recon = method.scores(x), method(x)
    a, b = x.flatten(1).numpy(), recon.flatten(1).numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(scores["cosine"], -cosine, atol=1e-5)
    np.testing.assert_allclose(scores["l2"], np.linalg.norm(a - b, axis=1), rtol=1e-4)
    torch.testing.assert_close(released.prepare(task().test[:4]).flatten(1).norm(dim=1), torch.ones(4))


def test_the_subspace_stays_orthonormal_in_training():
    method = fitted("RSRAE")[0]
    assert (method.A @ method.A.T - torch.eye(10)).abs().max() < 0.2


# Deep SVDD


def test_the_phases_of_deep_svdd_are_the_authors_and_shrink_with_the_epochs():
    assert deep_svdd.phases(300) == dict(pretrain_epochs=150, pretrain_drop=50, drop=50, warm_up=10)
    assert deep_svdd.phases(500, 3) == dict(pretrain_epochs=350, pretrain_drop=250, drop=50, warm_up=10)
    assert deep_svdd.phases(30) == dict(pretrain_epochs=15, pretrain_drop=5, drop=5, warm_up=1)
    assert min(n for name, n in deep_svdd.phases(1, 3).items() if name != "warm_up") == 1  # a rate must not fall at 0
    with pytest.raises(ValueError, match="1 and for 3 channels, not for 2"):
        deep_svdd.phases(30, 2)


def test_the_networks_of_deep_svdd():
    for channels, side, code, count in ((1, 28, 32, 7_272), (3, 32, 128, 520_544)):
        method = DeepSVDD(channels)
        assert len(weights(method.encoder)) == count
        x = torch.rand(2, channels, side, side)
        z = method.encoder(x)
        assert z.shape == (2, code) and method.decoder(z).shape == x.shape
        assert not any(name.endswith("bias") for name, _ in method.named_parameters())  # a bias lets phi be constant


def test_contrast_normalisation():
    x = torch.rand(6, 3, 8, 8)
    y = deep_svdd.contrast(x)
    torch.testing.assert_close(y.mean((1, 2, 3)), torch.zeros(6), rtol=0, atol=1e-6)
    torch.testing.assert_close(y.abs().mean((1, 2, 3)), torch.ones(6))
    torch.testing.assert_close(deep_svdd.contrast(0.3 * x + 0.2), y, rtol=1e-4, atol=1e-5)
    assert deep_svdd.contrast(torch.ones(1, 1, 4, 4)).isfinite().all()


def test_the_training_set_fills_the_range_of_its_inputs():
    x = fitted("one-class Deep SVDD")[0].prepare(task().train)
    assert x.min().item() == pytest.approx(0, abs=1e-6) and x.max().item() == pytest.approx(1, abs=1e-6)
    method = fitted("soft Deep SVDD without GCN")[0]
    x = method.prepare(task().train)
    with engine.evaluating(method):
        assert x.min() == -1 and x.max() == 1 and method.decoder(method.encoder(x)).min() >= 0  # the handicap


@pytest.mark.parametrize("nu", [0.01, 0.1, 0.5, 1.0])
def test_the_radius_of_nu_1_is_no_radius(nu):
    d = torch.rand(200, dtype=torch.float64) * 9
    R = d.sqrt().quantile(1 - nu)
    loss = deep_svdd.soft_boundary(d, R, nu)
    by_hand = R**2 + sum(max(0, v - R**2) for v in d) / (nu * len(d))
    torch.testing.assert_close(loss, by_hand)
    assert torch.isclose(loss, d.mean()) == (nu == 1.0)


def test_soft_boundary_shares_its_order_with_the_distance():
    method = fitted("soft Deep SVDD")[0]
    x = method.prepare(task().test)
    with engine.evaluating(method):
        torch.testing.assert_close(method.score(x), method.distance(x) - method.R**2)
        outside = (method.score(x) > 0).float().mean().item()
    assert method.R > 0 and outside < 0.9


def test_two_phases_in_one_fit_are_two_trainings():
    build = partial(DeepSVDD, pretrain_epochs=2, pretrain_drop=1, drop=1)
    method, plain = new(build), as_the_engine(new(build))
    seen = {}

    def keep(epoch):
        seen[epoch] = copy.deepcopy(method.state_dict())

    engine.fit(method, task(), epochs=5, batch_size=32, progress=keep)
    plain.low, plain.high, plain.c = method.low, method.high, method.c
    plain.train()
    for epoch, images in enumerate(batches(plain, 5), 1):
        if epoch == 1:
            both = [*plain.encoder.parameters(), *plain.decoder.parameters()]
            adam = torch.optim.Adam(both, 1e-4, weight_decay=5e-4, fused=True)
        if epoch == 3:
            torch.testing.assert_close(weights(plain), torch.cat([
                seen[2][name].flatten() for name, _ in plain.named_parameters()]), rtol=1e-4, atol=1e-6)  # fmt: skip
            adam = torch.optim.Adam(plain.encoder.parameters(), 1e-4, weight_decay=5e-7, fused=True)
        adam.param_groups[0]["lr"] = 1e-5 if epoch in (2, 4, 5) else 1e-4
        for x, _ in images:
            z = plain.encoder(x)
            loss = ((plain.decoder(z) - x) ** 2).mean() if epoch < 3 else ((z - plain.c) ** 2).sum(1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    torch.testing.assert_close(weights(method), weights(plain), rtol=1e-3, atol=2e-6)
    torch.testing.assert_close(method.c, seen[2]["c"])  # fixed once set
    plain.load_state_dict(seen[2])
    with engine.evaluating(plain):
        mean = plain.encoder(plain.prepare(task().train)).mean(0)
    pushed = torch.where(mean.abs() < 0.1, 0.1 * mean.sign(), mean)
    assert (mean.abs() < 0.1).any()
    torch.testing.assert_close(method.c, pushed, rtol=1e-4, atol=1e-5)


def test_the_radius_rests_until_warm_up_is_over():
    method, radii = new(partial(DeepSVDD, objective="soft-boundary", pretrain_epochs=1, warm_up=2)), []
    engine.fit(method, task(), epochs=4, batch_size=32, progress=lambda epoch: radii.append(method.R.item()))
    assert radii[:3] == [0, 0, 0] and radii[3] > 0
    assert method.R.item() == pytest.approx(np.quantile(method.d.sqrt().numpy(), 0.9), rel=1e-5)


def test_deep_svdd_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="no objective 'hard'; possible are one-class, soft-boundary"):
        DeepSVDD(objective="hard")
    with pytest.raises(ValueError, match="nu must be above 0 and at most 1, not 0"):
        DeepSVDD(nu=0)
    with pytest.raises(ValueError, match="1 and for 3 channels, not for 2"):
        DeepSVDD(2)
