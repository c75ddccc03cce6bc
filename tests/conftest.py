"""The executed notebooks and the built site are made once and shared by all tests that look at them in a browser."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from playwright.sync_api import sync_playwright

from tools import book

settings.register_profile("busy machine", deadline=None)  # a slow example says nothing about the code
settings.load_profile("busy machine")

ROOT = Path(__file__).resolve().parent.parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHAPTERS = [f"{chapter}.html" for chapter in book.chapters(ROOT)]
SOURCES = [*sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
PAGES = [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in SOURCES]
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Of several processes one has every test of the site, which is made once, and the others a file at a time."""
    for item in items:
        of_site = {"site", "smoke_folder"} & set(item.fixturenames)
        item.add_marker(pytest.mark.xdist_group("site" if of_site else item.path.stem))


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers each time, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def smoke_folder():
    """Where notebooks executed at tier smoke are kept, and reused by tools/book.py while nothing has changed."""
    return ROOT / "_build" / "executed" / "smoke"


@pytest.fixture(scope="session")
def site(smoke_folder, tmp_path_factory):
    """The folder of the site, built with warnings as errors from the notebooks executed at tier smoke.

    Where the environment variable SITE names a folder, it is the site that lies there.
    """
    if "SITE" in os.environ:
        return ROOT / os.environ["SITE"]
    folder = tmp_path_factory.mktemp("site")
    executed = book.execute_all({"tier": "smoke"}, smoke_folder)
    return book.build(book.stage(executed, folder / "stage"), folder).parent


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
    """Chromium without a window; where there is none, what asks for it is skipped, except in CI."""
    if BROWSER is None and os.environ.get("CI") != "true":
        pytest.skip("there is no Chromium; Debian and Ubuntu: apt install chromium")
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
