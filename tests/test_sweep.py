"""A grid of runs, killed, interrupted, out of time and spread over real processes and a real Dask cluster."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from torch import nn

from helpers import engine, records, runs, stacked
from helpers.baselines import cae
from helpers.runs import Job
from helpers.sweep import sweep

CLASSES, EPOCHS = range(3), 4


class Linear(nn.Module):
    """A linear autoencoder; `pause` makes every epoch last so many seconds."""

    pause = 0

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def loss(self, batch):
        x = batch.x.flatten(1)
        return (self.layer(x) - x).square().mean()

    def after_epoch(self, epoch, data):
        time.sleep(self.pause)

    def score(self, x):
        return (self.layer(x.flatten(1)) - x.flatten(1)).square().mean(1)


class Slow(Linear):
    pause = 0.1


def a_task(c):
    images = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(c))
    return SimpleNamespace(train=images[:30], train_y=torch.zeros(30, dtype=torch.int64), test=images[30:],
                           protocol={"name": "one_normal", "normal_class": c}, digest="0123456789abcdef")  # fmt: skip


def evaluate(method, task):
    scores = engine.score(method, task.test)
    return [{"mean": float(scores.mean()), "first": float(scores[0])}]


def grid(make=Linear, method="Linear", epochs=EPOCHS, seeds=(0, 1)):
    return [Job(method, make, functools.partial(a_task, c), evaluate=evaluate, epochs=epochs, batch_size=10, seed=seed)
            for c in CLASSES for seed in seeds]


def numbers(found):
    """What of the records must not depend on how they came about."""
    return [(record["config"], record["metrics"], record["losses"]) for record in found]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The numbers of the slow grid, whose runs tests disturb."""

    with one_thread():
        return numbers(sweep(grid(Slow, "Slow"), tmp_path_factory.mktemp("undisturbed")))


@contextlib.contextmanager
def one_thread():
    """As in a worker: another number of threads may round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# One process


def test_a_sweep_returns_its_records_in_order_and_skips_what_is_recorded(tmp_path, monkeypatch):
    fits, fit = [], engine.fit
    monkeypatch.setattr(engine, "fit", lambda *given, **named: fits.append(1) or fit(*given, **named))
    jobs = grid()
    half = sweep(jobs[::2], tmp_path)
    assert len(fits) == len(half) == 3
    found = sweep(jobs, tmp_path)
    assert len(fits) == 6 and found.left == []
    wanted = [(job.task.args[0], job.seed) for job in jobs]
    assert [(r["config"]["protocol"]["normal_class"], r["config"]["seed"]) for r in found] == wanted
    assert found[::2] == half
    assert sweep(jobs, tmp_path) == found and len(fits) == 6


def test_every_job_may_have_a_folder_of_its_own(tmp_path):
    folders = [tmp_path / str(job.seed) for job in grid()]
    found = sweep(grid(), folders)
    assert [len(records.read_all(tmp_path / name)) for name in "01"] == [3, 3]
    assert sweep(grid(), folders) == found


def test_every_run_is_on_the_disk_before_the_next_begins(tmp_path):
    there = []

    class Looks(Linear):
        def start(self, data):
            there.append(len(records.read_all(tmp_path)))

    sweep(grid(Looks), tmp_path)
    assert there == [0, 1, 2, 3, 4, 5]


def test_one_bar_counts_epochs_and_ends_full(tmp_path, capfd):
    sweep(grid(), tmp_path, label="trainings")
    bar = capfd.readouterr().err.split("\r")[-1]
    assert bar.startswith("trainings: 100%") and f"{6 * EPOCHS}/{6 * EPOCHS}" in bar and "epochs/s" in bar
    sweep(grid(), tmp_path)
    assert capfd.readouterr().err == "", "nothing to do, nothing to show"


# A budget of time


class Clocked(Linear):
    """Every epoch takes `seconds` on a clock that only epochs move, so that the load of the machine does not matter."""

    now, seconds = 0.0, 10.0

    def after_epoch(self, epoch, data):
        Clocked.now += self.seconds


class ClockedLong(Clocked):
    seconds = 20.0


@pytest.fixture
def clock(monkeypatch):
    Clocked.now = 0.0
    monkeypatch.setattr("helpers.sweep.time", SimpleNamespace(monotonic=lambda: Clocked.now))


def test_a_budget_starts_no_run_that_would_not_fit_and_says_what_is_left(tmp_path, capsys, clock):
    jobs = grid(Clocked, "Clocked")  # 40 s each
    found = sweep(jobs, tmp_path, budget_minutes=2.5)
    assert len(found) == 3 and len(found.left) == 3, "the fourth would end after 160 s"
    assert Clocked.now == 120
    said = capsys.readouterr().out
    assert "3 of 6 runs are recorded; 3 did not fit into 2.5 minutes. The same command goes on from here." in said
    assert "longer than the whole budget" not in said, "each of them fits"
    assert len(sweep(jobs, tmp_path, budget_minutes=2.5)) == 6
    assert "did not fit" not in capsys.readouterr().out


def test_a_first_run_that_proves_too_long_is_given_up_and_others_go_on(tmp_path, capsys, clock):
    jobs = grid(ClockedLong, "Long", epochs=100) + grid(Clocked, "Clocked")  # 2000 s each, then 40 s each
    found = sweep(jobs, tmp_path, budget_minutes=6)
    assert [r["config"]["method"] for r in found] == ["Clocked"] * 6
    assert Clocked.now <= 6 * 60 and len(found.left) == 6
    said = capsys.readouterr().out
    assert "6 of 12 runs are recorded; 6 did not fit" in said
    assert "longer than the whole budget: Long about 33.3 minutes. Give more minutes or fewer epochs." in said


def test_a_run_that_is_too_long_leaves_the_shorter_ones_of_its_method(tmp_path, clock):
    found = sweep([*grid(Clocked, "C", epochs=200)[:2], *grid(Clocked, "C", epochs=5)[:2]], tmp_path, budget_minutes=6)
    assert [record["config"]["epochs"] for record in found] == [5, 5] and len(found.left) == 2


def test_the_pace_of_a_method_is_that_on_its_data_and_of_its_training(tmp_path, clock):
    """What is slow on one set, or is not trained at all, says nothing of the rest."""

    def other_data(c):
        return SimpleNamespace(**vars(a_task(c)) | {"digest": "fedcba9876543210"})

    slow = [replace(job, make=ClockedLong, task=functools.partial(other_data, c), epochs=10)
            for c, job in enumerate(grid(Clocked, "C")[:2])]
    assert len(sweep([*slow, *grid(Clocked, "C")[:2]], tmp_path / "data", budget_minutes=5)) == 3
    Clocked.now = 0.0
    untrained = grid(Clocked, "C", epochs=0)[:1]
    found = sweep([*untrained, *grid(ClockedLong, "C", epochs=100)[:1]], tmp_path / "none", budget_minutes=6)
    assert len(found) == 1 and Clocked.now <= 6 * 60, "no pace was known, so it could be given up"


def test_a_run_whose_first_epochs_are_slow_is_finished(tmp_path, clock):
    """What is compiled or cached in the first epoch says little of the others."""

    class Warms(Clocked):
        def after_epoch(self, epoch, data):
            Clocked.now += 20 if epoch < 3 else 5

    found = sweep(grid(Warms, "Warms", epochs=100)[:1], tmp_path, budget_minutes=12)
    assert len(found) == 1 and Clocked.now == 2 * 20 + 98 * 5


def test_a_stack_keeps_each_run_in_its_own_folder(tmp_path):
    folders = [tmp_path / str(job.seed) for job in grid()]
    sweep(grid(), folders, stack=6)
    assert [{r["config"]["seed"] for r in records.read_all(tmp_path / seed)} for seed in "01"] == [{0}, {1}]


def test_a_run_of_known_length_is_finished(tmp_path, clock):
    class Slower(Clocked):
        """The second run takes twice as long as the first one made expect."""

        def start(self, data):
            self.seconds = 10 if Clocked.now == 0 else 20

    found = sweep(grid(Slower, "Slower"), tmp_path, budget_minutes=1.5)
    assert len(found) == 2 and Clocked.now == 120


def test_a_budget_that_is_used_up_starts_nothing(tmp_path, capsys):
    assert sweep(grid(), tmp_path, budget_minutes=1e-9) == []
    assert "0 of 6" in capsys.readouterr().out and not list(tmp_path.iterdir())


# Runs that fail


class Fails(Linear):
    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.tensor(float("nan") if torch.initial_seed() == 1 else 1.0))

    def loss(self, batch):
        return super().loss(batch) * self.factor


def test_a_run_that_turns_nan_is_named_after_the_others_have_ended(tmp_path, capsys):
    with pytest.raises(FloatingPointError) as error:
        sweep(grid(Fails, "Fails"), tmp_path)
    message = str(error.value)
    assert message.startswith("3 of 6 runs failed, the others are recorded. ")
    assert "Fails (normal_class 2, seed 1): The loss is not finite in epoch 1" in message and "\n" not in message
    assert {r["config"]["seed"] for r in records.read_all(tmp_path)} == {0} and len(records.read_all(tmp_path)) == 3
    assert capsys.readouterr().out == "", "a run that failed is not one that found no time"


class Bursts(Linear):
    """Its weights are spoilt in the very last step, after the last look at a loss."""

    def after_epoch(self, epoch, data):
        if epoch == EPOCHS:
            nn.init.constant_(self.layer.weight, float("inf"))


def test_weights_that_are_spoilt_by_the_last_step_fail_by_name(tmp_path):
    with pytest.raises(FloatingPointError, match="1 of 2 runs failed.* Bursts .*A score is not finite; try a smaller"):
        sweep([grid(Bursts, "Bursts")[0], grid()[0]], tmp_path)
    assert [record["config"]["method"] for record in records.read_all(tmp_path)] == ["Linear"]


def test_a_worker_is_told_the_precision_and_not_auto(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "resolve_precision", lambda asked, device: "bf16" if asked == "auto" else asked)
    told, run = [], runs.run_many
    monkeypatch.setattr(runs, "run_many", lambda *jobs, **how: told.append(how["precision"]) or run(*jobs, **how))
    sweep(grid()[:1], tmp_path, precision="auto")
    assert told == ["bf16"]


def test_code_that_changes_under_a_class_makes_another_run(tmp_path, monkeypatch):
    """As where a notebook's cell is run again that holds what a class uses, and not the class."""
    x = torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    task = SimpleNamespace(**vars(a_task(0)) | {"train": x, "test": x})
    jobs = [Job("CAE", cae.CAE, lambda: task, {"preset": "e3"}, evaluate)]
    first = sweep(jobs, tmp_path) + sweep(jobs, tmp_path)
    assert first[0] == first[1]
    monkeypatch.setitem(cae.PRESETS["e3"], "error", "l1")
    assert sweep(jobs, tmp_path)[0]["metrics"] != first[0]["metrics"]


def test_another_error_stops_at_once_and_keeps_what_has_ended(tmp_path):
    def careless(method, task):
        if task.protocol["normal_class"] == 1:
            raise KeyError("no such metric")
        return evaluate(method, task)

    jobs = [replace(job, evaluate=careless) for job in grid()]
    with pytest.raises(KeyError, match="no such metric"):
        sweep(jobs, tmp_path)
    assert len(records.read_all(tmp_path)) == 2


# Several at once: what cannot be stacked trains alone, and nobody can tell from the records


class Twice(Linear):
    """Two players, which cannot be stacked."""

    def players(self):
        return [engine.Player(self.loss, self.parameters()), engine.Player(self.loss, self.parameters())]


class Noisy(Linear):
    def loss(self, batch):
        return super().loss(batch._replace(x=batch.x + 0.1 * torch.randn_like(batch.x)))


@pytest.fixture
def trained(monkeypatch):
    """The numbers of models that every training began with."""
    numbers, fit, fit_many = [], engine.fit, stacked.fit_many
    monkeypatch.setattr(engine, "fit", lambda *given, **named: numbers.append(1) or fit(*given, **named))
    monkeypatch.setattr(stacked, "fit_many",
                        lambda *given, **named: numbers.append(len(given[0])) or fit_many(*given, **named))  # fmt: skip
    return numbers


def assert_same(found, others):
    """The same configurations in the same order, and numbers that differ by rounding."""
    assert [records.key(r["config"]) for r in found] == [records.key(r["config"]) for r in others]
    for ours, theirs in zip(found, others, strict=True):
        assert ours["metrics"] == [pytest.approx(line, rel=1e-4) for line in theirs["metrics"]]
        np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-4)


def how_many(found):
    return [r["provenance"].get("stacked", 1) for r in found]


def test_stacked_runs_become_the_records_that_they_become_alone(tmp_path, trained, capfd):
    jobs = grid() + grid(seeds=(2,))[:1]
    alone = sweep(jobs, tmp_path / "one")
    assert trained == [1] * 7
    capfd.readouterr()
    together = sweep(jobs, tmp_path / "two", stack=3)
    assert trained[7:] == [3, 3, 1]
    assert how_many(together) == [3] * 6 + [1] and set(how_many(alone)) == {1}
    assert_same(together, alone)
    bar = capfd.readouterr().err.split("\r")[-1]
    assert "100%" in bar and f"{7 * EPOCHS}/{7 * EPOCHS}" in bar
    assert sweep(jobs, tmp_path / "two") == together and len(trained) == 10, "found again without stacking"


def test_a_run_of_a_stack_counts_its_share_of_the_seconds(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("helpers.runs.time", SimpleNamespace(perf_counter=lambda: Clocked.now))
    found = sweep(grid(Clocked, "Clocked")[:4], tmp_path, stack=4)
    assert Clocked.now == 160, "each of the four takes 40 s"
    assert [record["provenance"]["seconds"] for record in found] == [40] * 4


def test_what_cannot_be_stacked_trains_alone_and_is_tried_once(tmp_path, trained, capfd):
    jobs = [*grid(), *grid(Twice, "Twice"), *grid(Noisy, "Noisy"), *grid(method="Untrained", epochs=0)]
    together = sweep(jobs, tmp_path / "two", stack=3)
    assert trained.count(3) == 4, "two stacks of one method, one attempt with each of two others"
    printed = capfd.readouterr()
    assert printed.out == "" and "Warn" not in printed.err
    bar = printed.err.split("\r")[-1]
    assert f"{18 * EPOCHS + 6}/{18 * EPOCHS + 6}" in bar, "an attempt that fails is not counted"
    assert how_many(together) == [3] * 6 + [1] * 18
    assert_same(together, sweep(jobs, tmp_path / "one"))


def test_jobs_that_differ_in_more_than_protocol_and_seed_are_not_stacked(tmp_path, trained):
    a, b, c, d = grid()[:4]
    others = [replace(b, epochs=3), replace(c, batch_size=5), replace(d, variant="another")]
    sweep([a, *others], tmp_path, stack=4)
    assert trained == [1] * 4
    with pytest.raises(ValueError, match="differ in nothing but protocol and seed"):
        runs.run_many([a, replace(b, epochs=2)], tmp_path)


def test_a_stack_with_a_run_that_turns_nan_is_trained_again_one_by_one(tmp_path, trained):
    jobs = grid(Fails, "Fails", seeds=(0, 1, 2))[:3] + grid(Fails, "Fails", seeds=(3,))
    with pytest.raises(FloatingPointError, match="^1 of 6 runs failed, the others are recorded. Fails .*seed 1"):
        sweep(jobs, tmp_path, stack=3)
    assert trained == [3, 3, 1, 1, 1]
    assert {r["config"]["seed"]: r["provenance"].get("stacked", 1) for r in records.read_all(tmp_path)} == {
        0: 1, 2: 1, 3: 3}  # fmt: skip


def test_stacks_keep_to_the_budget(tmp_path, clock, capsys):
    jobs = grid(Clocked, "Clocked")  # 40 s each; two at once, whose epochs follow one another here, 80 s
    found = sweep(jobs, tmp_path, budget_minutes=3.5, stack=2)
    assert how_many(found) == [2, 2, 2, 2, 1], "after two stacks there is time for one run, not for a third stack"
    assert Clocked.now == 200 and len(found.left) == 1
    assert "5 of 6 runs are recorded; 1 did not fit" in capsys.readouterr().out


def test_a_stack_too_long_for_the_budget_gives_way_to_single_runs(tmp_path, clock):
    found = sweep(grid(Clocked, "Clocked"), tmp_path, budget_minutes=3.5, stack=6)
    assert how_many(found) == [1, 1] and len(found.left) == 4
    assert Clocked.now == 2 * 60 + 2 * 40, "two epochs show that six at once would take 240 s"


def test_a_half_recorded_sweep_goes_on_in_stacks(tmp_path, trained):
    jobs = grid()
    first = sweep(jobs[::2], tmp_path, stack=2)
    found = sweep(jobs, tmp_path, stack=3)
    assert trained == [2, 1, 3] and found[::2] == first
    assert how_many(found) == [2, 3, 2, 3, 1, 3]


def test_stacks_killed_and_resumed_in_processes(tmp_path, undisturbed):
    child = a_child(tmp_path, stack=2)
    wait_for(tmp_path, 2, child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = records.read_all(tmp_path)
    found = sweep(grid(Slow, "Slow"), tmp_path, stack=2, workers=2)
    assert all(record in found for record in kept) and 2 in how_many(found)
    assert_same(found, [dict(zip(("config", "metrics", "losses"), record, strict=True)) for record in undisturbed])
    with pytest.raises(FloatingPointError, match="3 of 6 runs failed"):
        sweep(grid(Fails, "Fails"), tmp_path, stack=2, workers=2)
    assert len(records.read_all(tmp_path, method="Fails")) == 3


# Killed and interrupted: real processes


def a_child(folder, **options):
    """A process that sweeps the slow grid, on one thread, and hears Ctrl-C even where this one was told not to."""
    program = ("import signal, test_sweep as t\n"
               "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
               f"with t.one_thread(): t.sweep(t.grid(t.Slow, 'Slow'), {str(folder)!r}, **{options!r})")  # fmt: skip
    path = f"{records.ROOT}{os.pathsep}{Path(__file__).parent}"
    return subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def wait_for(folder, count, child=None, seconds=120):
    deadline = time.monotonic() + seconds
    while len(list(folder.glob("*.json"))) < count:
        assert time.monotonic() < deadline and (child is None or child.poll() is None), "no record appeared"
        time.sleep(0.01)


def test_a_sweep_killed_twice_and_resumed_has_the_records_of_an_undisturbed_one(tmp_path, undisturbed):
    for count in (1, 3):
        child = a_child(tmp_path)
        wait_for(tmp_path, count, child)
        time.sleep(0.15)  # into the middle of the next run
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    kept = records.read_all(tmp_path)
    assert 3 <= len(kept) < 6, "killed before its end"
    child = a_child(tmp_path)
    assert child.wait(timeout=120) == 0
    after = records.read_all(tmp_path)
    assert all(record in after for record in kept), "what was finished was not run again"
    assert len(after) == 6
    assert numbers(sweep(grid(Slow, "Slow"), tmp_path)) == undisturbed


def test_ctrl_c_keeps_what_has_ended(tmp_path):
    child = a_child(tmp_path)
    wait_for(tmp_path, 2, child)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) not in (0, None)
    assert 2 <= len(records.read_all(tmp_path)) < 6


# Several processes


def test_processes_give_the_numbers_of_one_process(tmp_path):
    with one_thread():
        alone = sweep(grid(), tmp_path / "one")
    together = sweep(grid(), tmp_path / "two", workers=2)
    assert numbers(together) == numbers(alone)
    assert {r["provenance"]["threads"] for r in together} == {1}


def test_processes_keep_to_the_budget_and_name_failures(tmp_path, capsys):
    begin = time.monotonic()
    found = sweep(grid(Slow, "Slow", epochs=10000), tmp_path, budget_minutes=0.1, workers=2)
    assert time.monotonic() - begin < 200, "one run alone takes 1000 s"
    assert found == [] and len(found.left) == 6
    with pytest.raises(FloatingPointError, match="3 of 6 runs failed"):
        sweep(grid(Fails, "Fails"), tmp_path, workers=2)
    assert len(records.read_all(tmp_path)) == 3


def test_a_notebooks_method_runs_in_processes(tmp_path):
    """A class that lives in a kernel's cells has no file that a worker could read."""
    source = Path(__file__).read_text()
    method = source[source.index("CLASSES, EPOCHS"):source.index("def numbers")].replace("@pytest", "#")
    imports = source[source.index("import contextlib"):source.index("import nbformat")]
    imports += "import torch\nfrom torch import nn\nfrom helpers import engine\nfrom helpers.runs import Job\n"
    imports += "from helpers.sweep import sweep\n"
    check = (f"alone = sweep(grid()[:2], {str(tmp_path / 'one')!r})\n"
             f"together = sweep(grid()[:2], {str(tmp_path / 'two')!r}, workers=2)\n"
             "assert [r['config'] for r in together] == [r['config'] for r in alone]\n"
             "assert [r['metrics'] for r in together] == [r['metrics'] for r in alone]")  # fmt: skip
    cells = [nbformat.v4.new_code_cell(cell) for cell in (imports, "torch.set_num_threads(1)", method, check)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "own.ipynb")
    papermill = [Path(sys.executable).with_name("papermill"), tmp_path / "own.ipynb", os.devnull, "-k", "python3"]
    result = subprocess.run(papermill, cwd=records.ROOT, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(records.read_all(tmp_path / "two")) == 2


# A Dask cluster


@pytest.fixture(scope="module")
def cluster():
    """Two real worker processes that can be killed and come back."""
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local:
        yield local


def test_a_dask_cluster_loses_a_worker_and_no_run(tmp_path, cluster, undisturbed):
    from dask.distributed import Client

    with Client(cluster) as client:
        before = set(client.run(os.getpid).values())
    assert len(before) == 2

    def kill_one():
        wait_for(tmp_path, 1)
        time.sleep(0.15)  # into the middle of a run
        os.kill(min(before), signal.SIGKILL)

    with ThreadPoolExecutor() as pool:
        killed = pool.submit(kill_one)
        found = sweep(grid(Slow, "Slow"), tmp_path, scheduler=cluster.scheduler_address)
        killed.result()
    assert numbers(found) == undisturbed
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        assert min(before) not in client.run(os.getpid).values(), "the worker was not killed"
    assert {r["provenance"]["threads"] for r in found} == {1}


def test_threads_of_a_dask_worker_do_not_share_random_numbers(tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=4, processes=True, dashboard_address=None) as local:
        found = sweep(grid(Noisy, "Noisy"), tmp_path / "threads", scheduler=local.scheduler_address)
    assert numbers(found) == numbers(sweep(grid(Noisy, "Noisy"), tmp_path / "alone"))


def test_a_dask_cluster_keeps_to_the_budget_and_skips_what_is_recorded(tmp_path, cluster, capsys):
    address = cluster.scheduler_address
    few = sweep(grid(), tmp_path, scheduler=address, budget_minutes=1e-9)
    assert few == [] and len(few.left) == 6
    first = sweep(grid()[:2], tmp_path, scheduler=address)
    assert numbers(sweep(grid(), tmp_path, scheduler=address))[:2] == numbers(first)
    with pytest.raises(FloatingPointError, match="3 of 6 runs failed"):
        sweep(grid(Fails, "Fails"), tmp_path, scheduler=address, stack=2)
    assert_same(sweep(grid(), tmp_path / "stacked", scheduler=address, stack=3), sweep(grid(), tmp_path))
