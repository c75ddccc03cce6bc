"""Records and printed numbers as frames; a results table as a filter, a merge and a verdict, checked by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import results


def a_record(method="CAE", c="0", seed=0, auroc=0.9, *, epochs=250, variant="", dataset="mnist", ratio=0.1,
             settings=None, lines=None, history=(), paper_epochs=250, seconds=2.0, precision="fp32"):  # fmt: skip
    return {
        "config": {"method": method, "variant": variant, "settings": settings or {}, "seed": seed, "epochs": epochs,
                   "batch_size": 64, "precision": precision, "data": "d", "code": "c",
                   "protocol": {"name": "contaminated", "dataset": dataset, "normal_class": c, "ratio": ratio}},
        "metrics": lines or [{"auroc": auroc, "aupr": auroc / 2}, {"score": "l1", "auroc": 0.1}],
        "history": list(history), "images": {}, "losses": [[0.5], [0.25]],
        "provenance": {"seconds": seconds, "tier": "paper", "paper_epochs": paper_epochs}}  # fmt: skip


def printed(*lines, unit="", **about):
    """Printed cells (method, class, text) of one data set."""
    frame = pd.DataFrame(lines, columns=["method", "normal_class", "text"])
    digits = frame.text.str.partition(".")[2].str.len()
    about = {"dataset": "mnist", "metric": "auroc", "digits": digits, "unit": unit, "note": "", **about}
    return frame.assign(value=frame.text.astype(float), **about)


PRINTED = printed(("CAE", "0", "0.90"), ("CAE", "1", "0.80"), ("VAE", "0", "0.70"), ("VAE", "1", "0.60"))


def table(of_records, paper=PRINTED, where="recorded", **fixed):
    lines = results.frame(of_records, where)
    parts = {"recorded" if where == "recorded" else "this_run": lines}
    return results.table("normal_class", "auroc", printed=paper, **parts, **{"dataset": "mnist", **fixed})


def cell(cells, method, c):
    return cells[(cells.method == method) & (cells.normal_class == c)].iloc[0]


# Frames


def test_a_frame_has_a_line_a_number_and_says_what_it_is_about():
    lines = results.frame([a_record(settings={"lam": 0.1, "wide": [1, 2]})], "recorded")
    first = lines[(lines.metric == "auroc") & (lines.labels == "")].iloc[0]
    assert (first.method, first.dataset, first.normal_class, first.ratio, first.lam, first.wide, first.value) == (
        "CAE", "mnist", "0", 0.1, 0.1, "1, 2", 0.9)  # fmt: skip
    assert lines[lines.labels == "score"].score.tolist() == ["l1"]
    assert lines.set_index("metric").value[["seconds", "last_loss"]].tolist() == [2.0, 0.25]
    assert (lines["where"] == "recorded").all() and lines.run.nunique() == 1
    assert results.frame([], "recorded").empty and "method" in results.frame([], "recorded")


def test_what_was_looked_at_along_the_training_is_a_frame_too():
    history = [{"epoch": 1, "score": "l1", "auroc": 0.2}, {"epoch": 9, "spread": 0.5}]
    lines = results.frame([a_record(history=history), a_record(seed=1)], "recorded")
    found = results.along(lines)
    assert found[["epoch", "metric", "value"]].to_dict("list") == {
        "epoch": [1, 9], "metric": ["auroc", "spread"], "value": [0.2, 0.5]}  # fmt: skip
    assert found.method.tolist() == ["CAE", "CAE"] and found.score.tolist()[0] == "l1"
    assert results.along(lines.iloc[:0]).empty
    assert results.along(results.frame([a_record()], "recorded")).epoch.empty, "a run that looked back at nothing"


def test_one_length_keeps_the_length_with_most_runs_then_the_longest():
    short = [a_record(c=c, epochs=20) for c in "012"]
    long = [a_record(c="0", epochs=250), a_record("VAE", epochs=5), a_record("VAE", epochs=50)]
    lines = results.frame([*short, *long], "recorded")
    kept = results.one_length(lines)
    assert set(kept[kept.method == "CAE"].epochs) == {20} and set(kept[kept.method == "VAE"].epochs) == {50}


@pytest.mark.parametrize(("runs", "says"), [
    ([dict(epochs=20), dict(epochs=20, c="1")], "20 of 250 epochs, one seed"),
    ([dict(), dict(seed=1)], "250 epochs, 2 seeds"),
    ([dict(epochs=20), dict(c="1", seed=0), dict(c="1", seed=1)], "20 to 250 of 250 epochs, 1 to 2 seeds"),
    ([dict(), dict(method="Deep SVDD", epochs=300, paper_epochs=300)], "250 to 300 epochs, one seed"),
    ([dict(paper_epochs=None)], "250 epochs, one seed"),
    ([dict(), dict(method="Deep SVDD", epochs=60, paper_epochs=300)], "60 to 250 of 250 to 300 epochs, one seed"),
])  # fmt: skip
def test_extent_says_how_long_and_how_often_lines_were_trained(runs, says):
    lines = results.frame([a_record(**run) for run in runs], "recorded")
    assert results.extent(lines) == says
    assert results.extent(lines.iloc[:0]) is None, "a claim is silent then"


@pytest.mark.parametrize("name", [path.stem for path in sorted(results.PAPER.glob("*-table-*.csv"))])
def test_every_printed_table_is_read_with_numbers_as_numbers(name):
    table = results.paper(name)
    assert table.value.dtype == float and table.value.notna().all() and (table.digits >= 0).all()
    assert all(isinstance(c, str) for column in results.CLASSES if column in table for c in table[column])


# Tables


def test_a_cell_is_the_mean_over_seeds_beside_the_paper():
    cells = table([a_record(auroc=0.95), a_record(seed=1, auroc=0.97),
                   *(a_record(c="1", seed=seed, auroc=0.803) for seed in range(2))])  # fmt: skip
    first = cell(cells, "CAE", "0")
    assert (first.paper, first.recorded, first.n) == pytest.approx((0.90, 0.96, 2))
    assert first.sd == pytest.approx(0.02 / 2**0.5) and first.difference == pytest.approx(0.06)
    assert (first.verdict, cell(cells, "CAE", "1").verdict, cell(cells, "VAE", "1").verdict) == (
        "higher", "reproduced", "not run")  # fmt: skip


def test_the_mean_over_classes_is_there_where_all_classes_are():
    half = table([a_record(auroc=0.9), a_record(seed=1, auroc=0.7), a_record(c="1", auroc=0.5)])
    mean = cell(half, "CAE", "mean")
    assert mean.paper == pytest.approx(0.85)
    assert mean.recorded == pytest.approx(0.7) and mean.n == 1, "seed 1 lacks class 1"
    assert pd.isna(cell(table([a_record()]), "CAE", "mean").recorded)
    assert pd.isna(cell(table([a_record(), a_record(c="1", epochs=20)]), "CAE", "mean").recorded), "of two lengths"


def test_classes_whose_papers_lengths_differ_have_a_mean_against_the_longest():
    cells = table([a_record(c="0", auroc=0.9, epochs=50), a_record(c="1", auroc=0.7, epochs=50, paper_epochs=300)])
    mean = cell(cells, "CAE", "mean")
    assert (round(mean.recorded, 9), mean.verdict) == (0.8, "50 of 300 epochs")


def test_the_mean_of_one_run_over_its_anomalous_classes():
    lines = [{"anomalous_class": "7", "auroc": 0.5}, {"anomalous_class": "8", "auroc": 1.0}]
    runs = results.frame([a_record(lines=lines), a_record(lines=lines, seed=1)], "this run")
    cells = results.table("anomalous_class", "auroc", this_run=runs, dataset="mnist")
    assert cells.anomalous_class.tolist() == ["7", "8", "mean"] and cells.this_run.tolist() == [0.5, 1.0, 0.75]
    assert results.wide(cells, "this_run").loc["CAE"].tolist() == [0.5, 1.0, 0.75]


def test_the_longest_recorded_run_counts_for_its_cell():
    cells = table([a_record(epochs=20, auroc=0.1), a_record(epochs=250, auroc=0.9)])
    assert cell(cells, "CAE", "0")[["recorded", "epochs"]].tolist() == [0.9, 250]


def test_rows_that_the_paper_lacks_follow_and_variants_stay_out():
    cells = table([a_record("mean image", epochs=0), a_record(), a_record(auroc=0.1, variant="another")])
    assert cells.method.drop_duplicates().tolist() == ["CAE", "VAE", "mean image"]
    assert cells.normal_class.drop_duplicates().tolist() == ["0", "1", "mean"]
    assert cell(cells, "mean image", "0").verdict == "" and cell(cells, "CAE", "0").recorded == 0.9
    by_variant = results.table("method", "auroc", rows="variant", normal_class="0", dataset="mnist",
                               recorded=results.frame([a_record(), a_record(auroc=0.1, variant="another")], "recorded"))
    assert by_variant[["variant", "recorded"]].to_numpy().tolist() == [["", 0.9], ["another", 0.1]]


def test_named_scores_are_not_mixed_with_the_headline():
    cells = results.table("score", "auroc", recorded=results.frame([a_record()], "recorded"), dataset="mnist")
    assert cells[["score", "recorded"]].to_numpy().tolist() == [["l1", 0.1]]


def test_runs_that_differ_in_a_setting_are_not_averaged_in_silence():
    with pytest.raises(ValueError, match="CAE differ in ratio .0.1, 0.2., so they cannot be averaged: name one"):
        table([a_record(), a_record(seed=1, ratio=0.2)])
    assert cell(table([a_record(), a_record(seed=1, ratio=0.2)], ratio=0.2), "CAE", "0").recorded == 0.9
    with pytest.raises(ValueError, match="differ in width"):
        table([a_record(settings={"width": 8}), a_record(seed=1, settings={"width": 64})])


def test_both_precisions_are_one_number():
    mixed = cell(table([a_record(precision="bf16"), a_record(seed=1)]), "CAE", "0")
    assert mixed.n == 2 and mixed.precision == "bf16 and fp32"
    assert cell(table([a_record(precision="bf16", auroc=0.8), a_record(auroc=0.9)]), "CAE", "0").n == 1, "of one seed"


def test_the_deviation_is_in_the_unit_of_the_table():
    cells = table([a_record(auroc=0.90), a_record(seed=1, auroc=0.94)], printed(("CAE", "0", "90.00"), unit="%"))
    only = cell(cells, "CAE", "0")
    assert only.sd == pytest.approx(4 / 2**0.5) and only.verdict == "reproduced", "2 points off, 5.7 allowed"


def test_runs_of_other_code_or_without_a_setting_are_not_averaged():
    one, two = a_record(auroc=0.9), a_record(auroc=0.5)
    for part, name, value in (("config", "code", "0" * 16), ("config", "settings", {"limit": None})):
        other = {**two, part: {**two[part], name: value}}
        this = {**one, part: {**one[part], name: {"limit": 100} if name == "settings" else "1" * 16}}
        with pytest.raises(ValueError, match="differ in (code|limit)"):
            table([this, other], printed(("CAE", "0", "90.00")))


def test_per_cent_and_other_data():
    paper = printed(("CAE", "0", "90.00"), unit="%")
    cells = table([a_record(dataset="mnist_jpeg", auroc=0.905), a_record(seed=1, dataset="mnist_jpeg", auroc=0.905)],
                  paper, stand_in={"mnist": "mnist_jpeg"})  # fmt: skip
    only = cell(cells, "CAE", "0")
    assert (only.recorded, only.difference) == pytest.approx((90.5, 0.5))
    assert only.verdict == "other data" and only.other_data == "mnist_jpeg"
    assert cell(table([a_record(dataset="mnist_jpeg")], paper), "CAE", "0").verdict == "not run"


def test_what_stands_in_steps_back_where_the_papers_own_set_is_there():
    copies = [a_record(dataset="mnist_jpeg", seed=seed, auroc=0.8) for seed in range(3)]
    other = a_record("VAE", dataset="mnist_jpeg", auroc=0.7)
    cells = table([a_record(auroc=0.9), *copies, other], printed(("CAE", "0", "0.90"), ("VAE", "0", "0.80")),
                  stand_in={"mnist": "mnist_jpeg"})  # fmt: skip
    one, copy = cell(cells, "CAE", "0"), cell(cells, "VAE", "0")
    assert (one.recorded, one.n, one.other_data) == (0.9, 1, "")
    assert (copy.recorded, copy.verdict) == (0.7, "other data"), "of a method that has nothing else"


def test_the_largest_part_of_a_set_stands_in():
    def of(*names):
        return results.stand_ins(pd.DataFrame({"dataset": names}))

    crops = {"PlantVillage all crops, color": "PlantVillage apple, segmented"}
    assert of("MVTec AD, 2 of 15", "MVTec AD, 12 of 15", "parts")["MVTec AD"] == "MVTec AD, 12 of 15"
    assert of("mnist") == {"cifar10": "cifar10_jpeg", **crops}
    coil = "COIL-100, ten normal"
    assert of(f"{coil}, 7,098 of 7,200 views", f"{coil}, 800 of 7,200 views")[coil].endswith("7,098 of 7,200 views")


def test_what_stands_in_stays_until_the_papers_own_set_has_as_many_classes():
    copies = [a_record(c, digit, dataset="mnist_jpeg", auroc=0.8) for c in ("CAE", "VAE") for digit in "01"]
    begun = [a_record("CAE", "0", auroc=0.9), *(a_record("VAE", digit, auroc=0.9) for digit in "01")]
    short = [a_record("CAE", "1", auroc=0.9, variant="short")]
    cells = table([*copies, *begun, *short], stand_in={"mnist": "mnist_jpeg"})
    cae, vae = ([cell(cells, name, digit).recorded for digit in ("0", "1", "mean")] for name in ("CAE", "VAE"))
    assert cae == pytest.approx([0.8] * 3) and vae == pytest.approx([0.9] * 3), "of one set each"
    lines = results.standing_in(results.frame([*copies, *begun], ""), {"mnist": "mnist_jpeg"}, "normal_class")
    assert set(zip(lines.method, lines.other_data)) == {("CAE", "mnist_jpeg"), ("VAE", "")}
    assert set(lines.dataset) == {"mnist"}


def test_one_method_on_the_papers_own_set_leaves_the_others_on_the_stand_in():
    """In a table whose columns are data sets, where the means are over the classes that each set has."""
    copies = [a_record(c, digit, dataset="mnist_jpeg", auroc=0.8) for c in ("CAE", "VAE") for digit in "01"]
    own = [a_record("CAE", digit, auroc=0.9) for digit in "012"]
    mixed = results.table("dataset", "auroc", recorded=results.frame([*copies, *own], "recorded"), normal_class="mean",
                          stand_in={"mnist": "mnist_jpeg"}).set_index("method")  # fmt: skip
    assert mixed.recorded.to_dict() == pytest.approx({"CAE": 0.9, "VAE": 0.8})
    assert mixed.other_data.to_dict() == {"CAE": "", "VAE": "mnist_jpeg"}


def test_without_classes_it_steps_back_where_the_papers_own_set_has_as_many_variants():
    copies = [a_record(variant=v, dataset="mnist_jpeg", auroc=0.8) for v in ("", "short", "long")]
    lines = results.frame([*copies, a_record(auroc=0.9)], "")
    kept = results.standing_in(lines, {"mnist": "mnist_jpeg"})
    assert set(kept.variant) == {"", "short", "long"} and set(kept.other_data) == {"mnist_jpeg"}
    assert set(results.standing_in(lines[lines.variant == ""], {"mnist": "mnist_jpeg"}).other_data) == {""}


def test_columns_may_be_metrics():
    lines = results.frame([a_record(), a_record(seed=1)], "this run")
    cells = results.table("metric", this_run=lines, dataset="mnist", normal_class="0")
    assert cells.set_index("metric").this_run[["auroc", "aupr", "seconds"]].tolist() == [0.9, 0.45, 2.0]


# Verdicts


def a_cell(paper, recorded, *, n=5, sd=0.0, digits=3, unit="", epochs=250, paper_epochs=250, other_data="",
           quoted=False):  # fmt: skip
    return SimpleNamespace(paper=paper, recorded=recorded, difference=recorded - paper, n=n, sd=sd, digits=digits,
                           unit=unit, epochs=epochs, paper_epochs=paper_epochs, other_data=other_data, quoted=quoted)


@pytest.mark.parametrize(("given", "says"), [
    (dict(paper=0.90, recorded=0.91), "reproduced"), (dict(paper=0.90, recorded=0.911), "higher"),
    (dict(paper=0.90, recorded=0.889), "lower"), (dict(paper=0.90, recorded=0.95, sd=0.03), "reproduced"),
    (dict(paper=90.0, recorded=90.9, unit="%"), "reproduced"), (dict(paper=90.0, recorded=91.1, unit="%"), "higher"),
    (dict(paper=0.99, recorded=0.9988), "higher"),  # within a point, and an error eight times as small
    (dict(paper=0.99, recorded=0.9915), "reproduced"),
    (dict(paper=1.00, recorded=0.9960, digits=2), "reproduced"), (dict(paper=1.00, recorded=0.994, digits=2), "lower"),
    (dict(paper=0.9, recorded=0.9, n=1, sd=np.nan), "one seed"),
    (dict(paper=0.9, recorded=0.9, n=1, sd=np.nan, epochs=0, paper_epochs=None), "one seed"),
    (dict(paper=0.9, recorded=0.5, epochs=20), "20 of 250 epochs"),
    (dict(paper=0.9, recorded=0.9, epochs=20, other_data="cifar10_jpeg"), "other data"),
    (dict(paper=0.9, recorded=float("nan")), "not run"), (dict(paper=float("nan"), recorded=0.9), ""),
    (dict(paper=109.8, recorded=3.0, unit="ms"), ""), (dict(paper=0.9, recorded=0.9, quoted=True), "quoted"),
])  # fmt: skip
def test_a_verdict_compares_like_with_like(given, says):
    assert results.verdict(a_cell(**given)) == says


# Differences and times


def test_differences_are_those_of_scipy_and_symmetric():
    random = np.random.default_rng(0)
    means = {"A": 0.9, "B": 0.7, "C": 0.7}
    by_class = pd.DataFrame({name: random.normal(mean, 0.02, 10) for name, mean in means.items()})
    mean, p_value = results.differences(by_class)
    assert mean.loc["A", "B"] == pytest.approx((by_class.A - by_class.B).mean()) == -mean.loc["B", "A"]
    raw = [stats.wilcoxon(by_class[a], by_class[b]).pvalue for a, b in ("AB", "AC", "BC")]
    assert [p_value.loc[a, b] for a, b in ("AB", "AC", "BC")] == pytest.approx(stats.false_discovery_control(raw))
    assert p_value.loc["A", "B"] < 0.05 < p_value.loc["B", "C"]
    same, sure = results.differences(pd.DataFrame({"A": [1.0, 2.0], "B": [1.0, 2.0]}))
    assert same.loc["A", "B"] == 0 and sure.loc["A", "B"] == 1


def test_training_times_are_ratios_of_medians():
    runs = [a_record(seconds=s, seed=k) for k, s in enumerate((1, 2, 9))] + [a_record("VAE", seconds=3)]
    lines = results.frame(runs, "recorded")
    assert results.time_ratios(lines, "CAE") == {"CAE": 1, "VAE": 1.5}
    assert results.time_ratios(lines, "AAE") == {}
    assert results.time_ratios(results.paper("schneider-table-5"), "CAE")["AAE"] == pytest.approx(1.72, abs=0.01)
