"""Figures to play with, outside a browser: what their numbers say, and what they put into a page."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from helpers import play
from helpers.play.threshold import confusion, shares


def some_scores(n=60, seed=0):
    random = np.random.default_rng(seed)
    anomalous = random.random(n) < 0.4
    return anomalous, np.round(random.normal(anomalous * 1.0), 1)  # rounded: with ties


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_of_a_threshold_are_those_of_the_library(seed):
    anomalous, scores = some_scores(seed=seed)
    limits = np.unique(scores)
    counts = confusion(anomalous, scores, limits)
    rates = shares(counts)
    for k, limit in enumerate(limits):
        flagged = scores >= limit
        assert [counts[kind][k] for kind in ("tn", "fp", "fn", "tp")] == [*sk.confusion_matrix(anomalous, flagged).flat]
        assert rates["precision"][k] == pytest.approx(sk.precision_score(anomalous, flagged))
        assert rates["recall"][k] == pytest.approx(sk.recall_score(anomalous, flagged))
        assert rates["f1"][k] == pytest.approx(sk.f1_score(anomalous, flagged))


def test_at_the_ends_everything_and_nothing_is_flagged():
    anomalous, scores = some_scores()
    counts = confusion(anomalous, scores, np.array([scores.min(), np.nextafter(scores.max(), np.inf)]))
    normal, found = (~anomalous).sum(), anomalous.sum()
    assert {kind: [*row] for kind, row in counts.items()} == {"tn": [0, normal], "fp": [normal, 0], "fn": [0, found],
                                                              "tp": [found, 0]}  # fmt: skip
    assert np.isnan(shares(counts)["precision"][1])


def test_a_threshold_needs_both_kinds():
    with pytest.raises(ValueError, match="both normal and anomalous"):
        play.threshold(np.ones(5, bool), np.arange(5.0))


def bundle(figure):
    return figure._repr_mimebundle_()


def test_a_figure_is_html_for_a_page_a_picture_elsewhere_and_words_where_there_are_only_words():
    shown = bundle(play.threshold(*some_scores()))
    assert set(shown) == {"text/html", "image/png", "text/plain"}
    width, height = Image.open(io.BytesIO(shown["image/png"])).size
    assert width > 3 * height / 2 > 300
    said = r"At -?\d\.\d+: \d+ of \d+ anomalous and \d+ of \d+ normal images are flagged"
    assert re.search(said, shown["text/plain"])


def test_a_figure_is_the_same_each_time_and_shares_no_name_with_another():
    one, again, other = (bundle(play.threshold(*some_scores(seed=seed)))["text/html"] for seed in (0, 0, 1))
    assert one == again
    names = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, other)]
    assert names[0] and not names[0] & names[1]


def test_a_figure_asks_no_host_for_anything():
    text = bundle(play.threshold(*some_scores()))["text/html"]
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of languages
