"""The first chapter's methods: sizes of the paper's tables, equations against other libraries, rules for scores."""


import numpy as np
import pytest
import torch
from chapters import definitions
from scipy.spatial import distance
from torch import nn

from helpers import engine, images, metrics, protocols
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


def test_only_the_tier_paper_keeps_pictures_and_only_colours_are_greyed():
    notebook = opened(NAME, {"tier": "smoke", "map_classes": 1})
    notebook["PICTURED"]["digits"] = ["1", "8"]
    p = notebook["p"]
    assert not [job for job in notebook["jobs"](p) if job.keep or job.variant == "in grey"]
    p.tier, notebook["channels"] = "paper", 3
    jobs = notebook["jobs"](p)
    kept = [(job.method, job.task().protocol["normal_class"]) for job in jobs if job.keep]
    assert sorted(kept) == [(name, c) for name in ("AAE", "CAE", "VAE") for c in ("1", "8")]
    [grey] = [job for job in jobs if job.variant == "in grey"]
    assert grey.make is notebook["InGrey"] and grey.settings["channels"] == 1
    assert len([job for job in jobs if job.method == "mean colour"]) == 1


@pytest.fixture(scope="module")
def trained(task):
    models = {}
    for method in METHODS:
        torch.manual_seed(0)
        models[method.__name__] = method()
        engine.fit(models[method.__name__], task, epochs=4, batch_size=16)
    return models


def test_share_divides_by_the_error_of_an_empty_drawing(trained, task):
    class Empty(nn.Module):
        def score(self, x):
            return chapter.mse(x, torch.zeros_like(x))

    assert engine.score(chapter.Share(Empty()), task.test[:5]) == pytest.approx([1.0] * 5)
    cae, x = trained["CAE"], task.test[:5]
    by_hand = engine.score(cae, x) / (x / 255).square().mean((1, 2, 3)).numpy()
    assert engine.score(chapter.Share(cae), x) == pytest.approx(by_hand, rel=1e-5)


def test_distance_of_a_code_is_that_of_mahalanobis(trained, task):
    cae = trained["CAE"]
    z, z_train = (engine.each_image(cae, x, cae.encode) for x in (task.test[:5], task.train))
    inverse = np.linalg.inv(np.cov(z_train.T))
    by_scipy = [distance.mahalanobis(code, z_train.mean(0), inverse) ** 2 for code in z]
    assert engine.score(chapter.CodeDistance(cae, task.train), task.test[:5]) == pytest.approx(by_scipy, rel=1e-3)


def test_codes_are_what_the_decoder_is_fed(trained, task):
    for name in ("CAE", "AAE"):
        model = trained[name]
        assert chapter.codes(model, task.train) == pytest.approx(engine.each_image(model, task.train, model.encode))
    vae = trained["VAE"]
    mu, z = engine.each_image(vae, task.train, vae.encode), chapter.codes(vae, task.train)
    assert np.abs(z - mu).mean() > 0.1 and (z == chapter.codes(vae, task.train)).all()
    assert np.linalg.norm(z, axis=1).mean() == pytest.approx(20**0.5, abs=0.7), "the divergence holds them at the prior"


def test_kept_pictures_are_those_that_the_figure_names_and_their_redrawings(trained, task):
    kept = chapter.keep_pictures(trained["CAE"], task)
    ones, zeros = (task.test[task.test_y == c] for c in (1, 0))
    shown = [ones[0], zeros[0], zeros[1], task.test[task.test_y == 2][0]]
    assert all(torch.equal(a, b) for a, b in zip(kept["input"], shown, strict=True))
    assert kept["redrawn"].min() >= 0 and kept["redrawn"].max() <= 255
    by_picture = (kept["input"] - torch.from_numpy(kept["redrawn"])).div(255).square().mean((1, 2, 3)).numpy()
    assert kept["error"] == pytest.approx(by_picture, rel=0.05), "error and picture belong together"
    assert len(kept["error, normal"]) == len(kept["empty, normal"]) == min(200, len(ones))


def test_runs_with_pictures_are_rated_by_three_scores_the_first_of_which_is_that_of_the_tables(trained, task):
    lines = chapter.in_three_ways(trained["AAE"], task)
    assert lines[:9] == metrics.of_every_class(trained["AAE"], task)
    assert [line.get("score") for line in lines] == [None] * 9 + ["share"] * 9 + ["code"] * 9 + [None]
    assert lines[-1]["part"] == "codes" and lines[-1]["least_sd"] <= lines[-1]["largest_sd"]


def test_grey_copies_hide_the_colour_and_the_mean_colour_hides_the_rest():
    x = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    in_grey = chapter.InGrey(1, 32)
    assert engine.score(in_grey, x) == pytest.approx(engine.score(in_grey, x[:, [2, 0, 1]]), rel=1e-4)
    red, blue = torch.zeros(2, 8, 3, 4, 4, dtype=torch.uint8)
    red[:, 0], blue[:, 2] = 200, 200
    mean_colour = chapter.MeanColour()
    mean_colour.start(engine.Data(mean_colour, red, torch.zeros(8), "cpu"))
    assert engine.score(mean_colour, red) == pytest.approx(0) and engine.score(mean_colour, blue).min() > 1
    half = red.clone()
    half[:, 0, :2], half[:, 0, 2:] = 150, 250
    assert engine.score(mean_colour, half) == pytest.approx(0, abs=1e-9), "where a colour lies does not count"


def test_without_records_a_figure_names_the_command(capsys):
    chapter.show_pictures({}, "1", chapter.error_of)
    assert "make record NAME=comparing-autoencoders" in capsys.readouterr().out
    assert chapter.kept_errors({}, "1").isna().all(axis=None) and chapter.length_of({}) is None


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
