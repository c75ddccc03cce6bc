"""The Mixer chapter: its networks, equations 6 to 10, rules for thresholds, and a reader's own labelled pictures."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import papermill
import pytest
import torch
from chapters import definitions
from PIL import Image
from pytorch_msssim import ms_ssim, ssim
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from helpers import engine, metrics, pixel_metrics, protocols, records, results, thresholds
from helpers.chapter import opened
from helpers.images import parts
from helpers.notebook import ParameterError

ROOT = Path(__file__).resolve().parent.parent
chapter = definitions("mixer-autoencoder")
MEASURES = ["L2", "SSIM", "MSSIM"]


@pytest.fixture(scope="module")
def task():
    return protocols.hold_out(protocols.train_on_good(parts.make(48, train=8, good=4, defects=2)), 0.25)


def made(**options):
    torch.manual_seed(0)
    return chapter.AE("table_2", 48, 4, 4, **options)


# The networks.

def count(module):
    return sum(weight.numel() for weight in module.parameters())


def test_table_2_has_the_papers_layers_at_full_size():
    encoder, decoder, code = chapter.table_2()
    convolutions = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [c.in_channels for c in convolutions] == [3, 64, 64, 128, 128, 256, 256, 512, 512, 1024]
    assert [c.out_channels for c in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in encoder.modules()) == 4, "the last iteration does not pool"
    doubling = [layer for layer in decoder.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert [(c.in_channels, c.out_channels) for c in doubling] == [(n, n) for n in (1024, 512, 256, 128)]
    assert 30e6 < count(encoder) + count(decoder) < 35e6, "the text says 30M"
    z = encoder(torch.zeros(1, 3, 224, 224))
    assert z.shape == (1, code, 14, 14) and decoder(z).shape == (1, 3, 224, 224)


def test_table_1_has_the_papers_layers_at_full_size():
    encoder, decoder, code = chapter.table_1()
    convolutions = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [16, 32, 64, 128, 256, 512, 1024]
    assert [(c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions] == [(4, 2, 1)] * 6 + [(4, 1, 0)]
    z = encoder(torch.rand(2, 3, 256, 256))
    assert z.shape == (2, 128) == (2, code) and decoder(z).shape == (2, 3, 256, 256)


@pytest.mark.parametrize(("net", "size"), [("table_1", 64), ("table_1", 128), ("table_2", 48), ("table_2", 80)])
def test_narrow_nets_return_a_picture_of_the_same_size_and_range(net, size):
    model = chapter.AE(net, size, 4, 3, mix=True)
    x = torch.rand(3, 3, size, size) * 2 - 1
    assert model(x).shape == x.shape and model(x).abs().max() <= 1
    assert model.classifier(model.encoder(x)).shape == (3, 3)


# Equation 8.

@pytest.mark.parametrize("code", [5, 40])
def test_hutchinsons_estimate_is_the_jacobians_norm(code):
    torch.manual_seed(3)
    E = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, code))
    x = torch.randn(3, 2, 5, 5)
    exact = torch.stack([torch.autograd.functional.jacobian(E, x[[i]]).square().sum() for i in range(3)])
    torch.testing.assert_close(chapter.jacobian_norm(E, x, 4000), exact, rtol=0.1, atol=0)
    one = torch.stack([chapter.jacobian_norm(E, x) for _ in range(4000)])
    error = one.std(0) / 4000**0.5
    assert ((one.mean(0) - exact).abs() < 5 * error).all(), "one probe is not unbiased"


def test_the_penalty_of_a_linear_map_is_exact_in_its_weights_and_can_be_minimised():
    torch.manual_seed(0)
    E = nn.Sequential(nn.Flatten(), nn.Linear(12, 6, bias=False))
    x = torch.randn(64, 3, 2, 2)
    estimate = chapter.jacobian_norm(E, x, 500).mean()
    torch.testing.assert_close(estimate, E[1].weight.square().sum(), rtol=0.02, atol=0)
    (slope,) = torch.autograd.grad(estimate, E[1].weight)
    torch.testing.assert_close(slope, 2 * E[1].weight.detach(), rtol=0.3, atol=0.05)


def test_weight_norm_is_another_thing_than_the_jacobian():
    E = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh())
    by_hand = torch.cat([weight.flatten() for weight in E.parameters()]).norm()
    torch.testing.assert_close(chapter.weight_norm(E), by_hand)
    far = torch.full((1, 3, 2, 2), 1e3)  # tanh is flat there: no contraction left to do, but the weights are as large
    assert chapter.jacobian_norm(E, far, 10).item() < 1e-6 < chapter.weight_norm(E).item()


def encoder_with_batch_norm():
    torch.manual_seed(0)
    E = nn.Sequential(chapter.block(nn.Conv2d(3, 4, 3), 4), nn.Flatten(), nn.Linear(16, 5))
    E(torch.randn(50, 3, 4, 4))  # running statistics other than those of any batch
    return E


def exact_norms(E, x):
    E.eval()
    norms = [torch.autograd.functional.jacobian(E, x[[i]]).square().sum() for i in range(len(x))]
    E.train()
    return torch.stack(norms)


def test_with_frozen_statistics_a_picture_counts_alone_and_the_statistics_stay():
    E, x = encoder_with_batch_norm(), torch.randn(4, 3, 4, 4)
    exact = exact_norms(E, x)
    before = {name: value.clone() for name, value in E.state_dict().items()}
    with chapter.frozen(E):
        estimate = chapter.jacobian_norm(E, x, 4000)
    torch.testing.assert_close(estimate, exact, rtol=0.1, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in E.state_dict().items())
    assert all(layer.training for layer in E.modules())
    coupled = chapter.jacobian_norm(E, x, 4000)
    assert ((coupled - exact).abs() / exact > 0.1).any(), "in training mode the neighbours count"
    assert not torch.equal(E[0][1].running_mean, before["0.1.running_mean"]), "and the statistics move"


def test_the_frozen_penalty_is_the_rows_loss_and_its_own_contraction(task):
    torch.manual_seed(0)
    model = chapter.FrozenPenalty(lam=1.0, net="table_2", size=48, width=4, classes=4)
    batch = engine.Batch(model.prepare(task.train[:8]), task.train_y[:8], None)
    plain = made()
    plain.load_state_dict(model.state_dict())
    steps = model.encoder[0][0][1].num_batches_tracked
    with chapter.frozen(model.encoder):
        norm = chapter.jacobian_norm(model.encoder, batch.x, 200).mean().item() / batch.x[0].numel()
    assert model.loss(batch).item() - plain.loss(batch).item() == pytest.approx(norm, rel=0.8, abs=1e-6)
    assert steps.item() == 1, "one pass a step moves the statistics"


def test_the_released_model_scores_by_absolute_error_and_names_products_after_a_relu(task):
    torch.manual_seed(0)
    model = chapter.AsReleased(net="table_2", size=48, width=4, classes=4, v=0.4, mix=True)
    assert {layer.negative_slope for layer in model.modules() if isinstance(layer, nn.LeakyReLU)} == {0.5}
    engine.fit(model, task, 1, 8)
    x = model.prepare(task.test[:6])
    with engine.evaluating(model):
        by_hand = (x - model(x)).abs().mean((1, 2, 3))
        assert (model.classifier(model.encoder(x)) >= 0).all()
    assert engine.score(model, task.test[:6]) == pytest.approx(by_hand.numpy(), rel=1e-4)
    (player,) = model.players()
    assert player.optimizer.keywords == {"lr": 2e-4, "weight_decay": 1e-6}
    (line,) = chapter.evaluate_released(model, task)
    decided = thresholds.decide(chapter.keep(model, task), "eq. 6") >= 1
    assert line["test_f1"] == pytest.approx(metrics.at_threshold(task.anomalous.numpy(), decided, 1)["f1"])


# Equations 7 and 9.

def test_noise_has_the_size_asked_for_and_stays_in_range():
    torch.manual_seed(0)
    x = torch.zeros(8, 3, 64, 64)
    assert chapter.corrupt(x, 0.3).std().item() == pytest.approx(0.3, rel=0.02)
    assert chapter.corrupt(x + 0.9, 0.3).max() == 1


def pair():
    torch.manual_seed(2)
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    return x, (x + 0.4 * torch.randn_like(x)).clamp(-1, 1)


def test_ssim_map_is_that_of_two_libraries():
    x, y = pair()
    _, other = structural_similarity_index_measure(y, x, data_range=2.0, reduction="none", return_full_image=True)
    torch.testing.assert_close(chapter.ssim_map(x, y), other, atol=1e-5, rtol=0)
    inside = chapter.ssim_map(x, y)[..., 5:-5, 5:-5].mean((1, 2, 3))  # pytorch-msssim leaves the borders out
    torch.testing.assert_close(inside, ssim(x, y, data_range=2, size_average=False), atol=1e-5, rtol=0)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_perfect_copy_has_no_error_and_order_does_not_matter(measure):
    x, y = pair()
    torch.testing.assert_close(chapter.error(x, x.clone(), measure), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(chapter.error(x, y, measure), chapter.error(y, x, measure), atol=1e-6, rtol=1e-5)
    noisy, noisier = chapter.error(x, y, measure), chapter.error(x, (y + y.roll(1, 0)) / 2, measure)
    assert (0 < noisy).all() and (noisy < noisier).all()


def test_similarity_is_bounded():
    x, y = pair()
    for other in (y, -x, torch.zeros_like(x), x.flip(0)):
        assert chapter.ssim_map(x, other).abs().max() <= 1 + 1e-5
        for measure in MEASURES[1:]:
            assert ((0 <= chapter.error(x, other, measure)) & (chapter.error(x, other, measure) <= 2)).all()


def test_known_similarity_of_two_flat_pictures():
    x, y = torch.full((1, 3, 48, 48), 0.5), torch.full((1, 3, 48, 48), 0.25)  # only luminance differs
    luminance = (2 * 0.5 * 0.25 + 0.02**2) / (0.5**2 + 0.25**2 + 0.02**2)
    assert 1 - chapter.error(x, y, "SSIM").item() == pytest.approx(luminance, abs=1e-5)


@pytest.mark.parametrize(("side", "width"), [(48, 3), (128, 7), (224, 11), (512, 11)])
def test_the_multi_scale_window_is_the_largest_that_fits(side, width):
    assert chapter.window(side) == width
    x = torch.rand(1, 3, side, side)
    ms_ssim(x, x, data_range=1, win_size=width)
    if width < 11:
        with pytest.raises(AssertionError):
            ms_ssim(x, x, data_range=1, win_size=width + 2)


# Equation 6 and Algorithm 1.

def test_update_is_equation_6():
    T = chapter.update(torch.tensor([0.5, 2.0]), torch.tensor([1.0, 0.1]), torch.tensor([0.2, 0.0]))
    assert T.tolist() == pytest.approx([0.35 * 0.5 + 0.65 * (1 + 0.3 * 0.2), 0.35 * 2 + 0.65 * 0.1])


def test_thresholds_follow_the_errors_of_their_own_class():
    model = chapter.AE("table_1", 64, 4, 3, mix=True)
    batches = [(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 0, 1])),
               (torch.tensor([3.0, 5.0]), torch.tensor([0, 1]))]
    for model.latest, y in batches:
        model.after_step(engine.Batch(None, y, None))
    model.after_epoch(1, None)
    first = 2 + 0.3 * np.std([1, 2, 3])
    T = model.thresholds.T
    assert T.tolist() == pytest.approx([0.175 + 0.65 * first, 0.175 + 0.65 * 5, 0.5]), "an unseen class moved"
    for errors, y in batches:
        model.latest = 2 * errors
        model.after_step(engine.Batch(None, y, None))
    model.after_epoch(2, None)
    assert T[0].item() == pytest.approx(0.35 * (0.175 + 0.65 * first) + 0.65 * 2 * first), "old errors count"


def test_without_mix_there_is_one_threshold(task):
    model = made()
    engine.fit(model, task, 1, 8)
    assert model.thresholds.T.shape == (1,) and set(model.group(torch.zeros(2, 3, 48, 48)).tolist()) == {0}


def test_the_share_of_the_deviation_is_that_of_the_rules_in_helpers():
    assert chapter.BETA == thresholds.BETA


def test_a_run_keeps_what_the_rules_need_and_its_own_thresholds(task):
    model = made(mix=True)
    engine.fit(model, task, 1, 8)
    kept = records.rounded(chapter.keep(model, task))
    assert set(kept) == {"y", "anomalous", "test", "test_group", "held", "held_group", "T"}
    assert kept["y"] == task.test_y.tolist() and kept["anomalous"] == task.anomalous.int().tolist()
    assert kept["T"] == pytest.approx(model.thresholds.T.tolist(), rel=1e-5) and len(kept["T"]) == 4
    assert len(kept["held"]) == len(task.held) and set(kept["held_group"]) <= set(range(4))
    simple = chapter.SIMPLE["mean intensity"]()
    engine.fit(simple, task, 0)
    assert "T" not in chapter.keep(simple, task)


def test_a_line_for_each_category_has_its_error_and_the_threshold_that_counts_for_it(task):
    for model, own in ((made(mix=True), True), (made(), False)):
        engine.fit(model, task, 1, 8)
        *lines, pixels = chapter.evaluate(model, task)
        assert [line["category"] for line in lines] == list(task.classes)
        errors = engine.score(model, task.held, 64)
        for c, line in enumerate(lines):
            assert line["mean_error"] == pytest.approx(errors[task.held_y == c].mean())
            assert line["threshold"] == pytest.approx(model.thresholds.T[c if own else 0].item())
        assert set(pixels) == {"aupro", "pixel_auroc"}


def test_maps_are_measured_within_each_category(task):
    model = made()
    engine.fit(model, task, 1, 8)
    maps = engine.each_image(model, task.test, lambda x: chapter.error_map(model, x))
    *lines, pooled = chapter.evaluate_maps(model, task)
    assert pooled == chapter.evaluate(model, task)[-1]
    for line in lines:
        at = (task.test_y == task.classes.index(line["category"])).numpy()
        assert line["aupro"] == pytest.approx(pixel_metrics.aupro(maps[at], task.masks[at, 0]))
        assert {"mean_error", "threshold", "pixel_auroc"} <= set(line)


def test_a_good_and_a_defective_picture_of_each_category_are_kept_small(task):
    model = made()
    engine.fit(model, task, 1, 8)
    kept = records.rounded(chapter.keep_pictures(model, task))
    assert set(kept) == {*chapter.keep(model, task), "at", "shown", "redrawn"}
    assert task.anomalous[kept["at"]].tolist() == [False, True] * 4
    assert task.test_y[kept["at"]].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for name, pictures in (("shown", task.test[kept["at"]]), ("redrawn", None)):
        x = np.array(kept[name])
        assert x.shape == (8, 64, 64) and x.dtype.kind == "i" and 0 <= x.min() and x.max() <= 255
        if pictures is not None:
            assert x.mean((1, 2)) == pytest.approx(pictures.float().mean((1, 2, 3)).numpy(), abs=3)


# Equation 10 and what F1 hides.

def test_the_nearest_mean_is_a_mixer_without_a_network():
    flat = torch.tensor([0, 2, 250, 254]).to(torch.uint8)[:, None, None, None].expand(4, 3, 8, 8).clone()
    model = chapter.NearestMean()
    engine.fit(model, SimpleNamespace(train=flat, train_y=torch.tensor([0, 0, 1, 1])), 0)
    shown = torch.tensor([1, 3, 252, 100]).to(torch.uint8)[:, None, None, None].expand(4, 3, 8, 8).clone()
    expected = (np.array([0, 2, 0, 99]) / 255) ** 2  # from the means 1 and 252
    np.testing.assert_allclose(engine.score(model, shown), expected, rtol=1e-4, atol=1e-9)
    assert engine.each_image(model, shown, model.group).tolist() == [0, 0, 1, 0]


def test_brightness_is_held_against_the_pictures_own_product():
    flat = torch.tensor([0, 2, 250, 254]).to(torch.uint8)[:, None, None, None].expand(4, 3, 8, 8).clone()
    task = SimpleNamespace(train=flat, train_y=torch.tensor([0, 0, 1, 1]))
    own, of_all = chapter.ProductIntensity(), chapter.SIMPLE["mean intensity"]()
    for model in (own, of_all):
        engine.fit(model, task, 0)
    assert engine.score(own, flat[[1, 3]]) * 255 == pytest.approx([1, 2], rel=1e-3)
    assert engine.score(of_all, flat[[1, 3]]) * 255 == pytest.approx([124.5, 127.5], rel=1e-3)


def test_votes_are_weighed():
    flagged = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0]]
    assert chapter.vote(flagged, [1, 1, 1]) == pytest.approx([2 / 3, 1 / 3, 2 / 3, 0])
    assert chapter.vote(flagged, [6, 2, 2]) == pytest.approx([0.8, 0.6, 0.4, 0])
    by_hand = [max((0, 1), key=lambda c, k=k: sum(w * (row[k] == c) for row, w in zip(flagged, [6, 2, 2], strict=True)))
               for k in range(4)]
    assert (chapter.vote(flagged, [6, 2, 2]) >= 0.5).astype(int).tolist() == by_hand


def recorded_rows(n):
    """A frame of n rows of Table 3 with errors that differ."""
    rng, lines = np.random.default_rng(0), []
    for name in list(chapter.ROWS.values())[:n]:
        bad = np.arange(40) % 2
        images = {"y": np.arange(40) // 20, "anomalous": bad, "test": rng.random(40) + 0.5 * bad,
                  "test_group": np.zeros(40, int), "held": rng.random(20), "held_group": np.zeros(20, int),
                  "T": [0.6]}  # fmt: skip
        protocol = {"name": "p", "dataset": "two", "categories": ["a", "b"]}
        config = {"method": name, "variant": "", "settings": {}, "seed": 0, "epochs": 3, "batch_size": 4,
                  "precision": "fp32", "protocol": protocol}  # fmt: skip
        lines.append({"config": config, "metrics": [], "history": [], "losses": [], "provenance": {"seconds": 1.0},
                      "images": {part: np.asarray(v).tolist() for part, v in images.items()}})  # fmt: skip
    return results.frame(lines, "this run", thresholds.judged)


def test_the_vote_of_three_rows_is_one_more_method_and_that_of_two_is_none():
    assert list(chapter.voters_of(recorded_rows(2))) == []
    (voters,) = chapter.voters_of(recorded_rows(3))
    lines = {line["rule"]: line for line in chapter.voted(voters) if "category" not in line}
    assert set(lines) == set(thresholds.RULES)
    flags = np.array([thresholds.decide(voter["images"]) >= 1 for voter in voters])
    by_hand = metrics.at_threshold(np.array(voters[0]["images"]["anomalous"]), flags.sum(0), 2)
    assert lines["held out"]["f1"] == pytest.approx(by_hand["f1"])
    assert lines["held out"]["recall"] == pytest.approx(by_hand["recall"])


# The method as a whole.

@pytest.mark.parametrize("options", [{}, {"v": 0.3, "lam": 1e-4, "mix": True}, {"mix": True, "measure": "MSSIM"}])
def test_score_depends_on_its_picture_alone(options, task):
    model = made(**options)
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight)  # as it starts, a net that has hardly trained redraws every picture alike
    u8 = task.test[:48:4]  # of all categories: good pictures of one are nearly alike
    assert engine.each_image(model, u8, model).std(0).mean() > 0.005
    together = engine.score(model, u8)
    assert together == pytest.approx([engine.score(model, u8[[i]])[0] for i in range(12)], rel=1e-4)
    assert together == pytest.approx(engine.score(model, u8.flip(0), batch_size=5)[::-1], rel=1e-4)
    assert (together == engine.score(model, u8)).all(), "noise at evaluation"


def test_training_lowers_every_measure_and_learns_the_categories():
    images = parts.make(64, train=24, good=4, defects=1)
    task = protocols.train_on_good(images)
    for measure in MEASURES:
        torch.manual_seed(2)  # so few steps leave much to luck; from here every measure falls to half or less
        model = chapter.AE("table_1", 64, 8, 4, measure=measure, v=0.3, lam=1e-4, mix=True)
        before = engine.score(model, task.test).mean()
        engine.fit(model, task, 12, 8, seed=2)
        assert engine.score(model, task.test).mean() < 0.9 * before
        assert (engine.each_image(model, task.test, model.group) == task.test_y.numpy()).mean() > 0.8


# A reader's own pictures.

def photographs(folder):
    """Twelve good and six odd pictures of several sizes, as a camera would write them, without masks."""
    random = np.random.default_rng(0)
    for part, n in (("train/good", 12), ("test/good", 4), ("test/odd", 6)):
        (folder / part).mkdir(parents=True)
        for i in range(n):
            picture = np.clip(random.normal(120, 12, (90 + 5 * i, 120, 3)), 0, 255).astype(np.uint8)
            if part == "test/odd":
                picture[20:60, 30:70] = [250, 30, 30]
            Image.fromarray(picture).save(folder / part / f"{i:03d}.{'jpg' if i % 2 else 'png'}")


def broken_files(folder):
    (folder / "train/good/empty.png").write_bytes(b"")
    (folder / "train/good/letter.jpg").write_text("not a picture")
    whole = (folder / "train/good/000.png").read_bytes()
    (folder / "test/odd/half.png").write_bytes(whole[: len(whole) // 2])
    return ["empty.png", "letter.jpg", "half.png"]


def test_the_chapter_runs_on_a_folder_of_photographs_and_names_the_broken_files(tmp_path):
    photographs(tmp_path / "pictures")
    names = broken_files(tmp_path / "pictures")
    papermill.execute_notebook(
        ROOT / "notebooks/mixer-autoencoder.ipynb", tmp_path / "out.ipynb",
        {"tier": "smoke", "dataset": f"folder:{tmp_path / 'pictures'}", "broken": "skip", "rows": ["mix", "mix_ssim"]},
        cwd=ROOT, kernel_name="python3", progress_bar=False)  # fmt: skip
    shown = str(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert [name for name in names if name not in shown] == [], "a skipped file is not named"
    assert "10 good pictures to train on, 2 held out for thresholds, 10 to score" in shown
    assert "folder pictures: tier smoke, 48 pixels" in shown, "the table of this execution"


def test_broken_files_stop_the_chapter_before_it_starts_and_are_named(tmp_path):
    photographs(tmp_path)
    names = broken_files(tmp_path)
    with pytest.raises(ParameterError) as refused:
        opened("mixer-autoencoder", {"tier": "smoke", "dataset": f"folder:{tmp_path}"})
    assert [name for name in names if name not in str(refused.value)] == []


# The page calls a "pictures" run its row "once more".

def test_what_the_page_calls_once_more_is_trained_as_its_row_is():
    cells = opened("mixer-autoencoder", {"tier": "paper", "dataset": "parts", "size": 48})
    jobs = cells["jobs"](cells["p"])
    again = [job for job in jobs if job.variant == cells["AGAIN"]]
    assert len(again) == 3
    for job in again:
        row = next(other for other in jobs if (other.method, other.variant, other.seed) == (job.method, "", job.seed))
        for name in ("make", "task", "settings", "epochs", "batch_size"):
            assert getattr(job, name) == getattr(row, name), (job.method, name)
