"""The chapter on learned noise: its two players, its noise, its protocols and its numbers."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chapters import definitions

from helpers import engine, protocols
from helpers.baselines.trivial import TRIVIAL, EverythingAnomalous
from helpers.chapter import opened
from helpers.images import load
from helpers.metrics import auroc
from helpers.notebook import ParameterError
from helpers.runs import seeded

chapter = definitions("adversarial-noise")
DAE, ALCN = chapter.DAE, chapter.ALCN
KINDS = {"none": partial(DAE, noise="none"), "random": partial(DAE, noise="random"),
         "gaussian": partial(DAE, noise="gaussian"), "learned": partial(ALCN, noise_width=8)}  # fmt: skip
each = pytest.mark.parametrize("kind", KINDS)


def new(kind="learned", **settings):
    with seeded(0):
        return KINDS[kind](width=8, **settings)


def batch(n=8):
    rng = torch.Generator().manual_seed(0)
    return engine.Batch(torch.rand(n, 1, 32, 32, generator=rng), torch.zeros(n), torch.arange(n))


def weights(*modules):
    return torch.cat([p.detach().flatten().clone() for module in modules for p in module.parameters()])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_networks_have_the_weights_that_table_5_counts(channels):
    alcn = ALCN(channels)
    assert chapter.millions(alcn.encoder, alcn.decoder) == pytest.approx(1.12, rel=0.02)
    assert chapter.millions(alcn) == pytest.approx(9.87, rel=0.02)


def test_a_blend_keeps_the_scale_and_the_eraser_erases():
    x, n = torch.rand(2, 5, 1, 8, 8)
    assert torch.equal(chapter.blend(x, n, 1.0), x) and torch.equal(chapter.blend(x, n, 0.0), n)
    mixed = chapter.blend(x, n, 0.3)
    assert mixed.min() >= torch.minimum(x, n).min() and mixed.max() <= torch.maximum(x, n).max()
    grey = chapter.blend(x, chapter.eraser(x, 0.4, 0.5), 0.4)
    assert torch.allclose(grey, torch.full_like(grey, 0.5), atol=1e-6)


@pytest.mark.parametrize(("alpha", "possible"), [(0.2, True), (0.5, True), (0.51, False), (0.9, False)])
def test_some_grey_erases_black_and_white_exactly_up_to_one_half(alpha, possible):
    pixels = torch.tensor([0.0, 1.0])
    needed = [chapter.eraser(pixels, alpha, c) for c in np.linspace(0, 1, 1001)]
    assert any(n.min() >= -1e-6 and n.max() <= 1 + 1e-6 for n in needed) == possible


def test_each_player_moves_its_own_weights_and_the_noise_pushes_the_error_up():
    model = new(noise_rate=0.05)
    noise, denoise = (SimpleNamespace(player=p, parameters=list(p.parameters)) for p in model.players())
    own, others = weights(model.generator), weights(model.encoder, model.decoder)
    optimizer = noise.player.optimizer(noise.parameters)
    losses = []
    for _ in range(30):
        losses.append(float(engine._move(noise.player, noise.parameters, optimizer, batch(64), torch.device("cpu"),
                                         "fp32")))  # fmt: skip
    assert torch.equal(weights(model.encoder, model.decoder), others)
    assert not torch.equal(weights(model.generator), own)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) < 0, "the loss of the noise is the error with its sign turned"
    own = weights(model.generator)
    optimizer = denoise.player.optimizer(denoise.parameters)
    engine._move(denoise.player, denoise.parameters, optimizer, batch(), torch.device("cpu"), "fp32")
    assert torch.equal(weights(model.generator), own)
    assert not torch.equal(weights(model.encoder, model.decoder), others)


def test_the_generator_keeps_no_graph_where_only_the_denoiser_moves():
    model, graphs = new(), []
    model.generator.register_forward_hook(lambda net, z, n: graphs.append(n.requires_grad))
    model.denoise_loss(batch())
    model.noise_loss(batch())
    assert graphs == [False, True]


@each
def test_noise_has_the_shape_and_range_of_pictures(kind):
    model, x = new(kind), batch(64).x
    model.start(SimpleNamespace(map=lambda f: f(x)))
    torch.manual_seed(1)  # the pictures are drawn from 0
    n = model.noise(x)
    assert n.shape == x.shape
    if kind == "gaussian":
        assert float(n.mean()) == pytest.approx(float(x.mean()), abs=0.01)
        assert float(n.std()) == pytest.approx(float(x.std()), abs=0.01)
    else:
        assert 0 <= n.min() and n.max() <= 1
    assert torch.equal(n, x) == (kind == "none")


def spoilt_with_black(model, x, times=200):
    """The α of each picture, since the noise is black and the pictures are white."""
    model.noise = torch.zeros_like
    return torch.stack([model.spoil(torch.ones_like(x))[:, 0, 0, 0] for _ in range(times)])


def test_alpha_is_drawn_for_each_step_or_for_each_picture():
    x = batch().x
    step = spoilt_with_black(new("random"), x)
    assert (step == step[:, :1]).all() and 0.2 <= step.min() < 0.25 and 0.85 < step.max() <= 0.9
    own = spoilt_with_black(new("random", each_its_own=True), x)
    assert (own.std(1) > 0).all() and 0.2 <= own.min() and own.max() <= 0.9
    fixed = spoilt_with_black(new("random", low=0.4, high=0.4), x)
    assert torch.allclose(fixed, torch.full_like(fixed, 0.4))


def test_without_noise_a_picture_stays_what_it_is():
    x = batch().x
    assert torch.allclose(new("none").spoil(x), x, atol=1e-6)


def test_additive_adds_in_the_second_step_only():
    model = new(additive=True)
    seen, white = [], batch()._replace(x=torch.ones(8, 1, 32, 32))
    model.encoder.register_forward_pre_hook(lambda net, args: seen.append(args[0].max()))
    model.noise = torch.ones_like
    model.denoise_loss(white)
    model.noise_loss(white)
    assert [round(float(value), 4) for value in seen] == [2.0, 1.0]


@each
def test_both_scores_depend_on_the_picture_alone(kind):
    model, images = new(kind), load("digits").x[:20]
    for w in model.parameters():
        w.data *= 3  # an untrained network draws much the same from every input
    model.start(engine.Data(model, images, torch.zeros(20), torch.device("cpu")))
    together = engine.score(model, images)
    np.testing.assert_allclose(engine.score(model, images, batch_size=3), together, rtol=1e-4)
    if kind == "none":
        assert engine.scores(model, images) == {}
        return
    noisy = engine.scores(model, images)["noisy"]
    np.testing.assert_allclose(engine.scores(model, images.flip(0), batch_size=7)["noisy"][::-1], noisy, rtol=1e-4)
    assert np.array_equal(engine.scores(model, images)["noisy"], noisy), "the noise of the test is drawn once"
    assert not np.allclose(noisy, together, rtol=1e-3)


class Copy(EverythingAnomalous):
    """Redraws a picture as itself, or as grey."""

    prepare = staticmethod(chapter.unit)

    def __init__(self, grey=False):
        super().__init__()
        self.grey = grey

    def score(self, x):
        return chapter.squared_error(x, torch.full_like(x, float(x.mean())) if self.grey else x)


def test_copying_is_one_for_a_copy_and_zero_for_grey():
    stripes, pictures = chapter.stripes(1, 28), load("digits").x[:50]
    for u8 in (stripes, chapter.stripes(3, 32), pictures):
        assert chapter.r_squared(engine.score(Copy(), u8), u8) == pytest.approx(1)
        assert chapter.r_squared(engine.score(Copy(grey=True), u8), u8) == pytest.approx(0, abs=1e-4)
    assert set(stripes.unique().tolist()) == {0, 255} and torch.equal(stripes, chapter.stripes(1, 28))


def test_protocols_are_what_their_names_say():
    one = chapter.small_task(1, "digits", None, "3", 0, 500)
    assert 3 not in one.train_y and (one.anomalous == (one.test_y == 3)).all()
    two = chapter.small_task(2, "digits", None, "3", 0, 500)
    assert two.train_y.unique().tolist() == [3] and (two.anomalous == (two.test_y != 3)).all()
    other = chapter.small_task(1, "digits", None, "3", 1, 500)
    assert not torch.equal(one.train, other.train), "the seed draws the 80 %"


def test_a_record_says_what_else_ranks_the_pictures():
    task = chapter.small_task(1, "digits", None, "0", 0, 300)
    lines = chapter.evaluate(new(), task)
    assert lines[0]["auroc"] == auroc(task.anomalous.numpy(), engine.score(new(), task.test))
    assert {line["beside"] for line in lines if "beside" in line} == {"brightness", "distance to mean image"}
    redrawn = {line["pictures"]: line["copying"] for line in lines if "pictures" in line}
    assert redrawn.keys() == {"normal", "anomalous", "stripes"} and max(redrawn.values()) < 0.5, "nothing is learnt yet"
    dark = TRIVIAL["mean intensity"]()
    engine.fit(dark, task, epochs=0)
    against = {line["beside"]: line["rank_correlation"] for line in chapter.evaluate(dark, task)[1:]}
    brightness = chapter.pixels(task)["brightness"]
    far = abs(brightness / 255 - float(dark.mean))
    assert against["brightness"] == pytest.approx(chapter.stats.spearmanr(far, brightness).statistic, abs=1e-3)
    assert len(chapter.evaluate(EverythingAnomalous(), task)) == 1, "equal scores have no ranks"


@pytest.mark.parametrize(("parameters", "said"), [
    ({"low": 0.95}, "low and high must be in order and inside (0, 1), not 0.95 and 0.9"),
    ({"high": 1.0}, "inside (0, 1), not 0.2 and 1.0"),
    ({"size": 48}, "pixels a side, not 48; load them with size=64"),
    ({"normal_class": "12"}, "12"),
    ({"methods": ["DAE+Noise"]}, "methods cannot be 'DAE+Noise'"),
    ({"products": "digits"}, "digits does not mark defects"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_one_sentence(parameters, said):
    with pytest.raises(ParameterError) as refused:
        opened("adversarial-noise", {"tier": "smoke", **parameters})
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_every_rival_of_the_tables_has_a_run_in_its_own_protocol():
    notebook = opened("adversarial-noise", {"tier": "smoke"})
    found = {}
    for job in notebook["jobs"](notebook["p"]):
        found.setdefault(job.task.func.__name__ + str(job.task.args[0]), set()).add(job.method)
    products = found.pop("product_taskparts")
    assert set(notebook["TABLE_1"]) < found["small_task1"] and set(notebook["TABLE_2"]) < found["small_task2"]
    assert set(notebook["TABLE_3"]) < products
    for methods in (*found.values(), products):
        assert {*notebook["OWN"], *notebook["EASY"], *TRIVIAL} <= methods


def test_leads_are_paired_and_have_students_interval():
    values = chapter.pd.Series([0.02, -0.01, 0.05, 0.03, 0.0])
    mean, half = chapter.interval(values)
    low, high = chapter.stats.t.interval(0.95, 4, values.mean(), chapter.stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert np.isnan(chapter.interval(values[:2])[1]), "two differences say nothing of their spread"


def test_learned_noise_is_harder_than_random_noise_and_the_denoiser_learns():
    task = protocols.one_anomalous(load("digits"), "0", seed=0, limit=1000)
    found = {}
    for kind in ("random", "learned"):
        model = new(kind)
        losses = engine.fit(model, task, epochs=12, batch_size=32)
        found[kind] = losses[-1, -1], auroc(task.anomalous.numpy(), engine.score(model, task.test))
    assert found["learned"][0] > 1.5 * found["random"][0], "nothing as hard to remove was drawn at random"
    trivial = []
    for make in TRIVIAL.values():
        method = make()
        engine.fit(method, task, epochs=0)
        trivial.append(auroc(task.anomalous.numpy(), engine.score(method, task.test)))
    assert found["learned"][1] > max(trivial) + 0.05
