"""What a notebook shows where its text has MyST, which Jupyter and Colab print as it stands."""

import re
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt

from tools import book, edition, pairs

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = book.chapters(ROOT)
SITE = edition.page("")
RAW = re.compile(r"\{[a-z:]+\}`|^ *(:{3,}|`{3,}\{)|^:\w+:|^\([\w-]+\)=$|^\+\+\+|^%|\$\$ *\(", re.M)
CASES = {
    "no directive at all: $a_{i}$, `{x}`": "no directive at all: $a_{i}$, `{x}`",
    "See {cite}`barker2023alcn,murase2022algan`.":
        f"See ([Barker et al., 2023]({SITE}book/bibliography.html#barker2023alcn); "
        "[Murase and Fukumizu, 2022](https://doi.org/10.1109/ACCESS.2022.3169594)).",
    "As {cite:t}`ruff2018deepsvdd` say,\n{doc}`the data <../book/data>` and {ref}`that part <label>`.":
        f"As [Ruff et al. (2018)]({SITE}book/bibliography.html#ruff2018deepsvdd) say,\n"
        f"[the data]({SITE}book/data.html) and that part.",
    "`{cite}` in code stays; ```{cite}`x` ``` too": "`{cite}` in code stays; ```{cite}`x` ``` too",
    "(label)=\n## A head\n\n$$\na\n$$ (eq-a)\n": "## A head\n\n$$\na\n$$\n",
    ":::{exercise} Who?\n:label: ex-who\n\nWrite `answer(x)`.\n:::": "### Exercise: Who?\n\nWrite `answer(x)`.",
    ":::{solution} ex-who\n:class: dropdown\n\n```python\nanswer = 1\n```\n\nOne.\n:::":
        "<details>\n<summary>Solution</summary>\n\n```python\nanswer = 1\n```\n\nOne.\n\n</details>",
    "a\n\n:::{prf:proof}\nIt is\nso.\n:::\n\nb": "a\n\n> **Proof.**\n>\n> It is\n> so.\n\nb",
    "::::{admonition} Mind\n:class: tip\n\n:::{note}\nx\n:::\n::::": "> **Mind.**\n>\n> > **Note.**\n> >\n> > x",
    "```{tip}\nTry.\n```": "> **Tip.**\n>\n> Try.",
}  # fmt: skip


@pytest.mark.parametrize("source", CASES)
def test_a_notebook_says_it_in_other_words(source):
    assert edition.markdown(source) == CASES[source]
    assert edition.markdown(CASES[source]) == CASES[source], "what has no directive stays as it is"


@pytest.mark.parametrize("source, says", [
    (":::{figure} a.png\nA\n:::", r"cannot show the directive \{figure\}; it can show exercise"),
    ("- a\n\n  :::{note}\n  A\n  :::", r"\{note\} has to start at the left margin"),
    ("by {eq}`one`", r"cannot show the role \{eq\}`one`; it can show cite"),
    ("{ref}`bare`", r"with words of their own"),
    ("{cite}`nobody1900`", "references.bib has no entry 'nobody1900'"),
])  # fmt: skip
def test_what_no_notebook_can_show_is_one_sentence(source, says):
    with pytest.raises(ValueError, match=says):
        edition.markdown(source)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_notebook_holds_raw_myst(chapter):
    cells = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    code = re.compile(r"^```python\n.*?^```$", re.M | re.S)
    assert [source for source in prose if RAW.search(code.sub("", source))] == []
    text = "\n\n".join(prose)
    assert text.count("### Exercise: ") == text.count("<summary>Solution</summary>") == text.count("</details>") >= 3
    folded = re.compile(r"<details>.*?</details>", re.S).findall(text)
    rendered = [MarkdownIt("commonmark").render(block) for block in folded]
    assert all('<code class="language-python">' in html and "```" not in html for html in rendered)


def test_raw_myst_is_seen():
    assert all(RAW.search(source) for source in CASES if source != CASES[source] and "``` too" not in source)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_first_cell_leads_to_colab_and_to_the_page(chapter):
    first = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells[0].source
    path = edition.repository().removeprefix("https://github.com/")
    assert f"(https://colab.research.google.com/github/{path}/blob/main/{chapter}.ipynb)" in first.splitlines()[2]
    assert f"({SITE}{chapter}.html)" in first.splitlines()[2]


TEXT = """\
# A title

Of {cite}`barker2023alcn`.

```{code-cell} ipython3
1 + 1
```

Plain words.

```{code-cell} ipython3
2 + 2
```

:::{note}
Words.
:::
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "notebooks/text").mkdir(parents=True)
    (tmp_path / "notebooks/text/one.md").write_text(TEXT)
    pairs.sync(tmp_path)
    pairs.pull("one", tmp_path)
    return tmp_path


def edit(checkout, change):
    path = checkout / "notebooks/one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    change(notebook.cells)
    nbformat.write(notebook, path)


def test_an_edit_in_jupyter_keeps_the_directives_of_the_text(checkout):
    before = (checkout / "notebooks/text/one.md").read_text()
    assert TEXT in before

    def change(cells):
        cells[2].source = "Other words of {cite}`ruff2018deepsvdd`."
        cells.insert(1, nbformat.v4.new_markdown_cell("A new cell."))
        del cells[4]  # the code cell 2 + 2

    edit(checkout, change)
    after = pairs.pull("one", checkout).read_text()
    assert after == (before.replace("Plain words.", "Other words of {cite}`ruff2018deepsvdd`.")
                     .replace("alcn`.\n", "alcn`.\n\n+++\n\nA new cell.\n")
                     .replace("```{code-cell} ipython3\n2 + 2\n```", "+++"))  # fmt: skip
    assert "[Ruff et al., 2018]" in (checkout / "notebooks/one.ipynb").read_text()


def words_of_a_note(cells):
    cells[4].source = cells[4].source.replace("Words", "Others")


def joined_with_the_cell_above(cells):
    cells[2].source += "\n\n" + cells.pop(4).source


def gone(cells):
    del cells[4]


@pytest.mark.parametrize("change", [words_of_a_note, joined_with_the_cell_above, gone])
def test_an_edit_in_jupyter_that_would_lose_a_directive_is_refused(checkout, change):
    edit(checkout, change)
    files = [checkout / "notebooks/one.ipynb", checkout / "notebooks/text/one.md"]
    before = [path.read_bytes() for path in files]
    with pytest.raises(ValueError, match=r"begins with '> \*\*Note.\*\*' .* edit notebooks/text/one.md"):
        pairs.pull("one", checkout)
    assert [path.read_bytes() for path in files] == before


def test_the_site_is_built_from_the_directives(checkout):
    def run(cells):
        cells.insert(1, nbformat.v4.new_code_cell("x = 1"))  # as papermill does
        for cell in cells:
            if cell.cell_type == "code":
                cell.execution_count = 1

    edit(checkout, run)
    page = book.page_of("notebooks/one", checkout / "notebooks/one.ipynb", checkout)
    prose = [cell.source for cell in page.cells if cell.cell_type == "markdown"]
    assert prose == ["# A title\n\nOf {cite}`barker2023alcn`.", "Plain words.", ":::{note}\nWords.\n:::"]


def test_the_site_offers_the_notebooks_for_download(site):
    offered = {chapter: (site / "_sources" / f"{chapter}.ipynb").read_bytes() for chapter in CHAPTERS}
    assert offered == {chapter: (ROOT / f"{chapter}.ipynb").read_bytes() for chapter in CHAPTERS}


def test_the_address_of_the_repository_stands_in_one_place():
    address = re.compile(r"github\.com/[\w-]+/annotated-anomaly\b|[\w-]+\.github\.io/annotated-anomaly\b")
    kept = [path for path in ROOT.iterdir() if path.name in ("book", "helpers", "notebooks", "tests", "tools")]
    files = [path for folder in kept for path in folder.rglob("*.*")] + [*ROOT.glob("*.*")]
    known = {edition.repository().removeprefix("https://"), SITE.removeprefix("https://").rstrip("/")}
    for path in files:
        if path.suffix in (".md", ".py", ".yml", ".toml"):
            named = set(address.findall(path.read_text(encoding="utf-8")))
            assert named <= (known if path.suffix == ".md" or path.name == "_config.yml" else set()), path
