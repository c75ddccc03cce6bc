"""The first chapter's methods: sizes of the paper's tables, equations against other libraries, rules for scores."""

import pytest
import torch
from chapters import definitions

from helpers import engine, images, protocols
from helpers.chapter import opened

NAME = "comparing-autoencoders"
chapter = definitions(NAME)
METHODS = [chapter.CAE, chapter.VAE, chapter.AAE]


@pytest.fixture(scope="module")
def task():
    return protocols.one_normal(images.load("digits"), "1")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("channels", "side", "flat"), [(1, 28, 256), (3, 32, 1024)])
def test_layers_have_the_sizes_of_tables_1_to_3(method, channels, side, flat):
    model = method(channels, side)
    x = torch.rand(2, channels, side, side)
    assert model.encoder(x).shape == (2, flat)
    assert model.encode(x).shape == (2, 20)
    assert model(x).shape == x.shape
    assert model.lin1[0].weight.shape == (100, flat)
    assert model(x).min() >= 0 and model(x).max() <= 1


def test_default_start_is_that_of_pytorch_and_the_other_is_larger_without_bias():
    torch.manual_seed(0)
    he, default = chapter.CAE(), chapter.CAE(start="default")
    assert not any(layer.bias.any() for layer in he.modules() if hasattr(layer, "bias"))
    assert default.lin2.weight.abs().max() <= 100**-0.5  # 1 / sqrt(inputs), torch's bound
    assert he.lin2.weight.std() > 2 * default.lin2.weight.std()


def test_runs_are_both_tables_the_map_and_variants_that_change_one_thing_each():
    notebook = opened(NAME, {"tier": "smoke", "seeds": 2, "map_classes": 3})
    jobs = notebook["jobs"](notebook["p"])
    plain = {(job.method, job.task().protocol["normal_class"], job.seed): job for job in jobs if not job.variant}
    assert {key[1:] for key in plain if key[0] == "AAE"} == {("1", 0), ("1", 1), ("0", 0), ("2", 0)}
    assert len({key for key in plain if key[0] == "mean intensity"}) == 3
    variants = [job for job in jobs if job.variant]
    assert len(variants) == len({job.variant for job in variants}) == 6
    for job in variants:
        assert len(job.settings.items() - plain[job.method, "1", 0].settings.items()) == 1


def test_mse_is_equation_2():
    x, y = torch.rand(5, 3, 8, 8), torch.rand(5, 3, 8, 8)
    by_torch = torch.stack([torch.nn.functional.mse_loss(a, b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(chapter.mse(x, y), by_torch)


def test_divergence_is_that_of_torch():
    mu, log_sigma = torch.randn(4, 20), torch.randn(4, 20)
    q = torch.distributions.Normal(mu, log_sigma.exp())
    p = torch.distributions.Normal(torch.zeros(4, 20), torch.ones(4, 20))
    torch.testing.assert_close(chapter.kl_divergence(mu, log_sigma), torch.distributions.kl_divergence(q, p).sum(1))


def test_reparametrised_samples_have_the_mean_and_deviation_asked_for():
    mu, log_sigma = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -1.0]])
    z = chapter.reparametrise(mu.repeat(100_000, 1), log_sigma.repeat(100_000, 1))
    torch.testing.assert_close(z.mean(0), mu[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), log_sigma[0].exp(), atol=0.02, rtol=0)


def test_vae_without_divergence_and_noise_has_the_loss_of_a_cae():
    torch.manual_seed(0)
    vae = chapter.VAE(weight=0.0)
    torch.nn.init.zeros_(vae.log_sigma.weight)
    torch.nn.init.constant_(vae.log_sigma.bias, -50)
    batch = engine.Batch(torch.rand(4, 1, 28, 28), None, None)
    torch.testing.assert_close(vae.loss(batch), chapter.CAE.loss(vae, batch))


def test_critic_stays_in_its_box_and_only_its_owner_moves_it(task):
    torch.manual_seed(0)
    model = chapter.AAE(box=0.02)
    engine.fit(model, task, epochs=1, batch_size=32)
    sizes = [w.abs().max().item() for w in model.critic.parameters()]
    assert max(sizes) <= 0.02 and max(sizes) > 0
    x = engine.prepare(model, task.train[:8])
    before = [w.clone() for w in model.critic.parameters()]
    reconstruction, critic, encoder = model.players()
    encoder.loss(engine.Batch(x, None, None)).backward(inputs=encoder.parameters)
    assert all(torch.equal(a, b) for a, b in zip(before, model.critic.parameters(), strict=True))
    assert (critic.steps, chapter.AAE(critic_steps=5).players()[1].steps) == (1, 5)
    assert not {id(w) for w in critic.parameters} & {id(w) for w in [*reconstruction.parameters, *encoder.parameters]}


@pytest.mark.parametrize("method", METHODS)
def test_score_depends_on_its_image_alone(method, task):
    torch.manual_seed(1)
    model = method()
    together = engine.score(model, task.test[:40])
    alone = [engine.score(model, task.test[i : i + 1])[0] for i in range(40)]
    backwards = engine.score(model, task.test[:40].flip(0), batch_size=7)[::-1]
    assert together == pytest.approx(alone, rel=1e-5)
    assert together == pytest.approx(backwards, rel=1e-5)
    assert (together == engine.score(model, task.test[:40])).all(), "two scores of one image differ by luck"


@pytest.mark.parametrize("method", METHODS)
def test_training_finds_the_anomalous_digits(method, task):
    torch.manual_seed(0)
    model = method()
    losses = engine.fit(model, task, epochs=12, batch_size=16)
    assert losses[-1, 0] < 0.7 * losses[0, 0]
    zeros = task.test[task.test_y == 0]
    ones = task.test[task.test_y == 1]
    assert engine.score(model, zeros).mean() > engine.score(model, ones).mean()
