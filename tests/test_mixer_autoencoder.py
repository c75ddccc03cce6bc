"""The Mixer chapter: its networks, equations 6 to 10, rules for thresholds, and a reader's own folder of pictures."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from chapters import definitions
from PIL import Image
from pytorch_msssim import ms_ssim, ssim
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from helpers import engine, metrics, protocols, tables
from helpers.images import parts

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
    for model.latest in batches:
        model.after_step(None)
    model.after_epoch(1, None)
    first = 2 + 0.3 * np.std([1, 2, 3])
    assert model.T.tolist() == pytest.approx([0.175 + 0.65 * first, 0.175 + 0.65 * 5, 0.5]), "an unseen class moved"
    for errors, group in batches:
        model.latest = 2 * errors, group
        model.after_step(None)
    model.after_epoch(2, None)
    assert model.T[0].item() == pytest.approx(0.35 * (0.175 + 0.65 * first) + 0.65 * 2 * first), "old errors count"


def test_without_mix_there_is_one_threshold(task):
    model = made()
    engine.fit(model, task, 1, 8)
    assert model.T.shape == (1,) and set(model.group(torch.zeros(2, 3, 48, 48)).tolist()) == {0}


def record_of(**metrics):
    return {"metrics": {"classes": ["a", "b"], **{k: chapter.text(v) for k, v in metrics.items()}}}


TWO = record_of(y=[0, 0, 1, 1], anomalous=[0, 1, 0, 1], test=[1, 2, 10, 20], test_group=[0, 0, 1, 1],
                held=[0.9, 1.1, 9, 11], held_group=[0, 0, 1, 1], T=[1.5, 15])  # fmt: skip


def test_the_held_out_rule_is_mean_and_deviation_of_the_predicted_class():
    limits = np.array([1 + 0.3 * 0.1, 10 + 0.3 * 1])
    assert chapter.decide(TWO) == pytest.approx(np.array([1, 2, 10, 20]) / limits[[0, 0, 1, 1]])
    assert (chapter.decide(TWO) >= 1).tolist() == [False, True, False, True]
    swapped = {"metrics": TWO["metrics"] | {"test_group": chapter.text([1, 1, 0, 0])}}
    assert (chapter.decide(swapped) >= 1).tolist() == [False, False, True, True], "the class is predicted, not told"


def test_the_other_rules():
    assert chapter.decide(TWO, "eq. 6") == pytest.approx([1 / 1.5, 2 / 1.5, 10 / 15, 20 / 15])
    held = np.array([0.9, 1.1, 9, 11])
    assert chapter.decide(TWO, "single") == pytest.approx(np.array([1, 2, 10, 20]) / (held.mean() + 0.3 * held.std()))
    generator = np.random.default_rng(0)
    anomalous = generator.random(200) < 0.6
    messy = record_of(y=[0] * 200, anomalous=anomalous, test=generator.random(200) + 0.3 * anomalous,
                      test_group=[0] * 200, held=generator.random(50), held_group=[0] * 50)  # fmt: skip
    honest, released = (metrics.at_threshold(anomalous, chapter.decide(messy, rule), 1)["f1"]
                        for rule in ("held out", "as released"))
    assert released > honest, "with the answers at hand the F1 is better"


def test_a_class_without_held_out_pictures_takes_the_statistic_of_all():
    lonely = {"metrics": TWO["metrics"] | {"held_group": chapter.text([0, 0, 0, 0])}}
    mu, sigma = chapter.held_statistic(chapter.unpack(lonely))
    assert mu == pytest.approx([5.5, 5.5]) and sigma == pytest.approx([np.std([0.9, 1.1, 9, 11])] * 2)


# Equation 10 and what F1 hides.

def test_the_nearest_mean_is_a_mixer_without_a_network():
    flat = torch.tensor([0, 2, 250, 254]).to(torch.uint8)[:, None, None, None].expand(4, 3, 8, 8).clone()
    model = chapter.NearestMean()
    engine.fit(model, SimpleNamespace(train=flat, train_y=torch.tensor([0, 0, 1, 1])), 0)
    shown = torch.tensor([1, 3, 252, 100]).to(torch.uint8)[:, None, None, None].expand(4, 3, 8, 8).clone()
    expected = (np.array([0, 2, 0, 99]) / 255) ** 2  # from the means 1 and 252
    np.testing.assert_allclose(engine.score(model, shown), expected, rtol=1e-4, atol=1e-9)
    assert chapter.over(model, shown, model.group).tolist() == [0, 0, 1, 0]


def test_votes_are_weighed():
    flagged = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0]]
    assert chapter.vote(flagged, [1, 1, 1]) == pytest.approx([2 / 3, 1 / 3, 2 / 3, 0])
    assert chapter.vote(flagged, [6, 2, 2]) == pytest.approx([0.8, 0.6, 0.4, 0])
    by_hand = [max((0, 1), key=lambda c, k=k: sum(w * (row[k] == c) for row, w in zip(flagged, [6, 2, 2], strict=True)))
               for k in range(4)]
    assert (chapter.vote(flagged, [6, 2, 2]) >= 0.5).astype(int).tolist() == by_hand


def test_flagging_everything_beats_the_papers_best_row():
    assert chapter.f1_of_everything(1258, 467) == pytest.approx(0.843, abs=5e-4)
    assert tables.paper("mixer-table-3").query("column == 'F'").value.max() < chapter.f1_of_everything(1258, 467)


def test_balanced_f1_of_the_papers_own_rows():
    table = tables.paper("mixer-table-4").query("row != 'overall performance'")
    rates = {row: tuple(table[(table.row == row) & (table.column == f"Ours MIXER L2 / {kind}")].value.iloc[0]
                        for kind in ("normal", "anomalous")) for row in table.row.unique()}
    recall, precision = 0.794, 0.794 / (0.794 + 1 - 0.477)
    assert chapter.balanced_f1(rates) == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-3)
    assert chapter.balanced_f1({"all": (0.0, 1.0)}) == pytest.approx(2 / 3)


# The method as a whole.

@pytest.mark.parametrize("options", [{}, {"v": 0.3, "lam": 1e-4, "mix": True}, {"mix": True, "measure": "MSSIM"}])
def test_score_depends_on_its_picture_alone(options, task):
    model = made(**options)
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight)  # as it starts, a net that has hardly trained redraws every picture alike
    u8 = task.test[:48:4]  # of all categories: good pictures of one are nearly alike
    assert chapter.over(model, u8, model).std(0).mean() > 0.005
    together = engine.score(model, u8)
    assert together == pytest.approx([engine.score(model, u8[[i]])[0] for i in range(12)], rel=1e-4)
    assert together == pytest.approx(engine.score(model, u8.flip(0), batch_size=5)[::-1], rel=1e-4)
    assert (together == engine.score(model, u8)).all(), "noise at evaluation"


def test_training_lowers_every_measure_and_learns_the_categories():
    images = parts.make(64, train=24, good=4, defects=1)
    task = protocols.train_on_good(images)
    for measure in MEASURES:
        torch.manual_seed(0)
        model = chapter.AE("table_1", 64, 8, 4, measure=measure, v=0.3, lam=1e-4, mix=True)
        before = engine.score(model, task.test).mean()
        engine.fit(model, task, 12, 8)
        assert engine.score(model, task.test).mean() < 0.9 * before
        assert (chapter.over(model, task.test, model.group) == task.test_y).float().mean() > 0.8


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


def run(tmp_path, *parameters):
    command = [Path(sys.executable).with_name("papermill"), ROOT / "notebooks/mixer-autoencoder.ipynb",
               tmp_path / "out.ipynb", "-k", "python3", "-p", "tier", "smoke", "-p", "output", tmp_path / "result",
               "-p", "rows", "['mix', 'mix_ssim']"]
    for name, value in parameters:
        command += ["-p", name, value]
    environment = {name: value for name, value in os.environ.items() if name != "DATA_ROOT"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


def broken_files(folder):
    (folder / "train/good/empty.png").write_bytes(b"")
    (folder / "train/good/letter.jpg").write_text("not a picture")
    whole = (folder / "train/good/000.png").read_bytes()
    (folder / "test/odd/half.png").write_bytes(whole[: len(whole) // 2])
    return ["empty.png", "letter.jpg", "half.png"]


def test_a_folder_of_photographs_is_scored_and_drawn_and_broken_files_are_named(tmp_path):
    folder = tmp_path / "pictures"
    photographs(folder)
    names = broken_files(folder)
    result = run(tmp_path, ("dataset", f"folder:{folder}"), ("broken", "skip"))
    assert result.returncode == 0, result.stderr[-3000:]
    with open(tmp_path / "result/scores.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 10 and {line["kind"] for line in lines} == {"good", "odd"}
    ratios = [float(line["ratio"]) for line in lines]
    assert ratios == sorted(ratios, reverse=True) and np.isfinite(ratios).all()
    assert all((line["flagged"] == "True") == (float(line["score"]) >= float(line["threshold"])) for line in lines)
    drawn = sorted((tmp_path / "result").glob("overlay-*.png"))
    assert len(drawn) == 4
    for picture in drawn:
        assert np.asarray(Image.open(picture).convert("L")).std() > 5, "an empty picture"
    shown = str(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert [name for name in names if name not in shown] == [], "a skipped file is not named"


def test_broken_files_stop_a_run_before_it_starts_and_are_named(tmp_path):
    folder = tmp_path / "pictures"
    photographs(folder)
    names = broken_files(folder)
    result = run(tmp_path, ("dataset", f"folder:{folder}"))
    assert result.returncode != 0
    message = result.stderr.strip().splitlines()[-1]
    assert "ParameterError" in message and [name for name in names if name not in message] == []
    assert not (tmp_path / "result").exists()


def test_unlabelled_pictures_are_scored(tmp_path):
    folder = tmp_path / "pictures"
    photographs(folder)
    (folder / "train/good").rename(folder / "good")
    (folder / "test/odd").rename(folder / "score")
    for left in (folder / "test/good").iterdir():
        left.unlink()
    (folder / "test/good").rmdir()
    (folder / "test").rmdir()
    (folder / "train").rmdir()
    result = run(tmp_path, ("dataset", f"folder:{folder}"))
    assert result.returncode == 0, result.stderr[-3000:]
    assert len((tmp_path / "result/scores.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize(("name", "value", "said"), [
    ("size", "50", ["50", "table_2", "16"]),
    ("rows", "['mixx']", ["mixx", "mix_ssim"]),
    ("dataset", "mvtec:brush", ["brush", "bottle"]),
    ("dataset", "digits", ["digits", "defects"]),
    ("held_out", "1.5", ["1.5", "hold out"]),
])
def test_impossible_parameters_are_one_sentence(name, value, said, tmp_path):
    result = run(tmp_path, (name, value))
    assert result.returncode != 0
    message = result.stderr.strip().splitlines()[-1]
    assert "ParameterError" in message and [word for word in said if word not in message] == [], message
