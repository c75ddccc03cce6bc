"""Every exercise has a check that its printed solution passes, and that runs without an answer."""

import re
import textwrap
from pathlib import Path

import nbformat
import papermill
import pytest

from tools import book, pairs

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = book.chapters(ROOT)
SOLUTION = re.compile(r":::\{solution\} (\S+)\n.*?```python\n(.*?)```", re.S)
EMPTY = re.compile(r"^answer = None.*$", re.M)


def read(chapter):
    """A chapter as its text has it, with the directives that a notebook shows in other words."""
    text = pairs.twin(ROOT / f"{chapter}.ipynb").read_text(encoding="utf-8")
    return nbformat.v4.new_notebook(cells=pairs.source_cells(text))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_exercise_has_a_check_and_a_solution(chapter):
    text = "\n".join(cell.source for cell in read(chapter).cells)
    asked = re.findall(r":label: (ex-\S+)", text)
    assert asked == [label for label, _ in SOLUTION.findall(text)]
    assert len(asked) == len(EMPTY.findall(text)) == text.count("notebook.check(")
    assert 3 <= len(asked) <= 5


def test_no_two_exercises_of_the_book_have_one_label():
    labels = [label for chapter in CHAPTERS for cell in read(chapter).cells
              for label in re.findall(r":label: (ex-\S+)", cell.source)]  # fmt: skip
    assert len(labels) > 20 and len(set(labels)) == len(labels)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_printed_solutions_are_right(chapter, tmp_path):
    notebook = read(chapter)
    checks = [cell for cell in notebook.cells if cell.cell_type == "code" and EMPTY.search(cell.source)]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    solutions = [code for source in prose for _, code in SOLUTION.findall(source)]
    for cell, code in zip(checks, solutions, strict=True):
        before, after = EMPTY.split(cell.source, maxsplit=1)
        setup, check = re.split(r"(?=^ *notebook\.check\()", after, maxsplit=1, flags=re.M)
        indent = re.match(" *", check).group()  # a solution may use what the lines before the check prepare
        cell.source = before + setup + textwrap.indent(code, indent) + check
    filled = tmp_path / "solved.ipynb"
    nbformat.write(notebook, filled)
    papermill.execute_notebook(filled, tmp_path / "out.ipynb", {"tier": "smoke"}, cwd=ROOT, kernel_name="python3",
                               progress_bar=False)  # fmt: skip
    printed = [
        "".join(out.text for out in cell.outputs if out.get("name") == "stdout").partition("\n")[0]
        for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
        if cell.cell_type == "code" and "notebook.check(" in cell.source
    ]
    assert printed == ["Right."] * len(solutions)
