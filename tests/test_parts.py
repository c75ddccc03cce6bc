"""The generated industrial set: repeatable, exact masks, and no trivial detector solves it."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from helpers.images import parts


@pytest.fixture(scope="module")
def images():
    return parts.make()


@pytest.fixture(scope="module")
def small():
    return parts.make(size=48, train=2, good=2, defects=2)


def good(images):
    return torch.tensor([kind == "good" for kind in images.kinds])


def test_counts_and_types(images):
    kinds = sum(len(damages) for _, damages in parts.CATEGORIES.values())
    assert images.x.shape == (4 * (160 + 40) + 10 * kinds, 3, 128, 128) and images.x.dtype == torch.uint8
    assert len(images.classes) >= 4 and (~images.test).sum() == 4 * 160
    assert good(images)[~images.test].all()
    for k, (_, damages) in enumerate(parts.CATEGORIES.values()):
        assert len(damages) >= 3
        here = [kind for kind, y, t in zip(images.kinds, images.y, images.test, strict=True) if y == k and t]
        assert here == ["good"] * 40 + [damage for damage in damages for _ in range(10)]


def test_a_mask_is_where_the_damage_changed_the_picture():
    images = parts.make(seed=3, train=0, good=1, defects=2)
    for row in range(len(images.kinds)):
        mask = images.masks[row, 0].numpy()
        if images.kinds[row] == "good":
            assert not mask.any()
            continue
        category = images.classes[images.y[row]]
        damages = parts.CATEGORIES[category][1]
        first = images.kinds.index(images.kinds[row], int((images.y < images.y[row]).sum()))
        seed = (3, int(images.y[row]), 2 + damages.index(images.kinds[row]), row - first)
        whole = parts.photograph(category, "good", seed)
        changed = (images.x[row].permute(1, 2, 0).numpy() != whole).any(-1)
        assert mask[changed].all() and changed[mask].mean() > 0.75
        assert not (mask & ~ndimage.binary_dilation(changed, np.ones((5, 5)))).any()
        assert 8 <= mask.sum() < mask.size / 3, images.kinds[row]
        assert np.abs(images.x[row].permute(1, 2, 0).numpy()[mask] - whole[mask].astype(int)).mean() > 4


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(small):
    again = parts.make(size=48, train=2, good=2, defects=2)
    other = parts.make(size=48, seed=1, train=2, good=2, defects=2)
    assert again.digest == small.digest != other.digest
    assert (again.x != other.x).float().mean() > 0.5


def test_asking_for_fewer_pictures_changes_none_of_them(small):
    fewer = parts.make(size=48, train=1, good=1, defects=1)
    for k in range(len(small.classes)):
        for kind in set(fewer.kinds):
            for part in (True, False):
                rows = [first(images, k, kind, part) for images in (fewer, small)]
                assert rows[0] is None or torch.equal(fewer.x[rows[0]], small.x[rows[1]])


def first(images, category, kind, part):
    for i, (y, name, test) in enumerate(zip(images.y, images.kinds, images.test, strict=True)):
        if (y, name, test) == (category, kind, part):
            return i
    return None


def test_no_two_pictures_are_alike(small):
    assert len({picture.numpy().tobytes() for picture in small.x}) == len(small.x)


@pytest.mark.parametrize("size", [64, 100, 160])
def test_another_size_shows_the_same_scene(size):
    for category in parts.CATEGORIES:
        pair = [Image.fromarray(parts.photograph(category, "good", (0, 1), side)) for side in (size, 128)]
        one, other = (np.asarray(picture.resize((8, 8), Image.Resampling.BOX), float) for picture in pair)
        assert np.abs(one - other).mean() < 8, category


# Means of red, green and blue, and a 4 x 4 thumbnail in 16 steps of brightness: loose enough for another
# processor's last bits, tight enough to notice another scene.
PINNED = {
    "brushed_metal": ([145.35, 145.74, 146.13], "9988a99999998887"),
    "woven_cloth": ([124.66, 127.1, 129.28], "7778777878787878"),
    "washer": ([109.18, 109.38, 110.31], "6766776666866666"),
    "screw": ([154.72, 154.26, 154.01], "a9aa879aa979aaaa"),
}


@pytest.mark.parametrize("category", parts.CATEGORIES)
def test_pictures_are_those_of_every_machine(category):
    picture = parts.photograph(category, "good", (0, 0), 128)
    means, thumbnail = PINNED[category]
    assert np.allclose(picture.mean((0, 1)), means, atol=0.05)
    blocks = picture.reshape(4, 32, 4, 32, 3).mean((1, 3, 4))
    assert np.abs(blocks / 16 - np.array([int(c, 16) for c in thumbnail]).reshape(4, 4) - 0.5).max() < 0.51


def auroc_per_category(images, scores):
    result = {}
    for k, category in enumerate(images.classes):
        rows = images.test & (images.y == k)
        result[category] = roc_auc_score(~good(images)[rows], scores[rows])
    return result


def test_mean_intensity_fails(images):
    found = auroc_per_category(images, images.x.float().mean((1, 2, 3)))
    assert all(0.35 < value < 0.65 for value in found.values()), found


def squared_distance(x, to):
    return ((x - to) ** 2).mean((1, 2, 3))


def test_distance_to_one_mean_picture_is_weak(images):
    x = images.x.float()
    found = auroc_per_category(images, squared_distance(x, x[~images.test].mean(0)))
    assert all(0.35 < value < 0.8 for value in found.values()) and np.mean(list(found.values())) < 0.65, found


def test_the_mean_picture_of_a_category_solves_none(images):
    x, scores = images.x.float(), torch.zeros(len(images.x))
    for k in range(len(images.classes)):
        rows = images.y == k
        scores[rows] = squared_distance(x[rows], x[rows & ~images.test].mean(0))
    found = auroc_per_category(images, scores)
    assert all(0.6 < value < 0.9 for value in found.values()), found


def test_the_damage_can_be_seen(images):
    for k, (category, (_, damages)) in enumerate(parts.CATEGORIES.items()):
        for part, damage in enumerate(damages, start=2):
            seed = (0, k, part, 0)
            pair = [parts.photograph(category, kind, seed).astype(int) for kind in ("good", damage)]
            assert np.abs(pair[0] - pair[1]).max() > 25, (category, damage)
