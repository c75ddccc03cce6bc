"""Executing and staging: what is executed again, what a failure leaves, what the site is built from."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest
from jupyter_server.serverapp import ServerApp
from jupyterlab.labapp import LabApp
from packaging.requirements import Requirement
from torchvision import datasets

from helpers import claims, notebook
from helpers.chapter import NAMES
from tools import book, pairs

ROOT = Path(__file__).resolve().parent.parent
TOC = """\
format: jb-book
root: book/intro
parts:
  - caption: Chapters
    chapters:
      - file: notebooks/first
      - file: notebooks/second
  - caption: Pages
    chapters:
      - file: book/data
"""
CELLS = """\
```{code-cell} ipython3
:tags: [parameters]

tier = "quick"  # which tier
```

```{code-cell} ipython3
with open("NAME.log", "a") as log:
    log.write(tier + "\\n")
```

```{code-cell} ipython3
1 / int(tier != "broken")
```
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with two chapters that note each of their executions in a file."""
    for folder in ("notebooks/text", "helpers", "book", "data/paper", "data/runs/first", "data/runs/second"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("first", "second"):
        (tmp_path / f"notebooks/text/{name}.md").write_text(CELLS.replace("NAME", name))
        (tmp_path / f"data/runs/{name}/record.json").write_text("{}")
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "_config.yml").write_text("title: A book\n")
    (tmp_path / "book/intro.md").write_text("# Intro\n")
    (tmp_path / "helpers/engine.py").write_text("a = 1\n")
    (tmp_path / "data/paper/table.csv").write_text("1\n")
    pairs.sync(tmp_path)
    return tmp_path


def executions(checkout, name):
    log = checkout / f"{name}.log"
    return log.read_text().split() if log.exists() else []


def test_chapters_are_the_notebooks_of_one_part_of_the_table_of_contents(checkout):
    assert book.chapters(checkout) == book.notebooks(checkout) == ["notebooks/first", "notebooks/second"]
    (checkout / "_toc.yml").write_text(f"{TOC}      - file: notebooks/third\n")
    assert book.chapters(checkout) == ["notebooks/first", "notebooks/second"]
    assert book.notebooks(checkout) == ["notebooks/first", "notebooks/second", "notebooks/third"]


def test_a_notebook_that_is_no_chapter_depends_on_all_runs_and_needs_no_parameters(checkout):
    (checkout / "_toc.yml").write_text(f"{TOC}      - file: notebooks/third\n")
    (checkout / "notebooks/text/third.md").write_text("```{code-cell} ipython3\nprint(1)\n```\n")
    pairs.sync(checkout)
    read = {path.relative_to(checkout).as_posix() for path in book.depends_on("notebooks/third", checkout)}
    assert read >= {"data/runs/first/record.json", "data/runs/second/record.json", "notebooks/first.ipynb"}
    executed, _ = book.execute("notebooks/third", {"tier": "smoke"}, checkout / "_build", checkout)
    assert len(nbformat.read(executed, as_version=4).cells) == 1, "papermill added a cell of parameters"


@pytest.mark.parametrize(
    "change, matters",
    [
        ("notebooks/first.ipynb", True),
        ("helpers/engine.py", True),
        ("helpers/baselines/new.py", True),
        ("helpers/play/slider.js", True),
        ("data/play/digit.json", True),
        ("data/times.json", True),
        ("data/paper/table.csv", True),
        ("data/runs/first/another.json", True),
        ("data/runs/shared.json", True),
        ("data/runs/second/record.json", False),
        ("notebooks/second.ipynb", False),
        ("book/intro.md", False),
    ],
)
def test_fingerprint_follows_what_the_chapter_depends_on(checkout, change, matters):
    before = book.fingerprint("notebooks/first", {"tier": "quick"}, checkout)
    path = checkout / change
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.read_text() + " " if path.exists() else "new")
    assert (book.fingerprint("notebooks/first", {"tier": "quick"}, checkout) != before) is matters


def test_fingerprint_follows_parameters_versions_and_renames(checkout, monkeypatch):
    def now(tier="quick"):
        return book.fingerprint("notebooks/first", {"tier": tier}, checkout)

    seen = {now(), now("smoke")}
    (checkout / "helpers/engine.py").rename(checkout / "helpers/motor.py")
    seen.add(now())
    monkeypatch.setattr(book, "version", lambda package: "0.0")
    seen.add(now())
    monkeypatch.setenv("DATA_ROOT", os.fspath(checkout))
    seen.add(now())
    assert len(seen) == 5


def test_unchanged_chapters_are_not_executed_again(checkout):
    folder = checkout / "_build"
    first = book.execute_all({"tier": "smoke"}, folder, checkout)
    assert book.execute_all({"tier": "smoke"}, folder, checkout) == first
    assert executions(checkout, "first") == executions(checkout, "second") == ["smoke"]
    (checkout / "data/runs/second/record.json").write_text("[]")
    book.execute_all({"tier": "smoke"}, folder, checkout)
    assert (executions(checkout, "first"), executions(checkout, "second")) == (["smoke"], ["smoke", "smoke"])


def test_a_kernel_that_dies_spares_the_other_chapters(checkout, capsys):
    text = checkout / "notebooks/text/first.md"
    text.write_text(text.read_text() + "\n```{code-cell} ipython3\nimport os\nos._exit(1)\n```\n")
    pairs.sync(checkout)
    with pytest.raises(book.NotebookFailed, match="first.ipynb: its kernel died"):
        book.execute_all({"tier": "smoke"}, checkout / "_build", checkout)
    assert executions(checkout, "second") == ["smoke"]


def test_a_failure_names_notebook_and_cell_and_spares_the_others(checkout, capsys):
    folder = checkout / "_build"
    good = book.execute_all({"tier": "smoke"}, folder, checkout)
    bad = (checkout / "notebooks/text/first.md").read_text().replace('tier != "broken"', "False")
    (checkout / "notebooks/text/first.md").write_text(bad)
    (checkout / "helpers/engine.py").write_text("a = 2\n")
    pairs.sync(checkout)
    kept = good["notebooks/first"].read_bytes()
    message = r"^notebooks/first\.ipynb failed in cell c002: ZeroDivisionError"
    with pytest.raises(book.NotebookFailed, match=message):
        book.execute_all({"tier": "smoke"}, folder, checkout)
    assert good["notebooks/first"].read_bytes() == kept
    assert executions(checkout, "second") == ["smoke", "smoke"], "the failure stopped the chapter after it"
    with pytest.raises(book.NotebookFailed):
        book.execute_all({"tier": "smoke"}, folder, checkout)
    assert executions(checkout, "second") == ["smoke", "smoke"], "the good chapter was executed again"
    assert len(executions(checkout, "first")) == 3, "the failed chapter was taken for a good one"


CLAIM = """
```{code-cell} ipython3
from IPython.display import HTML, display
display(HTML("<p FAILED>This does not hold for the recorded runs: 2 of 8.</p>"))
```
"""


def test_a_claim_that_the_records_do_not_show_makes_the_book_fail(checkout):
    path = checkout / "notebooks/text/first.md"
    path.write_text(path.read_text() + CLAIM.replace("FAILED", "data-claim='differs'"))
    pairs.sync(checkout)
    book.execute_all({"tier": "smoke"}, checkout / "_build", checkout)  # a claim about this run may come out otherwise
    path.write_text(path.read_text().replace("data-claim='differs'", claims.FAILED))
    pairs.sync(checkout)
    with pytest.raises(book.NotebookFailed, match="first.ipynb claims what the records do not show"):
        book.execute_all({"tier": "smoke"}, checkout / "_build", checkout)
    with pytest.raises(book.NotebookFailed):
        book.execute_all({"tier": "smoke"}, checkout / "_build", checkout)


def test_a_page_has_no_progress_bars_that_need_a_kernel():
    bar = nbformat.v4.new_output("display_data", data={book.WIDGET: {"model_id": "0"}, "text/plain": "runs: 0%"})
    kept = nbformat.v4.new_output("stream", text="3 runs")
    cell = nbformat.v4.new_code_cell("sweep()", outputs=[bar, kept])
    page = book.tidy(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("text")]))
    assert page.cells[0].outputs == [kept]


def test_a_failure_makes_the_command_exit_non_zero(monkeypatch, capsys):
    def fail(tier):
        raise book.NotebookFailed("notebooks/first.ipynb failed in cell c002: ZeroDivisionError")

    monkeypatch.setattr(book, "make_book", fail)
    assert book.main([]) == 1
    assert "first.ipynb failed in cell c002" in capsys.readouterr().err


def test_stage_holds_executed_copies_without_papermills_cell(checkout):
    executed = book.execute_all({"tier": "smoke"}, checkout / "_build", checkout)
    stage = book.stage(executed, checkout / "stage", checkout)
    files = {path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file()}
    chapters = {"notebooks/first.ipynb", "notebooks/second.ipynb"}
    records = {f"extra/data/runs/{name}/record.json" for name in ("first", "second")}
    assert files == {"_config.yml", "_toc.yml", "book/intro.md", *chapters, *records}
    page = nbformat.read(stage / "notebooks/first.ipynb", as_version=4)
    injected = [cell for cell in page.cells if "injected-parameters" in cell.metadata.tags]
    assert len(injected) == 1 and "remove-cell" in injected[0].metadata.tags
    assert all("remove-cell" not in cell.metadata.tags for cell in page.cells if cell not in injected)


def test_a_copy_that_was_not_run_is_not_staged(checkout):
    executed = book.execute_all({"tier": "smoke"}, checkout / "_build", checkout)
    copy = nbformat.read(executed["notebooks/second"], as_version=4)
    copy.cells += [nbformat.v4.new_code_cell("", id="empty"), nbformat.v4.new_markdown_cell("words", id="words")]
    nbformat.write(copy, executed["notebooks/second"])
    book.stage(executed, checkout / "stage", checkout)
    copy.cells += [nbformat.v4.new_code_cell("1 + 1", id="idle")]
    nbformat.write(copy, executed["notebooks/second"])
    with pytest.raises(book.NotebookFailed, match=r"^notebooks/second\.ipynb was not run in cell idle; delete"):
        book.stage(executed, checkout / "stage", checkout)


def test_a_warning_makes_the_build_fail(checkout):
    (checkout / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (checkout / "book/intro.md").write_text("# Intro\n\n[nowhere](missing.md)\n")
    stage = book.stage({}, checkout / "stage", checkout)
    with pytest.raises(subprocess.CalledProcessError):
        book.build(stage, checkout)
    (checkout / "stage/book/intro.md").write_text("# Intro\n")
    assert book.build(stage, checkout).exists()


def requirements(name):
    lines = (ROOT / name).read_text().splitlines()
    return {Requirement(line).name.lower(): line for line in lines if line and not line.startswith("#")}


def test_what_helpers_needs_stands_in_both_lists_alike():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = requirements("requirements.txt").values()
    assert [line for line in project["dependencies"] if line not in listed] == []


def test_constraints_fix_a_version_inside_every_range():
    exact = {name.replace("_", "-"): line for name, line in requirements("constraints.txt").items()}
    for name, line in requirements("requirements.txt").items():
        version = exact[name.replace("_", "-")].partition("==")[2]
        assert Requirement(line).specifier.contains(version), line


def test_make_alone_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets == set(re.findall(r"^make (\w+) +\S", listed, re.M))
    assert {"book", "test", "lab", "notebook", "sync", "lint", "clean"} <= targets


def test_make_lab_opens_the_notebooks_in_a_server_of_the_whole_checkout(monkeypatch):
    """The pages' buttons, and what the other commands write, lie below the checkout."""
    said = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = shlex.split(re.search(r"jupyter lab (.*)", said)[1])
    monkeypatch.chdir(ROOT)
    server = ServerApp()
    server.parse_command_line(options)
    assert Path(server.root_dir) == ROOT and not server.extra_args
    shown = server.config["LabApp"]["default_url"].get_value(LabApp.default_url)
    assert (ROOT / shown.removeprefix("/lab/tree/") / "comparing-autoencoders.ipynb").exists()


def test_checksums_on_the_data_page_are_torchvisions():
    page = set(re.findall(r"\b[0-9a-f]{32}\b", (ROOT / "book/data.md").read_text()))
    known = {md5 for kind in (datasets.MNIST, datasets.FashionMNIST) for _, md5 in kind.resources}
    known |= {datasets.CIFAR10.tgz_md5, datasets.CIFAR100.tgz_md5}
    known |= {datasets.SVHN.split_list[part][2] for part in ("train", "test")}
    assert page == known


def test_the_shared_parameters_are_described():
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "book/rerunning.md").read_text().split("## Parameters")[1], re.M)
    assert set(table) == {"dataset", *notebook.COMMON}


def test_chapters_are_what_the_contents_call_so_and_what_has_runs():
    assert {Path(chapter).name for chapter in book.chapters(ROOT)} == set(NAMES)


def test_each_chapters_own_parameters_on_the_page_are_there():
    row = re.compile(r"^\| \[.*?\]\(\.\./(notebooks/\S+)\.ipynb\) \| (.*) \|$", re.M)
    rows = row.findall((ROOT / "book/rerunning.md").read_text())
    assert [chapter for chapter, _ in rows] == book.chapters(ROOT)
    for chapter, text in rows:
        named = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", text))  # what a parameter may be stands in brackets
        assert len(named) >= 5 and set(named) <= set(papermill.inspect_notebook(ROOT / f"{chapter}.ipynb")), chapter


def test_the_landing_page_and_the_readme_name_every_chapter():
    for page in ("book/intro.md", "README.md"):
        text = (ROOT / page).read_text()
        assert [chapter for chapter in book.chapters(ROOT) if f"{chapter}.ipynb" not in text] == [], page
