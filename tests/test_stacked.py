"""Many models at once against the same models one by one."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import engine
from helpers.engine import Player
from helpers.stacked import fit_many

SIZES, SEEDS = (40, 25, 33), (3, 4, 5)  # batches of 10: four, two and three an epoch


def a_task(n):
    images = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    return SimpleNamespace(train=images, train_y=torch.zeros(n, dtype=torch.int64), test=images)


class Auto(nn.Module):
    """Convolutions and batch normalisation, whose statistics each model has for itself."""

    optimizer = partial(torch.optim.Adam, lr=1e-2)

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.LeakyReLU(),
                                    nn.Flatten(), nn.Linear(64, 8))  # fmt: skip
        self.decode = nn.Sequential(nn.Linear(8, 64), nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 1, 4, 2, 1))

    def players(self):
        return [Player(self.loss, self.parameters(), self.optimizer, engine.step_decay(2))]

    def loss(self, batch):
        return F.mse_loss(self.decode(self.encode(batch.x)), batch.x)

    def score(self, x):
        return (self.decode(self.encode(x)) - x).square().mean((1, 2, 3))


class Ball(Auto):
    """Like IAEAD: a radius from distances that the loss leaves behind, a centre that an epoch sets."""

    optimizer = partial(torch.optim.SGD, lr=0.1)

    def __init__(self):
        super().__init__()
        self.register_buffer("c", torch.zeros(8))
        self.register_buffer("R", torch.zeros(()))
        self.d = self.seen = None

    def start(self, data):
        self.c = data.map(self.encode).mean(0)  # a new tensor, which must be stacked again

    def loss(self, batch):
        z = self.encode(batch.x)
        d = (z - self.c).square().sum(1)
        self.d, self.seen = d.detach(), (batch.y, [d.detach()])
        return F.mse_loss(self.decode(z), batch.x) + 0.1 * (d - self.R).relu().mean()

    def after_step(self, batch):
        _, (d,) = self.seen
        self.R.copy_(self.d.lerp(d, 0.5).quantile(0.5))

    def after_epoch(self, epoch, data):
        if epoch == 2:
            self.c = data.map(self.encode).mean(0)

    def finish(self, data):
        self.R = self.R + len(data)

    def score(self, x):
        return (self.encode(x) - self.c).square().sum(1) - self.R


def made(method, seed):
    torch.manual_seed(seed)
    return method()


@pytest.mark.parametrize("method", [Auto, Ball])
def test_stacked_models_are_the_models_one_by_one(method):
    tasks = [a_task(n) for n in SIZES]
    alone, together = ([made(method, s) for s in SEEDS] for _ in range(2))
    plain = [engine.fit(m, t, 4, 10, s) for m, t, s in zip(alone, tasks, SEEDS, strict=True)]
    told = []
    stacked = fit_many(together, tasks, 4, 10, SEEDS, progress=told.append)
    assert told == [1, 2, 3, 4]
    for k, task in enumerate(tasks):
        np.testing.assert_allclose(stacked[k], plain[k], rtol=1e-4)
        np.testing.assert_allclose(engine.score(together[k], task.test), engine.score(alone[k], task.test), rtol=1e-3)
        for name, value in alone[k].named_buffers():  # the statistics of batch normalisation among them
            torch.testing.assert_close(together[k].get_buffer(name), value, rtol=1e-3, atol=1e-5)
    assert not np.allclose(plain[0], plain[1], rtol=1e-2), "three models that differ"


@pytest.mark.parametrize("method", [Auto, Ball])
def test_stacked_models_in_bf16_are_the_models_one_by_one_in_bf16(method):
    tasks = [a_task(n) for n in SIZES]
    alone, together, exact = ([made(method, s) for s in SEEDS] for _ in range(3))
    stacked = fit_many(together, tasks, 4, 10, SEEDS, precision="bf16")
    fp32 = fit_many(exact, tasks, 4, 10, SEEDS, precision="fp32")
    for k, (task, seed) in enumerate(zip(tasks, SEEDS, strict=True)):
        plain = engine.fit(alone[k], task, 4, 10, seed, precision="bf16")
        assert not np.allclose(stacked[k], fp32[k], rtol=1e-5), "bf16 was not used"
        np.testing.assert_allclose(stacked[k], plain, rtol=1e-2)
        np.testing.assert_allclose(engine.score(together[k], task.test), engine.score(alone[k], task.test), rtol=2e-2)


def test_a_stack_in_bf16_leaves_batch_normalisation_as_it_was():
    fit_many([made(Auto, s) for s in SEEDS], [a_task(n) for n in SIZES], 1, 10, precision="bf16")
    half = nn.BatchNorm2d(4)(torch.rand(2, 4, 3, 3).bfloat16())
    assert half.dtype == torch.bfloat16


class Watched(Auto):
    """The mean code that scoring needs is measured by `finish`."""

    def finish(self, data):
        self.eval()
        self.mean = data.map(self.encode).mean(0) + 0 * torch.rand(8)

    def score(self, x):
        return (self.encode(x) - self.mean).square().sum(1)


def test_looking_back_changes_nothing_and_sees_what_single_models_see():
    tasks = [a_task(n) for n in SIZES]
    blind, seeing, alone = ([made(Watched, s) for s in SEEDS] for _ in range(3))
    expected, seen, single = fit_many(blind, tasks, 4, 10, SEEDS), {}, {}

    def look_back(epoch, k):
        seen[k, epoch] = engine.score(seeing[k], tasks[k].test)

    losses = fit_many(seeing, tasks, 4, 10, SEEDS, look_back=look_back, looks={2, 4})
    np.testing.assert_array_equal(losses, expected)
    for k, (task, seed) in enumerate(zip(tasks, SEEDS, strict=True)):
        assert all(map(torch.equal, seeing[k].state_dict().values(), blind[k].state_dict().values()))

        def look(epoch, method, k=k):
            single[k, epoch] = engine.score(method, tasks[k].test)

        engine.fit(alone[k], task, 4, 10, seed, look_back=look, looks={2, 4})
    assert seen.keys() == single.keys() == {(k, epoch) for k in range(3) for epoch in (2, 4)}
    for place, scores in single.items():
        np.testing.assert_allclose(seen[place], scores, rtol=1e-3)


def test_a_stacked_model_is_a_method_like_any_other_afterwards():
    models = [made(Auto, s) for s in SEEDS]
    fit_many(models, [a_task(n) for n in SIZES], 1, 10)
    before = [p.clone() for p in models[1].parameters()]
    engine.fit(models[0], a_task(40), 1, 10)
    assert all(torch.equal(p, q) for p, q in zip(before, models[1].parameters(), strict=True))
    copy = Auto()
    copy.load_state_dict(models[1].state_dict())
    np.testing.assert_array_equal(engine.score(copy, a_task(9).test), engine.score(models[1], a_task(9).test))


class Wide(Auto):
    def __init__(self):
        super().__init__()
        self.more = nn.Linear(3, 3)


class Twice(Auto):
    def players(self):
        return super().players() * 2


class Noisy(Auto):
    def loss(self, batch):
        return super().loss(batch._replace(x=batch.x + torch.randn_like(batch.x)))


class Idle(Auto):
    def players(self):
        (player,) = super().players()
        return [replace(player, schedule=lambda epoch: epoch - 1)]


class Broken(Auto):
    def loss(self, batch):
        return super().loss(batch) * float("nan")


class Outside(Auto):
    """What the second epoch's loss depends on is a number outside the buffers, another one for each model."""

    weight = 1.0

    def loss(self, batch):
        return super().loss(batch) * self.weight

    def after_epoch(self, epoch, data):
        self.weight = float(data.images.float().mean())


class Counts(Auto):
    """A number that grows with every loss cannot be told apart between models."""

    calls = 0

    def loss(self, batch):
        self.calls += 1
        return super().loss(batch)


class Double(Auto):
    change = {"steps": 2}

    def players(self):
        (player,) = super().players()
        return [replace(player, **self.change)]


class Seldom(Double):
    change = {"every": 2}


class Clipped(Double):
    change = {"after": print}


@pytest.mark.parametrize(("methods", "sizes", "error", "words"), [
    ((Auto, Wide), (40, 40), ValueError, "of one class with tensors of the same shapes"),
    ((Twice, Twice), (40, 40), ValueError, "one player that moves once a batch"),
    *(((each, each), (40, 40), ValueError, "one player that moves once a batch") for each in (Double, Seldom, Clipped)),
    ((Auto, Auto), (40, 4), ValueError, "fewer images than one batch of 10"),
    ((Noisy, Noisy), (40, 40), RuntimeError, "random"),
    ((Idle, Idle), (40, 40), ValueError, "sits out cannot be stacked: its schedule is 0 in epoch 1"),
    ((Outside, Outside), (40, 25), ValueError, "depend on more than parameters and buffers"),
    ((Counts, Counts), (40, 40), RuntimeError, "Expected tensors"),
    ((Broken, Broken), (40, 40), FloatingPointError, "not finite in epoch 1"),
])  # fmt: skip
def test_what_cannot_be_stacked_is_refused(methods, sizes, error, words):
    with pytest.raises(error, match=words):
        fit_many([method() for method in methods], [a_task(n) for n in sizes], 2, 10)


def test_what_depends_on_more_than_buffers_is_refused_in_bf16_too():
    with pytest.raises(ValueError, match="depend on more than parameters and buffers"):
        fit_many([Outside(), Outside()], [a_task(40), a_task(25)], 2, 10, precision="bf16")
