"""Execute the notebooks of the table of contents, then build the site from the executed copies.

    python tools/book.py --tier quick

A notebook is executed again only when something it depends on has changed: its source, helpers, the recorded
numbers in data/, its parameters, Python or torch. jupyter-cache looks at the code cells alone.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers.claims import FAILED  # noqa: E402
from helpers.notebook import TIER_NAMES  # noqa: E402
from tools import landing, pairs  # noqa: E402

WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookFailed(Exception):
    """A notebook stopped in a cell, was not run, or claims what its records do not show; the message says which."""


def notebooks(root: Path = ROOT, part: str | None = None) -> list[str]:
    """The notebooks of _toc.yml, or of one part of it, in reading order, as paths without their ending."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    parts = [item for item in toc.get("parts", []) if part in (None, item.get("caption"))]
    files = [page["file"] for item in parts for page in item["chapters"]]
    return [file for file in files if file.startswith("notebooks/")]


def chapters(root: Path = ROOT) -> list[str]:
    """The notebooks that reproduce a paper, notebooks/NAME: those of the part "Chapters"."""
    return notebooks(root, "Chapters")


def depends_on(notebook: str, root: Path = ROOT) -> list[Path]:
    """Every file that decides what a notebook prints: itself, helpers, and what lies in data but the cache.

    Of data/runs a chapter reads its own part alone; a notebook that is no chapter may read everything, also chapters.
    """
    read = [notebook] if notebook in chapters(root) else [notebook, *chapters(root)]
    others = {Path(chapter).name for chapter in chapters(root)} - {Path(name).name for name in read}
    runs = root / "data" / "runs"
    files = [*(root / f"{name}.ipynb" for name in read), *(root / "data/paper").rglob("*")]
    files += [*(root / "data/play").rglob("*"), root / "data/times.json"]
    files += [path for path in (root / "helpers").rglob("*") if path.suffix in (".py", ".html", ".js", ".css")]
    files += [path for path in runs.rglob("*") if path.relative_to(runs).parts[0] not in others]
    return sorted(path for path in files if path.is_file())


def fingerprint(notebook: str, parameters: dict, root: Path = ROOT) -> str:
    """64 hex digits that change whenever the outputs of a notebook might."""
    digest = hashlib.sha256()
    facts = [parameters, platform.python_version(), version("torch"), os.environ.get("DATA_ROOT", "")]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for path in depends_on(notebook, root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def execute(notebook: str, parameters: dict, folder: Path, root: Path = ROOT) -> tuple[Path, bool]:
    """Execute a notebook into folder/notebook.ipynb, or reuse what stands there.

    Returns the executed copy and whether it was reused. Raises NotebookFailed; the last good copy then stays,
    without its key, and the failed one lies beside it under failed/.
    """
    done = folder / f"{notebook}.ipynb"
    key = done.with_suffix(".key")
    now = fingerprint(notebook, parameters, root)
    if done.exists() and key.exists() and key.read_text() == now:
        return done, True
    attempt = folder / "failed" / f"{notebook}.ipynb"
    attempt.parent.mkdir(parents=True, exist_ok=True)
    done.parent.mkdir(parents=True, exist_ok=True)
    key.unlink(missing_ok=True)
    try:
        source = root / f"{notebook}.ipynb"
        known = papermill.inspect_notebook(source)  # of any other papermill only warns
        given = {name: value for name, value in parameters.items() if name in known}
        papermill.execute_notebook(source, attempt, given, kernel_name="python3", cwd=root, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        cell = failed_cell(attempt)
        raise NotebookFailed(
            f"{notebook}.ipynb failed in cell {cell}: {error.ename}: {error.evalue} "
            f"(see {os.path.relpath(attempt, root)})"
        ) from None
    except DeadKernelError:
        raise NotebookFailed(f"{notebook}.ipynb: its kernel died, perhaps for want of memory.") from None
    if wrong := failed_claims(attempt):
        raise NotebookFailed(f"{notebook}.ipynb claims what the records do not show: {' '.join(wrong)}")
    os.replace(attempt, done)
    key.write_text(now)
    return done, False


def failed_cell(path: Path) -> str:
    """The id of the cell that raised, the same as in the committed notebook."""
    for cell in nbformat.read(path, as_version=4).cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return cell.id
    return "unknown"


def failed_claims(path: Path) -> list[str]:
    """What an executed notebook says of recorded runs and its records do not show, a sentence each."""
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    shown = [out.get("data", {}) for out in outputs]
    return [data["text/plain"] for data in shown if FAILED in data.get("text/html", "")]


def not_run(notebook: nbformat.NotebookNode) -> list[str]:
    """The ids of the cells with code that no kernel has run."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return [cell.id for cell in code if cell.execution_count is None]


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """As a page wants it: without papermill's own cell, and without progress bars, which need a kernel to move."""
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.setdefault("tags", []):
            cell.metadata.tags.append("remove-cell")
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
    return notebook


def execute_all(parameters: dict, folder: Path, root: Path = ROOT) -> dict[str, Path]:
    """Execute every notebook; a failure stops no other and is raised at the end, in one NotebookFailed."""
    executed, faults = {}, []
    for notebook in notebooks(root):
        try:
            executed[notebook], reused = execute(notebook, parameters, folder, root)
            print(f"{'unchanged' if reused else 'executed'}: {notebook}.ipynb", flush=True)
        except NotebookFailed as fault:
            faults.append(str(fault))
            print(f"failed: {notebook}.ipynb", flush=True)
    if faults:
        raise NotebookFailed("\n".join(faults))
    return executed


def page_of(notebook: str, executed: Path, root: Path = ROOT) -> nbformat.NotebookNode:
    """The executed copy of a notebook as the site wants it: tidy, with its text's directives in place of other words.

    Raises NotebookFailed for a copy that was not run, since its page would have no results.
    """
    page = tidy(nbformat.read(executed, as_version=4))
    if cells := not_run(page):
        raise NotebookFailed(f"{notebook}.ipynb was not run in cell {', '.join(cells)}; delete {executed} to run it.")
    text = pairs.twin(root / f"{notebook}.ipynb").read_text(encoding="utf-8")
    sources = {cell.id: cell.source for cell in pairs.source_cells(text)}
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = sources.get(cell.id, cell.source)
    return page


def stage(executed: dict[str, Path], folder: Path, root: Path = ROOT) -> Path:
    """A source tree for Jupyter Book with the checkout's own relative paths, so that its links stay right.

    Errors as in `page_of`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "book", folder / "book")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(root / name, folder / name)
    # _config.yml puts what lies in `extra` beside the pages: a page links to a record as a notebook does.
    shutil.copytree(root / "data/runs", folder / "extra/data/runs")
    for notebook, path in executed.items():
        (folder / notebook).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page_of(notebook, path, root), folder / f"{notebook}.ipynb")
    landing.draw(folder, root)
    return folder


def build(source: Path, output: Path, root: Path = ROOT) -> Path:
    """Build the site with warnings as errors; returns index.html. Raises CalledProcessError.

    The notebooks that its pages offer for download are those of the checkout, which Jupyter shows without directives.
    """
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", source, "--path-output", output, "--all", "-W", "--keep-going", "-q"]
    # Its report on success is a banner; warnings and errors come on stderr.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    html = output / "_build" / "html"
    for download in (html / "_sources").rglob("*.ipynb"):
        shutil.copy2(root / download.relative_to(html / "_sources"), download)
    return html / "index.html"


def make_book(tier: str, work: Path | None = None, output: Path | None = None, root: Path = ROOT) -> Path:
    """Execute, stage and build; returns the path of index.html.

    work: where executed copies and the staged sources lie (default _build); output: the folder that gets
    _build/html (default the checkout itself).
    """
    work = work or root / "_build"
    executed = execute_all({"tier": tier}, work / "executed" / tier, root)
    return build(stage(executed, work / "stage", root), output or root, root)


def main(argv: list[str] | None = None) -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--tier", choices=TIER_NAMES, default="quick")
    tier = parser.parse_args(argv).tier
    try:
        index = make_book(tier)
    except NotebookFailed as fault:
        print(f"book: {fault}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print("book: Jupyter Book reported the warnings or errors above.", file=sys.stderr)
        return error.returncode
    print(index)
    return 0


if __name__ == "__main__":
    sys.exit(main())
