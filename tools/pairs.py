"""Keep each notebook and its text twin together.

notebooks/text/NAME.md (MyST) is what people edit and review. notebooks/NAME.ipynb is what they open; it is
generated from the text, with no outputs and without MyST, which Jupyter does not show (tools/edition.py), and byte for
byte the same each time.

    python tools/pairs.py sync         write every .ipynb from its text
    python tools/pairs.py pull NAME    take an edit made in Jupyter back into the text
    python tools/pairs.py check        say which pairs differ; exit 1 if any does
"""

import argparse
import sys
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import edition  # noqa: E402

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
NEW_HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""


def twin(notebook: Path) -> Path:
    """The text twin of notebooks/NAME.ipynb: notebooks/text/NAME.md."""
    return notebook.parent / "text" / f"{notebook.stem}.md"


def pairs(root: Path = ROOT) -> list[tuple[Path, Path]]:
    """Every (notebook, text) of a checkout, also where one of the two is missing."""
    folder = root / "notebooks"
    names = {p.stem for p in folder.glob("*.ipynb")} | {p.stem for p in folder.glob("text/*.md")}
    return [(folder / f"{name}.ipynb", twin(folder / f"{name}.ipynb")) for name in sorted(names)]


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without outputs, counts and editor metadata; cell ids are its ordinals c000, c001, ..."""
    cells = []
    for number, cell in enumerate(notebook.cells):
        tags = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        figure = {"mystnb": cell.metadata["mystnb"]} if "mystnb" in cell.metadata else {}
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        cells.append(make(cell.source, id=f"c{number:03d}", metadata=tags | figure))
    return nbformat.v4.new_notebook(
        cells=cells,
        metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}},
        nbformat_minor=5,
    )


def source_cells(text: str) -> list[nbformat.NotebookNode]:
    """The cells of a MyST text as it has them, with the ids that they have in the notebook."""
    return clean(jupytext.reads(text, fmt="md:myst")).cells


def shown(cell: nbformat.NotebookNode, name: str) -> str:
    """What the notebook NAME shows for a cell of its text."""
    if cell.cell_type == "code":
        return edition.setup_cell() if cell.source == edition.SETUP else cell.source
    return edition.title(cell.source, name) if cell.id == "c000" else edition.markdown(cell.source)


def to_notebook(text: str, name: str) -> str:
    """The JSON text of the notebook NAME.ipynb that belongs to a MyST text."""
    notebook = clean(nbformat.v4.new_notebook(cells=source_cells(text)))
    for cell in notebook.cells:
        cell.source = shown(cell, name)
    return nbformat.writes(notebook, indent=1).rstrip("\n") + "\n"


def to_text(notebook: str, name: str, text: str = "") -> str:
    """The MyST text that belongs to an .ipynb, whatever outputs or metadata it gained in Jupyter.

    text: the text up to now, which knows the front matter and the directives that the notebook shows in other words.
    Raises ValueError where the notebook changed a cell that shows such a directive.
    """
    node = clean(nbformat.reads(notebook, as_version=4))
    header, _ = split_header(text)
    in_other_words = [(shown(cell, name), cell.source) for cell in source_cells(text) if text]
    in_other_words = [(seen, source) for seen, source in in_other_words if seen != source]
    for cell in node.cells:
        if in_other_words and cell.source == in_other_words[0][0]:
            cell.source = in_other_words.pop(0)[1]
    if in_other_words:
        begin = in_other_words[0][0].partition("\n")[0]
        raise ValueError(
            f"The cell that begins with {begin!r} shows in other words what its text says, so it cannot be changed, "
            f"moved or removed in Jupyter: edit notebooks/text/{name}.md."
        )
    node.metadata["language_info"]["pygments_lexer"] = "ipython3"
    _, body = split_header(jupytext.writes(node, fmt={"extension": ".md", "format_name": "myst"}))
    return (header or NEW_HEADER) + body


def split_header(text: str) -> tuple[str, str]:
    """The YAML front matter with its fences, and the rest; the first is empty where there is none."""
    if not text.startswith("---\n"):
        return "", text
    end = text.index("\n---\n", 4) + len("\n---\n")
    return text[:end], text[end:]


def sync(root: Path = ROOT) -> list[Path]:
    """Write every .ipynb whose bytes differ from what its text says; return those written."""
    written = []
    for notebook, text in pairs(root):
        if not text.exists():
            raise FileNotFoundError(
                f"{text.relative_to(root)} is missing; `python tools/pairs.py pull {notebook.stem}` makes it."
            )
        source = to_notebook(text.read_text(encoding="utf-8"), notebook.stem)
        if not notebook.exists() or notebook.read_bytes() != source.encode():
            notebook.write_bytes(source.encode())
            written.append(notebook)
    return written


def pull(name: str, root: Path = ROOT) -> Path:
    """Write the text twin of notebooks/NAME.ipynb, then the notebook again, clean."""
    notebook = root / "notebooks" / f"{Path(name).stem}.ipynb"
    if not notebook.exists():
        known = ", ".join(nb.stem for nb, _ in pairs(root)) or "none"
        raise FileNotFoundError(f"There is no notebook {name!r}; possible: {known}.")
    text = twin(notebook)
    text.parent.mkdir(exist_ok=True)
    before = text.read_text(encoding="utf-8") if text.exists() else ""
    after = to_text(notebook.read_text(encoding="utf-8"), notebook.stem, before)
    clean_notebook = to_notebook(after, notebook.stem)
    text.write_bytes(after.encode())
    notebook.write_bytes(clean_notebook.encode())
    return text


def check(root: Path = ROOT) -> list[str]:
    """One sentence for each pair that does not agree."""
    faults = []
    for notebook, text in pairs(root):
        name = notebook.stem
        if not text.exists() or not notebook.exists():
            missing = text if not text.exists() else notebook
            faults.append(f"{name}: {missing.relative_to(root)} is missing.")
        elif notebook.read_bytes() != to_notebook(text.read_text(encoding="utf-8"), name).encode():
            faults.append(
                f"{name}: the notebook differs from its text; `make sync` takes the text, "
                f"`python tools/pairs.py pull {name}` takes the notebook."
            )
    return faults


def main(argv: list[str] | None = None) -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sync")
    commands.add_parser("pull").add_argument("name")
    commands.add_parser("check")
    args = parser.parse_args(argv)
    try:
        if args.command == "sync":
            for path in sync():
                print(f"wrote {path.relative_to(ROOT)}")
        elif args.command == "pull":
            print(f"wrote {pull(args.name).relative_to(ROOT)}")
        else:
            faults = check()
            print("\n".join(faults) or "every notebook agrees with its text")
            return 1 if faults else 0
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"pairs: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
