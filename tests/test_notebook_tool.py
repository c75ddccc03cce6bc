"""`make notebook`: one sentence where a notebook was refused, the frames in a file."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import nbformat
import pytest

from tools import notebook

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments):
    command = [sys.executable, ROOT / "tools" / "notebook.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_refusal_is_its_sentence_and_the_name_of_the_log():
    result = run("comparing-autoencoders", "-p", "tier", "smoke", "-p", "limit", "5")
    sentence, log = result.stderr.splitlines()
    assert result.returncode == 1 and result.stdout == ""
    assert sentence == "The limit must be None or a whole number of at least 10, an image a class, not 5."
    path = Path(log.removeprefix("The whole traceback is in "))
    assert path == notebook.RUNS / "comparing-autoencoders.log" and "PapermillExecutionError" in path.read_text()


@pytest.mark.parametrize(("arguments", "says"), [
    ([], f"NAME is one of: {' '.join(notebook.NAMES)}."),
    (["comparing"], "NAME is one of: "),
    (["../notebooks/comparing-autoencoders"], "NAME is one of: "),
    (["comparing-autoencoders", "--nope"], "No such option '--nope'."),
])  # fmt: skip
def test_a_wrong_command_says_what_is_possible(arguments, says, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(notebook, "RUNS", tmp_path)
    assert notebook.main(arguments) == 1
    assert says in capfd.readouterr().err and not list(tmp_path.glob("*.ipynb"))


def test_the_outcome_of_a_notebook_is_printed_before_its_path(tmp_path, monkeypatch, capfd):
    def papermill(command, **_):
        cell, stream = nbformat.v4.new_code_cell, partial(nbformat.v4.new_output, "stream")
        shown = [stream(text="It lies in /there\n"), stream(name="stderr", text="a warning\n")]
        cells = [cell(outputs=[stream(text="on the way\n")]), cell(outputs=shown, metadata={"tags": ["outcome"]})]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), command[1])

    monkeypatch.setattr(notebook, "RUNS", tmp_path)
    monkeypatch.setattr(notebook, "papermill", papermill)
    assert notebook.main(["comparing-autoencoders"]) == 0
    assert capfd.readouterr().out == f"It lies in /there\n{tmp_path / 'comparing-autoencoders.ipynb'}\n"


def test_another_error_is_named_in_one_line(tmp_path, monkeypatch, capfd):
    def papermill(*_, **__):
        raise KeyError("no such\ncolumn")

    monkeypatch.setattr(notebook, "RUNS", tmp_path)
    monkeypatch.setattr(notebook, "papermill", papermill)
    assert notebook.main(["comparing-autoencoders"]) == 1
    sentence, log = capfd.readouterr().err.splitlines()
    assert sentence == r"KeyError: 'no such\ncolumn'"
    assert "in papermill" in Path(log.split(" traceback is in ")[1]).read_text()


def test_a_kernel_that_died_is_one_sentence(tmp_path, monkeypatch, capfd):
    def papermill(*_, **__):
        sys.exit(138)  # as papermill does

    monkeypatch.setattr(notebook, "RUNS", tmp_path)
    monkeypatch.setattr(notebook, "papermill", papermill)
    assert notebook.main(["comparing-autoencoders"]) == 138
    assert capfd.readouterr().err == "The notebook's kernel died, perhaps for want of memory.\n"


def test_papermills_own_help_executes_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(notebook, "RUNS", tmp_path)
    assert notebook.main(["comparing-autoencoders", "--help"]) == 0
    assert "Usage:" in capfd.readouterr().out and not list(tmp_path.glob("*.ipynb"))
