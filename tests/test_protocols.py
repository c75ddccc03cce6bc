"""Who is normal, who is trained on, who is scored: counted on images that carry their own number."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from helpers.images import Images, load
from helpers.protocols import contaminated, hold_out, one_anomalous, one_normal, train_on_good

BIG = 1 << 16
# A busy machine is slow now and then, and small ratios of small classes are skipped: neither is a failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def numbered(n, classes, seed, **more):
    """n images of two pixels that spell the image's number; random classes and parts, all present."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(np.arange(n, dtype=">u2").view(np.uint8).reshape(n, 1, 1, 2).copy())
    y = torch.from_numpy(rng.permutation(np.arange(n) % classes))
    test = torch.from_numpy(rng.permutation(np.arange(n) // classes % 3 == 0))
    return Images("numbered", x, y, tuple("abcdefghij"[:classes]), test, **more)


def numbers(x):
    return (x[:, 0, 0, 0].int() * 256 + x[:, 0, 0, 1].int()).tolist()


@st.composite
def sets(draw):
    images = numbered(draw(st.integers(40, 400)), draw(st.integers(2, 6)), draw(st.integers(0, BIG)))
    wanted = draw(st.integers(0, len(images.classes) - 1))
    parts = [images.test, ~images.test]
    assume(all(0 < (images.y[part] == wanted).sum() < part.sum() for part in parts))
    return images, wanted


def check_labels(images, task):
    """Labels and digest belong to the pixels, and the protocol can be stored as JSON."""
    for x, y in ((task.train, task.train_y), (task.test, task.test_y)):
        assert images.y[numbers(x)].tolist() == y.tolist()
    assert task.digest == images.digest and task.classes == images.classes
    assert json.loads(json.dumps(task.protocol)) == task.protocol
    assert task.protocol["dataset"] == images.name


@patient
@given(sets())
def test_one_normal_trains_on_that_class_and_scores_the_whole_test_part(case):
    images, c = case
    task = one_normal(images, c)
    check_labels(images, task)
    assert numbers(task.train) == [i for i in range(len(images.y)) if images.y[i] == c and not images.test[i]]
    assert numbers(task.test) == images.test.nonzero().flatten().tolist()
    assert task.anomalous.tolist() == [y != c for y in task.test_y.tolist()]


@patient
@given(sets(), st.integers(0, BIG))
def test_one_anomalous_trains_on_four_fifths_of_all_the_others(case, seed):
    images, c = case
    task = one_anomalous(images, c, seed)
    check_labels(images, task)
    normals, train, test = (images.y != c).sum().item(), numbers(task.train), numbers(task.test)
    assert sorted(train + test) == list(range(len(images.y)))  # disjoint, and nothing is left out
    assert len(train) == normals * 4 // 5 and c not in task.train_y
    assert task.anomalous.tolist() == [y == c for y in task.test_y.tolist()]
    assert task.anomalous.sum() == (images.y == c).sum()


@patient
@given(sets(), st.floats(0.02, 0.5), st.integers(0, BIG))
def test_contaminated_holds_the_class_and_the_wanted_share_of_others(case, ratio, seed):
    images, c = case
    inliers = (images.y == c).sum().item()
    assume(1 <= inliers * ratio / (1 - ratio) <= len(images.y) - inliers)
    task = contaminated(images, c, ratio, seed)
    check_labels(images, task)
    drawn = numbers(task.train)
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) >= set((images.y == c).nonzero().flatten().tolist())
    assert abs(task.anomalous.float().mean().item() - ratio) <= 1 / len(drawn)
    assert task.anomalous.tolist() == [y != c for y in task.test_y.tolist()]
    assert task.test is task.train and task.test_y is task.train_y


@patient
@given(sets(), st.integers(0, BIG))
def test_a_seed_repeats_a_draw_and_another_seed_does_not(case, seed):
    images, c = case
    for draw in (lambda s: contaminated(images, c, 0.2, s), lambda s: one_anomalous(images, c, s)):
        first, again = draw(seed), draw(seed)
        assert torch.equal(first.train, again.train) and torch.equal(first.test, again.test)
        assert any(not torch.equal(first.train, draw(seed + k).train) for k in range(1, 6))


@patient
@given(sets(), st.integers(10, 60), st.booleans())
def test_a_limit_thins_out_evenly_and_always_the_same(case, limit, pool):
    images, c = case
    full, thin, again = ((one_anomalous(images, c, 0, n) if pool else one_normal(images, c, n))
                         for n in (None, limit, limit))
    check_labels(images, thin)
    for part in ("train", "test"):
        before, after = numbers(getattr(full, part)), numbers(getattr(thin, part))
        assert len(after) == min(limit, len(before)) and after == numbers(getattr(again, part))
        assert [i for i in before if i in set(after)] == after
        share = images.y[before].bincount(minlength=6) * len(after) / len(before)
        assert (images.y[after].bincount(minlength=6) - share).abs().max() <= 1


def test_one_normal_and_one_anomalous_are_opposites():
    images = numbered(300, 10, 0)
    rest_vs_1, one_vs_rest = one_normal(images, "d"), one_anomalous(images, "d", seed=0)
    assert set(rest_vs_1.train_y.tolist()) == {3} == set(one_vs_rest.test_y[one_vs_rest.anomalous].tolist())
    assert set(one_vs_rest.train_y.tolist()) == set(range(10)) - {3}
    assert set(rest_vs_1.test_y[rest_vs_1.anomalous].tolist()) == set(range(10)) - {3}
    assert rest_vs_1.protocol["normal_class"] == one_vs_rest.protocol["anomalous_class"] == "d"


def test_a_class_by_name_and_by_index_is_one_task():
    images = numbered(60, 3, 1)
    assert one_normal(images, 1).protocol == one_normal(images, "b").protocol


def test_counts_of_the_papers_protocol():
    """The largest MNIST set: 7,877 ones at 25 % come with int(7877 / 3) = 2,625 others, 10,502 in all."""
    images = numbered(10_000, 2, 2)
    x, test = images.x.repeat(2, 1, 1, 1), images.test.repeat(2)
    images = Images("ones", x, (torch.arange(20_000) >= 7877).long(), ("a", "b"), test)
    task = contaminated(images, "a", 0.25, seed=0)
    assert len(task.train) == 10_502 and task.anomalous.sum() == 2_625


def test_the_cap_keeps_a_uniform_subset():
    images = numbered(60_000, 4, 3)
    whole, capped = (contaminated(images, 0, 0.3, 7, cap) for cap in (60_000, 12_000))
    assert torch.equal(contaminated(images, 0, 0.3, 7).train, capped.train)
    assert len(whole.train) > len(capped.train) == 12_000
    kept, drawn = numbers(capped.train), numbers(whole.train)
    assert set(kept) < set(drawn) and len(set(kept)) == 12_000
    assert capped.anomalous.float().mean() == pytest.approx(0.3, abs=0.02)
    assert np.mean(kept) == pytest.approx(np.mean(drawn), rel=0.03)


def test_a_task_shares_what_it_does_not_change():
    images = numbered(90, 3, 4)
    official = Images("official", images.x, images.y, images.classes, torch.arange(90) >= 60)
    assert one_normal(official, 0).test.data_ptr() == images.x[60:].data_ptr()


@pytest.mark.parametrize("ratio", [0, -0.1, 0.51, 1, float("nan")])
def test_an_impossible_ratio_is_refused(ratio):
    with pytest.raises(ValueError, match=r"above 0 and at most 0\.5"):
        contaminated(numbered(60, 3, 0), 0, ratio, 0)


@pytest.mark.parametrize("call, message", [
    (lambda i: one_normal(i, 3), r"no class 3; its classes are 0 \(a\), 1 \(b\), 2 \(c\)"),
    (lambda i: one_anomalous(i, "z", 0), "no class 'z'"),
    (lambda i: contaminated(i, "z", 0.1, 0), "no class 'z'"),
    (lambda i: contaminated(i, 0, 0.1, 0, cap=1), "cap must be"),
    (lambda i: contaminated(i, 0, 0.01, 0), "leaves no anomalous image to test"),
    (lambda i: one_normal(i, 0, limit=2), "at least 3"),
    (lambda i: one_normal(i, 0, limit=10.0), "at least 3"),
    (lambda i: one_anomalous(i, 0, 0, limit=0), "at least 3"),
    (lambda i: train_on_good(i), "does not mark defects, .* sets that do are parts, mvtec:CATEGORY"),
])
def test_an_impossible_task_is_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(numbered(60, 3, 0))
    assert "\n" not in str(caught.value)


def test_too_few_others_is_one_clear_sentence():
    images = numbered(60, 3, 0)
    images = Images("few", images.x, (torch.arange(60) > 50).long(), ("a", "b"), images.test)
    with pytest.raises(ValueError, match=r"A ratio of 0\.5 needs 51 images of other classes; few has 9\."):
        contaminated(images, "a", 0.5, 0)


def test_a_set_without_a_test_part_is_refused():
    images = numbered(60, 3, 0)
    images = Images("untested", images.x, images.y, images.classes, torch.zeros(60, dtype=torch.bool))
    with pytest.raises(ValueError, match="leaves no image to test on untested"):
        one_normal(images, 0)


# Industrial sets.

@pytest.fixture
def industrial():
    """Two products; two defects; one defect hidden in the training part."""
    kinds = ["good"] * 4 + ["hole", "good", "hole", "stain", "good", "good"]
    test = torch.arange(10) >= 5
    masks = torch.zeros(10, 1, 1, 2, dtype=torch.bool)
    masks[[4, 6, 7]] = True
    x, y = numbered(10, 2, 0).x, torch.tensor([0, 0, 1, 1, 0, 0, 0, 1, 1, 0])
    return Images("parts", x, y, ("nut", "bolt"), test, masks, tuple(kinds))


def test_train_on_good_trains_on_good_images_and_scores_the_test_part(industrial):
    task = train_on_good(industrial)
    check_labels(industrial, task)
    assert numbers(task.train) == [0, 1, 2, 3]
    assert numbers(task.test) == [5, 6, 7, 8, 9]
    assert task.kinds == ("good", "hole", "stain", "good", "good")
    assert task.anomalous.tolist() == [kind != "good" for kind in task.kinds]
    assert task.masks.flatten(1).any(1).tolist() == task.anomalous.tolist()


@pytest.mark.parametrize("wanted", [["bolt"], [1], ["bolt", 1]])
def test_categories_choose_products(industrial, wanted):
    task = train_on_good(industrial, wanted)
    check_labels(industrial, task)
    assert numbers(task.train) == [2, 3] and numbers(task.test) == [7, 8]
    assert task.kinds == ("stain", "good") and task.masks.flatten(1).any(1).tolist() == [True, False]
    assert task.protocol["categories"] == ["bolt"]


def test_an_unknown_category_is_refused(industrial):
    with pytest.raises(ValueError, match=r"no class 'gear'; its classes are 0 \(nut\), 1 \(bolt\)"):
        train_on_good(industrial, ["nut", "gear"])


def test_hold_out_keeps_back_a_share_of_every_class():
    task = one_normal(numbered(300, 2, 0), 0)
    task = dataclasses.replace(task, train_y=torch.arange(len(task.train)) % 3)
    kept = hold_out(task, 0.2, seed=4)
    sizes, held = torch.bincount(task.train_y).tolist(), torch.bincount(kept.held_y).tolist()
    assert held == [round(0.2 * n) for n in sizes]
    assert sorted(numbers(kept.train) + numbers(kept.held)) == numbers(task.train)
    label = dict(zip(numbers(task.train), task.train_y.tolist(), strict=True))
    assert [label[n] for n in numbers(kept.held)] == kept.held_y.tolist()
    assert [label[n] for n in numbers(kept.train)] == kept.train_y.tolist()
    assert kept.protocol["held_out"] == 0.2 and torch.equal(kept.test, task.test)
    assert numbers(hold_out(task, 0.2, seed=4).held) == numbers(kept.held) != numbers(hold_out(task, 0.2, seed=5).held)


def test_hold_out_leaves_something_to_train_on_and_to_hold(industrial):
    task = train_on_good(industrial)
    for share in (0.01, 0.99):
        assert sorted(hold_out(task, share).held_y.tolist()) == [0, 1]
    with pytest.raises(ValueError, match="above 0 and below 1"):
        hold_out(task, 1.0)
    with pytest.raises(ValueError, match="bolt has one training image"):
        hold_out(dataclasses.replace(task, train=task.train[:3], train_y=task.train_y[:3]), 0.5)


def test_real_digits_give_every_protocol():
    digits = load("digits")
    for c in range(10):
        assert one_normal(digits, c, limit=100).test_y.unique().tolist() == list(range(10))
        mixed = contaminated(digits, str(c), 0.1, seed=c)
        assert mixed.anomalous.float().mean() == pytest.approx(0.1, abs=0.006)
        assert one_anomalous(digits, c, seed=0).anomalous.sum() == (digits.y == c).sum()


def test_hold_out_parts_no_two_views_of_one_thing():
    """Groups of four views of a thing: a held-out view leaves no other view of its thing to train on."""
    images = dataclasses.replace(numbered(120, 2, 0), groups=torch.arange(120) // 4)
    task = one_normal(dataclasses.replace(images, y=torch.arange(120) // 60), 0)
    for share in (0.01, 0.3, 0.99):
        kept = hold_out(task, share, seed=1)
        trained, held = ({n // 4 for n in numbers(part)} for part in (kept.train, kept.held))
        assert held and trained == set(kept.train_groups.tolist()) and not trained & held
        assert sorted(numbers(kept.train) + numbers(kept.held)) == numbers(task.train)
        assert kept.protocol["held_out_by"] == "group"
    with pytest.raises(ValueError, match="shows one thing"):
        hold_out(dataclasses.replace(task, train_groups=torch.zeros_like(task.train_groups)), 0.5)
