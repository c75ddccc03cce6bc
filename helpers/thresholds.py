"""From errors to decisions: rules for thresholds and what each is worth, from what a record keeps of each image.

A record's `images` holds arrays. Of the test pictures: `y` (category, an index into the protocol's `categories`),
`anomalous` (0 or 1), `test` (the error), `test_group` (whose threshold counts: the predicted category, or 0). Of good
pictures held out of training: `held` and `held_group`. `T`, one a group, where a method learns thresholds of its own.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from . import metrics

BETA = 0.3  # how many deviations above the mean of good errors a threshold lies; Rotondi and Lavalle's released code
BETAS = np.linspace(-0.95, 0.95, 39)  # those to choose from on the test set
RATES = ("specificity", "recall", "auroc")  # of a category
RULES = ("held out", "eq. 6", "β chosen on the test set", "one threshold", "true class")


def decide(images, rule="held out", beta=BETA):
    """Return error / threshold of each test picture, float (N,); 1 or more is flagged.

    "held out": mu + beta sigma of the held-out good pictures of the picture's group. "eq. 6": the method's own
    threshold `T`, Rotondi and Lavalle's rule. "β chosen on the test set": as "held out", with the beta that gives the
    best F1 on these very pictures. "one threshold": as "held out", from all groups together. "true class": as
    "held out", with the true category for the predicted one. ValueError for another rule, KeyError without `T`.
    """
    if rule not in RULES:
        raise ValueError(f"There is no rule {rule!r} for thresholds; the rules are {', '.join(RULES)}.")
    images = {name: np.asarray(values) for name, values in images.items()}
    group = images["y" if rule == "true class" else "test_group"].astype(int)
    if rule == "eq. 6":
        return images["test"] / images["T"][group]
    mu, sigma = held_statistics(images, together=rule == "one threshold")
    betas = BETAS if rule == "β chosen on the test set" else [beta]
    ratios = [images["test"] / np.maximum(mu + b * sigma, 1e-12)[group] for b in betas]
    return max(ratios, key=lambda ratio: _f1(images["anomalous"] > 0, ratio >= 1)) if len(ratios) > 1 else ratios[0]


def held_statistics(images, together=False):
    """Return mean and deviation of the held-out errors of each group, (K,) twice.

    A group without two held-out pictures takes those of all; `together` lets every group do so.
    """
    held, group = np.asarray(images["held"], float), np.asarray(images["held_group"])
    groups = max(int(np.max(np.asarray(images[name]))) for name in ("y", "test_group", "held_group")) + 1
    parts = [held[(group == k) & (not together)] for k in range(groups)]
    parts = [part if len(part) > 1 else held for part in parts]
    return np.array([(part.mean(), part.std()) for part in parts]).T


def judged(record, rules=RULES):
    """Return a record's lines of numbers under each of the rules that it can be judged by, for `results.frame`.

    A line for each "rule", with the record's own unlabelled metrics beside, and one for each "rule" and "category".
    """
    images, categories = record["images"], record["config"]["protocol"]["categories"]
    own = {name: value for line in record["metrics"] if not any(isinstance(v, str) for v in line.values())
           for name, value in line.items()}  # fmt: skip
    rules = [rule for rule in rules if rule != "eq. 6" or "T" in images]
    return [line for rule in rules for line in numbers(images, decide(images, rule), categories, rule, own)]


def numbers(images, ratio, categories, rule, own=()):
    """Return the lines of one decision: all pictures, then each category that has good and anomalous ones.

    `ratio` as from `decide`, `own` more numbers for the first line. All pictures: precision, recall, f1, oracle_f1,
    balanced_f1, balanced_accuracy, auroc and aupr of the ratio, and auroc_within, the mean over categories of the
    errors' AUROC, which no threshold moves. A category: specificity and recall, the shares of good and of anomalous
    pictures that are classified right, and the errors' auroc. ValueError without a good or an anomalous picture.
    """
    y, anomalous, error = np.asarray(images["y"]), np.asarray(images["anomalous"]) > 0, np.asarray(images["test"])
    right, lines = (ratio >= 1) == anomalous, []
    for k, name in enumerate(categories):
        here = y == k
        if len(set(anomalous[here])) == 2:
            good, bad = (float(right[here & (anomalous == kind)].mean()) for kind in (False, True))
            area = metrics.auroc(anomalous[here], error[here])
            lines.append({"rule": rule, "category": name, **dict(zip(RATES, (good, bad, area)))})
    whole = metrics.at_threshold(anomalous, ratio, 1) | metrics.areas(anomalous, ratio)
    whole |= {"oracle_f1": metrics.oracle_f1(anomalous, ratio)}
    if lines:
        good, bad, area = np.mean([[line[name] for name in RATES] for line in lines], 0).tolist()
        whole |= {"balanced_f1": metrics.balanced_f1(good, bad), "auroc_within": area}
    return [{"rule": rule, **whole, **dict(own)}, *lines]


def _f1(anomalous, flagged):
    return 2 * (anomalous & flagged).sum() / (anomalous.sum() + flagged.sum())


class Threshold(NamedTuple):
    """A threshold `value`, the `rank`-th largest of n held-out scores; a larger score is flagged.

    `rate` is the share of new good pictures that it is expected to flag; that share lies between `low` and `high` in 95
    of 100 cases.
    """

    value: float
    rank: int
    n: int
    rate: float
    low: float
    high: float


def for_false_alarms(held, rate) -> Threshold:
    """Return the lowest Threshold that is expected to flag at most the share `rate` of new good pictures.

    `held` (n,) are scores of good pictures that the method did not learn from. If new ones are drawn as they were, one
    of them is above the j-th largest with probability j / (n + 1), and over all draws of the n that share follows
    Beta(j, n + 1 - j) (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005). Where n is too small for
    the rate, the threshold is the largest score. ValueError for a rate outside of (0, 1) and for no scores.
    """
    n = len(held)
    if not 0 < rate < 1:
        raise ValueError(f"The rate of false alarms must be above 0 and below 1, such as 0.05, not {rate!r}.")
    if n == 0:
        raise ValueError("A threshold needs the score of one good picture at least.")
    rank = max(1, math.floor(rate * (n + 1) + 1e-9))
    low, high = stats.beta.ppf([0.025, 0.975], rank, n + 1 - rank).tolist()
    return Threshold(float(np.sort(held)[n - rank]), rank, n, rank / (n + 1), low, high)
