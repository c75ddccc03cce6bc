"""Every chapter executed by papermill at tier smoke; wrong parameters refused before anything is computed."""

import os
import subprocess
import sys
from pathlib import Path

import cloudpickle
import nbformat
import papermill
import pytest
from chapters import definitions

from tools import book

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = book.chapters(ROOT)
FIRST = "notebooks/comparing-autoencoders"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs_at_tier_smoke(chapter, smoke_folder):
    executed, _ = book.execute(chapter, {"tier": "smoke"}, smoke_folder)
    notebook = nbformat.read(executed, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "a cell was not reached"
    images = [out for cell in code for out in cell.outputs if any("image" in kind for kind in out.get("data", {}))]
    assert len(images) >= 3, "a chapter shows its figures at every tier"
    too_long = notebook.metadata.papermill.duration >= 180
    if too_long:
        executed.with_suffix(".key").unlink()  # else this very copy is looked at again the next time
    assert not too_long, "smoke is meant for 60 s on two free cores"
    for cell in code:  # a claim whose number is missing is silent, which nobody would notice on the page
        html = "".join(out.get("data", {}).get("text/html", "") for out in cell.outputs)
        assert html.count("data-claim=") >= cell.source.count("claim("), cell.source


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_workers_can_take_what_a_chapter_defines(chapter):
    found = vars(definitions(Path(chapter).name)).values()
    own = [thing for thing in found if str(getattr(thing, "__module__", "")).startswith("chapter ")]
    assert len(own) > 10
    for thing in own:
        cloudpickle.dumps(thing)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_parameter_has_a_default_and_a_help_text(chapter):
    parameters = papermill.inspect_notebook(ROOT / f"{chapter}.ipynb")
    assert {"tier", "dataset", "device", "data_root"} <= set(parameters)
    assert [name for name, facts in parameters.items() if not facts["help"]] == []
    assert parameters["tier"]["default"] == '"quick"'


def run(chapter, output, *parameters, data_root=None):
    """papermill as a reader calls it; data_root None: no data but the embedded ones."""
    environment = {name: value for name, value in os.environ.items() if name != "DATA_ROOT"}
    if data_root:
        environment["DATA_ROOT"] = data_root
    command = [Path(sys.executable).with_name("papermill"), ROOT / f"{chapter}.ipynb", output, "-k", "python3"]
    for name, value in parameters:
        command += ["-p", name, value]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def refusal(chapter, output, *parameters):
    """The error's message, after checking that it is one line and came before any work."""
    result = run(chapter, output, *parameters)
    assert result.returncode != 0, "the notebook ran to its end"
    notebook = nbformat.read(output, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    errors = [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert len(errors) == 1
    message = errors[0].evalue.strip()
    assert message and "\n" not in message, message
    assert result.stderr.strip().splitlines()[-1].endswith(message)
    shown = [out for cell in code for out in cell.outputs if out.output_type in ("display_data", "execute_result")]
    assert shown == [], "something was computed before the parameters were checked"
    return message


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("datset", "mnist", ["datset", "dataset", "epochs"]),  # an unknown name lists the known ones
        ("dataset", "svhn", ["svhn", "data/cache", "download"]),  # a missing set says where it was looked for
    ],
)
def test_papermill_ends_in_one_sentence_before_any_work(name, value, said, tmp_path):
    message = refusal(FIRST, tmp_path / "out.ipynb", (name, value))
    assert [word for word in said if word.lower() not in message.lower()] == [], message


def test_the_documented_command_runs_on_real_mnist(tmp_path):
    data_root = os.environ.get("DATA_ROOT", ROOT / "data" / "cache")
    if not list(Path(data_root).glob("MNIST/raw/train-images-idx3-ubyte*")):
        pytest.skip("MNIST is not in DATA_ROOT or data/cache")
    choice = [("dataset", "mnist"), ("normal_class", "3"), ("methods", "['cae']"), ("tier", "smoke")]
    result = run(FIRST, tmp_path / "out.ipynb", *choice, data_root=str(data_root))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "mnist" in (tmp_path / "out.ipynb").read_text()
