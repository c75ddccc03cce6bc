"""The papers' printed numbers agree with themselves, wherever a paper prints the same thing twice."""
import csv
import math
import re
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[1] / "data" / "paper"
FILES = sorted(path.stem for path in PAPER.glob("*.csv"))
HEADER = ["row", "column", "value", "sd", "note"]


def lines(name):
    with open(PAPER / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def values(name):
    """Return {(row, column): value} of one table."""
    return {(line["row"], line["column"]): float(line["value"]) for line in lines(name)}


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def rounding(unit, n):
    """Half a unit for the printed mean, and three standard deviations of what n rounded cells add to it."""
    return unit / 2 + 3 * unit / math.sqrt(12 * n)


# The files themselves

SIZES = {
    "schneider-table-5": 57, "schneider-table-6": 57,
    "iaead-table-2": 240, "iaead-table-3": 264, "iaead-table-4": 256,
    "mixer-table-3": 24, "mixer-table-4": 132,
    "alcn-table-1": 198, "alcn-table-2": 12, "alcn-table-3": 96, "alcn-table-4": 6, "alcn-table-5": 15,
    "algan-table-1": 64, "algan-table-2": 22, "algan-table-3": 7, "algan-table-4": 4, "algan-table-5": 7,
    "algan-table-6": 13, "algan-table-7": 4, "algan-table-8": 6, "algan-table-9": 16, "algan-table-10": 1,
    "algan-table-11": 4,
}
COSTS = {"alcn-table-5", "algan-table-5", "algan-table-6"}  # milliseconds, minutes, epochs, parameters


def test_every_results_table_is_there_and_in_the_readme():
    assert set(FILES) == set(SIZES)
    listed = re.findall(r"^\| `(.+?)\.csv`", (PAPER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_file_parses_and_names_each_cell_once(name):
    raw = (PAPER / f"{name}.csv").read_bytes()
    assert b"\r" not in raw and raw.decode("utf-8").split("\n")[0] == ",".join(HEADER)
    table = lines(name)
    assert len(table) == len(values(name)) == SIZES[name]
    assert all(None not in line and None not in line.values() for line in table)
    assert all(line["row"] == line["row"].strip() != "" != line["column"].strip() for line in table)


@pytest.mark.parametrize("name", FILES)
def test_values_are_in_the_range_of_their_kind(name):
    top = 100 if name.startswith("iaead") else 1
    for line in lines(name):
        value, sd = float(line["value"]), float(line["sd"] or 0)
        if name in COSTS or line["row"] == "time_tr":
            assert value > 0 and line["sd"] == ""
        else:
            assert 0 <= value <= top and 0 <= sd <= top / 2


@pytest.mark.parametrize("name", ["iaead-table-2", "iaead-table-3", "iaead-table-4", "algan-table-4",
                                  "algan-table-7", "algan-table-8", "algan-table-9", "algan-table-11"])
def test_tables_with_deviations_have_one_in_every_cell(name):
    assert all(line["sd"] for line in lines(name))


# Printed means. A known discrepancy is (printed, recomputed): the cell keeps what the paper prints.

def means():
    """Yield (table, cell, printed mean, its cells, unit of the last digit) of every printed mean."""
    for name, part in [("alcn-table-1", "MNIST / "), ("alcn-table-1", "CIFAR-10 / "), ("alcn-table-3", "")]:
        table = values(name)
        for row, column in table:
            if column == part + "AUC_avg":
                cells = [v for (r, c), v in table.items() if r == row and c.startswith(part) and c != column]
                yield name, f"{row}, {column}", table[row, column], cells, 0.01
    for name, label, unit in [("algan-table-1", "mean", 0.001),
                              ("mixer-table-4", "overall performance", 0.01)]:
        table = values(name)
        for row, column in table:
            if row == label and not column.endswith(" / mean"):
                cells = [v for (r, c), v in table.items() if c == column and r != label]
                yield name, column, table[row, column], cells, unit
    for name in ("iaead-table-3", "iaead-table-4"):
        table = values(name)
        for row, column in table:
            if row.endswith(" / average"):
                data = row.removesuffix("average")
                cells = [v for (r, c), v in table.items() if c == column and r.startswith(data) and r != row]
                yield name, f"{row}, {column}", table[row, column], cells, 0.01


KNOWN = {
    ("alcn-table-1", "GANomaly, MNIST / AUC_avg"): (0.79, 0.780),
    ("alcn-table-1", "AnoGAN, CIFAR-10 / AUC_avg"): (0.4, 0.436),
    ("alcn-table-1", "GANomaly, CIFAR-10 / AUC_avg"): (0.6, 0.609),
    ("alcn-table-3", "AnoGAN, AUC_avg"): (0.56, 0.529),
    ("alcn-table-3", "GANomaly, AUC_avg"): (0.76, 0.769),
    ("mixer-table-4", "AE (L2) / anomalous"): (0.58, 0.588),
    ("mixer-table-4", "Ours MIXER L2 / normal"): (0.79, 0.477),
    ("mixer-table-4", "Ours MIXER L2 / anomalous"): (0.48, 0.794),
}
MEANS = list(means())


def test_every_printed_mean_is_checked():
    counts = {name: sum(table == name for table, *_ in MEANS) for name, *_ in MEANS}
    assert counts == {"alcn-table-1": 18, "alcn-table-3": 6, "algan-table-1": 4, "mixer-table-4": 8,
                      "iaead-table-3": 24, "iaead-table-4": 16}
    assert set(KNOWN) <= {(name, cell) for name, cell, *_ in MEANS}


@pytest.mark.parametrize("name, cell, printed, cells, unit", MEANS, ids=[f"{m[0]}: {m[1]}" for m in MEANS])
def test_a_printed_mean_is_the_mean_of_its_cells(name, cell, printed, cells, unit):
    assert len(cells) in (10, 15, 20)
    if (name, cell) in KNOWN:
        assert (printed, round(mean(cells), 3)) == KNOWN[name, cell]
    else:
        assert mean(cells) == pytest.approx(printed, abs=rounding(unit, len(cells)))


# Schneider et al.

def best(table, row, columns):
    """The columns with the highest value of a row."""
    top = max(table[row, column] for column in columns)
    return [column for column in columns if table[row, column] == top]


def test_schneider_cifar_the_aae_is_never_best_and_the_cae_loses_plane_and_ship():
    table = values("schneider-table-6")
    columns = [f"{method} / AUC_ROC" for method in ("CAE", "VAE", "AAE")]
    rows = {row for row, _ in table} - {"time_tr"}
    lost = {row for row in rows if best(table, row, columns) != ["CAE / AUC_ROC"]}
    assert all("AAE / AUC_ROC" not in best(table, row, columns) for row in rows)
    assert lost == {"Plane", "Ship"}  # section 4.2.2 names Ship only


@pytest.mark.parametrize("name, normal", [("schneider-table-5", "1"), ("schneider-table-6", "Dog")])
def test_schneider_training_takes_longer_from_cae_to_vae_to_aae(name, normal):
    table = values(name)
    assert table["time_tr", "CAE"] < table["time_tr", "VAE"] < table["time_tr", "AAE"]
    assert len({row for row, _ in table}) == 10 and normal not in {row for row, _ in table}


# IAEAD

IAEAD = ["CAE", "DRAE", "RDAE", "DAGMM", "MemAE", "RSRAE", "Deep SVDD", "IAEAD"]


@pytest.mark.parametrize("method", IAEAD)
@pytest.mark.parametrize("data, name", [("MNIST", "iaead-table-3"), ("F-MNIST", "iaead-table-3"),
                                        ("SVHN", "iaead-table-3"), ("CIFAR-10", "iaead-table-4"),
                                        ("CIFAR-100", "iaead-table-4")])
def test_iaead_table_2_repeats_the_class_means_of_tables_3_and_4(method, data, name):
    table = values(name)
    overall = values("iaead-table-2")[f"{data} 10%", f"{method} / AUROC"]
    cells = [v for (row, column), v in table.items()
             if column == method and row.startswith(f"{data} / ") and row != f"{data} / average"]
    assert len(cells) == (20 if data == "CIFAR-100" else 10)
    assert mean(cells) == pytest.approx(overall, abs=rounding(0.01, len(cells)))
    in_full = {(line["row"], line["column"]): (line["value"], line["sd"])
               for line in lines(name) + lines("iaead-table-2")}
    assert in_full[f"{data} / average", method] == in_full[f"{data} 10%", f"{method} / AUROC"]


def test_iaead_wins_every_metric_on_mnist_and_fashion_mnist():
    table = values("iaead-table-2")
    for row in ("MNIST 10%", "MNIST 20%", "F-MNIST 10%", "F-MNIST 20%"):
        for metric in ("AUROC", "AUPR-IN", "AUPR-OUT"):
            assert best(table, row, [f"{m} / {metric}" for m in IAEAD]) == [f"IAEAD / {metric}"]


# Rotondi & Lavalle

MVTEC_TEST = {  # (good, defective) images of the official test part
    "Carpet": (28, 89), "Grid": (21, 57), "Leather": (32, 92), "Tile": (33, 84), "Wood": (19, 60),
    "Bottle": (20, 63), "Cable": (58, 92), "Capsule": (23, 109), "Hazelnut": (40, 70),
    "Metal nut": (22, 93), "Pill": (26, 141), "Screw": (41, 119), "Toothbrush": (12, 30),
    "Transistor": (60, 40), "Zipper": (32, 119),
}


def micro(normal_rate, anomalous_rate):
    """Precision, recall and F1 of the pooled test images, from the share right per category and kind."""
    true_positives = sum(anomalous_rate[c] * bad for c, (_, bad) in MVTEC_TEST.items())
    false_positives = sum((1 - normal_rate[c]) * good for c, (good, _) in MVTEC_TEST.items())
    precision = true_positives / (true_positives + false_positives)
    recall = true_positives / sum(bad for _, bad in MVTEC_TEST.values())
    return precision, recall, 2 * precision * recall / (precision + recall)


def test_mixer_table_4_reproduces_table_3_as_a_micro_average():
    assert sum(good + bad for good, bad in MVTEC_TEST.values()) == 1725
    rates = values("mixer-table-4")
    pooled = micro(*({c: rates[c, f"Ours MIXER L2 / {kind}"] for c in MVTEC_TEST}
                     for kind in ("normal", "anomalous")))
    assert [round(x, 3) for x in pooled] == [0.781, 0.761, 0.771]
    printed = [values("mixer-table-3")["CO+DE+MIX - AE (L2)", k] for k in "PRF"]
    assert pooled == pytest.approx(printed, abs=0.0015)


def test_mixer_calling_everything_anomalous_beats_the_best_printed_f1():
    trivial = micro(dict.fromkeys(MVTEC_TEST, 0), dict.fromkeys(MVTEC_TEST, 1))
    assert [round(x, 3) for x in trivial] == [0.729, 1, 0.843]
    assert trivial[2] > max(v for (_, column), v in values("mixer-table-3").items() if column == "F") == 0.825


def test_mixer_f1_is_the_harmonic_mean_of_precision_and_recall():
    table = values("mixer-table-3")
    for row in {row for row, _ in table}:
        p, r, f = (table[row, column] for column in "PRF")
        assert 2 * p * r / (p + r) == pytest.approx(f, abs=0.001)


def test_mixer_final_means_are_the_mean_of_the_two_rates_in_either_order():
    table = values("mixer-table-4")
    finals = [column.removesuffix(" / mean") for _, column in table if column.endswith(" / mean")]
    assert len(finals) == 4
    for model in finals:
        normal, anomalous, both = (table["overall performance", f"{model} / {kind}"]
                                   for kind in ("normal", "anomalous", "mean"))
        assert (normal + anomalous) / 2 == pytest.approx(both, abs=0.0101)


# ALCN

@pytest.mark.parametrize("name, part, wins, classes", [("alcn-table-1", "MNIST / ", 9, 10),
                                                       ("alcn-table-1", "CIFAR-10 / ", 6, 10),
                                                       ("alcn-table-3", "", 10, 15)])
def test_alcn_is_best_on_as_many_classes_as_the_text_says(name, part, wins, classes):
    table = values(name)
    rows = list(dict.fromkeys(row for row, _ in table))
    columns = list(dict.fromkeys(c for _, c in table if c.startswith(part) and not c.endswith("AUC_avg")))
    won = [c for c in columns if table["DAE+ALCN", c] == max(table[row, c] for row in rows)]
    assert (len(won), len(columns)) == (wins, classes)


def test_alcn_text_and_tables_give_the_same_means_except_for_mvtec():
    text = {("alcn-table-1", "MNIST / AUC_avg"): 0.89, ("alcn-table-1", "CIFAR-10 / AUC_avg"): 0.67,
            ("alcn-table-2", "MNIST / AUC_avg"): 0.989, ("alcn-table-2", "CIFAR-10 / AUC_avg"): 0.742,
            ("alcn-table-4", "AUC_avg"): 0.77}
    for (name, column), said in text.items():
        assert values(name)["DAE+ALCN", column] == said
    # Section 5.2.1 agrees; the abstract says 0.780.
    assert values("alcn-table-3")["DAE+ALCN", "AUC_avg"] == 0.83


def test_alcn_four_methods_score_a_perfect_screw():
    assert [row for (row, column), v in values("alcn-table-3").items() if column == "Screw" and v == 1] == \
        ["VAE", "AnoGAN", "Skip-GANomaly", "DAE+ALCN"]


# ALGAN

def test_algan_is_best_on_twelve_categories_where_the_text_says_thirteen():
    table = values("algan-table-1")
    columns = ["GANomaly", "Skip-GANomaly", "ALOCC", "ALGAN-image"]
    categories = {row for row, _ in table} - {"mean"}
    lost = {row for row in categories if best(table, row, columns) != ["ALGAN-image"]}
    assert len(categories) == 15 and lost == {"Tile", "Hazelnut", "Screw"}  # the text names the last two


ALL_KNOWN = {"Mah.AD": (0.958, 0.9593), "CutPaste": (0.961, 0.9573)}


@pytest.mark.parametrize("method", ["Mah.AD", "PaDiM", "CutPaste", "PatchCore-25", "GANomaly", "DifferNet",
                                    "ALGAN-feature"])
def test_algan_all_is_five_textures_and_ten_objects(method):
    table = values("algan-table-2")
    pooled = (5 * table["Texture", method] + 10 * table["Object", method]) / 15
    if method in ALL_KNOWN:
        assert (table["ALL", method], round(pooled, 4)) == ALL_KNOWN[method]
    else:
        assert table["ALL", method] == pytest.approx(pooled, abs=0.0011)


def test_algan_prediction_is_as_many_times_faster_as_the_text_says():
    ms = {column: v for (_, column), v in values("algan-table-5").items()}
    image = [ms[m] / ms["ALGAN-image"] for m in ("GANomaly", "Skip-GANomaly", "ALOCC")]
    feature = [ms[m] / ms["ALGAN-feature"] for m in ("DifferNet", "PatchCore-25")]
    assert (min(image), max(image)) == pytest.approx((10.4, 54.6), abs=0.1)
    assert (min(feature), max(feature)) == pytest.approx((1.3, 2.2), abs=0.05)


def test_algan_studies_of_hyperparameters_share_the_bottle_cell_and_the_ablation_the_mean():
    cell = {(name, line["column"], line["row"]): (line["value"], line["sd"])
            for name in FILES if name.startswith("algan") for line in lines(name)}
    bottle = cell["algan-table-1", "ALGAN-image", "Bottle"]
    assert bottle == ("0.948", "0.024")
    for study in [("algan-table-8", "sigma = 4", "AUROC"), ("algan-table-9", "xi = 0.75", "alpha = 0.75"),
                  ("algan-table-10", "n_z = 2", "AUROC"), ("algan-table-11", "n_dis = 2", "AUROC")]:
        assert cell[study] == bottle
    both = cell["algan-table-7", "Mean AUROC", "Buffered Data + Anomalous Latent"][0]
    assert both == cell["algan-table-1", "ALGAN-image", "mean"][0]


# Doubtful digits

DOUBTFUL = {
    ("schneider-table-5", "6", "VAE / AUC_ROC"), ("iaead-table-2", "MNIST 20%", "IAEAD / AUPR-IN"),
    ("iaead-table-2", "F-MNIST 20%", "IAEAD / AUPR-IN"), ("alcn-table-1", "AnoGAN", "CIFAR-10 / AUC_avg"),
    ("alcn-table-1", "GANomaly", "CIFAR-10 / AUC_avg"), ("alcn-table-3", "AnoGAN", "Zipper"),
    ("alcn-table-3", "GANomaly", "H'nut"),
}


def test_doubtful_digits_are_named_in_the_note():
    assert DOUBTFUL == {(name, line["row"], line["column"])
                        for name in FILES for line in lines(name) if "doubtful" in line["note"]}


def test_the_two_unreadable_mvtec_cells_explain_their_means():
    table = values("alcn-table-3")
    for row, column, likely in [("AnoGAN", "Zipper", 0.72), ("GANomaly", "H'nut", 0.79)]:
        cells = [v for (r, c), v in table.items() if r == row and c not in (column, "AUC_avg")]
        assert mean([*cells, likely]) == pytest.approx(table[row, "AUC_avg"], abs=rounding(0.01, 15))
        assert table[row, column] != likely
