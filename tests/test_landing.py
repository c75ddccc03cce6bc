"""The landing page says what its record says, and leads to every chapter."""

import re

import numpy as np
import pytest
from nbformat import v4, write
from PIL import Image

from tests.conftest import CHAPTERS, DESK, PHONE, ROOT
from tools import landing

PAGE = "book/intro.html"


@pytest.fixture
def record():
    """A run with two products; of the second, bottles, three good ones score 1 to 3 and two broken ones 2 and 4."""
    picture = np.zeros((64, 64))
    return {
        "config": {"protocol": {"categories": ["screw", "bottle"], "dataset": landing.DATASET}, "epochs": 7},
        "images": {"y": [0, 1, 1, 1, 1, 1], "anomalous": [1, 0, 0, 0, 1, 1], "test": [9.0, 1, 2, 3, 2, 4],
                   "at": [0, 1, 5], "shown": [picture, picture, picture + 200], "redrawn": [picture, picture, picture]},
    }  # fmt: skip


def test_the_bottle_is_the_broken_one_with_its_scores(record):
    bottle = landing.broken_bottle(record)
    assert (bottle.score, list(bottle.good), list(bottle.broken)) == (4, [1, 2, 3], [2, 4])
    assert {name: picture.getpixel((5, 5)) for name, picture in bottle.pictures.items()} == {
        "seen": 200, "redrawn": 0, "error": (255, 246, 229)}  # fmt: skip
    facts = landing.facts(bottle)
    assert (facts["good"], facts["broken"], facts["louder"], facts["others"], facts["epochs"]) == (3, 2, 1, 0, 7)


def test_a_page_that_its_record_does_not_bear_out_is_not_built(record):
    record["images"]["test"][3] = 4.5
    with pytest.raises(ValueError, match="its record does not show that"):
        landing.broken_bottle(record)


def test_dots_that_would_touch_are_lifted():
    heights = re.findall(r'cy="(.*?)"', landing.dots([10, 13, 40, 16], 100))
    assert heights == ["96", "88", "96", "80"]


def test_a_thumbnail_is_the_first_picture_of_a_chapter(tmp_path):
    cells = [v4.new_code_cell(outputs=[v4.new_output("display_data", data=data)])
             for data in ({"text/plain": "words"}, {"image/png": "Zmlyc3Q="}, {"image/png": "c2Vjb25k"})]  # fmt: skip
    write(v4.new_notebook(cells=[v4.new_markdown_cell("# A chapter"), *cells]), tmp_path / "chapter.ipynb")
    assert landing.first_picture(tmp_path / "chapter.ipynb") == b"first"


def test_the_first_screen_says_what_the_record_says(visit):
    page = visit(PAGE)
    images = {name: np.array(values) for name, values in landing.longest_run(ROOT)["images"].items()}
    good, broken = (images["test"][(images["y"] == 0) & (images["anomalous"] == kind)] for kind in (0, 1))
    assert page.locator(".front .good circle").count() == len(good)
    assert page.locator(".front .broken circle").count() == len(broken)
    places = page.eval_on_selector_all(".front .good circle", "all => all.map(dot => dot.cx.baseVal.value)")
    ring = page.eval_on_selector(".front .ring", "ring => ring.cx.baseVal.value")
    assert ring > max(places), "the ring is to the right of all good bottles"
    shown = images["test"][images["at"][1]]  # a good bottle is kept first, then a broken one
    assert page.text_content(".front svg .its") == f"this one: {shown:.4f}"
    others = (broken > good.max()).sum() - 1
    words = f"higher than all {len(good)} good ones. So do {others} others of the {len(broken)} broken bottles"
    assert words in " ".join(page.inner_text(".front figcaption").split())


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_picture_is_on_the_first_screen(visit, viewport):
    page = visit(PAGE, viewport=viewport)
    for picture in page.locator(".front-row img, .front-row svg").all():
        box = picture.bounding_box()
        assert box["width"] > 90 and box["y"] + box["height"] < viewport["height"]
    assert min(page.eval_on_selector_all(".front-row img", "all => all.map(image => image.naturalWidth)")) == 320


def test_every_chapter_has_a_card_with_its_picture_and_its_time(visit):
    page = visit(PAGE)
    for path in CHAPTERS:
        card = page.locator(f".chapters .sd-card:has(a[href='../{path}'])")
        assert card.locator("img").evaluate("image => image.naturalWidth") > 100, path
        text = (ROOT / "notebooks/text" / path.replace("notebooks/", "").replace(".html", ".md")).read_text()
        minutes = re.search(r"(\w+)\s+minutes\s+to\s+run", text)[1]
        assert f"{minutes} minutes to run" in card.inner_text(), path
        assert re.search(r"^# (.*)$", text, re.M)[1] in card.inner_text(), path


def test_the_card_for_other_sites_has_their_size(site):
    assert Image.open(site / "_static/front/card.png").size == (1200, 630)
