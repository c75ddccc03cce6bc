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


def threshold(anomalous, scores, name="error"):
    """Return a figure in which a threshold is dragged over the scores; a score at or above it is flagged.

    anomalous bool (N,), scores (N,), higher for a more anomalous image. It starts where 5 % of the normal images are
    flagged. ValueError where all images are of one kind.
    """
    anomalous, scores = np.asarray(anomalous, bool), np.asarray(scores, float)
    area = {"ROC": metrics.auroc(anomalous, scores), "PR": metrics.aupr(anomalous, scores)}
    limits = np.linspace(scores.min(), np.nextafter(scores.max(), np.inf), STEPS)
    counts = confusion(anomalous, scores, limits)
    rates = shares(counts)
    start = int(np.argmin(abs(rates["false_alarms"] - 0.05)))
    moving = {"line": (limits, 0), "roc": (rates["false_alarms"], rates["recall"]),
              "pr": (rates["recall"], np.nan_to_num(rates["precision"], nan=1))}  # fmt: skip
    at_start = {part: [np.broadcast_to(values, STEPS)[start] for values in xy] for part, xy in moving.items()}

    def histogram(ax):
        bins = np.linspace(scores.min(), scores.max(), 41)
        for kind, title in ((False, "normal"), (True, "anomalous")):
            some = scores[anomalous == kind]
            ax.hist(some, bins, weights=np.full(len(some), 100 / len(some)), alpha=0.6, label=f"{title} ({len(some)})")
        ax.axvline(limits[start], color="black", lw=1.5, gid="move line", clip_on=False)
        ax.set(xlabel=name, ylabel="% of each kind")
        ax.legend()

    def curve(ax, part, title, x, y, line):
        ax.plot(*line, color="C2", drawstyle="steps-pre" if part == "pr" else "default")
        ax.plot(*[[value] for value in at_start[part]], "o", color="black", gid=f"move {part}", clip_on=False)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y, title=title)

    false_alarms, recall, _ = sk.roc_curve(anomalous, scores)
    precision, found, _ = sk.precision_recall_curve(anomalous, scores)
    panels = {
        "line": panel(histogram),
        "roc": panel(lambda ax: curve(ax, "roc", f"ROC, area {area['ROC']:.3f}", "false alarms", "recall",
                                      (false_alarms, recall))),
        "pr": panel(lambda ax: curve(ax, "pr", f"PR, average precision {area['PR']:.3f}", "recall", "precision",
                                     (found[::-1], precision[::-1])))}  # fmt: skip
    words = {"line": f"Histogram of the {name} of {(~anomalous).sum()} normal and {anomalous.sum()} anomalous images, "
                     "and the threshold as a line.",
             "roc": f"The ROC curve, area {area['ROC']:.3f}, and the point of the threshold on it.",
             "pr": f"The precision-recall curve, average precision {area['PR']:.3f}, and the point of the "
                   "threshold."}  # fmt: skip
    drawn = "".join(f'<div class="play-panel" data-drag="{part}">{svg(figure, words[part])}</div>'
                    for part, figure in panels.items())
    texts = {kind: [f"{n}" for n in row] for kind, row in counts.items()}
    texts |= {kind: ["–" if np.isnan(rate) else f"{rate:.3f}" for rate in row] for kind, row in rates.items()}
    texts["value"] = [f"{limit:.4f}" for limit in limits]
    spoken = [f"{limit:.4f}: {tp} of {tp + fn} anomalous and {fp} of {fp + tn} normal images are flagged"
              for limit, tn, fp, fn, tp in zip(limits, *counts.values())]
    facts = {"moves": {part: places(panels[part], *xy).tolist() for part, xy in moving.items()}, "texts": texts,
             "spoken": spoken, "start": start}  # fmt: skip
    body = (f'{slider(f"Threshold on the {name}", STEPS, start)}<div class="play-panels">{drawn}</div>'
            f'<div class="play-numbers">{TABLE}</div>')
    title = f"A threshold on the {name}, to drag"
    return Playable(page(title, body, SCRIPT, facts), png(panels.values()), f"{title}. At {spoken[start]}.")


def confusion(anomalous, scores, limits):
    """Return {"tn", "fp", "fn", "tp"}, each int (K,): how many of the images the decisions scores >= limit get right.

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
