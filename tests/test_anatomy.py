"""What a page shows of a chapter's code: little, narrow, and mostly the method. Cells tagged "bookkeeping" are not."""

import re
from pathlib import Path

import nbformat
import pytest

from tools import book, pairs

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = [Path(chapter).name for chapter in book.chapters(ROOT)]
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
MOST = {"improved-autoencoder": 260, "mixer-autoencoder": 300}  # others: 300


def lines(cell):
    return [line for line in cell.source.splitlines() if line.strip()]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def code(chapter):
    cells = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def visible(chapter):
    return [cell for cell in code(chapter) if not FOLDED & tags(cell)]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_line_is_wider_than_the_page(chapter):
    assert [line for cell in code(chapter) for line in lines(cell) if len(line) > 88] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_visible_cell_is_longer_than_a_screen(chapter):
    assert [(cell.id, len(lines(cell))) for cell in visible(chapter) if len(lines(cell)) > 25] == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_visible_code_is_short_and_mostly_method_theory_and_pictures(chapter):
    total = sum(len(lines(cell)) for cell in visible(chapter))
    told = sum(len(lines(cell)) for cell in visible(chapter) if "bookkeeping" not in tags(cell))
    assert total <= MOST.get(chapter, 300)
    assert told >= 0.45 * total


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_first_screen_is_a_promise_and_a_picture(chapter):
    text = (ROOT / "notebooks" / "text" / f"{chapter}.md").read_text(encoding="utf-8")
    cells = pairs.source_cells(text)  # as the page has them
    first = next(k for k, cell in enumerate(cells) if cell.cell_type == "code" and "plt." in cell.source
                 and not {"setup", "parameters"} & tags(cell))  # fmt: skip
    assert cells[0].source.startswith("# ")
    assert all(cell.cell_type == "markdown" or FOLDED & tags(cell) for cell in cells[:first + 1])
    words = sum(len(cell.source.split()) for cell in cells[:first] if cell.cell_type == "markdown")
    assert words < 130, "the picture is below the first screen"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_setup_and_results_tables_are_as_short_as_they_should_be(chapter):
    cells = code(chapter)
    assert {"parameters", "hide-input"} <= tags(cells[1]) and {"setup", "hide-input"} <= tags(cells[2])
    shown = [cell for cell in visible(chapter) if "tables.show(" in cell.source]
    assert shown, "a chapter has results tables"
    for cell in shown:
        assert len(lines(cell)) <= 7 * cell.source.count("tables.show("), cell.source


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_figure_has_an_alternative_text(chapter):
    drawing = re.compile(r"^(figures\.(?!use_style|overlay)\w+\(|plt\.show\(|show_pictures\()", re.M)
    draws = [cell for cell in code(chapter) if drawing.search(cell.source) and "setup" not in tags(cell)]
    texts = {cell.id: cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") for cell in draws}
    assert len(texts) >= 4 and [name for name, text in texts.items() if len(text) < 60] == []
