"""Every method of the papers on every benchmark that several chapters share, from data/runs and data/paper alone.

    board = scoreboard.cells()
    scoreboard.show(board, "AUROC in %.")

A benchmark is a data set with a protocol: what counts as normal, and what lies in the training data. A cell has the
recorded AUROC, the printed one and a verdict, as `results.table` makes them, and the runs that it is the mean of.
"""

import functools
import html
from statistics import median

import itables
import pandas as pd
from IPython.display import HTML

from . import chapter, fidelity, prediction, records, results, tables

MNIST, PRODUCTS, LEAVES = "mnist", "MVTec AD", "PlantVillage all crops, color"
TITLES = {MNIST: "MNIST", "cifar10": "CIFAR-10", "cifar10_jpeg": "CIFAR-10 through JPEG"}  # others have their own names
# light alone tells its good test pictures, so that no score of a whole one says much of defects
DARK = "screw"
# what a column says of its protocol, and where its cells come from: chapter, printed tables, what filters the records
BENCHMARKS = [
    ("the 1 is normal", [
        ("comparing-autoencoders", ["schneider-table-5"],
         dict(dataset=MNIST, normal_class="1", anomalous_class="mean")),
    ]),
    ("one class is normal", [
        ("adversarial-noise", ["alcn-table-2"], dict(dataset=MNIST, protocol="one_normal", normal_class="mean")),
    ]),
    ("one class is anomalous", [
        ("adversarial-noise", ["alcn-table-1"], dict(dataset=MNIST, protocol="one_anomalous", anomalous_class="mean")),
    ]),
    ("a tenth is anomalous, also in training", [
        ("improved-autoencoder", ["iaead-table-2"], dict(dataset=MNIST, ratio=0.1, normal_class="mean")),
    ]),
    ("a tenth is anomalous, also in training", [
        ("improved-autoencoder", ["iaead-table-2"], dict(dataset="cifar10", ratio=0.1, normal_class="mean")),
    ]),
    (f"a model for each product, the {DARK} left out", [
        ("adversarial-noise", ["alcn-table-3"], dict(dataset=PRODUCTS, category="mean")),
        ("pseudo-anomalies", ["algan-table-1", "algan-table-2"], dict(dataset=PRODUCTS, category="mean")),
    ]),
    (f"one model for all products, the {DARK} left out", [
        ("mixer-autoencoder", [], dict(dataset=PRODUCTS, category="mean", rule="held out")),
    ]),
    ("defects", [
        ("pseudo-anomalies", ["algan-table-3"], dict(dataset="MTD, random split", category="mean")),
    ]),
    ("diseases", [
        ("adversarial-noise", ["alcn-table-4"], dict(dataset=LEAVES, category="mean")),
    ]),
]  # fmt: skip
# the plain network that a chapter builds on, to which times are compared
PLAIN = {"comparing-autoencoders": "CAE", "improved-autoencoder": "CAE", "mixer-autoencoder": "baseline",
         "adversarial-noise": "DAE", "pseudo-anomalies": "ALGAN-feature"}  # fmt: skip
# what every chapter runs without training; they stand below what the papers compare
TRIVIAL = ("everything anomalous", "mean intensity", "mean intensity of its product", "distance to mean image",
           "nearest mean image")  # fmt: skip
# parameters that open a chapter without any image set
EMBEDDED = {"comparing-autoencoders": {"dataset": "digits"}, "improved-autoencoder": {"dataset": "digits"},
            "mixer-autoencoder": {"dataset": "parts", "size": 48},
            "adversarial-noise": {"dataset": "digits", "products": "parts"},
            "pseudo-anomalies": {"dataset": "parts"}}  # fmt: skip


def cells():
    """Return the cells of the scoreboard as a frame, a line for a method, a benchmark and a chapter.

    Columns: those of `results.table`, with AUROC in points of a hundred; `benchmark`, "DATA SET: PROTOCOL" with the
    data set of our runs; `chapter`; `runs` as from `runs_of`; `classes` and `of_classes`, how many classes have a run,
    and how many of the benchmark's; `time`, the median training time over that of the chapter's plain network, None
    where no two runs can be compared; `prediction`, the same of the time from a picture to its score, NaN where it was
    not measured; `weights`, how many numbers are trained. `recorded` is NaN where a class has no run.
    """
    lines = {name: fidelity.recorded(name) for name in fidelity.CHAPTERS}
    parts = [_cells(protocol, name, printed, fixed, lines[name])
             for protocol, sources in BENCHMARKS for name, printed, fixed in sources]  # fmt: skip
    board = pd.concat(parts, ignore_index=True)
    ratios = prediction.ratios(prediction.read()["times"], PLAIN)
    ratios = [ratios.get(key) for key in zip(board.chapter, board.method)]
    return board.assign(weights=_weights(board), prediction=pd.Series(ratios, dtype=float))


def _cells(protocol, name, printed, fixed, lines):
    """The lines of one benchmark in one chapter."""
    over = next(column for column in results.CLASSES if fixed.get(column) == "mean")
    lines = lines[lines[over] != DARK] if fixed["dataset"] == PRODUCTS else lines
    stand_in = results.stand_ins(lines)
    printed = pd.concat(map(results.paper, printed)) if printed else None
    if printed is not None:  # a method that several tables print is taken from the first
        printed = printed.drop_duplicates([c for c in ("dataset", "method", "metric", over, "ratio") if c in printed])
    by_class = printed is None or (over in printed and "mean" not in set(printed[over]))
    columns = over if by_class else "dataset"
    found = results.table(columns, "auroc", printed=printed, recorded=lines, stand_in=stand_in,
                          **{column: value for column, value in fixed.items() if column != columns})  # fmt: skip
    found = results.chosen(found, **{columns: fixed[columns]})
    points = found.unit.map(lambda unit: 1 if unit == "%" else 100)
    runs = runs_of(lines, over, stand_in, **fixed)
    data = {run["config"]["protocol"]["dataset"] for run in runs.record}
    ours = [*data][0] if len(data) == 1 else fixed["dataset"]
    if len(data) > 1:  # the head is the paper's set, so rows that have no verdict say it, too
        found["verdict"] = found.verdict.where(found.paper.notna() | ~found.other_data.astype(bool), "other data")
    own = [_behind(cell, runs[runs.method == cell.method]) for cell in found.itertuples()]
    plain = runs[runs.method == PLAIN[name]]
    in_points = {column: found[column].astype(float) * points for column in ("paper", "recorded", "sd", "difference")}
    return found.assign(
        **in_points, benchmark=f"{TITLES.get(ours, ours)}: {protocol}", chapter=name, runs=own,
        classes=[_number_of_classes(part) for part in own], of_classes=_number_of_classes(runs),
        time=[time_ratio(part, plain) for part in own],
    )  # fmt: skip


def _behind(cell, runs):
    """The runs of a method that a cell is made of: those as long as it says, or without a mean the longest."""
    return runs[runs.epochs == (runs.epochs.max() if pd.isna(cell.recorded) else cell.epochs)]


def _number_of_classes(runs):
    return len(set().union(*runs.classes))


def runs_of(lines, over, stand_in, **fixed):
    """Return the runs of each method that have the classes of the column `over`, a line a run.

    `stand_in` as in `results.standing_in`. Columns: method, run, record, classes (a list), auroc (their mean), seed,
    epochs, paper_epochs, precision, device, seconds, load.
    """
    about = {over, *fixed}
    alike = {column: value for column, value in fixed.items() if column not in (over, "dataset")}
    lines = results.chosen(lines, metric="auroc", variant="", **alike)
    lines = results.chosen(results.standing_in(lines, stand_in, over), dataset=fixed["dataset"])
    lines = lines[[set(labels.split()) <= about for labels in lines.labels]].dropna(subset=[over])
    rows = [{"method": method, "run": run, "record": part.record.iloc[0], "classes": sorted(part[over]),
             "auroc": part.value.mean(), "paper_epochs": float(part.paper_epochs.iloc[0] or "nan"),
             **{name: part[name].iloc[0] for name in ("seed", "epochs", "precision")},
             **{name: part.record.iloc[0]["provenance"].get(name) for name in ("device", "seconds", "load")}}
            for (method, run), part in lines.groupby(["method", "run"], sort=False)]  # fmt: skip
    columns = "method run record classes auroc seed epochs paper_epochs precision device seconds load".split()
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values(["method", "classes", "seed"], key=lambda c: c.map(str), kind="stable")


def time_ratio(runs, plain):
    """Return the median of the training times of runs over those of a plain network; None where none can be compared.

    Compared are runs with the same classes, seed, epochs, precision and device, and as much other work beside them: a
    load that differs by less than half, where it was recorded.
    """
    alike = ["classes", "seed", "epochs", "precision", "device"]
    runs, plain = (part.assign(classes=part.classes.map(str)) for part in (runs, plain))
    pairs = runs.merge(plain[[*alike, "seconds", "load"]], on=alike, suffixes=("", "_plain"))
    load = (pairs.load.astype(float) / pairs.load_plain.astype(float)).fillna(1)
    pairs = pairs[(pairs.epochs > 0) & load.between(2 / 3, 3 / 2)]
    return median(pairs.seconds / pairs.seconds_plain) if len(pairs) else None


@functools.cache
def jobs_of(name):
    """Return {method: a job} of a chapter's runs that are no variants; needs no image set."""
    opened = chapter.opened(name, {"tier": "paper", **EMBEDDED[name]})
    return {job.method: job for job in opened["jobs"](opened["p"]) if not job.variant}


def _weights(board):
    """How many weights each cell's method trains, from the settings of its first run; None without a run."""
    jobs = {name: jobs_of(name) for name in board.chapter.unique()}
    counts = []
    for cell in board.itertuples():
        job = jobs[cell.chapter].get(cell.method) if len(cell.runs) else None
        method = job.make(**cell.runs.record.iloc[0]["config"]["settings"]) if job else None
        counts.append(sum(weight.numel() for weight in method.parameters()) if method else None)
    return counts


# -- the page ------------------------------------------------------------------------------------------------------

SORT = """function (data, type) {
    if (type === "display") return data;
    if (type === "filter") return data.replace(/<[^>]*>/g, " ");
    const number = /data-sort='([^']*)'/.exec(data);
    return number ? Number(number[1]) : -1;
}"""  # DataTables asks for a cell several times: to show it, to search it, to sort by it


def show(board, caption):
    """Return the scoreboard as HTML: a row a method; heads sort, a field filters, each cell opens its runs.

    `itables.init_notebook_mode` must have run before; it brings the scripts along, so the page asks no other host.
    """
    texts, panels = {}, []
    for key, group in board.groupby(["method", "benchmark"], sort=False):
        for cell in _worth_showing(group):
            texts[key] = texts.get(key, "") + _cell(cell)
            panels += [_panel(cell)] if cell.classes else []
    frame = pd.DataFrame([
        {"Method": f"{html.escape(method)}<br><small>{_chapters(group)}</small>",
         **{_head(benchmark): texts.get((method, benchmark), "") for benchmark in board.benchmark.unique()},
         "Weights": _weight_text(group.weights.dropna()), "Training time": _time_text(group, "time"),
         "Prediction time": _time_text(group, "prediction")}
        for method, group in _in_order(board)])  # fmt: skip
    table = itables.to_html_datatable(
        frame, caption, table_id="every-method", classes="scoreboard", style="width:100%", allow_html=True,
        paging=False, maxBytes=0, showIndex=False, text_in_header_can_be_selected=False,
        display_logo_when_loading=False,
        layout={"topStart": "search", "topEnd": "info", "bottomStart": None, "bottomEnd": None},
        language={"search": "Filter:", "info": "_TOTAL_ methods", "infoFiltered": "of _MAX_",
                  "infoEmpty": "no method", "zeroRecords": "No row has these words."},
        columnDefs=[{"targets": list(range(1, frame.shape[1])), "render": itables.JavascriptFunction(SORT),
                     "orderSequence": ["desc", "asc", ""]}],
    )  # fmt: skip
    return HTML(f"<div class='scoreboard-box'>{table}{''.join(panels)}</div>")


def _head(benchmark):
    data, protocol = benchmark.split(": ")
    return f"{data}<br><small>{protocol}</small>"


def _in_order(board):
    """(method, its cells) in the order of the chapters; last the detectors that learn next to nothing."""
    groups = list(board.groupby("method", sort=False))
    first = {method: min(map(fidelity.CHAPTERS.index, group.chapter)) for method, group in groups}
    return sorted(groups, key=lambda pair: (pair[0] in TRIVIAL, first[pair[0]]))


def _worth_showing(group):
    """The cells of a method on a benchmark: those with runs, each number once; without any, the first printed."""
    ran = group[group.classes > 0]
    return (ran.drop_duplicates(["recorded", "classes"]) if len(ran) else group.head(1)).itertuples()


def _cell(cell):
    """What was recorded, as a button that opens its runs; what was printed; how the two compare."""
    number, lines = f"{cell.recorded:.4f}", []
    if cell.classes:
        spread = f" <small>± {cell.sd:.1f}</small>" if pd.notna(cell.sd) else ""
        text = f"{cell.classes} of {cell.of_classes} classes" if pd.isna(cell.recorded) else (
            f"<b>{cell.recorded:.1f}</b>{spread}")  # fmt: skip
        lines.append(f"<button type='button' popovertarget='{_id(cell)}' title='{_made(cell)}'>{text}</button>")
    lines += [f"paper {cell.paper:.1f}"] if pd.notna(cell.paper) else []
    if cell.verdict and not (cell.classes and pd.isna(cell.recorded)):
        same = cell.verdict not in ("not run", "other data", "quoted")
        gap = f"<span>{cell.difference:+z.1f}</span> ".replace("-", "−") if same else ""
        mark = f"{tables.mark(cell.verdict)} {cell.verdict}"
        lines.append(f"{gap}<span class='{tables.kind(cell.verdict)}'>{mark}</span>")
    return f"<div data-sort='{number if pd.notna(cell.recorded) else -1}'>{'<br>'.join(lines)}</div>"


def _panel(cell):
    """The runs of a cell, a line a run with the way to its record, in a box that the cell's button opens."""
    rows = [f"<tr><td><a href='{_record(cell.chapter, run.record)}'>record</a></td>"
            f"<td>{html.escape(_classes(run.classes))}</td><td>{run.seed}</td><td>{run.epochs}</td>"
            f"<td>{100 * run.auroc:.1f}</td><td>{run.seconds:,.1f}</td><td>{html.escape(run.device)}</td>"
            f"<td>{run.record['provenance']['date'][:10]}</td></tr>" for run in cell.runs.itertuples()]  # fmt: skip
    head = "".join(f"<th scope='col'>{name}</th>" for name in (
        "run", "class", "seed", "epochs", "AUROC in %", "seconds", "device", "date"))  # fmt: skip
    return (f"<div popover id='{_id(cell)}' class='runs' role='dialog' aria-label='Runs of {html.escape(cell.method)}'>"
            f"<p><b>{html.escape(cell.method)}</b>, {cell.benchmark}, from the chapter on {_name(cell.chapter)}: "
            f"{_made(cell)}.</p><div class='results-scroll' tabindex='0'><table class='results'>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
            f"<button type='button' popovertarget='{_id(cell)}' popovertargetaction='hide'>Close</button></div>")


def _made(cell):
    """How the runs of a cell were made, in words: seeds, epochs, classes, data."""
    words = [results.extent(cell.runs.assign(category=cell.runs.classes.map(str))) if cell.epochs != 0 else
             "no training"]  # fmt: skip
    words += [f"{cell.classes} of {cell.of_classes} classes"] if pd.isna(cell.recorded) else []
    words += [f"on {cell.runs.record.iloc[0]['config']['protocol']['dataset']}"]
    return html.escape(", ".join(words))


def _id(cell):
    return f"runs-{cell.Index}"


def _record(name, record):
    """The way from a notebook, or its page, to the file of a record."""
    return f"../data/runs/{name}/{records.path_of(record['config'], '').name}"


def _classes(names):
    return str(names[0]) if len(names) == 1 else f"mean of {len(names)}"


def _name(name):
    return name.replace("-", " ")


def _chapters(group):
    return ", ".join(dict.fromkeys(map(_name, group.chapter)))


def _weight_text(counts):
    """The number of weights in thousands or millions, the least and the most of a method's cells."""
    if counts.empty:
        return ""
    texts = [f"{n / 1e6:.1f} M" if n >= 1e6 else f"{n / 1e3:.0f} k" if n else "0" for n in (counts.min(), counts.max())]
    return f"<div data-sort='{counts.max()}'>{' to '.join(dict.fromkeys(texts))}</div>"


def _time_text(group, column):
    """The median over benchmarks of a method's times, as a multiple of each chapter's plain network."""
    times = group.dropna(subset=[column]).groupby("chapter", sort=False)[column].median()
    texts = {f"{time:.1f} × {PLAIN[name]}" if time >= 0.1 else f"{time:.1g} × {PLAIN[name]}": time
             for name, time in times.items()}  # fmt: skip
    return "".join(f"<div data-sort='{time}'>{text}</div>" for text, time in texts.items())
