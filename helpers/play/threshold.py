"""A threshold to drag over the histogram of scores: confusion matrix, and the points on both curves, move along."""

import numpy as np
from sklearn import metrics as sk

from .. import metrics
from .figure import SCRIPT, Playable, page, panel, places, png, slider, svg

STEPS = 201
TABLE = """<table class="play-table">
<thead><tr><td></td><th scope="col">left alone</th><th scope="col">flagged</th></tr></thead>
<tbody><tr><th scope="row">normal</th><td data-text="tn"></td><td data-text="fp"></td></tr>
<tr><th scope="row">anomalous</th><td data-text="fn"></td><td data-text="tp"></td></tr></tbody></table>
<p>Recall <b data-text="recall"></b>, false alarms <b data-text="false_alarms"></b>,
precision <b data-text="precision"></b>, F1 <b data-text="f1"></b>.</p>"""


def threshold(anomalous, scores, name="error", first=None):
    """Return a figure in which a threshold is dragged over the scores; a score at or above it is flagged.

    anomalous bool (N,), scores (N,), higher for a more anomalous image. It starts at `first`, or where 5 % of the
    normal images are flagged. ValueError where all images are of one kind.
    """
    anomalous, scores = np.asarray(anomalous, bool), np.asarray(scores, float)
    areas = metrics.areas(anomalous, scores)
    limits = np.linspace(scores.min(), np.nextafter(scores.max(), np.inf), STEPS)
    if first is not None:
        limits[np.argmin(abs(limits - first))] = first
    counts = confusion(anomalous, scores, limits)
    rates = shares(counts)
    start = int(np.argmin(abs(rates["false_alarms"] - 0.05) if first is None else abs(limits - first)))
    moving = {"line": (limits, np.zeros(STEPS)), "roc": (rates["false_alarms"], rates["recall"]),
              "pr": (rates["recall"], np.nan_to_num(rates["precision"], nan=1))}  # fmt: skip
    points = {part: (x[start], y[start]) for part, (x, y) in moving.items()}
    drawn = _panels(anomalous, scores, name, areas, points)
    spoken = [f"{limit:.4f}: {tp} of {tp + fn} anomalous and {fp} of {fp + tn} normal images are flagged"
              for limit, tn, fp, fn, tp in zip(limits, *counts.values())]
    texts = {kind: [f"{n}" for n in row] for kind, row in counts.items()}
    texts |= {kind: ["–" if np.isnan(rate) else f"{rate:.3f}" for rate in row] for kind, row in rates.items()}
    texts["value"] = [f"{limit:.4f}" for limit in limits]
    facts = {"moves": {part: places(drawn[part][0], *xy).tolist() for part, xy in moving.items()}, "texts": texts,
             "spoken": spoken, "start": start}  # fmt: skip
    panels = "".join(f'<div class="play-panel" data-drag="{part}">{svg(figure, words)}</div>'
                     for part, (figure, words) in drawn.items())
    body = (f'{slider(f"Threshold on the {name}", STEPS, start)}<div class="play-panels">{panels}</div>'
            f'<div class="play-numbers">{TABLE}</div>')
    title = f"A threshold on the {name}, to drag"
    still = png([figure for figure, _ in drawn.values()])
    return Playable(page(title, body, SCRIPT, facts), still, f"{title}. At {spoken[start]}.")


def _panels(anomalous, scores, name, areas, points):
    """The histogram and both curves, each with its point (x, y) of `points`: {part: (figure, what it shows)}."""
    auroc, aupr = areas["auroc"], areas["aupr"]
    false_alarms, recall, _ = sk.roc_curve(anomalous, scores)
    precision, found, _ = sk.precision_recall_curve(anomalous, scores)

    def histogram(ax):
        bins = np.linspace(scores.min(), scores.max(), 41)
        for kind, title in ((False, "normal"), (True, "anomalous")):
            some = scores[anomalous == kind]
            ax.hist(some, bins, weights=np.full(len(some), 100 / len(some)), alpha=0.6, label=f"{title} ({len(some)})")
        ax.axvline(points["line"][0], color="black", lw=1.5, gid="move line", clip_on=False)
        ax.set(xlabel=name, ylabel="% of each kind")
        ax.legend()

    def roc(ax):
        ax.plot(false_alarms, recall, color="C2")
        point(ax, "roc", xlabel="false alarms", ylabel="recall", title=f"ROC, area {auroc:.3f}")

    def pr(ax):
        ax.plot(found[::-1], precision[::-1], color="C2", drawstyle="steps-pre")  # average precision is below the steps
        point(ax, "pr", xlabel="recall", ylabel="precision", title=f"PR, average precision {aupr:.3f}")

    def point(ax, part, **names):
        ax.plot(*points[part], "o", color="black", gid=f"move {part}", clip_on=False)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), **names)

    kinds = f"{(~anomalous).sum()} normal and {anomalous.sum()} anomalous images"
    return {"line": (panel(histogram), f"Histogram of the {name} of {kinds}, and the threshold as a line."),
            "roc": (panel(roc), f"The ROC curve, area {auroc:.3f}, and the point of the threshold on it."),
            "pr": (panel(pr), f"The precision-recall curve, average precision {aupr:.3f}, and the point of the "
                              "threshold.")}  # fmt: skip


def confusion(anomalous, scores, limits):
    """Return {"tn", "fp", "fn", "tp"}, each int (K,): what the decisions scores >= limit make of the images.

    anomalous bool (N,), scores (N,), limits (K,).
    """
    flagged = scores >= limits[:, None]
    cells = {"tn": ~flagged & ~anomalous, "fp": flagged & ~anomalous, "fn": ~flagged & anomalous,
             "tp": flagged & anomalous}  # fmt: skip
    return {kind: cell.sum(1) for kind, cell in cells.items()}


def shares(counts):
    """Return recall, false_alarms, precision (NaN where nothing is flagged) and f1, each (K,), of such counts."""
    tn, fp, fn, tp = (counts[kind] for kind in ("tn", "fp", "fn", "tp"))
    flagged = tp + fp
    return {"recall": tp / (tp + fn), "false_alarms": fp / (fp + tn),
            "precision": np.divide(tp, flagged, out=np.full(len(tp), np.nan), where=flagged > 0),
            "f1": 2 * tp / (2 * tp + fp + fn)}  # fmt: skip
