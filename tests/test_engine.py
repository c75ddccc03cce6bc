"""The engine against plain Python loops, and everything its contract promises to a method."""

import os
import shutil
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import engine, metrics
from helpers.baselines.cae import CAE
from helpers.baselines.deep_svdd import DeepSVDD
from helpers.baselines.rsrae import RSRAE
from helpers.engine import Player, fit, score
from helpers.images import load
from helpers.nets import decoder32, encoder32
from helpers.protocols import one_normal


def a_task(n=50, seed=0):
    """n random 8x8 images of three classes, and as many others to score."""
    noise = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2 * n, 1, 8, 8), dtype=torch.uint8, generator=noise)
    return SimpleNamespace(train=images[:n], train_y=torch.arange(n) % 3, test=images[n:])


class Auto(nn.Module):
    """An autoencoder with batch normalisation and dropout, so that modes and random numbers matter.

    No bias before the batch normalisation: its gradient would be rounding errors, which Adam turns into full steps.
    """

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(),
                                    nn.Dropout(0.2))  # fmt: skip
        self.decode = nn.Linear(16, 64)

    def forward(self, x):
        return self.decode(self.encode(x)).view_as(x)

    def loss(self, batch):
        return F.mse_loss(self(batch.x), batch.x)

    def score(self, x):
        return (self(x) - x).square().mean((1, 2, 3))


def made(method, seed=7):
    torch.manual_seed(seed)
    return method()


def orders(n, batch_size, seed, epochs):
    """The batches of all epochs, as the contract says: one permutation an epoch, the short batch left out."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(n, generator=generator)
        yield [order[b * batch_size:(b + 1) * batch_size] for b in range(n // batch_size)]


def plain_fit(method, task, epochs, batch_size, seed):
    """The loop that the engine stands for, for a method with one loss; returns the mean loss of each epoch."""
    optimizer, expected = torch.optim.Adam(method.parameters(), lr=1e-3), []
    torch.manual_seed(seed)
    method.train()
    for batches in orders(len(task.train), batch_size, seed, epochs):
        seen = []
        for index in batches:
            x = engine.prepare(method, task.train[index])
            loss = (method(x) - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        expected.append([np.mean(seen)])
    return expected


def plain_score(method, images):
    method.eval()
    with torch.no_grad():
        return np.array([float(method.score(engine.prepare(method, image[None]))) for image in images])


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Convolutional(Auto):
    """Convolutions, poolings, a batch normalisation: the engine lays their weights out in its own way."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.LeakyReLU(),
                                    nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, 2, 1), nn.Flatten())  # fmt: skip
        self.decode = nn.Sequential(nn.Unflatten(1, (8, 2, 2)), nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.ReLU(),
                                    nn.ConvTranspose2d(6, 1, 4, 2, 1))  # fmt: skip


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("method", [Auto, Convolutional])
def test_one_player_is_the_plain_loop(method, dtype, rtol):
    """float64 leaves rounding no room: what is left is what the two loops do."""
    task, ours, theirs = a_task(), made(method), made(method)
    if dtype == torch.float64:
        for each in ours, theirs:
            each.double().prepare = lambda images: images.double() / 255
    losses = fit(ours, task, epochs=3, batch_size=16, seed=5)
    np.testing.assert_allclose(losses, plain_fit(theirs, task, 3, 16, 5), rtol=max(rtol, 1e-6))  # kept as float32
    np.testing.assert_allclose(score(ours, task.test), plain_score(theirs, task.test), rtol=rtol)


class Game(nn.Module):
    """A critic that moves twice a batch and is clipped; a generator that moves at every second batch."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Linear(64, 1, bias=False)  # a bias would cancel: rounding errors for a gradient
        self.generator = nn.Linear(4, 64)

    def fakes(self, x):
        return self.generator(torch.randn(len(x), 4))

    def critic_loss(self, batch):
        return self.critic(self.fakes(batch.x)).mean() - self.critic(batch.x.flatten(1)).mean()

    def generator_loss(self, batch):
        return -self.critic(self.fakes(batch.x)).mean()

    def clip(self):
        with torch.no_grad():
            for p in self.critic.parameters():
                p.clamp_(-0.05, 0.05)

    def players(self):
        return [
            Player(self.critic_loss, self.critic.parameters(), partial(torch.optim.RMSprop, lr=1e-2), steps=2,
                   after=self.clip),
            Player(self.generator_loss, self.generator.parameters(), partial(torch.optim.SGD, lr=0.1),
                   schedule=engine.step_decay(2), every=2),
        ]  # fmt: skip

    def score(self, x):
        return -self.critic(x.flatten(1)).squeeze(1)


def test_several_players_are_the_plain_loop():
    task, ours, theirs = a_task(), made(Game), made(Game)
    losses = fit(ours, task, epochs=4, batch_size=10, seed=3)

    critic = torch.optim.RMSprop(theirs.critic.parameters(), lr=1e-2)
    generator = torch.optim.SGD(theirs.generator.parameters(), lr=0.1)
    torch.manual_seed(3)
    expected = []
    for epoch, batches in enumerate(orders(50, 10, 3, 4), start=1):
        generator.param_groups[0]["lr"] = 0.1 * {1: 1, 2: 0.5, 3: 0.5, 4: 0.25}[epoch]
        seen = [[], []]
        for step, index in enumerate(batches):
            x = (task.train[index].float() / 255).flatten(1)
            for _ in range(2):
                theirs.zero_grad()
                loss = theirs.critic(theirs.generator(torch.randn(len(x), 4))).mean() - theirs.critic(x).mean()
                loss.backward()
                critic.step()
                for p in theirs.critic.parameters():
                    p.data.clamp_(-0.05, 0.05)
                seen[0].append(loss.item())
            if step % 2 == 0:
                theirs.zero_grad()
                loss = -theirs.critic(theirs.generator(torch.randn(len(x), 4))).mean()
                loss.backward()
                generator.step()
                seen[1].append(loss.item())
        expected.append([np.mean(seen[0]), np.mean(seen[1])])

    assert [len(s) for s in seen] == [10, 3]
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(score(ours, task.test), plain_score(theirs, task.test), rtol=1e-4, atol=1e-6)
    assert same_weights(ours, theirs)


def test_a_player_whose_rate_is_0_sits_out():
    calls, adam = [], partial(torch.optim.Adam, lr=1e-2, weight_decay=1e-2)

    class InTurn(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(64, 2), nn.Linear(64, 2)

        def players(self):
            return [Player(partial(self.loss, name), net.parameters(), adam, lambda epoch, turns=turns: epoch in turns)
                    for name, net, turns in (("one", self.one, (1,)), ("two", self.two, (2, 3)))]  # fmt: skip

        def loss(self, name, batch):
            calls.append(name)
            return getattr(self, name)(batch.x.flatten(1)).square().mean()

    method, alone = made(InTurn), made(InTurn)
    losses = fit(method, a_task(), epochs=3, batch_size=10, seed=1)
    assert calls == ["one"] * 5 + ["two"] * 10
    assert (losses[[0, 1, 2], [1, 0, 0]] == 0).all() and (losses[[0, 1, 2], [0, 1, 1]] > 0).all()

    optimizer = adam(alone.two.parameters())  # as if nothing had been before: no moments, no decay
    for batches in list(orders(50, 10, 1, 3))[1:]:
        for index in batches:
            optimizer.zero_grad()
            alone.two((a_task().train[index].float() / 255).flatten(1)).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(method.two.weight, alone.two.weight)


def test_finish_comes_once_after_the_last_epoch():
    class Counts(Auto):
        def __init__(self):
            super().__init__()
            self.seen = []

        def after_epoch(self, epoch, data):
            self.seen.append(epoch)

        def finish(self, data):
            self.seen.append((len(data), torch.is_grad_enabled()))

    for epochs in (0, 2):
        method = made(Counts)
        fit(method, a_task(), epochs, batch_size=10)
        assert method.seen == [*range(1, epochs + 1), (50, True)]


class Looked(Auto):
    """Dropout and batch normalisation; what scoring needs is measured by `finish`, with noise and in eval mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.calls = []

    def after_epoch(self, epoch, data):
        self.calls.append(("after_epoch", epoch))

    def finish(self, data):
        self.calls.append(("finish", len(data)))
        self.eval()
        self.mean = data.map(self.encode).mean(0) + torch.rand(16)

    def score(self, x):
        return (self.encode(x) - self.mean).square().sum(1)


@pytest.mark.parametrize("last", [3, 4])
def test_looking_back_changes_nothing(last):
    task, blind, seeing, looks = a_task(), made(Looked), made(Looked), []
    expected = fit(blind, task, epochs=4, batch_size=16, seed=5)

    def look_back(epoch, method):
        assert method is seeing
        method.calls.append(("look_back", epoch))
        method.eval()
        torch.rand(3)
        looks.append(score(method, task.test))

    losses = fit(seeing, task, epochs=4, batch_size=16, seed=5, look_back=look_back, looks={1, last})
    np.testing.assert_array_equal(losses, expected)
    assert all(torch.equal(p, q) for p, q in zip(seeing.parameters(), blind.parameters(), strict=True))
    assert torch.equal(seeing.encode[2].running_var, blind.encode[2].running_var)
    look = {epoch: [("finish", 50), ("look_back", epoch)] * (epoch in (1, last)) for epoch in range(1, 5)}
    calls = [call for epoch in range(1, 5) for call in [("after_epoch", epoch), *look[epoch]]]
    assert seeing.calls == (calls if last == 4 else [*calls, ("finish", 50)])
    assert not np.array_equal(*looks)
    final = np.array_equal(looks[-1], score(seeing, task.test))
    assert final == (last == 4), "the last look sees what is scored later"


def test_a_look_is_undone_also_in_its_modes():
    method = made(Looked)
    method.encode[2].eval()  # frozen, while the rest trains
    with engine.undisturbed(method, torch.device("cpu")):
        method.eval()
        method.encode[2].train()
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), first)
    assert method.training and method.encode[4].training and not method.encode[2].training


def test_epochs_to_look_at_grow_by_a_factor():
    assert engine.epochs_to_look_at(250) == {1, 2, 5, 11, 23, 52, 114, 250}
    assert engine.epochs_to_look_at(3) == {1, 2, 3}
    assert engine.epochs_to_look_at(100, 3) == {1, 10, 100}
    assert engine.epochs_to_look_at(1) == {1} and engine.epochs_to_look_at(0) == set()


def test_a_player_leaves_the_others_parameters_alone():
    class OnlyCritic(Game):
        def players(self):
            return super().players()[:1]

    method = made(OnlyCritic)
    before = method.generator.weight.clone()
    fit(method, a_task(), epochs=1, batch_size=10)
    assert torch.equal(method.generator.weight, before)
    assert method.generator.weight.grad is None, "a player's backward pass stops at its own parameters"


def test_step_decay_halves_at_the_epoch_that_is_a_multiple():
    rate = engine.step_decay(50)
    assert [rate(e) for e in (1, 49, 50, 99, 100)] == [1, 1, 0.5, 0.5, 0.25]
    assert engine.step_decay(50, 0.1)(50) == pytest.approx(0.1)


class Diary(Auto):
    """Writes down which hook was called, with what, and in which mode."""

    def __init__(self):
        super().__init__()
        self.pages = []

    def loss(self, batch):
        self.pages.append(("loss", self.training))
        return super().loss(batch)

    def start(self, data):
        self.pages.append(("start", len(data)))

    def after_step(self, batch):
        self.pages.append(("after_step", len(batch.x)))

    def after_epoch(self, epoch, data):
        self.pages.append(("after_epoch", epoch))


def test_hooks_come_in_order_and_epochs_count_from_one():
    method, told = made(Diary).eval(), []  # as a method is after it was scored; training starts in training mode
    fit(method, a_task(n=25), epochs=2, batch_size=10, progress=told.append)
    step = [("loss", True), ("after_step", 10)]
    epoch = step * 2
    assert method.pages == [("start", 25), *epoch, ("after_epoch", 1), *epoch, ("after_epoch", 2)]
    assert told == [1, 2]


def test_batches_tell_the_images_their_classes_and_their_positions():
    task = a_task(n=20)
    seen = []

    class Look(Auto):
        def after_step(self, batch):
            assert torch.equal(batch.x, task.train[batch.index].float() / 255)
            assert torch.equal(batch.y, task.train_y[batch.index])
            seen.append(batch.index)

    fit(Look(), task, epochs=1, batch_size=5)
    assert sorted(torch.cat(seen).tolist()) == list(range(20)), "an epoch shows every image once"


def test_the_last_short_batch_is_dropped_and_others_fall_away_each_epoch():
    generator = torch.Generator().manual_seed(0)
    epochs = [torch.cat(list(engine.epoch_batches(25, 10, generator))) for _ in range(3)]
    assert [len(e) for e in epochs] == [20, 20, 20]
    assert all(len(set(e.tolist())) == 20 for e in epochs)
    assert len({frozenset(e.tolist()) for e in epochs}) == 3
    assert [len(b) for b in engine.epoch_batches(7, 10, generator)] == [7], "a small set is one batch"


def test_map_and_score_run_in_eval_mode_without_gradients_and_restore_the_mode():
    class Checked(Auto):
        def start(self, data):
            self.train()
            codes = data.map(self.watched)
            assert self.training
            assert codes.shape == (50, 16)
            assert not codes.requires_grad
            assert torch.allclose(codes, data.map(self.watched, batch_size=7), atol=1e-6)

        def watched(self, x):
            assert not self.training
            assert not torch.is_grad_enabled()
            return self.encode(x)

        def score(self, x):
            assert not self.training
            assert not torch.is_grad_enabled()
            return super().score(x)

    task, method = a_task(), made(Checked)
    fit(method, task, epochs=1)
    assert method.training, "the engine leaves the training mode as the loop left it"
    score(method, task.test)
    assert method.training
    score(method.eval(), task.test)
    assert not method.training


def test_the_mode_comes_back_after_an_error():
    class Broken(Auto):
        def score(self, x):
            raise RuntimeError("no score today")

    method = Broken()
    with pytest.raises(RuntimeError, match="no score today"):
        score(method, a_task().test)
    assert method.training


def test_scores_do_not_depend_on_order_or_batch_size():
    task, method = a_task(), made(Auto)
    fit(method, task, epochs=2, batch_size=10)
    alone = score(method, task.test)
    assert alone.dtype == np.float64
    order = torch.randperm(len(task.test))
    np.testing.assert_allclose(score(method, task.test[order], batch_size=7), alone[order], rtol=1e-5)
    np.testing.assert_allclose(score(method, task.test, batch_size=1), alone, rtol=1e-5)
    np.testing.assert_array_equal(score(method, task.test), alone)


def test_scoring_and_fitting_leave_the_images_as_they_were():
    task = a_task()
    before = task.train.clone(), task.test.clone()
    method = Auto()
    fit(method, task, epochs=1)
    score(method, task.test)
    assert torch.equal(task.train, before[0]) and torch.equal(task.test, before[1])


def test_a_seed_repeats_exactly_and_another_one_does_not():
    def trained(seed):
        method = made(Auto)
        return fit(method, a_task(), epochs=2, batch_size=16, seed=seed), method

    torch.manual_seed(1)
    first, one = trained(4)
    torch.manual_seed(2)  # what happened before does not matter
    second, two = trained(4)
    third, _ = trained(5)
    np.testing.assert_array_equal(first, second)
    assert same_weights(one, two)
    assert not np.array_equal(first, third)


def test_a_method_prepares_its_own_input():
    class Scaled(Auto):
        def prepare(self, images):
            assert images.dtype == torch.uint8
            return F.pad(images.float(), (2, 2, 2, 2)) * 2 / 255 - 1

        def loss(self, batch):
            assert batch.x.shape[1:] == (1, 12, 12)
            return (self.decode.weight.mean() - batch.x.mean()) ** 2

        def score(self, x):
            return x.amin((1, 2, 3))

    task, method = a_task(), Scaled()
    fit(method, task, epochs=1)
    np.testing.assert_array_equal(score(method, task.test), -1)


def test_bf16_trains_close_to_fp32():
    task = a_task()
    exact = fit(made(Auto), task, epochs=2, batch_size=10)
    rough = fit(made(Auto), task, epochs=2, batch_size=10, precision="bf16")
    assert not np.array_equal(exact, rough), "bf16 was not used"
    np.testing.assert_allclose(rough, exact, rtol=0.02)


def narrow(method, *code):
    """An eighth of the width: a processor without bf16 only imitates it, and takes ten times as long."""
    method.encoder, method.decoder = encoder32(width=8), decoder32(1, *code, width=8)
    return method


@cache
def ones():
    """MNIST's digit 1 is normal: 320 images to train on, 1,000 to score."""
    task = one_normal(load("mnist"), 1, limit=1000)
    return replace(task, train=task.train[:320], train_y=task.train_y[:320])


WITH_BF16 = pytest.mark.skipif(engine.resolve_precision("auto", "cpu") == "fp32",
                               reason="this processor imitates bf16, which takes minutes")  # fmt: skip


@pytest.mark.skipif(not Path(os.environ.get("DATA_ROOT") or "missing", "MNIST").is_dir(), reason="DATA_ROOT: no MNIST")
@pytest.mark.parametrize(("build", "epochs"), [
    pytest.param(lambda: narrow(CAE(preset="e3")), 20, marks=WITH_BF16),
    pytest.param(lambda: narrow(RSRAE(), 10), 20, marks=WITH_BF16),
    (lambda: DeepSVDD(pretrain_epochs=4, warm_up=1), 8),
], ids=["CAE", "RSRAE", "Deep SVDD"])  # fmt: skip
def test_bf16_finds_the_anomalies_that_fp32_finds(build, epochs):
    def found(precision):
        method = made(build, seed=1)
        fit(method, ones(), epochs, batch_size=16, seed=1, precision=precision)
        return metrics.auroc(ones().anomalous.numpy(), score(method, ones().test))

    exact = found("fp32")
    assert exact > 0.9, "not yet trained"
    assert found("bf16") == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize(("able", "meant"), [((), "fp32"), (("avx512_bf16",), "bf16"), (("amx_tile",), "bf16")])
def test_auto_is_bf16_where_the_processor_has_it(able, meant, monkeypatch):
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in able)
    assert engine.resolve_precision("auto", "cpu") == meant
    assert [engine.resolve_precision(p, "cpu") for p in ("fp32", "bf16")] == ["fp32", "bf16"]
    losses = {p: fit(made(Auto), a_task(), 1, batch_size=10, device="cpu", precision=p) for p in engine.PRECISIONS}
    assert np.array_equal(losses["auto"], losses[meant]) and not np.array_equal(losses["fp32"], losses["bf16"])


def test_auto_is_fp32_where_nobody_can_tell_and_asks_the_gpu_for_more_than_an_imitation(monkeypatch):
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    assert engine.resolve_precision("auto", "cpu") == engine.resolve_precision("auto", "mps") == "fp32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert engine.resolve_precision("auto", "cuda") == "fp32"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert engine.resolve_precision("auto", "cuda") == "bf16"


def test_a_method_without_players_only_runs_its_hooks():
    class Mean(nn.Module):
        def players(self):
            return []

        def start(self, data):
            self.register_buffer("mean", data.map(lambda x: x).mean(0))

        def score(self, x):
            return (x - self.mean).square().sum((1, 2, 3))

    task, method = a_task(), Mean()
    assert fit(method, task, epochs=1).shape == (1, 0)
    x, mean = task.test.float() / 255, (task.train.float() / 255).mean(0)
    np.testing.assert_allclose(score(method, task.test), ((x - mean) ** 2).sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_epoch(bad):
    class Explodes(Auto):
        epoch = 1

        def loss(self, batch):
            return super().loss(batch) * (bad if self.epoch == 3 else 1)

        def after_epoch(self, epoch, data):
            self.epoch = epoch + 1

    method = Explodes()
    with pytest.raises(FloatingPointError, match=r"not finite in epoch 3\b"):
        fit(method, a_task(), epochs=30)
    assert method.epoch == 3, "the epochs after it would be wasted"


def test_denormal_numbers_are_back_after_a_fit_also_after_one_that_fails():
    fit(Auto(), a_task(), epochs=1)
    assert sys.float_info.min / 2 > 0

    class Broken(Auto):
        def start(self, data):
            assert sys.float_info.min / 2 == 0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(Broken(), a_task(), epochs=1)
    assert sys.float_info.min / 2 > 0


def test_bad_input_is_refused_before_anything_happens():
    task, method = a_task(), made(Diary)
    with pytest.raises(ValueError, match="precision 'fp8' is unknown; possible are auto, fp32, bf16"):
        fit(method, task, epochs=1, precision="fp8")
    empty = SimpleNamespace(train=task.train[:0], train_y=task.train_y[:0])
    with pytest.raises(ValueError, match="training set is empty"):
        fit(method, empty, epochs=1)
    assert method.pages == []


# Compiled


class Radius(Convolutional):
    """Batch normalisation and, like IAEAD, a radius made of what the loss leaves in attributes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("R", torch.zeros(()))

    def loss(self, batch):
        each = (self(batch.x) - batch.x).square().mean((1, 2, 3))
        self.d, self.seen = each.detach(), (each.detach(), batch.y)
        return each.mean() + (each - self.R).relu().mean()

    def after_step(self, batch):
        self.R.copy_((self.d + self.seen[0]).median() / 2)


class Rivals(Game):
    """Several players that move at different times and draw noise."""

    def score(self, x):
        return self.critic(x.flatten(1))[:, 0]


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("method", [Radius, Rivals])
def test_compiled_losses_are_the_plain_ones(method, monkeypatch):
    compiled, compile_ = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda loss, **how: compiled.append(compile_(loss, **how)) or compiled[-1])
    task, plain, fast = a_task(), made(method), made(method)
    expected = fit(plain, task, epochs=3, batch_size=10, seed=3, device="cpu")
    assert not compiled
    losses = fit(fast, task, epochs=3, batch_size=10, seed=3, device="cpu", compiled=True)
    assert len(compiled) == losses.shape[1]
    np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(score(fast, task.test), score(plain, task.test), rtol=1e-3, atol=1e-5)
    for name, value in plain.named_buffers():  # radius, and the statistics of batch normalisation
        torch.testing.assert_close(fast.get_buffer(name), value, rtol=1e-3, atol=1e-5)
