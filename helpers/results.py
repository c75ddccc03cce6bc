"""Records and printed tables as frames with the same columns; a results table is a filter, a merge and a verdict.

    recorded = results.recorded("improved-autoencoder")
    table_3 = results.table("normal_class", "auroc", printed=results.paper("iaead-table-3"), recorded=recorded,
                            this_run=this_run, dataset="mnist", ratio=0.1)
    tables.show(table_3, "Table 3: MNIST, AUROC in %.")

A frame has a line a number: `method`, `variant` ("" is what the tables compare), what the protocol names (`dataset`,
`normal_class`, `ratio`, ...), the settings, `seed`, `epochs`, `paper_epochs`, `where` ("recorded" or "this run"), what
the line is about (`score`, `anomalous_class`, `category`, ...; `labels` lists the names of these), `metric`, `value`,
and the `record` itself, whose digest is `run`.
"""

import re
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from . import metrics, records

PAPER = records.ROOT / "data" / "paper"
CLASSES = ("normal_class", "anomalous_class", "category")  # columns over which a table's "mean" is taken
FACTS = ["method", "variant", "dataset", "seed", "epochs", "paper_epochs", "batch_size", "precision", "code", "where",
         "run"]  # fmt: skip
# Lines that differ in these may still be averaged; in the precision too, since a test holds bf16 to fp32.
FREE = {"seed", "precision", "run", "record", "value", "labels", "other_data", "paper_epochs"}


# -- frames --------------------------------------------------------------------------------------------------------


def paper(name):
    """Return the printed numbers of one table, such as "iaead-table-3", with our names for everything.

    Columns: `dataset`, what varies in the table, `method`, `metric`, `value` in `unit`, `sd`, `digits` (decimals as
    printed), `printed` (the table's own labels), `note`.
    """
    text = pd.read_csv(PAPER / f"{name}.csv", dtype=str, keep_default_na=False)
    varying = [name for name in text.columns[:text.columns.get_loc("method")] if name not in ("dataset", *CLASSES)]
    numbers = {name: pd.to_numeric(text[name].replace("", np.nan)) for name in ("value", "sd", *varying)
               if not text[name].isin(["True", "False"]).any()}  # fmt: skip
    switches = {name: text[name] == "True" for name in varying if name not in numbers}
    digits = text["value"].str.partition(".")[2].str.len()
    return text.assign(digits=digits, **numbers, **switches).astype({"value": float, "sd": float})


def recorded(chapter, lines=None):
    """Return the committed records of a chapter as a frame; `lines` as in `frame`."""
    return frame(records.read_all(records.RECORDED / chapter), "recorded", lines)


def frame(of_records, where, lines=None):
    """Return records as a frame, a line a number.

    `lines(record)` gives a record's lines of numbers, by default its "metrics", the training time "seconds" and the
    "last_loss" of the first player. Text in a line says what it is about, and so does "epoch"; the rest is measured.
    """
    rows = []
    for record in of_records:
        config, happened = record["config"], record["provenance"]
        about = {name: _scalar(value) for part in ("settings", "protocol") for name, value in config[part].items()}
        about |= {"protocol": about.pop("name", "")} | {name: config[name] for name in FACTS if name in config}
        about |= {"paper_epochs": happened.get("paper_epochs"), "where": where, "run": records.key(config)}
        for line in lines(record) if lines else [*record["metrics"], _training(record)]:
            labels = {name: value for name, value in line.items() if isinstance(value, str) or name == "epoch"}
            rows += [{**about, **labels, "labels": " ".join(sorted(labels)), "metric": name, "value": float(value),
                      "record": record} for name, value in line.items() if name not in labels]  # fmt: skip
    found = pd.DataFrame(rows)
    first = [*FACTS, "labels", "metric", "value", "record"]
    return found.reindex(columns=[*first, *(c for c in found.columns if c not in first)])


def along(lines):
    """Return what the runs of a frame looked back at along their training: a frame with an `epoch` for each line."""
    parts = [frame(group.drop_duplicates("run").record, where, lambda record: record["history"])
             for where, group in lines.groupby("where", sort=False)]  # fmt: skip
    found = pd.concat(parts, ignore_index=True) if parts else lines.iloc[:0]
    return found if "epoch" in found else found.assign(epoch=[])


def one_length(lines):
    """Keep, of runs of several lengths, the one with most runs, then the longest, for each data set and method."""
    by = ["dataset", "method", "variant"]
    counts = lines.groupby([*by, "epochs"])["run"].nunique().reset_index(name="runs").sort_values(["runs", "epochs"])
    return lines.merge(counts.groupby(by).tail(1)[[*by, "epochs"]]) if len(lines) else lines


def chosen(lines, **fixed):
    """Keep the lines in which every named column has its value, or one of a list of values; none without the column."""
    for name, value in fixed.items():
        values = value if isinstance(value, list) else [value]
        lines = lines[lines[name].isin(values)] if name in lines else lines.iloc[:0]
    return lines


def extent(lines):
    """Return in words how long and how often lines were trained, such as "20 of 250 epochs, one seed"; None for none.

    Seeds are counted for each method and class; where these differ, or the lengths, the words give the range.
    """
    if lines.empty:
        return None
    seeds = span(lines.groupby([c for c in ("method", *CLASSES) if c in lines], dropna=False).seed.nunique())
    paper = lines.paper_epochs.astype(float)  # each run has its own paper's length, or None
    length = span(lines.epochs) + (f" of {span(paper.dropna())}" if (lines.epochs < paper).any() else "")
    return f"{length} epochs, " + ("one seed" if seeds == "1" else f"{seeds} seeds")


def largest(lines, *sizes):
    """Keep, for each data set, the runs with the largest value in each column of `sizes`, and those that have none."""
    for size in (name for name in sizes if name in lines):
        best = lines.groupby("dataset")[size].transform("max")
        lines = lines[lines[size].isna() | (lines[size] == best)]
    return lines


def stand_ins(lines):
    """Return {data set of a paper: the one that may stand in for it in a frame's lines}, for `standing_in`.

    Of sets that are a part of it, such as "MVTec AD, 4 of 15", it is the largest.
    """
    there = set(lines.dataset)
    part = {whole: max(there, key=partial(_share, whole), default="") for whole in ("MVTec AD", "COIL-100, ten normal")}
    return {"cifar10": "cifar10_jpeg", "PlantVillage all crops, color": "PlantVillage apple, segmented",
            **{whole: name for whole, name in part.items() if _share(whole, name)}}  # fmt: skip


def _share(whole, dataset):
    """How much of a data set another is, by its name; 0 where it is no part of it."""
    part = re.fullmatch(rf"{whole}, ([\d,]+) of \d.*", dataset)
    return int(part[1].replace(",", "")) if part else 0


def standing_in(lines, stand_in, over=None):
    """Return lines under the paper's names of data sets, with `other_data`: "", or the set that stands in.

    `stand_in` maps the paper's data set to the one that our runs may have instead. It steps back, method by method,
    where the paper's own set has runs of as many classes, those of the column `over`, else of as many variants.
    """
    theirs = {ours: name for name, ours in stand_in.items()}
    other_data = lines.dataset.where(lines.dataset.isin(theirs), "")
    lines = lines.assign(other_data=other_data, dataset=lines.dataset.replace(theirs))
    own, pairs = lines.other_data == "", [lines.method, lines.dataset]
    classes = lines[over if over in lines else "variant"].fillna("")
    kinds = [classes.where(side).groupby(pairs).transform("nunique") for side in (own, ~own)]
    return lines[own == ((kinds[0] > 0) & (kinds[0] >= kinds[1]))]


# -- tables --------------------------------------------------------------------------------------------------------


def table(columns, metric=None, *, rows="method", printed=None, recorded=None, this_run=None, stand_in=None, unit=None,
          **fixed):
    """Return the cells of a results table, a line a cell: paper | recorded | difference | verdict | this run.

    `rows` and `columns` name the columns of the frames that vary in the table, `metric` and `fixed` what they are
    filtered by, such as dataset="mnist", ratio=0.1; `metric` may be a list where it stands in the rows or
    columns, which then have its order. What `stand_in` names, as in `standing_in`, is "other data". Where several
    lengths are recorded, a cell takes the longest. The mean over classes, "mean", is there where all classes are.

    Columns of the result: those of `rows` and `columns`, paper, recorded (mean over seeds), sd, n (seeds), difference,
    verdict, this_run, unit, digits, epochs, paper_epochs, precision, other_data. ValueError where lines that would be
    averaged differ in a setting.
    """
    if "variant" not in (rows, columns):
        fixed = {"variant": "", **fixed}
    if metric is not None:
        fixed = {**fixed, "metric": metric}
    listed = metric if isinstance(metric, list) else []
    cells = _printed_cells(printed, rows, columns, fixed)
    known = set(listed if listed and columns == "metric" else cells[columns]) or None
    unit = unit or (cells.unit.iloc[0] if len(cells) else "")
    options = dict(rows=rows, columns=columns, fixed=fixed, stand_in=stand_in or {}, unit=unit,
                   known=known)  # fmt: skip
    ours = _own_cells(recorded, **options).rename(columns={"value": "recorded"})
    this = _own_cells(this_run, **options)[[rows, columns, "value"]].rename(columns={"value": "this_run"})
    found = cells.drop(columns="unit").merge(ours, how="outer").merge(this, how="outer")
    for name in (columns, rows):  # the printed order, then that of our runs; the mean is last
        found_there = sorted(ours[name]) if name in CLASSES else ours[name]  # records lie in no order
        order = [*dict.fromkeys([*(listed if name == "metric" else []), *cells[name], *found_there, *this[name]])]
        order.sort(key=lambda value: value == "mean")
        found = found.sort_values(name, key=lambda c, order=order: c.map(order.index), kind="stable")
    found = found.reset_index(drop=True).assign(unit=unit, quoted=found.quoted.eq(True).to_numpy())
    found["difference"] = found.recorded - found.paper
    found["verdict"] = [verdict(cell) for cell in found.itertuples()]
    return found[[rows, columns, "paper", "recorded", "sd", "n", "difference", "verdict", "this_run", "unit", "digits",
                  "epochs", "paper_epochs", "precision", "other_data", "quoted"]]  # fmt: skip


def verdict(cell):
    """Return what a cell says: "reproduced", "higher", "lower", or what keeps it from being compared like with like.

    The band is the larger of two standard deviations over seeds, half of the last printed digit, and the smaller of one
    point and a fifth of the paper's distance to 1, since near the ceiling a point hides a tenfold difference. "not run"
    without a record; "quoted" where the paper took its number from another; "other data", "20 of 250 epochs", "one
    seed" where the comparison would not be fair; "" where the paper has no number or one, such as seconds, that belongs
    to its machine.
    """
    if pd.isna(cell.paper):
        return ""
    if pd.isna(cell.recorded):
        return "not run"
    if cell.unit not in ("", "%"):
        return ""
    if cell.quoted:
        return "quoted"
    if cell.other_data:
        return "other data"
    if cell.epochs < (cell.paper_epochs or 0):
        return f"{cell.epochs:.0f} of {cell.paper_epochs:.0f} epochs"
    if cell.n < 2:  # without training, too: a seed draws splits and what PaDiM and PatchCore keep
        return "one seed"
    whole = 100 if cell.unit == "%" else 1
    band = max(2 * np.nan_to_num(cell.sd), 0.5 * 10.0**-cell.digits, min(whole / 100, (whole - cell.paper) / 5))
    if abs(cell.difference) <= band + 1e-9:
        return "reproduced"
    return "higher" if cell.difference > 0 else "lower"


def wide(cells, value="recorded"):
    """Return the cells of a table as a frame rows x columns, in the table's order, without what is empty."""
    rows, columns = cells.columns[:2]
    found = cells.dropna(subset=[value])
    found = found.pivot(index=rows, columns=columns, values=value)
    return found.reindex(index=[r for r in cells[rows].unique() if r in found.index],
                         columns=[c for c in cells[columns].unique() if c in found.columns])  # fmt: skip


def differences(by_class):
    """Return mean differences row - column and corrected p-values, two frames, for a frame classes x methods.

    Classes are paired: Wilcoxon's signed-rank test for each pair of methods, then Benjamini and Hochberg's correction
    for the rate of false discoveries. With ten classes no p-value is below 2 / 2^10 = 0.00195, whatever the lead.
    """
    names = list(by_class.columns)
    mean = pd.DataFrame({b: {a: (by_class[a] - by_class[b]).mean() for a in names} for b in names}).loc[names, names]
    pairs = list(combinations(names, 2))
    differ = {(a, b): (by_class[a] != by_class[b]).any() for a, b in pairs}
    ps = [stats.wilcoxon(by_class[a], by_class[b]).pvalue if differ[a, b] else 1.0 for a, b in pairs]
    p_value = pd.DataFrame(1.0, names, names)
    for (a, b), q in zip(pairs, stats.false_discovery_control(ps) if ps else []):
        p_value.loc[a, b] = p_value.loc[b, a] = q
    return mean, p_value


def time_ratios(lines, to):
    """Return {method: median training time over that of the method `to`}, of a frame's or a printed table's lines."""
    seconds = lines[lines.metric == "seconds"].groupby("method", sort=False)["value"].median()
    return (seconds / seconds[to]).to_dict() if to in seconds else {}


# -- inside --------------------------------------------------------------------------------------------------------


def _training(record):
    losses = record["losses"]
    return {"seconds": record["provenance"]["seconds"]} | ({"last_loss": losses[-1][0]} if losses else {})


def span(values):
    """Return "3", or "3 to 5", for the least and the largest of whole numbers."""
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _scalar(value):
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _printed_cells(printed, rows, columns, fixed):
    names = [rows, columns, "paper", "unit", "digits", "quoted"]
    if printed is None:
        return pd.DataFrame(columns=names)
    cells = chosen(printed, **{name: value for name, value in fixed.items() if name in printed})
    quoted = cells.note.str.startswith("quoted")
    cells = cells.assign(quoted=quoted).rename(columns={"value": "paper"})[names]
    if columns not in CLASSES or "mean" in set(cells[columns]) or cells.empty:
        return cells
    whole = cells.groupby(rows, sort=False).filter(lambda group: set(group[columns]) == set(cells[columns]))
    facts = {"paper": ("paper", "mean"), "unit": ("unit", "first"), "digits": ("digits", "min"),
             "quoted": ("quoted", "any")}  # fmt: skip
    means = whole.groupby(rows, sort=False).agg(**facts)
    return pd.concat([cells, means.reset_index().assign(**{columns: "mean"})], ignore_index=True)


def _own_cells(lines, rows, columns, fixed, stand_in, unit, known):
    """One line a cell: value (mean over seeds), sd, n, epochs, paper_epochs, precision, other_data."""
    names = [rows, columns, "value", "sd", "n", "epochs", "paper_epochs", "precision", "other_data"]
    if lines is None or lines.empty:
        return pd.DataFrame(columns=names)
    over = columns if columns in CLASSES else next((name for name in CLASSES if fixed.get(name) == "mean"), None)
    data = {"dataset": fixed["dataset"]} if "dataset" in fixed else {}
    lines = chosen(lines, **{name: value for name, value in fixed.items() if name not in (over, "dataset")})
    lines = chosen(standing_in(lines, stand_in, over), **data)
    about = {rows, columns, *fixed}
    lines = lines[[set(labels.split()) <= about for labels in lines.labels]]
    if over in lines:
        every = (known or set()) - {"mean"} if over == columns else set()
        sets = lines.groupby(["dataset", "other_data"])
        means = [_means(part, over, every or set(part[over].dropna())) for _, part in sets]
        lines = pd.concat([lines, *means], ignore_index=True)
    lines = chosen(lines, **({over: "mean"} if over in fixed else {}))
    if known is not None and columns in lines:
        lines = lines[lines[columns].isin(known)]
    groups = lines.groupby([rows, columns], sort=False) if columns in lines else []
    cells = pd.DataFrame([_cell(group, rows, columns) for _, group in groups], columns=names)
    scale = 100 if unit == "%" else 1
    return cells.assign(value=scale * cells.value, sd=scale * cells.sd)


def _cell(group, rows, columns):
    group = group[group.epochs == group.epochs.max()]
    for name in set(group.columns) - FREE:
        if group[name].nunique() > 1 or group[name].isna().nunique() > 1:  # None is a setting, too
            listed = ", ".join(map(str, group[name].unique()[:5]))
            raise ValueError(f"Runs of {group.method.iloc[0]} differ in {name} ({listed}), so they cannot be averaged: "
                             "name one of these.")  # fmt: skip
    seeds = metrics.summary(group.groupby("seed")["value"].mean())
    first = group.iloc[0][[rows, columns, "epochs", "paper_epochs", "other_data"]].to_dict()
    return {**first, "value": seeds["mean"], "sd": np.nan if seeds["sd"] is None else seeds["sd"], "n": seeds["n"],
            "precision": " and ".join(sorted(group.precision.unique()))}  # fmt: skip


def _means(lines, over, every):
    """The mean over all classes, as class "mean", within a run that has several classes, else over runs of a seed."""
    if over == "category" and "categories" in lines:  # runs of one product each belong together
        lines = lines.assign(categories=lines.categories.where(lines.categories != lines.category, "each alone"))
    by = [c for c in lines.columns if c not in (FREE - {"seed", "other_data"}) | {over}]
    groups = lines[lines[over].isin(every)].groupby(by, sort=False, dropna=False)
    means = [{**group.iloc[0], over: "mean", "value": group.value.mean(), "run": "", "record": None,
              "precision": " and ".join(sorted(group.precision.unique())),
              "paper_epochs": group.paper_epochs.astype(float).max()}
             for _, group in groups if set(group[over]) >= every]  # fmt: skip
    return pd.DataFrame(means, columns=lines.columns)
