"""What a reader who cannot see well, or uses no mouse, meets on every page; axe-core looks for it in a real browser."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup

from tests.conftest import CHAPTERS, PAGES, PHONE

SERIOUS = ("serious", "critical")
# After a turn of the screen the theme takes a moment until the keyboard reaches what now has to be scrolled.
REACHED = """() => [...document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")].every(
    box => box.scrollWidth <= box.clientWidth || box.tabIndex === 0)"""


def serious(page):
    """What axe-core calls serious or critical on a page: a line each rule, with the first elements that break it."""
    broken = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in SERIOUS]
    return [f"{fault['id']}: {[node['html'][:150] for node in fault['nodes'][:3]]}" for fault in broken]


@pytest.mark.parametrize("path", [*PAGES, "search.html"])
def test_axe_finds_nothing_serious(visit, path):
    page = visit(path)
    if path in CHAPTERS[1:]:  # thousands of coloured words take axe half a minute, and one chapter has all colours
        page.eval_on_selector_all("pre", "all => all.forEach(pre => { pre.textContent = pre.textContent; })")
    assert serious(page) == []
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    page.wait_for_function(REACHED)
    assert serious(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_every_picture_says_what_it_shows(site, path):
    pictures = BeautifulSoup((site / path).read_text(encoding="utf-8"), "html.parser").select("article img")
    texts = [picture.get("alt", "") for picture in pictures]
    assert [text for text in texts if len(text) < 20 or text.endswith((".png", ".svg"))] == []
