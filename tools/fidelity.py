"""Say how close the records are to the papers: a line a printed table, from data/paper and data/runs alone.

    python tools/fidelity.py                             every table
    python tools/fidelity.py --name mixer-autoencoder    one chapter's tables

Every printed cell is counted once, with the verdict that its chapter shows: reproduced, higher, lower, one seed, fewer
epochs, other data, quoted by the paper from another, not run. "within a point" counts the recorded cells that are no
further from the printed one, whatever their verdict. "mean |Δ|" is the mean distance of recorded from printed cells,
in points of a hundred; "rank" is Spearman's correlation of the methods' printed and recorded means, over the cells
that have both. Left out are seconds and counts of weights, which belong to a machine, and Tables 7 to 11 of the chapter
on pseudo-anomalies, which are a product here and fifteen there.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import chapter, results, thresholds  # noqa: E402

LOSSY = {"cifar10": "cifar10_jpeg"}
PRODUCTS = {"MVTec AD": "MVTec AD, 4 of 15"}
LEAVES = {"PlantVillage all crops, color": "PlantVillage apple, segmented"}
VERDICTS = ["reproduced", "higher", "lower", "one seed", "fewer epochs", "other data", "quoted", "not run"]
AREAS = ["auroc", "aupr_in", "aupr_out"]
# printed table, chapter, what varies, metrics, and what the chapter filters by
TABLES = [
    ("schneider-table-5", "comparing-autoencoders", "anomalous_class", ["auroc", "aupr"],
     dict(dataset="mnist", normal_class="1")),
    ("schneider-table-6", "comparing-autoencoders", "anomalous_class", ["auroc", "aupr"],
     dict(dataset="cifar10", normal_class="dog", stand_in=LOSSY)),
    *(("iaead-table-2", "improved-autoencoder", "dataset", AREAS,
       dict(ratio=ratio, normal_class="mean", stand_in=LOSSY)) for ratio in (0.1, 0.2)),
    *(("iaead-table-3", "improved-autoencoder", "normal_class", AREAS, dict(dataset=name, ratio=0.1))
      for name in ("mnist", "fashion_mnist", "svhn")),
    *(("iaead-table-4", "improved-autoencoder", "normal_class", AREAS, dict(dataset=name, ratio=0.1, stand_in=LOSSY))
      for name in ("cifar10", "cifar100")),
    ("mixer-table-3", "mixer-autoencoder", "metric", ["precision", "recall", "f1"],
     dict(dataset="MVTec AD", rule="held out", stand_in=PRODUCTS)),
    ("mixer-table-4", "mixer-autoencoder", "category", ["specificity", "recall"],
     dict(dataset="MVTec AD", rule="held out", rows="metric", method="CO+DE+MIX - AE (L2)", stand_in=PRODUCTS)),
    *(("alcn-table-1", "adversarial-noise", "anomalous_class", ["auroc"],
       dict(dataset=name, protocol="one_anomalous", stand_in=LOSSY)) for name in ("mnist", "cifar10")),
    ("alcn-table-2", "adversarial-noise", "dataset", ["auroc"],
     dict(protocol="one_normal", normal_class="mean", stand_in=LOSSY)),
    ("alcn-table-3", "adversarial-noise", "category", ["auroc"], dict(dataset="MVTec AD", stand_in=PRODUCTS)),
    ("alcn-table-4", "adversarial-noise", "dataset", ["auroc"], dict(category="mean", stand_in=LEAVES)),
    ("algan-table-1", "pseudo-anomalies", "category", ["auroc"], dict(dataset="MVTec AD", stand_in=PRODUCTS)),
    ("algan-table-2", "pseudo-anomalies", "dataset", ["auroc"], dict(category="mean", stand_in=PRODUCTS)),
    ("algan-table-3", "pseudo-anomalies", "dataset", ["auroc"], dict(category="mean")),
    ("algan-table-4", "pseudo-anomalies", "dataset", ["auroc"], dict(category="mean")),
]  # fmt: skip


def cells_of(name, columns, metrics, fixed, recorded):
    """Return the printed cells of a table with what is recorded for them; a line a cell, as `results.table`."""
    printed = results.paper(name)
    metrics = [m for m in metrics if m in set(printed.metric)]
    if "metric" in (columns, fixed.get("rows")):
        return results.table(columns, metrics, printed=printed, recorded=recorded, **fixed).dropna(subset="paper")
    parts = [results.table(columns, m, printed=printed, recorded=recorded, **fixed).assign(metric=m) for m in metrics]
    found = pd.concat(parts).dropna(subset="paper")
    own_mean = columns in results.CLASSES and "mean" not in set(printed[columns])  # one that no table prints
    return found[found[columns] != "mean"] if own_mean else found


def summary(cells):
    """Return what a table's cells say: how many have each verdict, mean |Δ| in points, and the methods' rank."""
    verdict = cells.verdict.where(~cells.verdict.str.contains("epochs"), "fewer epochs")
    count = verdict.value_counts()
    points = cells.difference.abs() * np.where(cells.unit == "%", 1, 100)
    both = cells.dropna(subset=["recorded"])
    means = both.groupby("method")[["paper", "recorded"]].mean() if "method" in both else both.iloc[:0]
    return {"cells": len(cells), **{name: int(count.get(name, 0)) for name in VERDICTS},
            "within a point": int((points <= 1 + 1e-9).sum()), "mean |Δ|": points.mean(),
            "rank": means.corr("spearman").iloc[0, 1] if len(means) > 2 else np.nan}  # fmt: skip


def fidelity(of_chapter=None):
    """Return the summary of every table of a chapter, or of all; a line a table, the data sets of one together."""
    found, lines = {}, {}
    for name, where, columns, metrics, fixed in TABLES:
        if of_chapter in (None, where):
            if where not in lines:
                of_record = thresholds.judged if where == "mixer-autoencoder" else None
                lines[where] = results.largest(results.recorded(where, of_record), "size")
            found.setdefault(name, []).append(cells_of(name, columns, metrics, fixed, lines[where]))
    return pd.DataFrame({name: summary(pd.concat(parts)) for name, parts in found.items()}).T


def main(argv=None):
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--name", choices=chapter.NAMES, help="only the tables of this chapter")
    found = fidelity(parser.parse_args(argv).name)
    counts = found.drop(columns=["mean |Δ|", "rank"])
    found.loc["all"] = {**counts.sum(), "mean |Δ|": np.nan, "rank": np.nan}
    whole = {name: "{:.0f}".format for name in counts}
    print(found.to_string(formatters=whole | {"mean |Δ|": "{:.1f}".format, "rank": "{:.2f}".format}))


if __name__ == "__main__":
    main()
