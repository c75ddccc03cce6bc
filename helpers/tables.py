"""The cells of a results table as HTML: a block a row, with paper, recorded, difference and this run."""

import html

import pandas as pd
from IPython.display import HTML

from .results import span

MARKS = {"reproduced": "✓", "higher": "▲", "lower": "▼", "not run": "–", "quoted": "❝", "other data": "≠",
         "one seed": "①"}  # fmt: skip
NAMES = {"auroc": "AUROC", "aupr": "AUPR", "aupr_in": "AUPR-in", "aupr_out": "AUPR-out", "aupro": "AUPRO", "f1": "F1",
         "oracle_f1": "oracle F1", "balanced_f1": "balanced F1", "balanced_accuracy": "balanced accuracy",
         "auroc_within": "AUROC within a category", "mean": "mean"}  # fmt: skip
QUOTED = f" <span class='quoted' title='quoted'>{MARKS['quoted']}</span>"


def show(cells, caption, digits=None, corner="", not_run=None):
    """Return the HTML of a table that `results.table` made, a block a row: paper, recorded, difference, this run.

    Lines without a number are left out. `digits` are decimals, by default 1 for per cent and 3 else. `not_run` is the
    command that would run what is missing; the caption names it where a cell is not run.
    """
    if cells.empty:
        command = f": <code>{html.escape(not_run)}</code>" if not_run else ""
        return HTML(f"<table class='results'><caption>{caption} Not run{command}.</caption></table>")
    rows, columns = cells.columns[:2]
    digits = digits if digits is not None else (1 if (cells.unit == "%").any() else 3)
    order = list(cells[columns].unique())
    head = "".join(f"<th scope='col'>{_name(c)}</th>" for c in order)
    groups = cells.set_index(columns).groupby(rows, sort=False)
    body = "".join(_block(name, group, order, digits) for name, group in groups)
    caption = f"{caption} {_legend(cells, not_run)}"
    return HTML(f"<div class='results-scroll' tabindex='0'><table class='results'><caption>{caption}</caption>"
                f"<thead><tr><th>{html.escape(corner or _name(rows))}</th><th></th>{head}</tr></thead>"
                f"<tbody>{body}</tbody></table></div>")  # fmt: skip


def _block(name, cells, order, digits):
    """The lines of one row of the table; a row with a single line has its name and the line's in one cell."""
    cells = cells.reindex(order)
    texts = {
        "paper": [_number(v, digits) + (QUOTED if q == 1 else "") for v, q in zip(cells.paper, cells.quoted)],
        f"recorded{_about(cells)}": [_number(v, digits, sd) for v, sd in zip(cells.recorded, cells.sd)],
        "difference": [_difference(cell, digits) for cell in cells.itertuples()],
        "this run": [_number(v, digits) for v in cells.this_run],
    }
    texts = {line: values for line, values in texts.items() if any(values)}
    result = []
    for k, (line, values) in enumerate(texts.items()):
        head = f"<th scope='row'>{line}</th>"
        if len(texts) == 1:
            head = f"<th scope='row' colspan='2'><b>{html.escape(str(name))}</b> {line}</th>"
        elif k == 0:
            head = f"<th scope='rowgroup' rowspan='{len(texts)}'>{html.escape(str(name))}</th>{head}"
        cells_ = "".join(f"<td>{value}</td>" for value in values)
        result.append(f"<tr class='{line.split()[0]}{' first' if k == 0 else ''}'>{head}{cells_}</tr>")
    return "".join(result)


def _number(value, digits, sd=None):
    if pd.isna(value):
        return ""
    spread = "" if sd is None or pd.isna(sd) else f"<span class='sd'> ± {sd:.{digits}f}</span>"
    return f"{value:.{digits}f}{spread}"


def _difference(cell, digits):
    if not isinstance(cell.verdict, str) or not cell.verdict:
        return ""
    sign = f"<span class='{kind(cell.verdict)}' title='{cell.verdict}'>{mark(cell.verdict)}</span>"
    return sign if cell.verdict == "not run" else f"{cell.difference:+z.{digits}f} {sign}"  # z: no negative zero


def mark(verdict):
    return MARKS.get(verdict, "◔")  # else it is "20 of 250 epochs"


def kind(verdict):
    return verdict.replace(" ", "-") if verdict in MARKS else "shorter"


def _about(cells):
    """What to say of a row's recorded runs: seeds, epochs where they are fewer than the paper's, other data."""
    found = cells.dropna(subset=["recorded"])
    if found.empty:
        return ""
    words = [f"n = {span(found.n)}"] if found.epochs.max() > 0 else []  # without training there is no luck
    shorter = found[found.epochs < found.paper_epochs.fillna(0).astype(float)]
    if len(shorter):
        words.append(f"{span(shorter.epochs)} of {span(shorter.paper_epochs)} epochs"
                     + ("" if len(shorter) == len(found) else f" in {len(shorter)} of {len(found)} cells"))  # fmt: skip
    words += [other for other in found.other_data.unique() if other]
    return html.escape(f" ({'; '.join(words)})") if words else ""


def _legend(cells, not_run):
    used = [v for v in dict.fromkeys([*cells.verdict, "quoted" if cells.quoted.any() else ""]) if v]
    marks = [f"{MARKS[v]} {v}{' from another paper' if v == 'quoted' else ''}" for v in MARKS if v in used]
    marks += ["◔ fewer epochs than the paper"] if any(v not in MARKS for v in used) else []
    command = f" Not run: <code>{html.escape(not_run)}</code>." if not_run and "not run" in used else ""
    return (("; ".join(marks) + ".") if marks else "") + command


def _name(name):
    if isinstance(name, float):
        return f"{name:g}"
    return html.escape(NAMES.get(name, str(name).replace("_", " ")))
