"""Execute one notebook with papermill, and say in one sentence where it was refused or failed.

    python tools/notebook.py comparing-autoencoders -p tier smoke -p epochs 3

What follows the name are options of papermill. The executed notebook lies in _build/runs, and beside it a log file with
what the kernel and papermill have to say. What cells tagged "outcome" print, such as where results lie, is printed here
as well.
"""

import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402
import nbformat  # noqa: E402
from papermill.cli import papermill  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402

from helpers.chapter import NOTEBOOKS  # noqa: E402

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
RUNS = ROOT / "_build" / "runs"


def main(argv):
    """Execute the notebook that the first argument names, and print its outcome and path; 0, 1, or papermill's 138."""
    name, options = (argv or [""])[0], argv[1:]
    if name not in NAMES:
        wrong = f"there is no notebook {name!r}; " if name else ""
        print(f"make notebook: {wrong}NAME is one of: {' '.join(NAMES)}.", file=sys.stderr)
        return 1
    RUNS.mkdir(parents=True, exist_ok=True)
    executed, log = RUNS / f"{name}.ipynb", RUNS / f"{name}.log"
    # A bar that no terminal redraws would only stand in front of the sentence.
    quiet = ["--log-level", "ERROR", *([] if sys.stderr.isatty() else ["--no-progress-bar"])]
    command = [str(ROOT / "notebooks" / f"{name}.ipynb"), str(executed), "-k", "python3", *quiet, *options]
    with open(log, "w", encoding="utf-8") as file, kernel_writes_to(file):
        try:
            if papermill(command, standalone_mode=False) == 0:  # --help and --version execute nothing
                return 0
        except click.ClickException as error:  # an option that papermill does not have
            error.show()
            return 1
        except SystemExit as end:  # papermill's own: 138 for a kernel that died
            if end.code == 138:
                print("The notebook's kernel died, perhaps for want of memory.", file=sys.stderr)
            return end.code or 0
        except Exception as error:
            traceback.print_exc(file=file)
            print(f"{said(error)}\nThe whole traceback is in {log}", file=sys.stderr)
            return 1
    print(f"{outcome(executed)}{executed}")
    return 0


def outcome(executed):
    """Return what the cells tagged "outcome" of an executed notebook have printed."""
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if "outcome" in cell.metadata.get("tags", [])]
    return "".join(out.text for cell in cells for out in cell.outputs if out.get("name") == "stdout")


@contextmanager
def kernel_writes_to(file):
    """Send what child processes write to stderr into a file; this process keeps its own stderr."""
    own, before = os.dup(2), sys.stderr
    os.dup2(file.fileno(), 2)
    try:
        with open(own, "w", buffering=1, encoding="utf-8", closefd=False) as sys.stderr:
            yield
    finally:
        sys.stderr = before
        os.dup2(own, 2)
        os.close(own)


def said(error):
    """Return what stopped a notebook in one line: the sentence of a refusal alone, else with the error's name."""
    if isinstance(error, PapermillExecutionError):
        name, text = error.ename, error.evalue
    else:
        name, text = type(error).__name__, str(error)
    return " ".join((text if name == "ParameterError" else f"{name}: {text}").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
