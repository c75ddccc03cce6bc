"""What a course hands out and gets back: notebooks with holes, and a line an answer."""

import csv
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from tools import book, pairs, student

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = [Path(chapter).name for chapter in book.chapters(ROOT)]
ANSWERED = re.compile(r"^answer = (?!None\b)|def answer\(|<summary>Solution|:::", re.M)
TEXT = """\
# A chapter

```{code-cell} ipython3
:tags: [parameters]

tier = "quick"
```

```{code-cell} ipython3
class notebook:  # stands in for helpers.notebook, which takes longer to import
    def check(answer, right, hint):
        print("No answer yet." if answer is None else "Right." if right(answer) else f"Not yet: {hint}")
```

## Exercises

:::{exercise} Twice
:label: ex-twice

Double `number`.
:::

```{code-cell} ipython3
answer = None  # a number
number = 4 if tier == "smoke" else 5


def is_it(n, expected):
    return n == expected


notebook.check(answer, lambda n: is_it(n, 2 * number), "add it to itself")
if answer is not None:
    print("The check goes on.")
```

:::{solution} ex-twice
:class: dropdown

```python
answer = 2 * number
```

It is 8.
:::

:::{exercise} Thrice
:label: ex-thrice

Write `answer(x)`.
:::

```{code-cell} ipython3
answer = None  # a function
notebook.check(answer, lambda f: f(2) == 6, "add it twice")
```

:::{solution} ex-thrice
:class: dropdown

```python
def answer(x):
    return 3 * x
```
:::

## What comes next
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "notebooks/text").mkdir(parents=True)
    (tmp_path / "notebooks/text/one.md").write_text(TEXT)
    toc = {"parts": [{"caption": "Chapters", "chapters": [{"file": "notebooks/one"}]}]}
    (tmp_path / "_toc.yml").write_text(yaml.dump(toc))
    pairs.sync(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_handout_has_all_of_a_chapter_but_outputs_and_solutions(name):
    notebook = student.handout(name)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert [cell.id for cell in notebook.cells if ANSWERED.search(cell.source) and cell.id.startswith("ex-")] == []
    assert not any("Solution" in cell.source for cell in notebook.cells)
    text = (ROOT / f"notebooks/text/{name}.md").read_text()
    labels = re.findall(r"^:::\{solution\} (\S+)", text, re.M)
    ids = [cell.id for cell in notebook.cells]
    assert len(labels) >= 3 and all({f"{label}-check", label, f"{label}-words"} <= set(ids) for label in labels)
    lines = {line for cell in notebook.cells for line in cell.source.split("\n")}
    whole = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    kept = [student.SOLUTION.sub("", cell.source) for cell in whole.cells]
    assert {line for source in kept for line in source.split("\n")} <= lines | {""}


def test_a_handout_in_full(checkout):
    notebook = student.handout("one", checkout)
    assert [(cell.id, cell.source.split("\n")[0]) for cell in notebook.cells] == [
        ("c000", "# A chapter"),
        ("how-to", student.HOW_TO.split("\n")[0]),
        ("c001", 'tier = "quick"'),
        ("c002", "class notebook:  # stands in for helpers.notebook, which takes longer to import"),
        ("c003", "## Exercises"),
        ("ex-twice-prepare", 'number = 4 if tier == "smoke" else 5'),
        ("ex-twice", "answer = None  # a number"),
        ("ex-twice-check", 'notebook.check(answer, lambda n: is_it(n, 2 * number), "add it to itself")'),
        ("ex-twice-words", student.WORDS),
        ("c005-2", "### Exercise: Thrice"),
        ("ex-thrice", "answer = None  # a function"),
        ("ex-thrice-check", 'notebook.check(answer, lambda f: f(2) == 6, "add it twice")'),
        ("ex-thrice-words", student.WORDS),
        ("c007-2", "## What comes next"),
    ]
    assert notebook.cells[7].source.endswith('    print("The check goes on.")')
    graders = [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert [(g.grade_id, g.grade, g.locked, g.get("points")) for g in graders[:4]] == [
        ("ex-twice-prepare", False, True, None),
        ("ex-twice", True, False, 1),
        ("ex-twice-check", False, True, None),
        ("ex-twice-words", True, False, 1),
    ]


def test_writing_says_where(tmp_path, capsys):
    assert student.main(["write", "--output", str(tmp_path / "course")]) == 0
    files = [tmp_path / f"course/{name}.ipynb" for name in CHAPTERS]
    assert capsys.readouterr().out.split() == [str(file) for file in files]
    assert [nbformat.read(file, as_version=4) for file in files] == [student.handout(name) for name in CHAPTERS]


def hand_in(checkout, who, **answers):
    """Store a notebook with these cells replaced, {id: source} with _ for -, in a folder of its own; return it."""
    notebook = student.handout("one", checkout)
    for cell in notebook.cells:
        cell.source = answers.get(cell.id.replace("-", "_"), cell.source)
    path = checkout / "in" / who / "one (1).ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    return path


def test_collecting_gives_a_line_an_exercise(checkout, capsys):
    hand_in(checkout, "ada", ex_twice="answer = 2 * number",
            ex_thrice="print('mine')\ndef answer(x):\n    return 3 * x",
            ex_twice_words=f"{student.WORDS}\n\nIt is the sum.")  # fmt: skip
    hand_in(checkout, "bob", ex_twice="answer = 1 / 0", ex_twice_check="print('Right.')", ex_thrice="answer = len")
    hand_in(checkout, "cyd", ex_thrice="import os\nos._exit(1)")
    path = hand_in(checkout, "dan", ex_twice="print('Right.')\nanswer = 7")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # an editor may keep no metadata of others, and keep ids there
        cell.metadata = {"id": cell.id}
        cell.id = f"x{cell.id}"
    nbformat.write(notebook, path)
    (checkout / "in/eve").mkdir()
    (checkout / "in/eve/one.ipynb").write_text("no notebook")
    nbformat.write(nbformat.v4.new_notebook(), checkout / "in/eve/two.ipynb")
    (checkout / "in/eve/gone.ipynb").symlink_to("nowhere")
    (checkout / "in/eve/null.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": '
                                                '[{"cell_type": "raw", "id": "a", "metadata": {"nbgrader": null}}]}')

    for copy in (".ipynb_checkpoints/one.ipynb", "out/collected/0/one.ipynb"):  # an editor's, and of a former call
        (checkout / "in" / copy).parent.mkdir(parents=True)
        (checkout / "in" / copy).write_bytes(path.read_bytes())

    table = student.collect(checkout / "in", "smoke", checkout / "in/out/answers.csv", checkout)
    with table.open(newline="", encoding="utf-8") as sheet:
        lines = [(Path(line["file"]).parent.name, line["exercise"], line["check"], line["explanation"])
                 for line in csv.DictReader(sheet)]  # fmt: skip
    assert lines[:2] == [("ada", "ex-twice", "Right.", "It is the sum."), ("ada", "ex-thrice", "Right.", "")]
    assert lines[2] == ("bob", "ex-twice", "ZeroDivisionError: division by zero", "")
    assert lines[3][:2] == ("bob", "ex-thrice") and lines[3][2].startswith("TypeError: ")
    assert [line[1:3] for line in lines[4:6]] == [("ex-twice", "No answer yet."), ("ex-thrice", "not run")]
    assert [line[2] for line in lines[6:8]] == ["Not yet: add it to itself", "No answer yet."]
    assert [line[2] for line in lines[8:]] == [
        *(f"{checkout}/in/eve/{name}.ipynb is not a notebook." for name in ("gone", "null", "one")),
        f"{checkout}/in/eve/two.ipynb has no answers to a chapter; hand in notebooks that `make student` wrote.",
    ]
    assert "one (1).ipynb: 2 of 2 right" in capsys.readouterr().out


def test_an_answer_without_end_is_cut_off(checkout, monkeypatch):
    monkeypatch.setattr(student, "LONGEST", 3)
    path = hand_in(checkout, "ada", ex_twice="while True:\n    pass")
    lines = student.graded(path, "smoke", checkout / "out", checkout)
    assert lines[0]["check"] in ("KeyboardInterrupt: ", "not run") and lines[1]["check"] == "not run"


def test_a_tilde_that_the_shell_left_is_the_home(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert student.main(["write", "--output", "~/course"]) == 0
    assert len(list((tmp_path / "course").glob("*.ipynb"))) == 5


def test_an_output_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="student: .*Not a directory"):
        student.main(["write", "--output", str(tmp_path / "file" / "course")])


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match="student: There is no notebook below"):
        student.main(["collect", str(tmp_path), "--output", str(tmp_path / "out.csv")])


@pytest.mark.parametrize("chapter", ["comparing-autoencoders", "improved-autoencoder", "adversarial-noise",
                                     "pseudo-anomalies"])  # fmt: skip
def test_the_page_for_lecturers_reads_records_as_it_says(chapter):
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "book/coursework.md").read_text(), re.M | re.S)
    *prepares, shown = block.strip().split("\n")
    namespace = {}
    exec("\n".join(prepares).replace("handed-in/ada/records", str(ROOT / "data/runs" / chapter)), namespace)
    table = eval(shown.partition("  #")[0], namespace)
    assert list(table.columns) == ["mean", "std", "count"] and table["mean"].between(0, 1).all()
    seeds = namespace["aurocs"].seed.nunique()
    assert table["count"].max() <= seeds, "a line is a setting over its seeds, and no mean over others"
    assert table["count"].sum() == len(namespace["aurocs"]), "and no run is left out"
    assert table.index.names[:2] == ["method", "dataset"]
    namespace["runs"] = namespace["runs"].query("run == run.iloc[0] and metric == 'auroc'").head(1)
    exec("\n".join(prepares[prepares.index("") + 2:]), namespace)
    assert list(eval(shown.partition("  #")[0], namespace)["count"]) == [1], "a single run is read, too"


@pytest.mark.parametrize("chapter", [Path(chapter).stem for chapter in book.chapters(ROOT)])
def test_the_page_for_lecturers_lists_each_exercise(chapter):
    text = (ROOT / "notebooks" / "text" / f"{chapter}.md").read_text()
    titles = re.findall(r"^:::\{exercise\} (.+)$", text, re.M)
    page = (ROOT / "book/coursework.md").read_text().partition("### The exercises")[2].partition("\n## ")[0]
    (row,) = [line for line in page.split("\n") if f"notebooks/{chapter}.ipynb" in line] or [""]
    listed = {title.strip() for cell in row.split("|")[2:] for title in cell.split(";")} - {""}
    assert listed == set(titles)
