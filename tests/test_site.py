"""The built site in a real browser, as a reader without a network sees it."""

import functools
import http.server
import os
import shutil
import threading

import pytest
import yaml
from playwright.sync_api import sync_playwright

from tests.conftest import ROOT
from tools import book

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None and os.environ.get("CI") != "true":
    pytest.skip("there is no Chromium; Debian and Ubuntu: apt install chromium", allow_module_level=True)

CHAPTERS = [f"{chapter}.html" for chapter in book.chapters(ROOT)]
NOTEBOOKS = [f"{notebook}.html" for notebook in book.notebooks(ROOT)]
PAGES = [*(f"book/{path.stem}.html" for path in sorted((ROOT / "book").glob("*.md"))), *NOTEBOOKS]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(site):
    """The site on a local server; every path of a page hangs below it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    assert BROWSER, "CI needs Chromium"
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """visit(path, dark, viewport) -> the loaded page; its list `faults` has what the browser complained of."""
    contexts = []

    def visit(path, dark=False, viewport=DESK):
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
        contexts.append(context)
        page, faults = context.new_page(), []
        page.on("console", lambda entry: faults.append(entry.text) if entry.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: None if local(r.url, address) else faults.append(f"asks for {r.url}"))
        page.on("response", lambda r: faults.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.goto(address + path, wait_until="networkidle")
        page.faults = faults
        return page

    yield visit
    for context in contexts:
        context.close()


def local(url, address):
    return url.startswith((address, "data:", "blob:"))


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
    widths = page.eval_on_selector_all(".cell_output img", "all => all.map(image => image.naturalWidth)")
    assert len(widths) >= 3 and min(widths) > 50
    assert page.locator(".cell_output img").first.is_visible()


@pytest.mark.parametrize("path", CHAPTERS)
def test_papermills_own_cell_and_progress_bars_are_not_shown(visit, path):
    page = visit(path)
    text = page.inner_text("article")
    assert "# Parameters\n" not in text and "it/s]" not in text
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
