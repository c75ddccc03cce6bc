"""A notebook opened as a module: what runs, what does not, and that its runs are those of its kernel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import chapter, runs

ROOT = Path(__file__).resolve().parent.parent
CELLS = [
    (["parameters"], 'tier = "quick"\nepochs = None\n'),
    (["setup"], "import math, missing_plots\nfrom missing_plots.style import use\nimport numpy as np\n"
                "asked = dict(tier=tier, epochs=epochs)\nuse(missing_plots.dark)\n"),
    ([], "import torch\nRATE = 3e-4\nWIDTHS = [2 * RATE]\nsmall = 5\nT = undefined\nloud = print('drawn')\n"),
    ([], "class Method:\n    def loss(self):\n        return RATE * small\n"),
    ([], "def jobs(p):\n    return [Method]\n\nprint(jobs(0))\n"),
]  # fmt: skip


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    cells = [{"cell_type": "code", "id": f"c{k}", "metadata": {"tags": tags}, "source": [source]}
             for k, (tags, source) in enumerate(CELLS)]  # fmt: skip
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(chapter, "NOTEBOOKS", tmp_path)


def test_opening_runs_the_setup_with_the_parameters_and_defines_the_rest(notebook, capsys):
    found = chapter.opened("one", {"epochs": 7})
    assert found["asked"] == {"tier": "quick", "epochs": 7} and found["injected"] == "epochs = 7\n"
    assert found["RATE"] == 3e-4 and found["WIDTHS"] == [6e-4] and found["small"] == 5
    assert found["jobs"](0) == [found["Method"]] and found["Method"]().loss() == 5 * 3e-4
    assert "T" not in found and "loud" not in found and capsys.readouterr().out == ""
    assert isinstance(found["use"], chapter.Absent) and found["math"].pi > 3


def test_definitions_run_no_setup_and_miss_no_package(notebook):
    with pytest.raises(ModuleNotFoundError, match="missing_plots"):
        chapter.definitions("one")


BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in %r:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import json
from helpers import chapter, runs
notebook = chapter.opened(sys.argv[1], json.loads(sys.argv[2]))
jobs = notebook["jobs"](notebook["p"])
print(json.dumps([runs.configuration(job, job.task()) for job in jobs[:3] + jobs[-3:]]))
"""
NOT_ON_A_GPU_HOST = ("matplotlib", "matplotlib_inline", "seaborn", "pandas", "tqdm", "papermill", "jupytext",
                     "nbformat", "torchvision", "pytorch_msssim", "dask", "ipywidgets", "yaml")  # fmt: skip


@pytest.mark.parametrize("name", ["comparing-autoencoders", "improved-autoencoder"])
def test_a_bare_machine_has_the_same_runs(name):
    """torch, numpy, scikit-learn and IPython are enough to know, and so to find, every run of a chapter."""
    parameters = {"tier": "smoke"}
    program = [sys.executable, "-c", BARE % (NOT_ON_A_GPU_HOST,), name, json.dumps(parameters)]
    bare = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert bare.returncode == 0, bare.stderr[-2000:]
    notebook = chapter.opened(name, parameters)
    jobs = notebook["jobs"](notebook["p"])
    assert len(jobs) > 6
    here = [runs.configuration(job, job.task()) for job in jobs[:3] + jobs[-3:]]
    assert json.loads(bare.stdout.splitlines()[-1]) == here
