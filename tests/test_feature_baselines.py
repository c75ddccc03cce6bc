"""The rivals that only remember features: by hand, against other libraries, and on a real product."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers import engine, features, images, metrics, pixel_metrics, protocols, runs, sweep
from helpers.baselines import patchcore
from helpers.baselines.mahalanobis import MahalanobisAD
from helpers.baselines.padim import PaDiM
from helpers.baselines.patchcore import PatchCore, coreset
from helpers.baselines.spade import SPADE
from helpers.baselines.trivial import TRIVIAL
from helpers.features import patches
from helpers.protocols import Task

BOTTLE = Path(os.environ.get("DATA_ROOT") or "missing", "MVTecAD", "bottle.tar")
C, H, W, D = 6, 5, 4, 7  # of the made-up features
ALL = {
    "PatchCore": partial(PatchCore, share=0.2, side=32),
    "PatchCore, equation 7": partial(PatchCore, share=0.2, neighbours=3, side=32),
    "PaDiM": partial(PaDiM, dims=4, side=32),
    "SPADE": partial(SPADE, [C, H, W], images=3, side=32),
    "Mahalanobis-AD": partial(MahalanobisAD, [2, 4, 1]),
}
each = pytest.mark.parametrize("name", ALL)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made_up(train, test):
    return Task(train, torch.zeros(len(train), dtype=torch.int64), test, torch.zeros(len(test), dtype=torch.int64),
                torch.arange(len(test)) % 2 == 1, ("a",), {"name": "made up", "dataset": "noise"}, "0" * 16)


def task_for(name, n=20, m=8):
    """Features as the method reads them; a mean of their own for every channel."""
    shape = {"SPADE": (C * H * W + D,), "Mahalanobis-AD": (D,)}.get(name, (C, H, W))
    shift = 3 * drawn(*shape, seed=2)
    return made_up((drawn(n, *shape) + shift).half(), (drawn(m, *shape, seed=1) * 2 + shift).half())


def fitted(name, task, seed=0, **settings):
    method = ALL[name](**settings)
    assert engine.fit(method, task, epochs=0, seed=seed).shape[0] == 0
    return method


def as_rows(x):
    """(n, C, h, w) -> (n, h w, C), as numpy."""
    return x.double().flatten(2).transpose(1, 2).numpy()


# All of them


@each
def test_a_score_does_not_depend_on_the_batch(name):
    task = task_for(name)
    method = fitted(name, task)
    whole = engine.score(method, task.test)
    order = torch.randperm(len(task.test), generator=torch.Generator().manual_seed(0))
    assert whole.shape == (8,) and np.isfinite(whole).all()
    np.testing.assert_allclose(engine.score(method, task.test, batch_size=1), whole, rtol=1e-5)
    np.testing.assert_allclose(engine.score(method, task.test[order], batch_size=3), whole[order], rtol=1e-5)
    if hasattr(method, "maps"):
        maps = engine.each_image(method, task.test, method.maps)
        assert maps.shape == (8, 32, 32)
        np.testing.assert_allclose(engine.each_image(method, task.test, method.maps, 3), maps, rtol=1e-4)


@each
def test_what_is_remembered_is_saved_with_the_weights(name):
    task = task_for(name)
    method, other = fitted(name, task), fitted(name, task_for(name, n=20, m=1), seed=1)
    other.load_state_dict(method.state_dict())
    np.testing.assert_array_equal(engine.score(other, task.test), engine.score(method, task.test))


@each
def test_the_seed_decides(name):
    task = task_for(name, n=40)
    first, second = (fitted(name, task, seed=3) for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


@each
def test_far_away_is_anomalous(name):
    task = task_for(name)
    far = torch.cat([task.train[:4], task.train[:4] + 20])
    scores = engine.score(fitted(name, task), far)
    assert scores[4:].min() > 2 * scores[:4].max()


# Neighbours and maps


@pytest.mark.parametrize("k", [1, 4])
def test_neighbours_are_those_of_scikit_learn_in_pieces_of_any_size(k, monkeypatch):
    x, bank = drawn(70, 5) + 4, drawn(90, 5, seed=1) + 4
    distance, index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank.double()).kneighbors(x.double())
    for table in (1, 5000, 2**24):
        monkeypatch.setattr(patches, "TABLE", table)
        found = patches.nearest(x, bank, k)
        np.testing.assert_allclose(found[0], distance, rtol=1e-5)
        np.testing.assert_array_equal(found[1], index)


def test_a_vector_that_is_remembered_has_no_distance():
    x = 1000 + drawn(50, 8)
    distance, index = patches.nearest(x, x)
    assert distance.max() == 0 and torch.equal(index[:, 0], torch.arange(50))


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(ValueError, match="4 nearest neighbours were asked for, of 3 rows"):
        patches.nearest(drawn(2, 5), drawn(3, 5), 4)


def test_a_position_is_a_row():
    x = drawn(2, 3, 4, 5)
    assert torch.equal(patches.rows(x)[1 * 20 + 2 * 5 + 3], x[1, :, 2, 3])


def test_maps_are_smoothed_as_scipy_does():
    maps = drawn(2, 10, 10)
    np.testing.assert_allclose(patches.smoothed(torch.ones(1, 7, 7), 56, 4.0), np.ones((1, 56, 56)), rtol=1e-5)
    same = patches.smoothed(maps, 10, 0.5)
    expected = [ndimage.gaussian_filter(m, 0.5, mode="mirror", truncate=4) for m in maps.double().numpy()]
    np.testing.assert_allclose(same, expected, atol=1e-5)
    peak = torch.zeros(1, 7, 7)
    peak[0, 2, 5] = 1
    assert np.unravel_index(int(patches.smoothed(peak, 56, 4.0).argmax()), (56, 56)) in [
        (i, j) for i in (19, 20) for j in (43, 44)]  # fmt: skip


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation gives."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.bytes = max(self.bytes, *(t.nbytes for t in tree_leaves(result) if isinstance(t, torch.Tensor)), 0)
        return result


def test_memory_stays_bounded():
    x = drawn(20_000, 4)
    with Largest() as largest:
        patches.nearest(x, x)
        coreset(x, 2000, torch.arange(10))
    assert x.nbytes <= largest.bytes <= patches.TABLE < 20_000**2 * 4 / 50


# PatchCore


def plainly(points, count, starts):
    """Algorithm 1 of the paper as it is written, one look at every point for each choice."""
    p = points.double().numpy()
    d, chosen = cdist(p, p[starts]).mean(1), []
    for _ in range(count):
        chosen.append(int(d.argmax()))
        d = np.minimum(d, cdist(p, p[chosen[-1:]])[:, 0])
        d[chosen] = -1
    return chosen


def test_the_coreset_by_hand():
    points = torch.tensor([[0.0], [1.0], [10.0], [12.0], [5.0], [5.5]])
    # From 0 the farthest is 12; then 0, 1, 10, 5, 5.5 are 0, 1, 2, 5 and 5.5 from the start or from 12.
    assert coreset(points, 2, torch.tensor([0])).tolist() == [3, 5]
    # Then 10 is 2 from 12, and 1 is 1 from the start.
    assert coreset(points, 4, torch.tensor([0])).tolist() == [3, 5, 2, 1]
    # The mean distance to 0 and 12 is 6 within, so nothing is farther than 6 at first; the tie is anybody's.
    assert len(set(coreset(points, 6, torch.tensor([0, 3])).tolist())) == 6


@pytest.mark.parametrize("candidates", [1, 7, 1024])
@pytest.mark.parametrize("n,d", [(300, 2), (400, 16)])
def test_rounds_choose_what_steps_would(candidates, n, d, monkeypatch):
    monkeypatch.setattr(patchcore, "CANDIDATES", candidates)
    monkeypatch.setattr(patches, "TABLE", 4000)
    points, starts = drawn(n, d) + 5, torch.arange(10)
    assert coreset(points, n // 3, starts).tolist() == plainly(points, n // 3, starts)


@pytest.mark.parametrize("candidates", [2, 1024])
def test_equal_patches_are_chosen_once(candidates, monkeypatch):
    monkeypatch.setattr(patchcore, "CANDIDATES", candidates)
    points = torch.tensor([[0.0, 0], [1, 0]]).repeat(5, 1)
    chosen = coreset(points, 10, torch.tensor([0]))
    assert sorted(chosen.tolist()) == list(range(10)) and chosen[0] % 2 == 1


@pytest.mark.parametrize("share,count", [(0.25, 100), (0.1, 40), (0.01, 4), (0.001, 1), (1, 400)])
def test_memory_is_a_share_of_the_training_patches(share, count):
    task = task_for("PatchCore")
    memory = fitted("PatchCore", task, share=share).memory
    assert memory.shape == (count, C)
    distance, index = patches.nearest(memory, patches.rows(task.train.float()))
    assert distance.max() == 0 and len(index.unique()) == count


def test_the_patch_farthest_from_memory_is_the_score():
    task = task_for("PatchCore")
    method = fitted("PatchCore", task)
    s = np.array([cdist(x, method.memory.double().numpy()).min(1) for x in as_rows(task.test)])
    np.testing.assert_allclose(engine.score(method, task.test), s.max(1), rtol=1e-5)
    maps = patches.smoothed(torch.from_numpy(s.reshape(-1, H, W)).float(), 32, 4.0)
    np.testing.assert_allclose(engine.each_image(method, task.test, method.maps), maps, rtol=1e-4)


def test_with_everything_in_memory_it_is_the_nearest_neighbour():
    task = task_for("PatchCore")
    every = as_rows(task.train).reshape(-1, C)
    expected = [cdist(x, every).min(1).max() for x in as_rows(task.test)]
    np.testing.assert_allclose(engine.score(fitted("PatchCore", task, share=1), task.test), expected, rtol=1e-5)
    np.testing.assert_array_equal(engine.score(fitted("PatchCore", task, share=1), task.train), 0)


def test_equation_7_by_hand():
    task = task_for("PatchCore")
    method = fitted("PatchCore", task, neighbours=3)
    memory = method.memory.double().numpy()
    for x, score in zip(as_rows(task.test), engine.score(method, task.test)):
        between = cdist(x, memory)
        p, s = x[between.min(1).argmax()], between.min(1).max()
        m = memory[cdist([p], memory)[0].argmin()]
        around = memory[np.argsort(cdist([m], memory)[0])[:3]]
        weight = 1 - np.exp(s) / np.exp(cdist([p], around)).sum()
        assert score == pytest.approx(weight * s, rel=1e-4)


def test_patches_are_chosen_on_the_projection_and_kept_whole(monkeypatch):
    x = drawn(10, 40, 4, 4).half()
    monkeypatch.setattr(torch, "randn", torch.eye)  # a projection on the first channels
    first = x.clone()
    first[:, 3:] = 0
    whole, part = (fitted("PatchCore", made_up(train, x), projection=3).memory for train in (x, first))
    assert torch.equal(whole[:, :3], part[:, :3]) and whole[:, 3:].abs().min() > 0
    other = fitted("PatchCore", made_up(x, x), projection=20).memory
    assert not torch.equal(whole, other)


@pytest.mark.parametrize("share", [0, 1.5])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="above 0 and at most 1, not"):
        PatchCore(share)


# PaDiM


def test_a_position_has_the_distance_of_scipy():
    task = task_for("PaDiM")
    method = fitted("PaDiM", task, dims=C)
    distances = engine.each_image(method, task.test, method.distances)
    train, test = as_rows(task.train), as_rows(task.test)
    for position in (0, 7, H * W - 1):
        x = train[:, position]
        inverse = np.linalg.inv(np.cov(x.T) + 0.01 * np.eye(C))
        expected = [mahalanobis(y, x.mean(0), inverse) for y in test[:, position]]
        np.testing.assert_allclose(distances[:, position // W, position % W], expected, rtol=1e-4)


def test_padim_takes_random_channels_and_scores_the_highest_point_of_its_map():
    task = task_for("PaDiM")
    method, other = fitted("PaDiM", task), fitted("PaDiM", task, seed=1)
    assert len(method.channels.unique()) == 4 and not torch.equal(method.channels, other.channels)
    few = replace(task, train=task.train[:, method.channels], test=task.test[:, method.channels])
    np.testing.assert_allclose(engine.score(fitted("PaDiM", few), few.test), engine.score(method, task.test), rtol=1e-4)
    maps = engine.each_image(method, task.test, method.maps)
    np.testing.assert_allclose(engine.score(method, task.test), maps.max((1, 2)), rtol=1e-6)


def test_padim_works_with_fewer_images_than_channels_but_not_with_one():
    task = task_for("PaDiM", n=3)
    assert np.isfinite(engine.score(fitted("PaDiM", task, dims=C), task.test)).all()
    with pytest.raises(ValueError, match="two training images"):
        fitted("PaDiM", task_for("PaDiM", n=1))


# SPADE and Mahalanobis-AD


def test_spade_finds_the_neighbours_of_scikit_learn():
    task = task_for("SPADE")
    f, g = (x[:, C * H * W:].double().numpy() for x in (task.train, task.test))
    distance, _ = NearestNeighbors(n_neighbors=3).fit(f).kneighbors(g)
    np.testing.assert_allclose(engine.score(fitted("SPADE", task), task.test), (distance**2).mean(1), rtol=1e-4)


@pytest.mark.parametrize("k", [1, 2])
def test_spade_compares_a_position_with_all_of_its_neighbours(k):
    task = task_for("SPADE")
    method = fitted("SPADE", task, patches=k)
    nearest = NearestNeighbors(n_neighbors=3).fit(task.train[:, C * H * W:].double())
    _, index = nearest.kneighbors(task.test[:, C * H * W:].double())
    train, test = (as_rows(x[:, :C * H * W].view(-1, C, H, W)) for x in (task.train, task.test))
    expected = [np.sort(cdist(y, train[i].reshape(-1, C)) ** 2)[:, :k].mean(1) for y, i in zip(test, index)]
    maps = patches.smoothed(torch.from_numpy(np.reshape(expected, (-1, H, W))).float(), 32, 4.0)
    np.testing.assert_allclose(engine.each_image(method, task.test, method.maps), maps, rtol=1e-4)


def test_spade_with_fewer_images_than_neighbours_takes_all():
    task = task_for("SPADE", n=2)
    between = cdist(*(x[:, C * H * W:].double().numpy() for x in (task.test, task.train)))
    np.testing.assert_allclose(engine.score(fitted("SPADE", task), task.test), (between**2).mean(1), rtol=1e-4)


def test_mahalanobis_is_that_of_scikit_learn_summed_over_levels():
    task = task_for("Mahalanobis-AD")
    method, expected = fitted("Mahalanobis-AD", task), 0
    for level in (slice(0, 2), slice(2, 6), slice(6, 7)):
        gaussian = LedoitWolf().fit(task.train[:, level].double().numpy())
        expected = expected + np.sqrt(gaussian.mahalanobis(task.test[:, level].double().numpy()))
    np.testing.assert_allclose(engine.score(method, task.test), expected, rtol=1e-4)


# Runs and real pictures


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setattr("helpers.images.cache.cache_folder", lambda: tmp_path / "cache")


def few_digits(kind="pooled", **options):
    digits = protocols.one_normal(images.load("digits"), 1, limit=100)
    return features.of_task(digits, kind=kind, size=64, crop=64, **options)


def test_a_run_without_epochs_is_recorded_and_found(tmp_path):
    def job(task):
        return runs.Job("Mahalanobis-AD", MahalanobisAD, task, {"widths": features.layout()})

    first, second = (job(partial(few_digits, "levels", average=average)) for average in (1, 3))
    record = runs.run(first, tmp_path)
    assert record["metrics"][0]["auroc"] > 0.9
    assert record["config"]["protocol"]["features"] == "lite0 levels, 64 pixels (v1)"
    again = sweep.sweep([first, second], tmp_path)
    assert again[0] == record and len(list(tmp_path.glob("*.json"))) == 2  # made otherwise is another run
    assert again[1]["config"]["protocol"]["features"] != record["config"]["protocol"]["features"]


@pytest.mark.parametrize("build,kind", [
    (partial(PatchCore, share=0.1), "patches"),
    (PaDiM, "patches"),
    (partial(SPADE, features.layout(kind="patches", crop=64), images=5), "patches+pooled"),
    (partial(MahalanobisAD, features.layout()), "levels"),
], ids=["PatchCore", "PaDiM", "SPADE", "Mahalanobis-AD"])  # fmt: skip
def test_it_learns_more_than_nothing(build, kind):
    def auroc(method, task):
        engine.fit(method, task, epochs=0)
        return metrics.auroc(task.anomalous.numpy(), engine.score(method, task.test))

    digits = protocols.one_normal(images.load("digits"), 1, limit=100)
    trivial = max(auroc(make(), digits) for make in TRIVIAL.values())
    assert auroc(build(), few_digits(kind)) > trivial + 0.1


@pytest.mark.parametrize("build,kind", [
    (partial(PatchCore, share=0.1, side=128), "patches"),
    (partial(PaDiM, side=128), "patches"),
    (partial(SPADE, features.layout(kind="patches", crop=128), images=5, side=128), "patches+pooled"),
], ids=["PatchCore", "PaDiM", "SPADE"])  # fmt: skip
def test_a_bright_square_is_found(build, kind):
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.integers(90, 130, (24, 3, 128, 128), dtype=np.uint8))
    masks = torch.zeros(8, 1, 128, 128, dtype=torch.bool)
    for i in range(1, 8, 2):
        masks[i, :, 16 * i // 2:16 * i // 2 + 24, 70:94] = True
    x[16:][masks.expand(-1, 3, -1, -1)] = 230
    task = replace(made_up(x[:16], x[16:]), masks=masks)
    task = features.of_task(task, kind=kind, size=128, crop=128)
    method = build()
    engine.fit(method, task, epochs=0)
    maps = engine.each_image(method, task.test, method.maps)
    assert metrics.auroc(task.anomalous.numpy(), engine.score(method, task.test)) == 1
    assert pixel_metrics.aupro(maps, masks[:, 0]) > 0.9
    assert all(masks[i, 0].flatten()[maps[i].argmax()] for i in range(1, 8, 2))


@pytest.mark.skipif(not BOTTLE.exists(), reason="DATA_ROOT: no bottle of MVTec AD")
def test_bottles(tmp_path):
    task = protocols.train_on_good(images.load("mvtec:bottle", size=256))
    task = features.of_task(task, kind="patches", average=3, size=144, crop=128)  # three times as fast as 224 pixels
    for method in (PatchCore(0.01), PaDiM()):
        engine.fit(method, task, epochs=0)
        assert metrics.auroc(task.anomalous.numpy(), engine.score(method, task.test)) >= 0.97
