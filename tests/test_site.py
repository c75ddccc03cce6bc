"""The built site in a real browser, as a reader without a network sees it."""

import pytest
import yaml

from tests.conftest import CHAPTERS, DESK, PAGES, PHONE, ROOT


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("dark, viewport", [(False, DESK), (True, PHONE)], ids=["desk", "phone-dark"])
def test_page_loads_cleanly_and_asks_no_other_host(visit, path, dark, viewport):
    page = visit(path, dark, viewport)
    assert page.faults == []
    assert page.locator("article h1").first.is_visible()
    assert "Traceback (most recent call last)" not in page.inner_text("body")
    assert page.locator(".output.error, .output.traceback").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], "the page scrolls sideways"


def test_the_front_page_leads_to_the_landing_page(visit, address):
    page = visit("index.html")
    page.wait_for_url(address + "book/intro.html")


@pytest.mark.parametrize("path", ["book/protocols-and-metrics.html", *CHAPTERS])
def test_equations_are_typeset(visit, path):
    page = visit(path)
    page.wait_for_selector("mjx-container[display=true]")
    boxes = [formula.bounding_box() for formula in page.locator("mjx-container[display=true]").all()]
    assert boxes and all(box and box["width"] > 20 and box["height"] > 10 for box in boxes)
    assert page.locator("mjx-merror").count() == 0
    assert "\\frac" not in page.inner_text("article") and "\\sum" not in page.inner_text("article")


@pytest.mark.parametrize("path", CHAPTERS)
def test_figures_are_shown(visit, path):
    page = visit(path)
    drawn = ".cell_output img:not(.play img)"  # a figure to play with may show a digit pixel by pixel
    widths = page.eval_on_selector_all(drawn, "all => all.map(image => image.naturalWidth)")
    assert len(widths) >= 3 and min(widths) > 50
    assert page.locator(".cell_output img").first.is_visible()


@pytest.mark.parametrize("path", CHAPTERS)
def test_papermills_own_cell_and_progress_bars_are_not_shown(visit, path):
    page = visit(path)
    text = page.inner_text("article")
    assert "# Parameters\n" not in text and "epochs/s" not in text and "B/s]" not in text
    assert page.locator(".cell_output .stderr").count() == 0


CONTRAST = """cell => {
    const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
    const clear = node => rgb(getComputedStyle(node).backgroundColor)[3] === 0;
    let ground = cell;
    while (ground.parentElement && clear(ground)) ground = ground.parentElement;
    const light = colour => {
        const [r, g, b] = rgb(colour).map(v => v / 255).map(v => v <= 0.04 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const a = light(getComputedStyle(cell).color), b = light(getComputedStyle(ground).backgroundColor);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.mark.parametrize("path", CHAPTERS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_results_tables_can_be_read(visit, path, dark):
    page = visit(path, dark)
    assert page.locator("table.results").count() >= 1
    cells = page.eval_on_selector_all(
        "table.results :is(th, td)", f"all => all.filter(c => c.innerText.trim()).map({CONTRAST})"
    )
    assert len(cells) > 10 and min(cells) >= 4.5, "WCAG asks for a contrast of 4.5"


def test_search_finds_a_word_of_a_chapter(visit):
    page = visit("search.html?q=reconstruction")
    page.wait_for_selector("ul.search li a")
    found = page.eval_on_selector_all("ul.search li a", "all => all.map(link => link.getAttribute('href'))")
    assert any(link.startswith(CHAPTERS[0]) for link in found), found
    assert page.faults == []
    nothing = visit("search.html?q=xylophonist")
    nothing.wait_for_selector("#search-results p.search-summary")
    assert nothing.locator("ul.search li").count() == 0


@pytest.mark.parametrize("path", CHAPTERS)
def test_launch_buttons_lead_to_the_notebook(visit, path):
    page = visit(path)
    links = page.eval_on_selector_all(".dropdown-launch-buttons a", "all => all.map(link => link.href)")
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"].split("github.com/")[1]
    notebook = path.replace(".html", ".ipynb")
    assert f"https://colab.research.google.com/github/{repository}/blob/main/{notebook}" in links
    assert f"http://localhost:8888/lab/tree/{notebook}" in links
    assert (ROOT / notebook).exists()


def test_one_search_field_and_no_empty_bar(visit):
    page = visit("book/intro.html")
    fields = page.locator(".search-button-field, .bd-header .search-button, input[type=search]").all()
    assert sum(field.is_visible() for field in fields) == 1
    assert page.locator(".bd-header.navbar").is_hidden()
