"""The digest of code: what changes it, what does not, and that it survives a kernel, a move and another Python."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers import (
    engine,
    features,
    metrics,
    nets,
    pixel_metrics,
    protocols,
    results,
    runs,
    stacked,
    sweep,
    thresholds,
)
from helpers.baselines.cae import CAE
from helpers.digest import code_digest
from helpers.records import ROOT

CODE = '''
from functools import partial
import torch
from torch import nn
from torch.nn import functional as F

SCALE = 2.5
PRESETS = {"slow": partial(torch.optim.Adam, lr=0.125)}

def sharpened(power):
    def apply(x):
        return x ** power
    return apply

CUBED = sharpened(3)

def distance(a, b):
    """How far."""
    return SCALE * CUBED(a - b).abs()  # L1

class Encoder(nn.Module):
    def forward(self, x):
        return x.flatten(1)

class Method(nn.Module):
    least = 0.1

    def __init__(self, width=4):
        super().__init__()
        self.encoder = Encoder()

    def players(self):
        return [PRESETS["slow"](self.parameters())]

    @property
    def centre(self):
        return torch.zeros(1)

    def loss(self, batch):
        """The loss."""
        return distance(self.encoder(batch.x), self.centre).mean()

    def score(self, x):
        return self.encoder(x).mean(1)

def evaluate(method, task):
    return {"a": 1.0}
'''


def digest_of(code, folder, count=iter(range(1000))):  # noqa: B008
    """The digest of Method and evaluate, were they written in a module of ours."""
    path = folder / f"case_{next(count)}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("helpers.case", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return code_digest(module.Method(), module.evaluate)


@pytest.mark.parametrize("old, new", [
    ("self.centre).mean()", "self.centre).sum()"),
    ("CUBED(a - b).abs()", "CUBED(a - b).square()"),
    ("return x.flatten(1)", "return x.flatten(1) * 2"),
    ("torch.zeros(1)", "torch.ones(1)"),
    ("width=4", "width=8"),
    ("SCALE = 2.5", "SCALE = 2"),
    ("lr=0.125", "lr=0.25"),
    ("sharpened(3)", "sharpened(5)"),
    ("least = 0.1", "least = 0.2"),
    ('"a": 1.0', '"a": 2.0'),
    ("(x).mean(1)", "(x).amax(1)"),
], ids=["method", "function it calls", "module it holds", "property", "default", "constant",
        "keyword of a partial in a dictionary", "closure", "class attribute", "evaluate", "score"])  # fmt: skip
def test_other_code_makes_another_digest(old, new, tmp_path):
    assert CODE.count(old) == 1
    assert digest_of(CODE, tmp_path) != digest_of(CODE.replace(old, new), tmp_path)


@pytest.mark.parametrize("old, new", [
    ("  # L1", "  # the sum of absolute differences"),
    ('"""How far."""', '"""The distance of a and b."""'),
    ('        """The loss."""\n', ""),
    ("self.encoder(batch.x), self.centre", "\n            self.encoder(batch.x),\n            self.centre,\n        "),
    ("import torch\n", "import torch\n\n\nUNUSED = 1\n\n"),
    ("import torch\n", "import torch\n\nmean = 1  # also the name of a method of tensors\n"),
], ids=["comment", "docstring", "no docstring", "layout", "position", "a global named as an attribute"])  # fmt: skip
def test_comments_docstrings_and_layout_do_not(old, new, tmp_path):
    assert CODE.replace(old, new) != CODE
    assert digest_of(CODE, tmp_path) == digest_of(CODE.replace(old, new), tmp_path)


def test_a_notebooks_classes_have_a_digest_that_survives_the_kernel(tmp_path):
    """Papermill runs the notebook in a real kernel, twice, and the second time with other code in its last cell."""
    from_cell = "import json\nfrom pathlib import Path\nfrom helpers.digest import code_digest\n"
    tell = "digests.append(code_digest(Method(), evaluate))"

    def executed(name, last):
        cells = [from_cell + "digests = []", "noise = 1", CODE, tell, "# once more, with a comment\n" + CODE, tell,
                 last, tell, f"Path({str(tmp_path / name)!r}).write_text(json.dumps(digests))"]  # fmt: skip
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
        papermill = [Path(sys.executable).with_name("papermill"), tmp_path / f"{name}.ipynb", os.devnull]
        subprocess.run([*papermill, "-k", "python3"], cwd=ROOT, check=True, capture_output=True, timeout=120)
        return json.loads((tmp_path / name).read_text())

    first = executed("first", CODE)
    second = executed("second", CODE.replace("(a - b).abs()", "(a - b).square()"))
    assert len({*first, *second[:2]}) == 1
    assert second[2] != first[2], "a function changed in the notebook counts"


def written(folder, files):
    """A package of ours with these files, under a name of its own; returns its module `case`."""
    package = ROOT / "helpers"  # only for its name: the modules below pretend to lie there
    assert package.exists()
    modules = {}
    for name, source in files.items():
        path = folder / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(f"helpers.{name}", path)
        modules[name] = importlib.util.module_from_spec(spec)
        sys.modules[f"helpers.{name}"] = modules[name]
        spec.loader.exec_module(modules[name])
    return modules


USES_MODULE = "from helpers import {room}\n\ndef evaluate(x):\n    return {room}.area(x) + {room}.LEAST\n"
ROOM = "LEAST = 3\n\ndef area(x):\n    return x * x\n"


def test_code_that_moves_to_another_file_keeps_its_digest(tmp_path, monkeypatch):
    import helpers

    digests = {}
    for room, source in {"attic": ROOM, "cellar": ROOM, "other": ROOM.replace("LEAST = 3", "LEAST = 4")}.items():
        (tmp_path / room).mkdir()
        monkeypatch.setattr(helpers, room, written(tmp_path / room, {room: source})[room], raising=False)
        case = written(tmp_path / room, {"case": USES_MODULE.format(room=room)})["case"]
        digests[room] = code_digest(case.evaluate)
    for name in ("attic", "cellar", "other", "case"):
        sys.modules.pop(f"helpers.{name}")
    assert digests["attic"] == digests["cellar"]
    assert digests["other"] != digests["attic"], "the constant behind the dot counts"


# What interpreters of different versions write, compile or find in other ways, with the digests of Python 3.11.
PORTABLE = r'''
from enum import Enum
from functools import partial

import torch

NAMES = ("a", "b")
LEAST = 3

class Kind(Enum):
    LINE = "line"

def shifted(x, by=0.5):
    return x + by

def told(x, width=8, kind=Kind.LINE, kept=torch.float32):
    if x not in NAMES:
        raise ValueError(f"There is no {x!r}; possible are {', '.join(NAMES)}.")
    nested = f"{x:>{width}.{LEAST}f} {{}} {f'{LEAST} of {NAMES[0]}'!s:>9}\t{LEAST=} é"
    return nested + f"{x['a']} isn't " f"\"{x or 'b'}\"" + f"{(lambda: LEAST)()} {x if x else '-'} { {1: 'c'}[1]}\n"

def counted(x, y):
    def inner():
        return [[LEAST * z for z in x if z in NAMES] for x in y]
    return inner(), {z: {shifted(w) for w in z} for z in x}, sum(z > LEAST for z in x)

SUMS = [lambda x: (
            x + LEAST), lambda x: x]

class Sorter:
    orders = {"up": lambda x: x, "by name": lambda x: f"{x['name']}, {', '.join(NAMES)}",
              "shifted": partial(shifted, by=0.25)}

    def __init__(self):
        super().__init__()
        self.order = self.orders["up"]

    @staticmethod
    def summed(x):
        class Held:
            total = sum(y for y in SUMS)
        return Held.total

    def sorted(self, x):
        match x:
            case [first, *_] if (n := len(x)) > LEAST:
                return first, n
        return sorted(x, key=lambda y: (
            y["a"], f"{y['b']}"))[::-1]
'''


@pytest.mark.parametrize("name, digest", [
    ("told", "e63ccbbff18dfff5"),
    ("counted", "c61353b630ab52cd"),
    ("Sorter", "9cada853cd104d44"),
], ids=["f-strings", "comprehensions", "lambdas and a class"])  # fmt: skip
def test_every_version_of_python_gives_the_digest_of_the_records(name, digest, tmp_path):
    """Else a reader whose Python is another than that of the records would not find them, and train again."""
    case = written(tmp_path, {"case": PORTABLE})["case"]
    sys.modules.pop("helpers.case")
    assert code_digest(getattr(case, name)) == digest


@pytest.mark.parametrize("thing", [CAE, nets.tell_apart, features.tasks.of_task, thresholds.decide, pixel_metrics.aupro,
                                   metrics.auroc])  # fmt: skip
def test_what_makes_a_number_counts(thing):
    assert code_digest(thing) != code_digest()


@pytest.mark.parametrize("thing", [engine.fit, stacked.fit_many, protocols.one_normal, runs.run, sweep.sweep,
                                   results.verdict])  # fmt: skip
def test_what_carries_or_reads_numbers_does_not(thing):
    assert code_digest(thing) == code_digest()
