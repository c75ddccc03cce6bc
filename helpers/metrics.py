"""Numbers from scores, through scikit-learn; a score is higher for a more anomalous image."""

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from . import engine


def auroc(anomalous, scores):
    """Return the area under the ROC curve in [0, 1]; anomalous is bool (N,), scores (N,)."""
    return float(sk.roc_auc_score(_both_kinds(anomalous), scores))


def aupr(anomalous, scores, positive="out", rule="average_precision"):
    """Return the area under the precision-recall curve in [0, 1].

    `positive` is "out" (the anomalies are to be found) or "in" (the normal images are, by the negated score).
    `rule` is "average_precision" (a step curve) or "trapezoid" (straight lines, which flatters; IAEAD's tables).
    """
    truth = _both_kinds(anomalous)
    if positive == "in":
        truth, scores = ~truth, -np.asarray(scores)
    if rule == "average_precision":
        return float(sk.average_precision_score(truth, scores))
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    return float(sk.auc(recall, precision))


def at_threshold(anomalous, scores, threshold):
    """Return precision, recall, F1 and balanced accuracy of the decision scores >= threshold."""
    truth, flagged = _both_kinds(anomalous), np.asarray(scores) >= threshold
    precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, flagged, average="binary", zero_division=0)
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1),
            "balanced_accuracy": float(sk.balanced_accuracy_score(truth, flagged))}


def oracle_f1(anomalous, scores):
    """Return the best F1 in [0, 1] that any single threshold reaches on these very images.

    Only one who knows the labels can choose it; it bounds from above what a rule for thresholds could win.
    """
    precision, recall, _ = sk.precision_recall_curve(_both_kinds(anomalous), scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def balanced_f1(specificity, recall):
    """Return the F1 in [0, 1] of a detector with these rates if there were as many normal as anomalous images.

    Flagging everything gives 2/3.
    """
    return 2 * recall / (recall + 1 - specificity + 1)


def f1_of_everything(anomalous, normal):
    """Return the F1 in [0, 1] of flagging every one of so many anomalous and normal images: its recall is 1."""
    return 2 * anomalous / (2 * anomalous + normal)


def areas(anomalous, scores):
    """Return {"auroc", "aupr"}, the areas under the ROC and the precision-recall curve (average precision)."""
    return {"auroc": auroc(anomalous, scores), "aupr": aupr(anomalous, scores)}


def of_every_score(method, task, numbers=areas):
    """Return a line of numbers for a method's own score, then one for each of its scores, with its name as "score".

    `numbers(anomalous, scores)` gives the numbers of one score as a dictionary.
    """
    anomalous = task.anomalous.numpy()
    named = engine.scores(method, task.test)
    own = [numbers(anomalous, engine.score(method, task.test))]
    return own + [{"score": name, **numbers(anomalous, values)} for name, values in named.items()]


def of_every_class(method, task, numbers=areas):
    """Return a line for each anomalous class, with its name as "anomalous_class": the normal test images against it.

    Schneider et al., Tables 5 and 6. The two parts are of similar size, so chance is about 0.5 for both areas.
    """
    anomalous, y, scores = task.anomalous.numpy(), task.test_y.numpy(), engine.score(method, task.test)
    pairs = {task.classes[c]: ~anomalous | (y == c) for c in np.unique(y[anomalous])}
    return [{"anomalous_class": c, **numbers(anomalous[pair], scores[pair])} for c, pair in pairs.items()]


def summary(values):
    """Return mean, sd (n - 1; None for one value), n, and the 95 % confidence interval of the mean by Student's t."""
    values = np.asarray(values, float)
    n, mean = len(values), float(values.mean())
    if n < 2:
        return {"mean": mean, "sd": None, "n": n, "ci": None}
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / np.sqrt(n)
    return {"mean": mean, "sd": sd, "n": n, "ci": (mean - half, mean + half)}


def _both_kinds(anomalous):
    truth = np.asarray(anomalous, bool)
    if truth.all() or not truth.any():
        raise ValueError("A curve needs both normal and anomalous images; this set has only one kind.")
    return truth
