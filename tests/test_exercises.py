"""Every exercise has a check, which a hole fails and the printed solution passes, as students get them."""

import re
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell

from tools import book, pairs, student

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
def test_every_hole_fails_its_check_and_every_printed_solution_passes_it(chapter, tmp_path):
    notebook = student.handout(Path(chapter).name)
    prose = "\n\n".join(cell.source for cell in read(chapter).cells if cell.cell_type == "markdown")
    solutions = dict(SOLUTION.findall(prose))
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.id.endswith("-check"):
            label = cell.id.removesuffix("-check")
            cells += [new_code_cell(solutions[label]), new_code_cell(cell.source, id=f"{label}-again-check")]
    notebook.cells = cells
    executed = papermill.execute_notebook(notebook, tmp_path / "out.ipynb", {"tier": "smoke"}, cwd=ROOT,
                                          kernel_name="python3", progress_bar=False)  # fmt: skip
    said = {cell.id: student.said_by(cell) for cell in executed.cells}
    assert {said[f"{label}-check"] for label in solutions} == {"No answer yet."}
    assert {said[f"{label}-again-check"] for label in solutions} == {"Right."}
