"""How close the records are to the papers: each printed table beside what is recorded for it, and a summary of both.

Every printed cell is counted once, with the verdict that its chapter shows: reproduced, higher, lower, one seed, fewer
epochs, other data, quoted by the paper from another, not run. Left out are times and counts (epochs, weights); of
Rotondi and Lavalle's Table 4 the three methods that it quotes and the balanced accuracies; of ALGAN's Table 2 the means
over textures and over objects; and Tables 7 to 11 of the chapter on pseudo-anomalies, which are a product here and
fifteen there.
"""

from functools import partial

import numpy as np
import pandas as pd

from . import results, thresholds

VERDICTS = ["reproduced", "higher", "lower", "one seed", "fewer epochs", "other data", "quoted", "not run"]
AREAS = ["auroc", "aupr_in", "aupr_out"]
# printed table, chapter, what varies, metrics, and what the chapter filters by
TABLES = [
    ("schneider-table-5", "comparing-autoencoders", "anomalous_class", ["auroc", "aupr"],
     dict(dataset="mnist", normal_class="1")),
    ("schneider-table-6", "comparing-autoencoders", "anomalous_class", ["auroc", "aupr"],
     dict(dataset="cifar10", normal_class="dog")),
    *(("iaead-table-2", "improved-autoencoder", "dataset", AREAS, dict(ratio=ratio, normal_class="mean"))
      for ratio in (0.1, 0.2)),
    *(("iaead-table-3", "improved-autoencoder", "normal_class", AREAS, dict(dataset=name, ratio=0.1))
      for name in ("mnist", "fashion_mnist", "svhn")),
    *(("iaead-table-4", "improved-autoencoder", "normal_class", AREAS, dict(dataset=name, ratio=0.1))
      for name in ("cifar10", "cifar100")),
    ("mixer-table-3", "mixer-autoencoder", "metric", ["precision", "recall", "f1"],
     dict(dataset="MVTec AD", rule="held out")),
    ("mixer-table-4", "mixer-autoencoder", "category", ["specificity", "recall"],
     dict(dataset="MVTec AD", rule="held out", rows="metric", method="CO+DE+MIX - AE (L2)")),
    *(("alcn-table-1", "adversarial-noise", "anomalous_class", ["auroc"], dict(dataset=name, protocol="one_anomalous"))
      for name in ("mnist", "cifar10")),
    ("alcn-table-2", "adversarial-noise", "dataset", ["auroc"], dict(protocol="one_normal", normal_class="mean")),
    ("alcn-table-3", "adversarial-noise", "category", ["auroc"], dict(dataset="MVTec AD")),
    ("alcn-table-4", "adversarial-noise", "dataset", ["auroc"], dict(category="mean")),
    ("algan-table-1", "pseudo-anomalies", "category", ["auroc"], dict(dataset="MVTec AD")),
    ("algan-table-2", "pseudo-anomalies", "dataset", ["auroc"], dict(category="mean")),
    ("algan-table-3", "pseudo-anomalies", "dataset", ["auroc"], dict(category="mean")),
    ("algan-table-4", "pseudo-anomalies", "dataset", ["auroc"], dict(category="mean")),
]  # fmt: skip
CHAPTERS = list(dict.fromkeys(chapter for _, chapter, *_ in TABLES))


def recorded(chapter):
    """Return the records of a chapter as its tables take them: judged where a method decides, the largest pictures."""
    decided = partial(thresholds.judged, rules=["held out"])  # the rule of its tables here
    lines = results.recorded(chapter, decided if chapter == "mixer-autoencoder" else None)
    return results.largest(lines, "size")


def cells_of(name, columns, metrics, fixed, lines):
    """Return the printed cells of a table with what is recorded for them; a line a cell, as `results.table`.

    `column` names what the methods of a column have in common: data set, class and metric.
    """
    printed = results.paper(name)
    metrics = [m for m in metrics if m in set(printed.metric)]
    both = dict(printed=printed, recorded=lines, stand_in=results.stand_ins(lines), **fixed)
    if "metric" in (columns, fixed.get("rows")):
        found = results.table(columns, metrics, **both)
    else:
        found = pd.concat([results.table(columns, m, **both).assign(metric=m) for m in metrics])
    found = found.dropna(subset="paper")
    alike = found[list({columns, "metric"})].astype(str).agg(" ".join, axis=1)
    found = found.assign(column=" ".join(map(str, fixed.values())) + " " + alike)
    own_mean = columns in results.CLASSES and "mean" not in set(printed[columns])  # one that no table prints
    return found[found[columns] != "mean"] if own_mean else found


def summary(cells):
    """Return what cells say: how many have each verdict, how many are near, mean |Δ|, and the methods' rank.

    "within a point" counts the recorded cells that are no further from the printed one, whatever their verdict. "mean
    |Δ|" is the mean distance of recorded from printed cells, in points of a hundred; "rank" is Spearman's correlation
    of the methods' printed and recorded numbers within a column of the table, as the mean over the columns that have
    three methods or more; NaN where none has.
    """
    verdict = cells.verdict.where(~cells.verdict.str.contains("epochs"), "fewer epochs")
    count = verdict.value_counts()
    points = cells.difference.abs() * np.where(cells.unit == "%", 1, 100)
    both = cells.dropna(subset=["recorded"])
    columns = [part[["paper", "recorded"]] for _, part in both.groupby("column")] if "method" in both else []
    ranks = [part.corr("spearman").iloc[0, 1] for part in columns if len(part) > 2 and part.nunique().min() > 1]
    return {"cells": len(cells), **{name: int(count.get(name, 0)) for name in VERDICTS},
            "within a point": int((points <= 1 + 1e-9).sum()), "mean |Δ|": points.mean(),
            "rank": np.mean(ranks) if ranks else np.nan}  # fmt: skip


def of_tables(chapter=None):
    """Return the summary of every table of a chapter, or of all; a line a table, the data sets of one together."""
    parts = {}
    lines = {name: recorded(name) for name in CHAPTERS if chapter in (None, name)}
    for name, where, *what in TABLES:
        if where in lines:
            parts.setdefault((where, name), []).append(cells_of(name, *what, lines[where]))
    found = pd.DataFrame({key: summary(pd.concat(cells)) for key, cells in parts.items()}).T
    return found.rename_axis(["chapter", "table"])


def of_papers(tables):
    """Return the summary of every paper from that of its tables, a line a chapter; its rank is the mean of theirs."""
    counts = tables.drop(columns=["mean |Δ|", "rank"]).groupby("chapter", sort=False).sum()
    recorded_cells = tables.cells - tables["not run"]
    weighed = (tables["mean |Δ|"] * recorded_cells).groupby("chapter").sum() / recorded_cells.groupby("chapter").sum()
    return counts.assign(**{"mean |Δ|": weighed, "rank": tables["rank"].groupby("chapter").mean()})
