"""Figures to play with, outside a browser: what their numbers say, and what they put into a page."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from helpers import play
from helpers.play.digit import STORED
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


def test_a_threshold_starts_exactly_where_it_is_told():
    anomalous, scores = some_scores()
    flagged = scores >= 0.5
    said = f"0.5000: {(flagged & anomalous).sum()} of {anomalous.sum()} anomalous"
    assert said in bundle(play.threshold(anomalous, scores, first=0.5))["text/plain"]


def test_a_threshold_starts_where_one_normal_image_in_twenty_is_flagged():
    anomalous = np.arange(60) >= 40  # 40 normal images have the scores 0 to 39
    assert "and 2 of 40 normal" in bundle(play.threshold(anomalous, np.arange(60.0)))["text/plain"]


def test_words_of_a_reader_cannot_end_a_script_or_an_attribute():
    wild = 'a"></script><b>'
    text = bundle(play.threshold(*some_scores(), name=wild))["text/html"]
    assert text.count("</script>") == 2 and wild not in text
    said = bundle(play.steps("Weight", [plain], {"a": [1, 2]}, lambda value, frame: wild))["text/html"]
    assert said.count("</script>") == 2


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


def plain(ax, frame):
    ax.plot(frame)
    ax.set(ylim=(0, 10))


def test_a_slider_over_frames_shows_one_and_hides_the_others():
    frames = {"a": [1, 2], "b": [3, 4], "c": [5, 6]}
    shown = bundle(play.steps("Weight", [plain, plain], frames, lambda value, frame: f"{value} has {frame[-1]}", 1))
    text = shown["text/html"]
    hidden = re.findall(r'data-step="(\d)"( hidden)?', text)
    assert hidden == [("0", " hidden"), ("1", ""), ("2", " hidden")]
    assert text.count("<svg ") == 6 and "c has 6" in text and shown["text/plain"].endswith("b has 4")
    assert 'max="2" value="1"' in text


def test_the_digit_brings_what_its_record_holds():
    facts = json.loads(re.search(r'application/json">(.*?)</script>', bundle(play.digit())["text/html"], re.S)[1])
    stored = json.loads(STORED.read_text("utf-8"))
    assert facts["nets"] == stored["nets"] and facts["quantiles"] == stored["errors_of_normal"]
    assert not stored["record"]["provenance"]["commit"].endswith("+"), "trained by code that was never committed"


def test_a_slider_needs_a_frame():
    with pytest.raises(ValueError, match="Weight.*nothing to show"):
        play.steps("Weight", [plain], {}, str)


def test_a_walk_keeps_every_pixel_of_every_step():
    random = np.random.default_rng(0)
    grey, colour = random.random((3, 1, 28, 28)), random.random((3, 3, 28, 28))
    shown = bundle(play.walk({"CAE": grey, "VAE": colour}))
    pictures = [Image.open(io.BytesIO(base64.b64decode(data)))
                for data in re.findall(r'src="data:image/png;base64,([^"]+)"', shown["text/html"])]
    for picture, expected in zip(pictures, [*np.repeat(grey, 3, 1), *colour], strict=True):
        assert np.abs(np.asarray(picture) / 255 - expected.transpose(1, 2, 0)).max() < 0.5 / 255 + 1e-6
    assert re.findall(r'alt="([^"]+)"', shown["text/html"]) == [
        f"Drawn by the {name}, {share}% of the way" for name in ("CAE", "VAE") for share in (0, 50, 100)]
    still = np.asarray(Image.open(io.BytesIO(shown["image/png"])))
    assert still.shape == (112, 168, 3)
    assert np.abs(still[1::2, 1::2][28:, 56:] / 255 - colour[2].transpose(1, 2, 0)).max() < 0.01
