"""The second chapter's method: its equations against numpy, its course of training, the rules for its scores."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from chapters import definitions
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from helpers import chapter as chapters
from helpers import engine, images, notebook, protocols, results, runs
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
    whole = engine.scores(model, task.test)
    order = torch.randperm(len(task.test), generator=torch.Generator().manual_seed(0))
    apart = engine.scores(model, task.test[order[:5]])
    assert set(whole) == set(chapter.SCORES) == {"mean", "centre", "l1"}
    for name, values in whole.items():
        np.testing.assert_allclose(apart[name], values[order[:5]], rtol=1e-4)
    np.testing.assert_allclose(engine.score(model, task.test, batch_size=7), whole["mean"], rtol=1e-4)


def test_each_score_is_what_its_name_says(fitted, task):
    model, _ = fitted
    x = model.prepare(task.test)
    z = codes(model, task).double()
    with engine.evaluating(model):
        error = (x - model.g(z.float())).abs().sum((1, 2, 3))
    scores = engine.scores(model, task.test)
    np.testing.assert_allclose(scores["centre"], (z - model.c).norm(dim=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores["l1"], error, rtol=1e-4)
    for name, values in scores.items():
        model.score_by = name
        np.testing.assert_array_equal(engine.score(model, task.test), values)
    model.score_by = "mean"


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


def test_looking_back_changes_nothing_and_ends_at_the_final_numbers(fitted, task, tmp_path):
    model, losses = fitted
    job = runs.Job("IAEAD", chapter.IAEAD, lambda: task, {"lam": 0.05, "width": 4, "epochs": 25}, chapter.evaluate,
                   25, 16, looks=8, code="of a test")  # fmt: skip
    record = runs.run(job, tmp_path, device="cpu")
    np.testing.assert_allclose(np.array(record["losses"]), losses, rtol=1e-5)
    last = [line for line in record["history"] if line["epoch"] == 25]
    assert [line.get("score") for line in last] == [None, "mean", "centre", "l1", None]
    for then, now in zip(last, record["metrics"], strict=True):
        assert then.pop("score", None) == now.pop("score", None)
        assert then == pytest.approx({"epoch": 25} | now, rel=1e-4)
    assert {line["epoch"] for line in record["history"]} == engine.epochs_to_look_at(25, 8)


def test_areas_are_those_of_the_papers_code():
    truth = np.array([True, False, True, False, False, False])
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.2, 0.1])
    inside = sk.precision_recall_curve(~truth, -scores)
    outside = sk.precision_recall_curve(truth, scores)
    assert chapter.areas(truth, scores) == pytest.approx(
        {"auroc": 7 / 8, "aupr_in": sk.auc(inside[1], inside[0]), "aupr_out": sk.auc(outside[1], outside[0])})


def test_directions_count_what_codes_fill():
    z = torch.zeros(400, 256)
    z[:, :3] = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    assert chapter.spread(z)["directions"] == pytest.approx(3, abs=0.1)
    assert chapter.spread(z)["spread"] == pytest.approx(3, abs=0.4)
    assert chapter.spread(torch.ones(10, 256))["spread"] == 0


def test_toy_line_stands_up_where_the_text_says():
    few, many = chapter.mixed(0.02), chapter.mixed(0.25)
    assert sk.roc_auc_score(few[1], chapter.line_error(few[0])[0]) > 0.95
    assert sk.roc_auc_score(many[1], chapter.line_error(many[0])[0]) < 0.3
    assert sk.roc_auc_score(many[1], chapter.distance_to_mean(many[0])) > 0.9
    height = {share: abs(chapter.line_error(chapter.mixed(share, 20000)[0])[1][1]) for share in (0.09, 0.125)}
    assert height[0.09] < 0.2 < 0.98 < height[0.125], "the line stands up at 0.96 / 9 = 10.7 %"


@pytest.fixture(scope="module")
def opened():
    return chapters.opened("improved-autoencoder", {"tier": "paper", "dataset": "digits", "epochs": 20})


def test_jobs_have_the_proportions_of_the_papers_protocol(opened):
    jobs = opened["jobs"](opened["p"])
    first = {(job.method, job.variant): job for job in reversed(jobs)}
    shapes = {name: (job.epochs, job.paper_epochs, job.batch_size) for (name, v), job in first.items() if not v}
    assert shapes["IAEAD"] == shapes["CAE"] == (20, 250, 256)
    assert shapes["Deep SVDD"] == (24, 300, 200) and shapes["RDAE"] == (2, 20, 128)
    svdd = first["Deep SVDD", ""].settings
    assert (svdd["pretrain_epochs"], svdd["pretrain_drop"], svdd["drop"], svdd["warm_up"]) == (12, 4, 4, 0)
    assert first["CAE", ""].settings | {"lam": 5e-5, "score_by": "mean"} == first["IAEAD", ""].settings
    for lam in (5e-6, 5e-4, 5e-3, 5e-2):
        assert first["IAEAD", f"λ = {lam:g}"].settings == first["IAEAD", ""].settings | {"lam": lam}
    assert {variant for _, variant in first if "λ" not in variant} - {""} == {v for _, v in opened["VARIANTS"]}
    assert all(jobs[k].method in opened["TRIVIAL"] for k in range(30)), "the cheapest come first"


def test_nu_is_tried_without_the_ledger():
    cells = chapters.opened("improved-autoencoder", {"tier": "quick"})
    jobs = cells["jobs"](cells["p"])
    assert {(job.method, job.variant) for job in jobs if "λ" not in job.variant and job.variant} == {
        ("IAEAD", chapter.NU_1)}  # fmt: skip
    printed = [job for job in jobs if job.variant == chapter.NU_1]
    like = {c: job.settings for c, job in ((job.task.args[2], job) for job in jobs) if job.method == "IAEAD"}
    assert len(printed) == 2 and all(job.settings | {"nu": 0.1} == like["0"] | {"nu": 0.1, "lam": 5e-5}
                                     for job in printed)  # fmt: skip


def some_lines(*runs):
    names = ["variant", "normal_class", "epochs", "seed", "lam", "value"]
    lines = pd.DataFrame(runs, columns=names).assign(method="IAEAD", ratio=0.1, metric="auroc", nu=0.1)
    return lines.assign(nu=[1.0 if variant == chapter.NU_1 else 0.1 for variant in lines.variant])


def test_a_pair_is_of_one_class_length_and_seed_and_the_longest_counts():
    lines = some_lines(("", "8", 20, 0, 5e-5, 0.9), (chapter.NU_1, "8", 20, 0, 5e-5, 0.8),
                       ("", "8", 250, 0, 5e-5, 0.1), ("", "0", 250, 0, 5e-5, 0.5),
                       (chapter.NU_1, "0", 250, 1, 5e-5, 0.6), ("", "2", 20, 0, 5e-5, 0.5))  # fmt: skip
    found = chapter.paired(lines, "IAEAD", chapter.NU_1)
    assert found.normal_class.tolist() == ["8", "8"] and set(found.epochs) == {20}
    longer = some_lines((chapter.NU_1, "8", 250, 0, 5e-5, 0.2))
    found = chapter.paired(pd.concat([lines, longer]), "IAEAD", chapter.NU_1)
    assert set(found.epochs) == {250} and sorted(found.value) == [0.1, 0.2]
    assert chapter.paired(lines.iloc[:0], "IAEAD", chapter.NU_1).empty


def test_weights_are_compared_at_the_length_that_has_most_of_them():
    short = [("", "8", 20, 0, lam, 0.9) for lam in (0.0, 5e-5, 5e-3, 5e-2)] + [("", "1", 20, 0, 0.0, 0.9)]
    full = [("", c, 250, 0, lam, 0.9) for lam in (0.0, 5e-5, 5e-3) for c in ("1", "8")]
    found = chapter.weights_of(some_lines(*short, *full))
    assert set(found.epochs) == {20} and set(found.normal_class) == {"8"}
    assert set(chapter.weights_of(some_lines(*full)).normal_class) == {"1", "8"}
    assert chapter.weights_of(some_lines()).empty


def test_every_job_can_be_made(opened):
    jobs = {(job.method, job.variant): job for job in opened["jobs"](opened["p"])}
    assert {name for name, _ in jobs} == {*opened["TABLE"], *opened["TRIVIAL"]}
    for job in jobs.values():
        assert hasattr(runs.made(job), "score")


@pytest.mark.parametrize(("table", "dataset", "names"), [
    ("iaead-table-3", "fashion_mnist", ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                                        "Sneaker", "Bag", "Ankle boot"]),
    ("iaead-table-4", "cifar10", images.CIFAR10),
])
def test_classes_find_their_columns_in_the_papers_tables(table, dataset, names):
    printed = results.chosen(results.paper(table), dataset=dataset)
    assert set(names) == set(printed.normal_class) - {"mean"}


def test_a_wrong_class_in_the_list_is_refused_in_one_sentence():
    data = images.load("digits")
    with pytest.raises(notebook.ParameterError, match="12"):
        notebook.class_names(SimpleNamespace(classes=["3", "12"]), data)
    assert notebook.class_names(SimpleNamespace(classes=[]), data) == list(data.classes)
