"""The chapter on pseudo-anomalies: its fakes, its losses, its two forms, its protocol and its numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chapters import definitions
from PIL import Image
from torch import nn
from torch.nn import functional as F

from helpers import engine
from helpers.chapter import opened
from helpers.images import industrial
from helpers.metrics import auroc
from helpers.notebook import ParameterError
from helpers.runs import seeded

chapter = definitions("pseudo-anomalies")
CPU = torch.device("cpu")


class Echo(nn.Module):
    """A generator that gives its latents back, so that a test sees which went in."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, z):
        return self.gain * z


def new(**how):
    with seeded(0):
        method = chapter.ALGAN(Echo(), nn.Linear(100, 1), **how)
        method.start(Sixty())
    return method


class Sixty:
    """Training data of 64 vectors, as far as the hooks of ALGAN look at them."""

    images = torch.zeros(64, 100)

    def __len__(self):
        return len(self.images)


def batch(n=16):
    return engine.Batch(torch.zeros(n, 100), torch.zeros(n, dtype=torch.long), torch.arange(n))


def test_a_share_of_the_latents_is_larger_and_equation_6_counts_each_fake_once():
    method = new()
    method.loss_of_D(batch())
    size = method.fake.square().mean(1).sqrt()
    assert size[:12].mean() == pytest.approx(1, abs=0.1) and size[12:].mean() == pytest.approx(4, abs=0.4)
    logits = torch.randn(3, 16)
    loss = chapter.loss_D(*logits, xi=0.75)
    real, fake, old = -nn.LogSigmoid()(logits[0]), -nn.LogSigmoid()(-logits[1]), -nn.LogSigmoid()(-logits[2])

    def weighted(now, before, part):
        return 0.75 * now[part].mean() + 0.25 * before[part].mean()

    normal, anomalous = weighted(fake, old, slice(12)), weighted(fake, old, slice(12, 16))
    assert float(loss) == pytest.approx(float(real.mean() + 0.75 * normal + 0.25 * anomalous), rel=1e-5)


def test_without_old_fakes_the_loss_is_that_of_a_gan():
    logits = torch.randn(2, 16)
    expected = nn.Softplus()(-logits[0]).mean() + nn.Softplus()(logits[1]).mean()
    assert float(chapter.loss_D(*logits, None, xi=0.75)) == pytest.approx(float(expected), rel=1e-5)
    method = new(xi=1.0)
    for _ in range(3):
        method.loss_of_D(batch())
        method.after_step(batch())
    seen = []
    method.D.register_forward_hook(lambda net, x, y: seen.append(len(x[0])))
    method.loss_of_D(batch())
    assert set(seen) == {32}, "real and new fakes alone"


def test_the_buffer_keeps_kinds_apart_and_a_step_overwrites_half_of_it():
    buffer = chapter.Buffer(2)

    def fakes(step):  # a fake-normal of step s is s, a fake-anomalous -s
        return torch.cat([torch.full((12, 1), float(step)), torch.full((4, 1), -float(step))])

    buffer.store(fakes(1), 12)
    assert len(buffer.x) == 32
    for step in (2, 3):
        before = buffer.x.clone()
        buffer.store(fakes(step), 12)
        assert int((buffer.x != before).sum()) == 16
        assert (buffer.x[:24] > 0).all() and (buffer.x[24:] < 0).all()
    drawn = buffer.draw(12, 16)
    assert (drawn[:12] > 0).all() and (drawn[12:] < 0).all()
    assert set(buffer.x.abs().flatten().tolist()) == {1.0, 2.0, 3.0}


def test_old_fakes_grow_older_in_a_larger_buffer():
    def age(times):
        with seeded(0):
            buffer = chapter.Buffer(times)
            for step in range(200):
                buffer.store(torch.full((16, 1), float(step)), 12)
        return float(199 - buffer.x.mean())

    assert age(2) == pytest.approx(1, abs=0.6) and age(20) == pytest.approx(19, abs=6)


@pytest.mark.parametrize(("n_z", "new_after"), [(1, [1, 2, 3, 4]), (2, [1, 3]), (3, [2])])
def test_latents_stay_for_n_z_epochs(n_z, new_after):
    method, changed = new(n_z=n_z), []
    for epoch in range(1, 5):
        before = method.z_D.clone()
        method.after_epoch(epoch, None)
        changed += [epoch] if not torch.equal(before, method.z_D) else []
    assert changed == new_after


def test_each_batch_of_an_epoch_has_its_own_latents_and_the_next_epoch_the_same():
    method, epochs = new(), []
    for _ in range(2):
        fakes = []
        for _ in range(4):  # batches
            method.loss_of_D(batch())
            fakes.append(method.fake)
            method.after_step(batch())
        epochs.append(torch.stack(fakes))
        method.step = 0
    assert torch.equal(*epochs)
    assert len({f.sum().item() for f in epochs[0]}) == 4


def test_each_player_moves_its_own_weights_and_the_discriminator_moves_n_dis_times():
    method = new(n_dis=3)
    moves = []
    first, second = method.players()
    assert (first.steps, second.steps) == (3, 1)
    for player, own, other in ((first, method.D, method.G), (second, method.G, method.D)):
        before = [[w.detach().clone() for w in net.parameters()] for net in (own, other)]
        parameters = list(player.parameters)
        engine._move(player, list(own.parameters()), player.optimizer(list(own.parameters())), batch(), CPU, "fp32")
        moves.append(len(parameters))
        assert any(not torch.equal(a, b) for a, b in zip(before[0], own.parameters()))
        assert all(torch.equal(a, b) for a, b in zip(before[1], other.parameters()))


@pytest.mark.parametrize("frozen", [True, False])
def test_fakes_are_drawn_with_the_statistics_of_normal_latents(frozen):
    with seeded(0):
        method = chapter.ALGAN(nn.BatchNorm1d(100), nn.Linear(100, 1), frozen=frozen)
        method.start(Sixty())
    before = method.G.running_mean.clone()
    method.loss_of_D(batch())
    size = method.fake.square().mean(1).sqrt()
    assert size[:12].mean() == pytest.approx(1 if frozen else 0.46, abs=0.15)
    assert torch.equal(method.G.running_mean, before) == frozen
    assert method.G.training
    method.loss_of_G(batch())
    assert not torch.equal(method.G.running_mean, before)


def test_the_generator_never_sees_a_large_latent():
    method, seen = new(), []
    method.G.register_forward_hook(lambda net, z, x: seen.append(float(z[0].square().mean().sqrt())))
    method.loss_of_G(batch())
    assert seen == [pytest.approx(1, abs=0.05)]


@pytest.mark.parametrize(("channels", "side"), [(3, 64), (1, 32), (3, 256)])
def test_networks_on_images_have_the_papers_layers_and_five_channels(channels, side):
    method = chapter.ALGANImage(channels, side, width=4)
    convolutions = [layer for layer in method.D.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == side.bit_length() - 2  # seven for 256 pixels
    assert convolutions[0].in_channels == channels + 2
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in method.D.modules())
    x = torch.rand(2, channels, side, side) * 2 - 1
    assert method.logits(x).shape == (2,)
    assert method.G(torch.randn(2, 100)).shape == x.shape


def test_every_layer_of_the_discriminator_has_largest_singular_value_1():
    with seeded(0):
        layers = [layer for layer in chapter.discriminator(5, 32, 8) if isinstance(layer, nn.Conv2d)]
        for layer in layers:
            for _ in range(50):
                layer(torch.zeros(1, layer.in_channels, 8, 8))
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_the_derived_channels_follow_the_pictures_in_gradients_too():
    method = chapter.ALGANImage(3, 32, 4)
    x = (torch.rand(1, 3, 32, 32) * 2 - 1).requires_grad_()
    given = []
    method.D.register_forward_hook(lambda net, inputs, y: given.append(inputs[0]))
    method.logits(x).sum().backward()
    assert torch.equal(given[0][:, 3], x.amax(1)) and torch.allclose(given[0][:, 4], x.mean(1))
    assert x.grad.abs().sum() > 0


def test_pictures_are_flipped_and_turned_only_where_their_product_allows_it():
    x = torch.rand(40, 1, 16, 16)
    still, h, v, turn = (torch.tensor([may]).expand(40, 3) for may in (
        (False, False, False), (True, False, False), (False, True, False), (False, False, True)))
    assert torch.equal(chapter.augmented(x, still), x)
    with seeded(0):
        for may, axis in ((h, 3), (v, 2)):
            y = chapter.augmented(x, may)
            flipped = (y == x.flip(axis)).all((1, 2, 3))
            assert 0 < int(flipped.sum()) < 40 and torch.equal(y[~flipped], x[~flipped])
        y = chapter.augmented(x, turn)
    assert not torch.allclose(x, y) and y.min() >= 0 and y.max() <= 1 + 1e-5
    quarter = chapter.turned(x, torch.full((40,), torch.pi / 2))
    assert torch.allclose(quarter, x.rot90(1, (2, 3)), atol=1e-4) or torch.allclose(quarter, x.rot90(-1, (2, 3)),
                                                                                    atol=1e-4)  # fmt: skip


def test_a_score_does_not_depend_on_its_batch_and_turns_are_averaged():
    with seeded(0):
        image, feature = chapter.ALGANImage(3, 32, 4), chapter.ALGANFeature(20, 8)
    u8 = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
    whole = engine.score(image, u8)
    assert np.allclose(engine.score(image, u8.flip(0), batch_size=5)[::-1], whole, atol=1e-5)
    x = torch.randn(6, 4, 20)
    each = np.stack([engine.score(feature, x[:, k]) for k in range(4)], 1)
    assert np.allclose(engine.score(feature, x), each.mean(1), atol=1e-5)


def test_features_are_seen_as_they_are_or_with_mean_0_and_deviation_1():
    x, seen = torch.randn(64, 20) * 5 + 3, []
    task = SimpleNamespace(train=x, train_y=torch.zeros(64, dtype=torch.long))
    for standardised in (False, True):
        method = chapter.ALGANFeature(20, 8, standardised)
        engine.fit(method, task, 0)
        method.D.register_forward_hook(lambda net, inputs, y: seen.append(inputs[0]))
        engine.score(method, x)
    assert torch.equal(seen[0], x)
    assert torch.allclose(seen[1].mean(0), torch.zeros(20), atol=1e-4)
    assert torch.allclose(seen[1].std(0), torch.ones(20), atol=1e-3)


def test_the_halves_are_of_both_kinds_disjoint_and_drawn_by_the_seed():
    tasks = [chapter.product_task("parts", None, 32, "washer", seed) for seed in (0, 0, 1)]
    first, again, other = map(chapter.halves, tasks)
    assert (first == again).all() and (first != other).any()
    anomalous = tasks[0].anomalous.numpy()
    for kind in (True, False):
        of_kind = first[anomalous == kind]
        assert abs(of_kind.sum() - len(of_kind) / 2) <= 1
    assert tasks[0].protocol["seed"] == 0 and tasks[0].protocol["categories"] == ["washer"]


def test_the_rule_of_labels_takes_the_best_epoch_of_one_half_and_reports_the_other():
    def record(method, areas):
        history = [{"epoch": e, "category": "a", "half": half, "auroc": v}
                   for e, pair in enumerate(areas) for half, v in zip(("selects", "is tested"), pair)]
        return {"config": {"method": method, "variant": "", "settings": {}, "seed": 0, "epochs": 3, "batch_size": 1,
                           "precision": "fp32", "protocol": {"name": "train_on_good", "dataset": "d"}},
                "metrics": [{"category": "a", "auroc": 0.5}], "losses": [], "history": history,
                "provenance": {"seconds": 1}}  # fmt: skip

    lines = chapter.results.frame([record("A", [(0.6, 0.1), (0.9, 0.2), (0.7, 0.3)])], "recorded")
    found = chapter.selected(lines)
    assert found[["method", "chosen", "last"]].to_dict("records") == [{"method": "A", "chosen": 0.2, "last": 0.3}]
    assert len(chapter.selected(lines.iloc[:0])) == 0


def test_red_points_close_the_boundary_of_the_toy():
    angle = torch.linspace(0, 2 * torch.pi, 100)
    ring = 4 * torch.stack([angle.cos(), angle.sin()], 1)

    def area(share, seed):
        found = []
        with seeded(seed):
            chapter.toy(share, [300], lambda step, G, D: found.append(auroc(
                np.arange(200) >= 100, -D(torch.cat([chapter.ellipse(100), ring]))[:, 0])))  # fmt: skip
        return found[0]

    with_red, without = (np.mean([area(share, seed) for seed in range(2)]) for share in (16, 0))
    assert with_red > without + 0.15


def larger(n, odd):
    return torch.randn(n, 8) * (3 if odd else 1)


def in_other_places(n, odd):
    return F.relu(torch.randn(n, 16)) * torch.tensor([0.3, 3.0] if odd else [3.0, 0.3]).repeat(8)


@pytest.mark.parametrize("points", [larger, in_other_places])
def test_algan_on_features_finds_what_is_different(points):
    with seeded(0):
        normal, odd = points(400, odd=False), points(100, odd=True)
        method = chapter.ALGANFeature(normal.shape[1], 64, rate=5e-4)
    task = SimpleNamespace(train=normal[:300], train_y=torch.zeros(300, dtype=torch.long))
    engine.fit(method, task, 20, 16)
    scores = engine.score(method, torch.cat([normal[300:], odd]))
    assert auroc(np.arange(200) >= 100, scores) > 0.85


def test_parameters_that_cannot_be_are_refused_in_one_sentence():
    for parameters, said in (({"dataset": "digits"}, "does not mark defects"),
                             ({"methods": ["PatchCore"]}, "cannot be 'PatchCore'"),
                             ({"product": "bottle"}, "bottle"), ({"size": 40}, "images of"),
                             ({"rotations": [1, 2, 3]}, "are two numbers"),
                             ({"feature_size": 8}, "64 pixels or more")):
        with pytest.raises(ParameterError, match=said):
            opened("pseudo-anomalies", {"tier": "smoke", **parameters})


def folder_of_bolts(folder, n):
    for part in ("train/good", "test/good", "test/crack"):
        (folder / "bolt" / part).mkdir(parents=True)
        for k in range(n):
            pixels = np.random.default_rng(k).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "bolt" / part / f"{k}.png")


def test_a_folder_needs_two_pictures_of_each_kind(tmp_path):
    folder_of_bolts(tmp_path, 1)
    with pytest.raises(ParameterError, match="bolt needs two good and two defective"):
        opened("pseudo-anomalies", {"tier": "smoke", "dataset": f"folder:{tmp_path}"})


def test_a_folder_of_ones_own_needs_no_other_parameter(tmp_path):
    folder_of_bolts(tmp_path, 3)
    notebook = opened("pseudo-anomalies", {"tier": "smoke", "dataset": f"folder:{tmp_path}"})
    assert notebook["p"].product == "bolt" and notebook["p"].classes == ["bolt"]
    assert len(notebook["jobs"](notebook["p"])[0].task().train) == 3


def test_a_run_is_listed_once_for_each_seed_product_and_study():
    notebook = opened("pseudo-anomalies", {"tier": "smoke"})
    p = notebook["p"]
    jobs = notebook["jobs"](p)
    assert {job.method for job in jobs} >= set(notebook["ON_IMAGES"] + notebook["ON_FEATURES"])
    p.rotations = [3]  # one number for both
    assert notebook["on_features"]("ALGAN-feature", "screw").task.keywords["rotations"] == (3, 3)
    assert {job.variant for job in jobs} == {"", "no buffer", "no anomalous latents", "neither"}
    p.studies = [study for study in notebook["STUDIES"] if study != "digits"]
    jobs = notebook["jobs"](p)
    assert len({job.variant for job in jobs}) == 1 + 3 + 5 + 15 + 3 + 3 + 5 + 1
    whole = [(job.method, job.variant, job.seed) for job in jobs]
    assert len(set(whole)) == len(whole)
    moved = {job.variant: job.settings["ways"] for job in jobs if job.method == "ALGAN-image"}
    assert set(moved["flips, no turns"]) == {"hv"} and set(moved["pictures are not moved"]) == {""}
    assert moved[""] == moved["n_z = 1"] == notebook["ways_of"]("parts", notebook["data"].classes)


def test_turns_by_right_angles_change_no_pixel(monkeypatch):
    notebook, seen = opened("pseudo-anomalies", {"tier": "smoke"}), []
    method = notebook["QuarterTurned"](side=16, width=4, ways=["hv"])
    monkeypatch.setattr(notebook["ALGANImage"], "loss_of_D", lambda _, batch: seen.append(batch.x))
    x = torch.rand(64, 3, 16, 16)
    method.loss_of_D(engine.Batch(x, torch.zeros(64, dtype=torch.int64), None))
    turned = torch.stack([x.rot90(k, (2, 3)) for k in range(4)])
    which = (seen[0] == turned).flatten(2).all(2)
    assert (which.sum(0) == 1).all(), "each is one of the four"
    assert (which.sum(1) > 4).all(), "and all four occur"


def test_every_product_that_may_be_moved_is_one_that_there_is():
    notebook = opened("pseudo-anomalies", {"tier": "smoke"})
    there = {*notebook["data"].classes, *industrial.MVTEC}
    assert notebook["WAYS"].keys() <= there
    assert notebook["ways_of"]("parts", ["brushed_metal", "screw"]) == ["hv", ""]


def test_on_digits_one_class_is_normal_and_the_steps_are_those_of_a_product():
    notebook = opened("pseudo-anomalies", {"tier": "smoke", "studies": ["digits"], "epochs": 48})
    jobs = [job for job in notebook["jobs"](notebook["p"]) if job.task.func is notebook["one_digit"]]
    assert len(jobs) == 10 * (3 + 1)
    job = next(job for job in jobs if job.method == "ALGAN-image" and job.task.args[-1] == "3")
    task = job.task()
    assert task.protocol["name"] == "one_normal" and set(task.train_y.tolist()) == {3}
    assert job.epochs == 48 * 200 // (notebook["small"].y == 3).sum()
