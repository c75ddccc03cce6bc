"""Paper value | recorded value | difference | verdict | this run."""

import html

import pandas as pd

from . import metrics, runs

PAPER = runs.ROOT / "data" / "paper"
MARKS = {"reproduced": "✓", "higher": "▲", "lower": "▼", "not run": "–"}
TOLERANCE = 0.01  # a difference of one point is called reproduced, also without seeds to tell the spread


def paper(name):
    """Return the printed numbers of one table, e.g. "schneider-table-5": columns row, column, value, sd, note.

    Row and column are the table's own labels. `sd` is NaN where none is printed.
    """
    table = pd.read_csv(PAPER / f"{name}.csv", dtype={"printed": str, "note": str}, keep_default_na=False,
                        na_values={"value": "", "sd": ""})  # fmt: skip
    labels = table["printed"].str.split(" | ", regex=False, expand=True).set_axis(["row", "column"], axis=1)
    return pd.concat([labels, table[["value", "sd", "note"]]], axis=1)


def compare(printed, recorded, here=None, tolerance=TOLERANCE):
    """Return one tidy frame with a line for every cell that the paper, the records or this run have.

    `printed` has columns row, column, value. `recorded` and `here` have row, column, value and one line a run.
    Columns of the result: row, column, paper, recorded (mean), sd, n, difference (recorded - paper), verdict, here.
    The verdict is "reproduced" where the difference is at most `tolerance` or two standard deviations of the
    recorded runs, else "higher" or "lower"; "not run" without a record; "" where the paper has no number.
    """
    names = ["row", "column"]
    cells = printed[[*names, "value"]].rename(columns={"value": "paper"})
    stats = _summary(recorded).rename(columns={"mean": "recorded"})
    this = _summary(here)[[*names, "mean"]].rename(columns={"mean": "here"})
    table = cells.merge(stats, on=names, how="outer", sort=False).merge(this, on=names, how="outer", sort=False)
    table["difference"] = table["recorded"] - table["paper"]
    table["verdict"] = [_verdict(cell, tolerance) for cell in table.itertuples()]
    return table[[*names, "paper", "recorded", "sd", "n", "difference", "verdict", "here"]]


def show(table, methods, columns, caption, digits=3, corner="", here="this run", notes=None):
    """Return HTML in which every method is a block of lines (paper, recorded, difference, this run).

    `table` is a frame of `compare` whose `column` is the method; `methods` and `columns` give the order of the
    blocks and of the table's columns, which are the frame's rows. A method without a paper value has one line.
    `notes` maps a method to words about its recorded runs, such as "40 of 250 epochs".
    """
    cells = {(cell.column, cell.row): cell for cell in table.itertuples()}
    counts = {m: sorted({int(c.n) for (name, _), c in cells.items() if name == m and c.n == c.n and c.n})
              for m in methods}  # fmt: skip
    head = "".join(f"<th scope='col'>{html.escape(str(c))}</th>" for c in columns)
    body = []
    for method in methods:
        mine = [cells.get((method, c)) for c in columns]
        about = _about(counts[method], (notes or {}).get(method))
        lines = {
            "paper": [_number(c and c.paper, digits) for c in mine],
            f"recorded{about}": [_number(c and c.recorded, digits, c and c.sd) for c in mine],
            "difference": [_difference(c, digits) for c in mine],
            here: [_number(c and c.here, digits) for c in mine],
        }
        lines = {name: values for name, values in lines.items() if any(values)}
        for k, (name, values) in enumerate(lines.items()):
            head_cells = f"<th scope='row'>{name}</th>"
            if len(lines) == 1:
                head_cells = f"<th scope='row' colspan='2'><b>{html.escape(method)}</b> {name}</th>"
            elif k == 0:
                head_cells = f"<th scope='rowgroup' rowspan='{len(lines)}'>{html.escape(method)}</th>" + head_cells
            line = "".join(f"<td>{value}</td>" for value in values)
            kind = f"{name.split()[0]}{' first' if k == 0 else ''}"
            body.append(f"<tr class='{kind}'>{head_cells}{line}</tr>")
    legend = "; ".join(f"{mark} {name}" for name, mark in MARKS.items())
    return (f"<div class='results-scroll'><table class='results'><caption>{caption} {legend}.</caption>"
            f"<thead><tr><th>{html.escape(corner)}</th><th></th>{head}</tr></thead>"
            f"<tbody>{''.join(body)}</tbody></table></div>")  # fmt: skip


def _summary(lines):
    if lines is None or len(lines) == 0:
        return pd.DataFrame(columns=["row", "column", "mean", "sd", "n"])
    groups = lines.groupby(["row", "column"], sort=False)["value"]
    return pd.DataFrame([{"row": row, "column": column, **metrics.summary(values)} for (row, column), values in groups])


def _verdict(cell, tolerance):
    if pd.isna(cell.paper):
        return ""
    if pd.isna(cell.recorded):
        return "not run"
    band = max(tolerance, 0 if pd.isna(cell.sd) else 2 * cell.sd)
    if abs(cell.difference) <= band + 1e-12:
        return "reproduced"
    return "higher" if cell.difference > 0 else "lower"


def _number(value, digits, sd=None):
    if value is None or pd.isna(value):
        return ""
    spread = "" if sd is None or pd.isna(sd) else f"<span class='sd'> ± {sd:.{digits}f}</span>"
    return f"{value:.{digits}f}{spread}"


def _difference(cell, digits):
    if cell is None or not cell.verdict:
        return ""
    mark = f"<span class='{cell.verdict.replace(' ', '-')}' title='{cell.verdict}'>{MARKS[cell.verdict]}</span>"
    rounded = round(cell.difference, digits) + 0.0  # + 0.0: a negative zero would read "-0.000"
    return mark if cell.verdict == "not run" else f"{rounded:+.{digits}f} {mark}"


def _about(counts, note):
    words = [f"n = {'–'.join(map(str, (counts[:1] + counts[1:][-1:])))}"] if counts else []
    words += [html.escape(note)] if note and counts else []
    return f" ({'; '.join(words)})" if words else ""
