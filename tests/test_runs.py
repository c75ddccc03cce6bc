"""Records: found again by everything that decides their numbers, and whole whatever happens to the process."""

import errno
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from helpers import engine, runs

FORK = multiprocessing.get_context("fork")


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def loss(self, batch):
        x = batch.x.flatten(1)
        return (self.layer(x) - x).square().mean()

    def score(self, x):
        return (self.layer(x.flatten(1)) - x.flatten(1)).square().mean(1)


def a_task(**protocol):
    images = torch.arange(40 * 16, dtype=torch.uint8).view(40, 1, 4, 4)
    protocol = {"name": "one_normal", "normal_class": "0", **protocol}
    return SimpleNamespace(train=images[:30], train_y=torch.zeros(30, dtype=torch.int64), test=images[30:],
                           protocol=protocol, digest="0123456789abcdef")  # fmt: skip


def mean_score(method, task):
    return {"mean": float(engine.score(method, task.test).mean())}


def a_job(**other):
    return {"method": "Linear AE", "build": Linear, "task": a_task, "evaluate": mean_score, "epochs": 2,
            "batch_size": 10, "seed": 0, "tier": "smoke", **other}  # fmt: skip


def a_record(number=0, size=10, **config):
    return {"config": {"method": "m", "seed": number, **config}, "metrics": {"auroc": 0.5},
            "losses": [[0.25]] * size, "provenance": {"tier": "smoke"}}  # fmt: skip


# A record comes back, and is not computed twice


def test_a_record_holds_what_decided_its_numbers_and_where_they_come_from(tmp_path):
    record = runs.run(a_job(settings={"width": 16}), tmp_path)
    config, where = record["config"], record["provenance"]
    assert config["method"] == "Linear AE" and config["settings"] == {"width": 16}
    assert config["protocol"]["normal_class"] == "0" and config["data"] == "0123456789abcdef"
    assert (config["seed"], config["epochs"], config["batch_size"], config["precision"]) == (0, 2, 10, "fp32")
    assert np.shape(record["losses"]) == (2, 1)
    assert where["tier"] == "smoke" and where["seconds"] > 0 and where["versions"]["torch"] == torch.__version__
    assert {"device", "commit", "date", "threads"} <= set(where)
    [path] = tmp_path.iterdir()
    assert path.name == f"linear-ae-{runs.key(config)}.json" and path.stat().st_mode & 0o777 == 0o644
    assert runs.read(path) == record == runs.find(config, tmp_path)


def test_a_finished_run_is_not_computed_again(tmp_path, monkeypatch):
    fits = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda *arguments: fits.append(1) or fit(*arguments))
    assert runs.known(a_job(), tmp_path) is None
    first = runs.run(a_job(), tmp_path)
    assert runs.run(a_job(), tmp_path) == first == runs.known(a_job(), tmp_path)
    assert len(fits) == 1
    runs.run(a_job(seed=1), tmp_path)
    assert len(fits) == 2


def test_a_run_repeats_whatever_the_random_state_was(tmp_path):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    runs.configured(a_job(), a_task())
    assert torch.equal(torch.get_rng_state(), state), "making a configuration draws from nobody's random numbers"
    first = runs.run(a_job(), tmp_path / "a")
    torch.manual_seed(2)
    again = runs.run(a_job(), tmp_path / "b")
    assert first["metrics"] == again["metrics"] and first["losses"] == again["losses"]


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"epochs": 3}, {"batch_size": 11}, {"precision": "bf16"}, {"settings": {"lr": 0.1}},
    {"method": "Other"}, {"task": partial(a_task, limit=5)},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_every_part_of_the_configuration_makes_another_record(change, tmp_path):
    runs.run(a_job(), tmp_path)
    assert runs.known(a_job(**change), tmp_path) is None


def test_other_data_makes_another_record(tmp_path):
    runs.run(a_job(), tmp_path)
    other = a_task()
    other.digest = "fedcba9876543210"
    assert runs.known(a_job(task=lambda: other), tmp_path) is None


def test_what_only_happened_along_the_way_does_not(tmp_path):
    first = runs.run(a_job(), tmp_path)
    assert runs.known(a_job(tier="paper", device="cpu"), tmp_path) == first


# The digest of code

CODE = '''
import torch
from torch import nn
from torch.nn import functional as F

def distance(a, b):
    """How far."""
    return (a - b).abs()  # L1

class Encoder(nn.Module):
    def forward(self, x):
        return x.flatten(1)

class Method(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.encoder = Encoder()

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
    return runs.code_digest(module.Method(), module.evaluate)


@pytest.mark.parametrize("old, new", [
    ("self.centre).mean()", "self.centre).sum()"),
    ("(a - b).abs()", "(a - b).square()"),
    ("return x.flatten(1)", "return x.flatten(1) * 2"),
    ("torch.zeros(1)", "torch.ones(1)"),
    ("width=4", "width=8"),
    ('"a": 1.0', '"a": 2.0'),
    ("(x).mean(1)", "(x).amax(1)"),
], ids=["method", "function it calls", "module it holds", "property", "default", "evaluate", "score"])  # fmt: skip
def test_other_code_makes_another_digest(old, new, tmp_path):
    assert CODE.count(old) == 1
    assert digest_of(CODE, tmp_path) != digest_of(CODE.replace(old, new), tmp_path)


@pytest.mark.parametrize("old, new", [
    ("  # L1", "  # the sum of absolute differences"),
    ('"""How far."""', '"""The distance of a and b."""'),
    ('        """The loss."""\n', ""),
    ("self.encoder(batch.x), self.centre", "\n            self.encoder(batch.x),\n            self.centre,\n        "),
    ("import torch\n", "import torch\n\n\nUNUSED = 1\n\n"),
], ids=["comment", "docstring", "no docstring", "layout", "position"])  # fmt: skip
def test_comments_docstrings_and_layout_do_not(old, new, tmp_path):
    assert CODE.replace(old, new) != CODE
    assert digest_of(CODE, tmp_path) == digest_of(CODE.replace(old, new), tmp_path)


def test_a_notebooks_classes_have_a_digest_that_survives_the_kernel(tmp_path):
    """Papermill runs the notebook in a real kernel, twice, and the second time with other code in its last cell."""
    from_cell = "import json\nfrom pathlib import Path\nfrom helpers import runs\n"
    tell = "digests.append(runs.code_digest(Method(), evaluate))"

    def executed(name, last):
        cells = [from_cell + "digests = []", "noise = 1", CODE, tell, "# once more, with a comment\n" + CODE, tell,
                 last, tell, f"Path({str(tmp_path / name)!r}).write_text(json.dumps(digests))"]  # fmt: skip
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
        papermill = [Path(sys.executable).with_name("papermill"), tmp_path / f"{name}.ipynb", os.devnull]
        subprocess.run([*papermill, "-k", "python3"], cwd=runs.ROOT, check=True, capture_output=True, timeout=120)
        return json.loads((tmp_path / name).read_text())

    first = executed("first", CODE)
    second = executed("second", CODE.replace("(a - b).abs()", "(a - b).square()"))
    assert len({*first, *second[:2]}) == 1
    assert second[2] != first[2], "a function changed in the notebook counts"


# Whole or absent


def test_numbers_that_json_does_not_know_are_refused_and_leave_nothing(tmp_path):
    record = a_record()
    record["metrics"]["auroc"] = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        runs.save(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"config": {', b"\xff\xfe", b"[]", b'{"metrics": {}}', b"null"])
def test_a_damaged_record_is_named_in_one_sentence(content, tmp_path):
    path = tmp_path / "m-0123456789abcdef.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        runs.read_all(tmp_path)
    assert str(path) in str(error.value) and "delete it to run again" in str(error.value)
    assert "\n" not in str(error.value)


def test_records_are_chosen_by_their_configuration(tmp_path):
    for seed in range(3):
        runs.save(a_record(seed, epochs=5 + seed % 2), tmp_path)
    assert {r["config"]["seed"] for r in runs.read_all(tmp_path)} == {0, 1, 2}
    assert {r["config"]["seed"] for r in runs.read_all(tmp_path, epochs=5)} == {0, 2}
    assert runs.read_all(tmp_path, epochs=5, seed=1) == []
    assert runs.read_all(tmp_path / "nowhere") == []


def save_for_ever(folder, first):
    for number in range(first, 10**6):
        runs.save(a_record(number % 7, size=2000), folder)


def test_sigkill_at_any_moment_leaves_only_whole_records(tmp_path):
    moments = random.Random(0)
    for k in range(25):
        child = FORK.Process(target=save_for_ever, args=(tmp_path, k))
        child.start()
        time.sleep(moments.uniform(0.005, 0.08))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert all(record == a_record(record["config"]["seed"], size=2000) for record in runs.read_all(tmp_path))
    assert len(runs.read_all(tmp_path)) == 7
    assert any(tmp_path.glob(".*.part")), "no kill came in the middle of a save, so nothing was tested"


def save_many(folder, own):
    for number in range(60):
        runs.save(a_record(-1, size=500), folder)  # the same record as the other process
        runs.save(a_record(number, size=500, own=own), folder)


def test_two_processes_save_the_same_and_different_records_at_once(tmp_path):
    children = [FORK.Process(target=save_many, args=(tmp_path, own)) for own in "ab"]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        runs.read_all(tmp_path)  # raises where a reader sees half a record
    assert [child.exitcode for child in children] == [0, 0]
    assert len(runs.read_all(tmp_path)) == 1 + 2 * 60
    assert not list(tmp_path.glob(".*"))


def save_without_room(folder, answer):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the kernel refuses the 1001st byte of any file
    try:
        runs.save(a_record(1, size=2000), folder)
    except OSError as error:
        answer.put(error.errno)


def test_a_write_that_the_system_refuses_loses_nothing_finished(tmp_path):
    runs.save(a_record(0), tmp_path)
    runs.save(a_record(1), tmp_path)
    answer = FORK.Queue()
    child = FORK.Process(target=save_without_room, args=(tmp_path, answer))
    child.start()
    assert answer.get(timeout=30) == errno.EFBIG
    child.join()
    assert {r["config"]["seed"]: r for r in runs.read_all(tmp_path)} == {0: a_record(0), 1: a_record(1)}
    assert not list(tmp_path.glob(".*")), "half a file was left behind"


def test_a_full_disk_at_the_last_moment_leaves_the_old_record(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    runs.save(a_record(0), tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        runs.save(a_record(0, size=3), tmp_path)
    assert runs.read_all(tmp_path) == [a_record(0)]
    assert not list(tmp_path.glob(".*"))
