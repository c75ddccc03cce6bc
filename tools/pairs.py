"""Keep each notebook and its text twin together.

notebooks/text/NAME.md (MyST) is what people edit and review. notebooks/NAME.ipynb is what they open; it is
generated from the text, with no outputs, and byte for byte the same each time.

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


def to_notebook(text: str) -> str:
    """The bytes of the .ipynb that belongs to a MyST text."""
    return nbformat.writes(clean(jupytext.reads(text, fmt="md:myst")), indent=1).rstrip("\n") + "\n"


def to_text(notebook: str, header: str = "") -> str:
    """The MyST text that belongs to an .ipynb, whatever outputs or metadata it gained in Jupyter.

    header: the front matter to open with, as split_header gives it; empty writes a new one.
    """
    node = clean(nbformat.reads(notebook, as_version=4))
    node.metadata["language_info"]["pygments_lexer"] = "ipython3"
    text = jupytext.writes(node, fmt={"extension": ".md", "format_name": "myst"})
    _, body = split_header(text)
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
        source = to_notebook(text.read_text(encoding="utf-8"))
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
    header, _ = split_header(text.read_text(encoding="utf-8")) if text.exists() else ("", "")
    text.write_bytes(to_text(notebook.read_text(encoding="utf-8"), header).encode())
    notebook.write_bytes(to_notebook(text.read_text(encoding="utf-8")).encode())
    return text


def check(root: Path = ROOT) -> list[str]:
    """One sentence for each pair that does not agree."""
    faults = []
    for notebook, text in pairs(root):
        name = notebook.stem
        if not text.exists() or not notebook.exists():
            missing = text if not text.exists() else notebook
            faults.append(f"{name}: {missing.relative_to(root)} is missing.")
        elif notebook.read_bytes() != to_notebook(text.read_text(encoding="utf-8")).encode():
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
    except FileNotFoundError as error:
        sys.exit(f"pairs: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
