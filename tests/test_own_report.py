"""The report on own pictures in a real browser: alone in its file, readable on desk and phone, light and dark."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from helpers import detector, report
from helpers.images import own
from tests.conftest import DESK, PHONE
from tests.test_site import CONTRAST


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report on six pictures, with labels and a file that is passed over."""
    folder = tmp_path_factory.mktemp("report")
    for i, place in enumerate(["good"] * 3 + ["test/good"] * 2 + ["test/dirt"] * 4):
        path = folder / "pictures" / place / f"a picture with a long name, taken on a Monday in May, number {i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((90, 60), 200 if "dirt" in place else 20).convert("RGB").save(path)
    (folder / "pictures" / "good" / "notes.txt").touch()
    found = own.look(folder / "pictures", 64)
    model, _ = detector.fit(found)
    report.write(folder, detector.judge(model, found), found, model, "Monday's pictures")
    return folder / "report.html"


def test_what_is_said_of_few_pictures(tmp_path, monkeypatch):
    for k in range(5):
        Image.effect_noise((64, 64), 20).convert("RGB").save(tmp_path / f"{k}.png")
    found = own.look(tmp_path, 64)
    model, _ = detector.fit(found, "distance to mean image", false_alarms=0.2)
    assert report.notes(model) == [], "five good pictures are enough for one false alarm in five"
    judged = detector.judge(model, found)
    monkeypatch.setattr(report, "SHOWN", 2)
    (tmp_path / "out").mkdir()
    report.write(tmp_path / "out", judged, found, model, "Few")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scores.csv", "report.html", "overlay-001.jpg",
                                                                   "overlay-002.jpg"}  # fmt: skip
    assert "The other 3 are in the table at the end." in (tmp_path / "out/report.html").read_text()
    one = judged.lines.head(1)
    assert report.counted(judged._replace(lines=one.assign(verdict="flagged"))) == "1 picture, flagged."
    assert report.counted(judged._replace(lines=one.assign(verdict="passed"))) == "1 picture, not flagged."


def test_a_chart_counts_each_kind_of_picture_and_marks_the_threshold():
    part = SimpleNamespace(held=np.array([1.0, 2.0, 3.0]), threshold=SimpleNamespace(value=3.0))
    lines = pd.DataFrame({"kind": ["good"] * 2 + ["dirt"] * 4, "score": [1.5, 2.5, 4.0, 5.0, 6.0, 7.0]})
    ax = Figure().add_subplot()
    report.histogram(ax, part, lines)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "good, held out (3)", "good (2)", "defective (4)", "threshold"]  # fmt: skip
    assert ax.lines[0].get_xdata()[0] == 3.0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_report_stands_alone_and_fits_the_screen(written, browser, viewport, dark):
    page = browser.new_page(viewport=viewport, color_scheme="dark" if dark else "light")
    faults = []
    page.on("console", lambda entry: faults.append(entry.text) if entry.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url))
    page.goto(written.as_uri())
    assert faults == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], "the page scrolls sideways"
    images = page.eval_on_selector_all("img", "all => all.map(image => [image.naturalWidth, image.alt])")
    assert len(images) == 2 * 6 + 1 and all(width > 50 and alt for width, alt in images)
    assert page.locator(".sheet li").count() == 6 and page.locator("h1").inner_text() == "Monday's pictures"
    assert "notes.txt (is empty)" in page.inner_text("main") and page.locator("table").count() == 4
    texts = page.eval_on_selector_all("p, td, th, .flagged, .passed, .soft", f"all => all.map({CONTRAST})")
    assert min(texts) >= 4.5, "WCAG asks for a contrast of 4.5"
    page.keyboard.press("Tab")  # what scrolls can be reached without a mouse
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Numbers of each product"
    page.close()
