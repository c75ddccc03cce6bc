"""Notebooks and their text twins; the setup cell in the three places where it has to work."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import chapter
from tools import edition, pairs

ROOT = Path(__file__).resolve().parent.parent
SETUP = edition.setup_cell()
TEXT = """\
---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A title

:::{note}
Words with $x^2$.
:::

```{code-cell} ipython3
:tags: [parameters]

epochs = 3  # how long
```

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: A line
    name: fig-line
---
print(epochs)
```
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one pair in agreement."""
    text = tmp_path / "notebooks" / "text" / "one.md"
    text.parent.mkdir(parents=True)
    text.write_text(TEXT)
    pairs.sync(tmp_path)
    return tmp_path


def test_every_pair_of_this_checkout_agrees():
    assert pairs.check(ROOT) == []
    assert pairs.pairs(ROOT), "there is no notebook at all"


def test_notebook_is_clean_and_the_same_each_time():
    first = pairs.to_notebook(TEXT, "one")
    assert first == pairs.to_notebook(TEXT, "one")
    assert "\r" not in first and first.endswith("}\n")
    notebook = nbformat.reads(first, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells] == ["c000", "c001", "c002"]
    assert [cell.metadata for cell in notebook.cells] == [
        {},
        {"tags": ["parameters"]},
        {"mystnb": {"figure": {"caption": "A line", "name": "fig-line"}}},
    ]
    assert all(cell.execution_count is None and cell.outputs == [] for cell in notebook.cells[1:])
    assert notebook.metadata.kernelspec.name == "python3"


def test_sync_writes_only_what_changed(checkout):
    assert pairs.sync(checkout) == []
    (checkout / "notebooks/text/one.md").write_text(TEXT.replace("A title", "Another"))
    assert [path.name for path in pairs.sync(checkout)] == ["one.ipynb"]
    assert "# Another" in (checkout / "notebooks/one.ipynb").read_text()


def test_pull_takes_an_edit_from_jupyter_and_nothing_else(checkout):
    path = checkout / "notebooks/one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].source = "print(epochs + 1)"
    notebook.cells[2].execution_count = 7
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="4\n")]
    notebook.metadata["widgets"] = {"state": {}}
    notebook.metadata["language_info"] = {"name": "python", "version": "3.99"}
    nbformat.write(notebook, path)
    assert len(pairs.check(checkout)) == 1
    text = pairs.pull("one", checkout)
    assert text.read_text() == TEXT.replace("print(epochs)", "print(epochs + 1)")
    assert pairs.check(checkout) == []
    assert "3.99" not in path.read_text() and "stream" not in path.read_text()


def test_check_names_the_pair_that_differs(checkout):
    path = checkout / "notebooks/one.ipynb"
    content = json.loads(path.read_text())
    content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["3\n"]}]
    path.write_text(json.dumps(content))
    (checkout / "notebooks/text/lonely.md").write_text(TEXT)
    faults = pairs.check(checkout)
    assert [fault.split(":")[0] for fault in faults] == ["lonely", "one"]
    assert "make sync" in faults[1]


def test_an_unknown_name_lists_the_notebooks(checkout):
    with pytest.raises(FileNotFoundError, match="no notebook 'two'; possible: one"):
        pairs.pull("two", checkout)


line = st.text("abcxyz $*_=#()[]+ äβ", max_size=20).map(str.strip).filter(lambda s: s[:1] not in ("", "+"))
source = st.lists(line, min_size=1, max_size=3).map("\n".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), source), min_size=1, max_size=5))
def test_text_and_notebook_hold_the_same_cells(cells):
    make = {True: nbformat.v4.new_code_cell, False: nbformat.v4.new_markdown_cell}
    notebook = nbformat.v4.new_notebook(cells=[make[is_code](text) for is_code, text in cells])
    text = pairs.to_text(nbformat.writes(notebook), "one")
    assert [(cell.cell_type == "code", cell.source) for cell in pairs.source_cells(text)] == cells
    shown = nbformat.reads(pairs.to_notebook(text, "one"), as_version=4).cells
    assert pairs.to_text(nbformat.writes(nbformat.v4.new_notebook(cells=shown)), "one", text) == text


@pytest.mark.parametrize("notebook", [nb for nb, _ in pairs.pairs(ROOT)], ids=lambda path: path.stem)
def test_first_code_cell_is_the_setup_cell(notebook):
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert cells[0].source == SETUP
    assert "parameters" in cells[1].metadata.tags or notebook.stem not in chapter.NAMES


def test_setup_cell_fetches_from_the_address_of_the_book():
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert f'url = "{repository}"' in SETUP


def run_setup(folder, before="", after=""):
    """Run the setup cell in `folder` with the standard library alone, as where helpers is not installed."""
    program = f"import sys\n{before}\n{SETUP}\n{after}"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=folder, capture_output=True, text=True, timeout=60
    )


SAY_WHERE = "print(importlib.util.find_spec('helpers').origin)"


@pytest.mark.parametrize("where", [".", "notebooks"])
def test_setup_cell_finds_the_checkout_around_it(where):
    result = run_setup(ROOT / where, after=SAY_WHERE)
    assert result.stdout.strip() == str(ROOT / "helpers" / "__init__.py"), result.stderr


def test_setup_cell_outside_a_checkout_says_what_to_do_and_fetches_nothing(tmp_path):
    result = run_setup(tmp_path)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        "ImportError: helpers is not installed: run `pip install -e .` in the checkout of the book."
    )
    assert list(tmp_path.iterdir()) == []


COLAB = """
import pathlib, subprocess
sys.modules["google.colab"] = sys
def run(command, check):
    print(*command[:3], "->", command[-1].name)
    if command[0] == "git":
        (command[-1] / "helpers").mkdir(parents=True)
        (command[-1] / "helpers" / "__init__.py").touch()
subprocess.run = run
"""


def test_setup_cell_in_colab_clones_once_and_installs_until_helpers_is_there(tmp_path):
    first = run_setup(tmp_path, COLAB, SAY_WHERE)
    assert first.stdout.splitlines() == [
        "git clone --quiet -> annotated-anomaly",
        f"{sys.executable} -m pip -> annotated-anomaly",
        str(tmp_path / "annotated-anomaly" / "helpers" / "__init__.py"),
    ], first.stderr
    again = run_setup(tmp_path, COLAB, SAY_WHERE)  # as where the first pip was interrupted
    assert again.stdout.splitlines() == first.stdout.splitlines()[1:], again.stderr
    there = f"sys.path.insert(0, {str(tmp_path / 'annotated-anomaly')!r})"
    assert run_setup(tmp_path, f"{COLAB}\n{there}", SAY_WHERE).stdout.splitlines() == first.stdout.splitlines()[2:]
