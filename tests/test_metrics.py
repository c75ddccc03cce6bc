"""Metrics against scikit-learn's definitions, numbers by hand and what must not change them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers import metrics

TRUTH = np.array([0, 0, 1, 1], bool)
SCORES = np.array([0.1, 0.4, 0.35, 0.8])


def test_known_values():
    assert metrics.auroc(TRUTH, SCORES) == 0.75  # 3 of the 4 pairs are in order
    assert metrics.aupr(TRUTH, SCORES) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    by_hand = 0.5 * 1 + 0.5 * (2 / 3 + 1 / 2) / 2  # recall 0 to .5 at precision 1, .5 to 1 down to 2/3 through 1/2
    assert metrics.aupr(TRUTH, SCORES, rule="trapezoid") == pytest.approx(by_hand)
    assert metrics.aupr(TRUTH, SCORES, positive="in") == pytest.approx(metrics.aupr(~TRUTH, -SCORES))


@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=2, max_size=60))
def test_auroc_is_the_share_of_pairs_in_order(items):
    truth, scores = np.array([a for a, _ in items]), np.array([b for _, b in items])
    if truth.all() or not truth.any():
        with pytest.raises(ValueError, match="both normal and anomalous"):
            metrics.auroc(truth, scores)
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[truth] for b in scores[~truth]]
    assert metrics.auroc(truth, scores) == pytest.approx(np.mean(pairs))
    assert metrics.auroc(truth, scores) == pytest.approx(metrics.auroc(truth, np.exp(scores / 10)))
    assert metrics.auroc(truth, scores) == pytest.approx(1 - metrics.auroc(truth, -scores))


def test_flagging_everything_has_recall_one_and_the_precision_of_chance():
    truth = np.array([True] * 3 + [False] * 7)
    result = metrics.at_threshold(truth, np.ones(10), threshold=0.5)
    assert result == pytest.approx({"precision": 0.3, "recall": 1, "f1": 2 * 0.3 / 1.3, "balanced_accuracy": 0.5})


def test_flagging_nothing_has_a_precision_of_zero():
    assert metrics.at_threshold(np.array([True, False]), np.zeros(2), threshold=1)["precision"] == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=40))
def test_oracle_f1_is_the_best_of_all_thresholds(items):
    truth, scores = np.array([a for a, _ in items]), np.array([b for _, b in items])
    if truth.all() or not truth.any():
        return
    best = max(metrics.at_threshold(truth, scores, t)["f1"] for t in scores)
    assert metrics.oracle_f1(truth, scores) == pytest.approx(best)


FIVE = np.array([0.2, 0.5, 0.9, 0.4, 0.1])
TASK = SimpleNamespace(test=torch.arange(5, dtype=torch.uint8)[:, None, None, None], classes=("a", "b", "c"),
                       test_y=torch.tensor([0, 0, 1, 1, 2]), anomalous=torch.tensor([False, False, True, True, True]))


class Given(torch.nn.Module):
    """Gives image k, all of whose pixels are k, the k-th of FIVE."""

    def score(self, x):
        return torch.from_numpy(FIVE)[(255 * x[:, 0, 0, 0]).round().long()]

    def scores(self, x):
        return {"turned": -self.score(x)}


def test_pairwise_takes_one_anomalous_class_at_a_time():
    lines = metrics.of_every_class(Given(), TASK)
    assert [(line["anomalous_class"], line["auroc"]) for line in lines] == [("b", 0.75), ("c", 0.0)]


def test_every_score_has_a_line_and_the_methods_own_comes_first():
    own, twice = metrics.of_every_score(Given(), TASK)
    assert own == metrics.areas(TASK.anomalous, FIVE) and "score" not in own
    assert twice == {"score": "turned", **metrics.areas(TASK.anomalous, -FIVE)}
    assert metrics.of_every_score(Given(), TASK, lambda truth, scores: {"n": len(scores)})[0] == {"n": 5}


def test_summary_gives_students_interval():
    values = [0.9, 0.92, 0.97]
    result = metrics.summary(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert result["ci"] == pytest.approx((low, high))
    assert (result["mean"], result["sd"], result["n"]) == pytest.approx((np.mean(values), np.std(values, ddof=1), 3))
    assert metrics.summary([0.5]) == {"mean": 0.5, "sd": None, "n": 1, "ci": None}
