"""What a site needs once others link to it: no dead link, no lost address, words for search engines."""

import re
import subprocess
import tomllib
import xml.etree.ElementTree as xml
from urllib.parse import unquote, urljoin, urlparse

import pytest
import yaml
from bs4 import BeautifulSoup

from tests.conftest import PAGES, ROOT
from tools import book

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
HOME = CONFIG["html"]["baseurl"]


@pytest.fixture
def moved(tmp_path):
    """A book of two pages, the second of which once had another name."""
    for folder in ("book", "data/runs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "book/intro.md").write_text("# Intro\n")
    (tmp_path / "book/new.md").write_text("# New\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: book/new\n")
    redirects = {"rediraffe_redirects": {"book/old.md": "book/new.md"}}
    sphinx = {"extra_extensions": ["sphinxext.rediraffe"], "config": redirects}
    (tmp_path / "_config.yml").write_text(yaml.dump({"sphinx": sphinx}))
    return tmp_path


def test_a_moved_page_is_found_at_its_old_address(moved):
    site = book.build(book.stage({}, moved / "stage", moved), moved).parent
    old = BeautifulSoup((site / "book/old.html").read_text(), "html.parser")
    assert old.select_one("meta[http-equiv=refresh]")["content"].endswith("url=new.html")


def test_no_page_of_the_past_is_lost():
    """Pages that the history removes or renames have a redirect to where they went."""
    log = "git log --diff-filter=D --no-renames --name-only --format= -- book notebooks"
    removed = set(subprocess.run(log.split(), cwd=ROOT, capture_output=True, text=True).stdout.split())
    pages = {path for path in removed if path.endswith((".md", ".ipynb")) and not path.startswith("notebooks/text/")}
    gone = {path for path in pages if not (ROOT / path).exists()}
    assert gone <= set(CONFIG["sphinx"]["config"]["rediraffe_redirects"])


def test_workflows_call_what_there_is():
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    for workflow in sorted((ROOT / ".github/workflows").glob("*.yml")):
        jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
        for command in (step["run"] for job in jobs for step in job["steps"] if "run" in step):
            assert not command.startswith("make ") or command.split()[1] in targets, command
            assert all((ROOT / file).exists() for file in re.findall(r"(?:tests|\.ci|tools)/[\w.]+", command)), command


def test_the_citation_says_what_the_project_says_elsewhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys(), "what the format asks for"
    assert citation["authors"] == project["authors"] == [{"name": CONFIG["author"]}]
    assert (citation["license"], citation["version"]) == (project["license"]["text"], project["version"])
    assert (citation["url"], citation["repository-code"]) == (HOME, CONFIG["repository"]["url"])
    page = (ROOT / "book/bibliography.md").read_text(encoding="utf-8")
    assert citation["title"] in page and HOME in page and f"year   = {{{CONFIG['copyright']}}}" in page


@pytest.fixture(scope="module")
def pages(site):
    """Every page of the site, parsed: {path: soup}."""
    return {path: BeautifulSoup((site / path).read_text(encoding="utf-8"), "html.parser") for path in PAGES}


def test_no_link_inside_the_site_is_dead(site, pages):
    places = {path: {node["id"] for node in page.select("[id]")} for path, page in pages.items()}
    dead = []
    for path, page in pages.items():
        nodes = page.select("a[href], link[href], img[src], script[src]")
        links = {urljoin(HOME + path, node.get("href") or node.get("src")) for node in nodes}
        for link in (urlparse(link.removeprefix(HOME)) for link in links if link.startswith(HOME)):
            known = not link.fragment or link.path not in places or unquote(link.fragment) in places[link.path]
            if not known or not (site / unquote(link.path)).exists():
                dead.append(f"{path}: {link.geturl()}")
    assert dead == []


def test_the_sitemap_lists_the_pages_and_nothing_else(site):
    entries = [node.text for node in xml.parse(site / "sitemap.xml").iter() if node.tag.endswith("loc")]
    assert sorted(entry.removeprefix(HOME) for entry in entries) == sorted(PAGES)


def test_every_page_describes_itself_and_brings_a_card(site, pages):
    seen = set()
    for path, page in pages.items():
        words = page.select_one("meta[name=description]")["content"]
        assert 60 <= len(words) <= 300 and words.endswith((".", ":")), path
        assert page.select_one("meta[property='og:description']")["content"] == words, path
        assert page.select_one("meta[property='og:site_name']")["content"] == CONFIG["title"]
        image = page.select_one("meta[property='og:image']")["content"]
        assert image.startswith(HOME) and (site / image.removeprefix(HOME)).exists(), path
        seen.add(words)
    assert len(seen) == len(PAGES), "each page has words of its own"


def test_the_sites_own_address_has_the_words_and_card_of_the_landing_page(site, pages):
    front = BeautifulSoup((site / "index.html").read_text(encoding="utf-8"), "html.parser")
    for tag in ("title", "meta[name=description]", "meta[property='og:image']", "meta[property='og:title']"):
        assert front.select_one(tag) == pages["book/intro.html"].select_one(tag), tag
    assert front.select_one("meta[http-equiv=refresh]")["content"] == "0; url=book/intro.html"
    assert front.html["lang"] == "en" and front.a["href"] == "book/intro.html"
