"""The second chapter's method: its equations against numpy, its course of training, the rules for its scores."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from chapters import definitions
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from sklearn import metrics as sk

from helpers import engine, images, notebook, protocols, runs, tables
from helpers.baselines.cae import CAE

chapter = definitions("improved-autoencoder")
distances = st.lists(st.floats(0, 100, allow_nan=False, width=32), min_size=1, max_size=40).map(
    lambda values: torch.tensor(values, dtype=torch.float64))


@pytest.fixture(scope="module")
def task():
    whole = protocols.contaminated(images.load("digits"), "0", 0.1, seed=0)
    part = torch.arange(0, len(whole.train), 3)
    cut = {name: getattr(whole, name)[part] for name in ("train", "train_y", "test", "test_y", "anomalous")}
    return dataclasses.replace(whole, **cut)


def small(**options):
    with runs.seeded(0):
        return chapter.IAEAD(**{"width": 4, "epochs": 25} | options)


def trained(task, epochs=None, **options):
    model = small(**options)
    losses = engine.fit(model, task, epochs or options.get("epochs", 25), batch_size=16, device="cpu")
    return model, losses


@pytest.fixture(scope="module")
def fitted(task):
    return trained(task, lam=0.05)


def codes(model, task):
    with engine.evaluating(model):
        return model.f(model.prepare(task.test))


@given(distances)
def test_nu_of_one_is_the_mean_distance(d):
    R = torch.as_tensor(d.min().item() ** 0.5, dtype=torch.float64)
    torch.testing.assert_close(chapter.soft_boundary(d, R, 1.0), d.mean(), rtol=1e-9, atol=1e-9)


@given(distances, st.floats(0, 10), st.floats(0.01, 1))
def test_soft_boundary_is_equation_7(d, R, nu):
    by_hand = R**2 + sum(max(0, x - R**2) for x in d.tolist()) / (nu * len(d))
    assert float(chapter.soft_boundary(d, torch.tensor(R, dtype=torch.float64), nu)) == pytest.approx(by_hand)


@given(distances, st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_radius_is_numpys_linear_quantile(d, nu):
    expected = np.quantile(np.sqrt(d.float().numpy()), 1 - nu, method="linear")
    assert float(chapter.radius(d, nu)) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)


def test_push_moves_small_components_only_and_keeps_their_signs():
    c = torch.tensor([-0.5, -0.1, -0.03, 0.03, 0.1, 0.7])
    torch.testing.assert_close(chapter.push(c), torch.tensor([-0.5, -0.1, -0.1, 0.1, 0.1, 0.7]))


def test_shares_of_the_papers_schedule():
    whole, short = chapter.IAEAD(width=4), chapter.IAEAD(width=4, epochs=25)
    assert (whole.warm_up, whole.halve) == (20, 50)
    assert (short.warm_up, short.halve) == (2, 5)
    rate = whole.players()[0].schedule
    assert [rate(epoch) for epoch in (1, 49, 50, 99, 100, 250)] == [1, 1, 0.5, 0.5, 0.25, 1 / 32]


def test_warm_up_is_pure_reconstruction(task):
    heavy, light = trained(task, epochs=2, lam=10.0)[0], trained(task, epochs=2, lam=0.0)[0]
    for a, b in zip(heavy.parameters(), light.parameters(), strict=True):
        assert torch.equal(a, b)
    assert float(heavy.weight) == 10.0, "the second loss starts when the warm-up has ended"
    longer = trained(task, epochs=3, lam=10.0)[0], trained(task, epochs=3, lam=0.0)[0]
    assert not torch.equal(longer[0].f[0].weight, longer[1].f[0].weight)


def test_centre_is_the_pushed_mean_code_in_eval_mode_at_the_end_of_the_warm_up(task):
    model, _ = trained(task, epochs=2)
    torch.testing.assert_close(model.c, chapter.push(codes(model, task).mean(0)))
    assert float(model.R) == 0
    before = model.c.clone()
    model.after_epoch(3, engine.Data(model, task.train, task.train_y, "cpu"))
    assert torch.equal(model.c, before), "the centre stays where it is"


def test_loss_after_the_warm_up_is_equation_6(fitted, task):
    model, _ = fitted
    batch = engine.Batch(model.prepare(task.train[:20]), None, None)
    with engine.evaluating(model):
        z = model.f(batch.x)
        d = ((z - model.c) ** 2).sum(1).numpy().astype(float)
        error = float(((model.g(z) - batch.x) ** 2).mean())
        R = float(model.R)
        expected = error + 0.05 * (R**2 + np.maximum(0, d - R**2).mean() / 0.1)
        assert float(model.loss(batch)) == pytest.approx(expected, rel=1e-5)
        model.after_step(batch)
    assert R > 0
    assert float(model.R) == pytest.approx(np.quantile(np.sqrt(d), 0.9), rel=1e-5)
    model.R.fill_(R)


def test_headline_is_the_distance_to_the_mean_of_all_final_codes(fitted, task):
    model, _ = fitted
    z = codes(model, task).double().numpy()
    expected = np.linalg.norm(z - z.mean(0), axis=1)
    np.testing.assert_allclose(engine.score(model, task.test), expected, rtol=1e-4, atol=1e-6)


def test_score_of_an_image_does_not_depend_on_its_batch(fitted, task):
    model, _ = fitted
    whole = chapter.all_scores(model, task.test)
    order = torch.randperm(len(task.test), generator=torch.Generator().manual_seed(0))
    apart = chapter.all_scores(model, task.test[order[:5]])
    assert set(whole) == {"mean", "centre", "l1"}
    for name, values in whole.items():
        np.testing.assert_allclose(apart[name], values[order[:5]], rtol=1e-4)
    np.testing.assert_allclose(engine.score(model, task.test, batch_size=7), whole["mean"], rtol=1e-4)


def test_protocol_is_transductive_and_labels_stay_out_of_training(fitted, task):
    model, losses = fitted
    whole = protocols.contaminated(images.load("digits"), "0", 0.1, seed=0)
    assert whole.test is whole.train
    assert whole.anomalous.float().mean() == pytest.approx(0.1, abs=0.005)
    assert set(whole.train_y[~whole.anomalous].tolist()) == {0}
    blind = dataclasses.replace(task, train_y=torch.zeros_like(task.train_y))
    other, same_losses = trained(blind, lam=0.05)
    np.testing.assert_array_equal(losses, same_losses)
    np.testing.assert_array_equal(engine.score(model, task.test), engine.score(other, task.test))


def test_without_the_second_loss_it_is_the_cae_of_the_helpers(task):
    with runs.seeded(3):
        ours = chapter.IAEAD(lam=0.0, score_by="l1")
    with runs.seeded(3):
        theirs = CAE(preset="as_printed")
    losses = [engine.fit(model, task, 2, batch_size=16, device="cpu") for model in (ours, theirs)]
    np.testing.assert_array_equal(*losses)
    np.testing.assert_array_equal(engine.score(ours, task.test), engine.score(theirs, task.test))


def test_curve_ends_at_the_final_scores(fitted, task):
    model, _ = fitted
    result = chapter.evaluate(model, task)
    last = result["curve"][-1]
    assert last["epoch"] == 25
    for name in ("mean", "centre", "l1"):
        assert last[name] == pytest.approx(result["scores"][name]["auroc"])
    assert result["headline"] == result["scores"]["mean"]


def test_areas_are_those_of_the_papers_code():
    truth = np.array([True, False, True, False, False, False])
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.2, 0.1])
    inside = sk.precision_recall_curve(~truth, -scores)
    outside = sk.precision_recall_curve(truth, scores)
    assert chapter.numbers(truth, scores) == pytest.approx(
        {"auroc": 7 / 8, "aupr_in": sk.auc(inside[1], inside[0]), "aupr_out": sk.auc(outside[1], outside[0])})


def test_directions_count_what_codes_fill():
    z = torch.zeros(400, 256)
    z[:, :3] = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    assert chapter.spread(z)["directions"] == pytest.approx(3, abs=0.1)
    assert chapter.spread(z)["spread"] == pytest.approx(3, abs=0.4)
    assert chapter.spread(torch.ones(10, 256))["spread"] == 0


def test_toy_line_stands_up_once_anomalies_hold_more_spread():
    few, many = chapter.mixed(0.02), chapter.mixed(0.25)
    assert abs(chapter.line_error(few[0])[1][0]) > 0.95
    assert abs(chapter.line_error(many[0])[1][1]) > 0.95
    assert sk.roc_auc_score(few[1], chapter.line_error(few[0])[0]) > 0.95
    assert sk.roc_auc_score(many[1], chapter.line_error(many[0])[0]) < 0.3
    assert sk.roc_auc_score(many[1], chapter.distance_to_mean(many[0])) > 0.9


def test_comparison_over_classes_agrees_with_scipy():
    rng = np.random.default_rng(0)
    base = rng.uniform(50, 90, 10)
    table = pd.DataFrame({"a": base + 5 + rng.normal(0, 0.5, 10), "b": base, "c": base + rng.normal(0, 5, 10)})
    difference, p_value = chapter.compared(table)
    assert difference.loc["a", "b"] == pytest.approx((table.a - table.b).mean())
    assert difference.loc["b", "a"] == -difference.loc["a", "b"]
    raw = sorted(wilcoxon(table[x], table[y]).pvalue for x, y in (("a", "b"), ("a", "c"), ("b", "c")))
    assert p_value.loc["a", "b"] == p_value.loc["b", "a"] == pytest.approx(raw[0] * 3)
    assert p_value.loc["b", "c"] == pytest.approx(raw[2])


@pytest.mark.parametrize(("number", "printed", "names"), [
    (3, "F-MNIST", ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                    "Ankle boot"]),
    (4, "CIFAR-10", images.CIFAR10),
    (4, "CIFAR-100", ["aquatic_mammals", "large_man-made_outdoor_things", "medium_mammals",
                      "non-insect_invertebrates", "vehicles_2"]),
])
def test_classes_find_their_rows_in_the_papers_tables(number, printed, names):
    rows = set(tables.paper(f"iaead-table-{number}").row)
    assert [c for c in names if f"{printed} / {chapter.paper_class(c)}" not in rows] == []


def test_a_wrong_class_in_the_list_is_refused_in_one_sentence():
    data = images.load("digits")
    p = notebook.SimpleNamespace(classes=["3", "12"])
    with pytest.raises(notebook.ParameterError, match="12"):
        notebook.class_names(p, data)
    p.classes = []
    assert notebook.class_names(p, data) == list(data.classes)


def test_a_table_says_how_long_its_recorded_runs_were():
    cell = dict(row="0", column="CAE", value=50.0)
    table = tables.compare(pd.DataFrame([cell]), pd.DataFrame([cell]), tolerance=1.0)
    html = tables.show(table, ["CAE"], ["0"], "", notes={"CAE": "40 of 250 epochs"})
    assert "recorded (n = 1; 40 of 250 epochs)" in html
    assert "class='recorded'" in html
