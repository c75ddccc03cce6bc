"""Rules for thresholds and their numbers, by hand and against the library; tables of metrics and of rules."""

import numpy as np
import pandas as pd
import pytest

from helpers import metrics, results, thresholds

TWO = {"y": [0, 0, 1, 1], "anomalous": [0, 1, 0, 1], "test": [1, 2, 10, 20], "test_group": [0, 0, 1, 1],
       "held": [0.9, 1.1, 9, 11], "held_group": [0, 0, 1, 1], "T": [1.5, 15]}  # fmt: skip


def messy(n=200, seed=0):
    """Pictures of two categories whose errors tell little, with one group for all."""
    generator = np.random.default_rng(seed)
    anomalous = generator.random(n) < 0.6
    return {"y": np.arange(n) % 2, "anomalous": anomalous.astype(int), "test": generator.random(n) + 0.3 * anomalous,
            "test_group": np.zeros(n, int), "held": generator.random(50), "held_group": np.zeros(50, int)}  # fmt: skip


def record(images, method="Mixer", own=(), dataset="two", **settings):
    config = {"method": method, "variant": "", "settings": settings, "seed": 0, "epochs": 3, "batch_size": 4,
              "precision": "fp32", "protocol": {"name": "p", "dataset": dataset, "categories": ["a", "b"]}}  # fmt: skip
    return {"config": config, "metrics": list(own), "history": [], "losses": [], "provenance": {"seconds": 1.0},
            "images": {name: np.asarray(values).tolist() for name, values in images.items()}}  # fmt: skip


def test_held_out_is_mean_and_deviation_of_the_predicted_group():
    limits = np.array([1 + 0.3 * 0.1, 10 + 0.3 * 1])
    assert thresholds.decide(TWO) == pytest.approx(np.array([1, 2, 10, 20]) / limits[[0, 0, 1, 1]])
    assert (thresholds.decide(TWO) >= 1).tolist() == [False, True, False, True]
    swapped = TWO | {"test_group": [1, 1, 0, 0]}
    assert (thresholds.decide(swapped) >= 1).tolist() == [False, False, True, True], "the group is predicted, not told"
    assert thresholds.decide(swapped, "true class") == pytest.approx(thresholds.decide(TWO))
    assert thresholds.decide(TWO, beta=-0.5)[0] == pytest.approx(1 / (1 - 0.5 * 0.1))
    assert thresholds.decide(TWO | {"held": [0, 1, 0, 1]}, beta=-2).min() > 0, "a threshold below 0 would turn the sign"


def test_the_other_rules():
    assert thresholds.decide(TWO, "eq. 6") == pytest.approx([1 / 1.5, 2 / 1.5, 10 / 15, 20 / 15])
    held = np.array(TWO["held"])
    by_hand = np.array(TWO["test"]) / (held.mean() + 0.3 * held.std())
    assert thresholds.decide(TWO, "one threshold") == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="no rule 'best'.*held out"):
        thresholds.decide(TWO, "best")


def test_a_beta_chosen_on_the_test_set_has_the_best_f1_of_all():
    images = messy()
    f1 = {beta: metrics.at_threshold(images["anomalous"], thresholds.decide(images, beta=beta), 1)["f1"]
          for beta in thresholds.BETAS}  # fmt: skip
    chosen = metrics.at_threshold(images["anomalous"], thresholds.decide(images, "β chosen on the test set"), 1)["f1"]
    assert chosen == max(f1.values()) > metrics.at_threshold(images["anomalous"], thresholds.decide(images), 1)["f1"]


def test_a_group_without_held_out_pictures_takes_the_statistics_of_all():
    mu, sigma = thresholds.held_statistics(TWO | {"held_group": [0, 0, 0, 0]})
    assert mu == pytest.approx([5.5, 5.5]) and sigma == pytest.approx([np.std(TWO["held"])] * 2)
    one = thresholds.held_statistics(TWO | {"held_group": [0, 0, 0, 1]})
    assert one[0] == pytest.approx([np.mean(TWO["held"][:3]), 5.5]), "one picture has no deviation"


def test_lines_of_a_category_are_shares_of_good_and_defective_pictures():
    images = messy()
    ratio = thresholds.decide(images)
    whole, *categories = thresholds.numbers(images, ratio, ["a", "b"], "held out", {"aupro": 0.4})
    assert [line["category"] for line in categories] == ["a", "b"]
    for k, line in enumerate(categories):
        of_one, bad = images["y"] == k, images["anomalous"] > 0
        assert line["specificity"] == pytest.approx((ratio[of_one & ~bad] < 1).mean())
        assert line["recall"] == pytest.approx((ratio[of_one & bad] >= 1).mean())
        assert line["auroc"] == pytest.approx(metrics.auroc(bad[of_one], images["test"][of_one]))
    assert whole["auroc_within"] == pytest.approx(np.mean([line["auroc"] for line in categories]))
    good, bad = np.mean([[line["specificity"], line["recall"]] for line in categories], axis=0)
    assert abs(good - bad) > 0.1 and whole["balanced_f1"] == pytest.approx(metrics.balanced_f1(good, bad))
    assert whole["f1"] == pytest.approx(metrics.at_threshold(images["anomalous"], ratio, 1)["f1"])
    assert whole["oracle_f1"] >= whole["f1"] and whole["aupro"] == 0.4


def test_a_category_of_one_kind_has_no_line():
    lines = thresholds.numbers(TWO | {"anomalous": [0, 0, 0, 1]}, thresholds.decide(TWO), ["a", "b"], "held out")
    assert [line.get("category") for line in lines] == [None, "b"]


def test_dividing_by_thresholds_moves_the_pooled_auroc_and_not_that_within_a_category():
    lines = {line["rule"]: line for line in thresholds.judged(record(TWO)) if "category" not in line}
    assert lines["held out"]["auroc"] == 1.0 > lines["one threshold"]["auroc"]
    assert {line["auroc_within"] for line in lines.values()} == {1.0}


def test_a_record_is_judged_by_eq_6_only_where_it_has_thresholds_of_its_own():
    assert [line["rule"] for line in thresholds.judged(record(TWO))][::3] == list(thresholds.RULES)
    without = {name: values for name, values in TWO.items() if name != "T"}
    assert "eq. 6" not in {line["rule"] for line in thresholds.judged(record(without))}


def test_balanced_f1_is_that_of_a_set_with_as_many_good_as_defective_pictures():
    truth = np.repeat([False, True], 100)
    flagged = np.concatenate([np.arange(100) < 30, np.arange(100) < 80])
    assert metrics.balanced_f1(0.7, 0.8) == pytest.approx(metrics.at_threshold(truth, flagged, 1)["f1"])
    assert metrics.balanced_f1(0, 1) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("defective", "good"), [(1258, 467), (1, 1), (2, 7)])
def test_f1_of_flagging_everything(defective, good):
    truth = np.array([True] * defective + [False] * good)
    assert metrics.f1_of_everything(defective, good) == pytest.approx(
        metrics.at_threshold(truth, np.ones(len(truth)), 1)["f1"])


# Frames and tables of such lines.

def frame(*of_records):
    return results.frame(of_records, "recorded", thresholds.judged)


def test_a_table_can_have_metrics_in_its_columns_in_the_order_asked_for():
    printed = pd.DataFrame({"dataset": "two", "method": "Mixer", "metric": ["precision", "f1"], "value": [0.5, 0.6],
                            "unit": "", "digits": 1, "note": ""})  # fmt: skip
    lines = frame(record(TWO, own=[{"aupro": 0.3}, {"category": "a", "mean_error": 1.0}]))
    asked = ["f1", "aupro", "precision"]
    cells = results.table("metric", asked, printed=printed, recorded=lines, dataset="two", rule="held out")
    assert cells.metric.tolist() == asked
    by_metric = cells.set_index("metric")
    assert by_metric.recorded["aupro"] == 0.3 and np.isnan(by_metric.paper["aupro"])
    assert (by_metric.recorded["f1"], by_metric.paper["f1"]) == (1.0, 0.6)


def test_a_table_can_have_metrics_in_its_rows_and_rules_in_its_columns():
    lines = frame(record(TWO))
    cells = results.table("category", ["specificity", "recall"], rows="metric", recorded=lines, dataset="two",
                          rule="one threshold")  # fmt: skip
    assert results.wide(cells).to_dict("index") == {"specificity": {"a": 1.0, "b": 0.0, "mean": 0.5},
                                                    "recall": {"a": 0.0, "b": 1.0, "mean": 0.5}}  # fmt: skip
    cells = results.table("rule", "f1", recorded=lines, dataset="two", rule=["held out", "eq. 6"])
    assert set(cells["rule"]) == {"held out", "eq. 6"}


def test_largest_keeps_for_each_data_set_the_largest_pictures_and_what_has_no_size():
    lines = frame(record(TWO, size=48, width=4), record(TWO, size=64, width=4), record(TWO, size=64, width=8),
                  record(TWO, "trivial"), record(TWO, dataset="other", size=48, width=2))  # fmt: skip
    kept = results.largest(lines, "size", "width", "depth").drop_duplicates("run")
    found = kept[["dataset", "method", "size", "width"]].fillna(0).itertuples(index=False)
    assert sorted(map(tuple, found)) == [
        ("other", "Mixer", 48, 2), ("two", "Mixer", 64, 8), ("two", "trivial", 0, 0)]
