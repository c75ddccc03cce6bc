"""Coursework: chapters to hand out, with holes where the solutions were, and a list of what came back.

    python tools/student.py write             notebooks to hand out, into _build/student
    python tools/student.py collect FOLDER    answers of all notebooks below FOLDER, into _build/answers.csv

A notebook to hand out is made from the text of its chapter. Its cells carry nbgrader's metadata: answers and
explanations can be edited and are graded by hand, checks are locked. `collect` puts the answers into a fresh copy of
the chapter and runs it with papermill, so a check that was edited does not count. An answer is a program all the same:
run it where you would run your students' programs, and read what looks too good.
"""

import argparse
import ast
import csv
import re
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nbformat  # noqa: E402
import papermill  # noqa: E402
from nbclient.exceptions import DeadKernelError  # noqa: E402

from helpers.notebook import TIER_NAMES  # noqa: E402
from tools import book, pairs  # noqa: E402

HOW_TO = """\
**To work in.** Run the notebook from the top. For each exercise, put your answer in place of `answer = None`, then run
that cell and the check below it. Keep all of an answer in its cell, since it is checked once more in a fresh copy of
this notebook. Then say in your own words what you found."""
WORDS = "*Your explanation, in two or three sentences:*"
SOLUTION = re.compile(r"<details>\n<summary>Solution</summary>.*?</details>", re.S)
LONGEST = 600  # seconds that a cell may run; an answer may have a loop without an end
COLUMNS = ("file", "chapter", "exercise", "check", "explanation")


def handout(name: str, root: Path = ROOT) -> nbformat.NotebookNode:
    """The notebook NAME without outputs and solutions, with a cell for each answer and each explanation."""
    text = (root / "notebooks" / "text" / f"{name}.md").read_text(encoding="utf-8")
    labels = re.findall(r"^:label: (ex-\S+)$", text, re.M)
    notebook = nbformat.reads(pairs.to_notebook(text, name), as_version=4)
    to_check, to_explain = iter(labels), iter(labels)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("answer = None"):
            cells += exercise(cell, next(to_check))
        elif cell.cell_type == "markdown" and SOLUTION.search(cell.source):
            for number, words in enumerate(re.split(f"({SOLUTION.pattern})", cell.source, flags=re.S)):
                if SOLUTION.match(words):
                    cells.append(marked(nbformat.v4.new_markdown_cell(WORDS), f"{next(to_explain)}-words", True))
                elif words.strip():
                    cells.append(nbformat.v4.new_markdown_cell(words.strip(), id=f"{cell.id}-{number}"))
        else:
            cells.append(cell)
    cells.insert(1, nbformat.v4.new_markdown_cell(HOW_TO, id="how-to"))
    notebook.cells = cells
    return notebook


def exercise(cell: nbformat.NotebookNode, label: str) -> list[nbformat.NotebookNode]:
    """What an exercise prepares (where it does), the hole for its answer, and its check: a cell each."""
    hole, *lines = cell.source.split("\n")
    check = next(node for node in ast.parse(cell.source).body if "notebook.check(" in ast.unparse(node))
    prepared, checked = lines[: check.lineno - 2], lines[check.lineno - 2 :]
    make, tags = nbformat.v4.new_code_cell, cell.metadata.get("tags", [])
    parts = [
        marked(make("\n".join(prepared).strip()), f"{label}-prepare", False),
        marked(make(hole), label, True),
        marked(make("\n".join(checked)), f"{label}-check", False),
    ]
    for part in parts:
        part.metadata.update({"tags": tags} if tags else {})
    return [part for part in parts if part.source]


def marked(cell: nbformat.NotebookNode, grade_id: str, is_answer: bool) -> nbformat.NotebookNode:
    """The cell with an id and with nbgrader's metadata: an answer for one point, or locked."""
    cell.id = grade_id
    cell.metadata["nbgrader"] = {
        "schema_version": 3, "grade_id": grade_id, "cell_type": cell.cell_type, "task": False,
        "grade": is_answer, "solution": is_answer, "locked": not is_answer,
    } | ({"points": 1} if is_answer else {})  # fmt: skip
    return cell


def write(folder: Path, root: Path = ROOT) -> list[Path]:
    """Write every chapter to hand out into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{Path(chapter).name}.ipynb" for chapter in book.chapters(root)]
    for file in files:
        nbformat.write(handout(file.stem, root), file)
    return files


def answers(file: Path) -> dict[str, str]:
    """{grade_id: source} of the answers and explanations in a notebook that was handed in; ValueError if it is none."""
    try:
        cells = nbformat.read(file, as_version=4).cells
        named = {cell.metadata.get("nbgrader", {}).get("grade_id") or cell.metadata.get("id") or cell.get("id"):
                 cell.source for cell in cells}  # fmt: skip
    except (OSError, ValueError, AttributeError, nbformat.ValidationError):
        raise ValueError(f"{file} is not a notebook.") from None
    return {name: source for name, source in named.items() if str(name).startswith("ex-")}


def chapter_of(given: dict[str, str], file: Path, root: Path = ROOT) -> str:
    """The chapter whose exercises a notebook answers; ValueError where it is none."""
    for chapter in book.chapters(root):
        name = Path(chapter).name
        if any(cell.id in given for cell in handout(name, root).cells):
            return name
    raise ValueError(f"{file} has no answers to a chapter; hand in notebooks that `make student` wrote.")


def graded(file: Path, tier: str, work: Path, root: Path = ROOT) -> list[dict[str, str]]:
    """A line an exercise of a notebook that was handed in: what the check says of its answer, and its explanation.

    The answers run in a fresh copy of the chapter, which lies executed in `work` afterwards.
    """
    given = answers(file)
    name = chapter_of(given, file, root)
    notebook = handout(name, root)
    labels = [cell.id.removesuffix("-check") for cell in notebook.cells if cell.id.endswith("-check")]
    for cell in notebook.cells:
        if cell.id in labels:
            cell.source = given.get(cell.id, cell.source)
        if cell.id.startswith("ex-"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "raises-exception"]  # the next one runs anyway
    work.mkdir(parents=True, exist_ok=True)
    executed = work / f"{name}.ipynb"
    with suppress(papermill.PapermillExecutionError, TimeoutError, DeadKernelError):  # the executed copy tells
        papermill.execute_notebook(notebook, executed, {"tier": tier}, kernel_name="python3", cwd=root,
                                   progress_bar=False, execution_timeout=LONGEST)  # fmt: skip
    said = {cell.id: said_by(cell) for cell in nbformat.read(executed, as_version=4).cells if cell.id.startswith("ex-")}
    return [dict(zip(COLUMNS, (str(file), name, label, said[label] or said[f"{label}-check"] or "not run",
                               given.get(f"{label}-words", "").removeprefix(WORDS).strip())))
            for label in labels]  # fmt: skip


def said_by(cell: nbformat.NotebookNode) -> str:
    """The error that an executed cell ends in, else the first line of a check, else nothing."""
    outputs = cell.get("outputs", [])
    errors = [f"{out.ename}: {out.evalue}" for out in outputs if out.output_type == "error"]
    printed = "".join(out.text for out in outputs if out.get("name") == "stdout")
    return errors[0] if errors else printed.partition("\n")[0] if cell.id.endswith("-check") else ""


def collect(folder: Path, tier: str, table: Path, root: Path = ROOT) -> Path:
    """Write a CSV file with a line for each exercise of each notebook below a folder; return its path."""
    ran = table.parent / "collected"  # where a former call may have left its copies
    files = sorted(path for path in folder.rglob("*.ipynb")
                   if ".ipynb_checkpoints" not in path.parts and ran.resolve() not in path.resolve().parents)
    if not files:
        raise ValueError(f"There is no notebook below {folder}.")
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as sheet:
        writer = csv.DictWriter(sheet, COLUMNS)
        writer.writeheader()
        for number, file in enumerate(files):
            try:
                lines = graded(file, tier, ran / str(number), root)
                print(f"{file}: {sum(line['check'] == 'Right.' for line in lines)} of {len(lines)} right", flush=True)
            except ValueError as error:
                lines = [{"file": file, "check": error}]
                print(error, flush=True)
            writer.writerows(lines)
    return table


def a_path(text: str) -> Path:
    return Path(text).expanduser()  # OUTPUT=~/course reaches us with the tilde from some shells


def main(argv: list[str] | None = None) -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("--output", type=a_path, default=ROOT / "_build" / "student")
    collecting = commands.add_parser("collect")
    collecting.add_argument("folder", type=a_path)
    collecting.add_argument("--tier", choices=TIER_NAMES, default="quick")
    collecting.add_argument("--output", type=a_path, default=ROOT / "_build" / "answers.csv")
    args = parser.parse_args(argv)
    try:
        done = write(args.output) if args.command == "write" else [collect(args.folder, args.tier, args.output)]
    except (OSError, ValueError) as error:
        sys.exit(f"student: {error}")
    print("\n".join(map(str, done)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
