"""A grid of runs: skips what is recorded, shows one progress bar, keeps to a time budget, goes on after a kill.

    jobs = [Job("CAE", CAE, partial(task, c), {"width": 64}, epochs=20) for c in range(10)]
    records = sweep(jobs, folder, tier="paper", budget_minutes=10)

A job's task is a function without arguments, so that only running jobs hold images. Every finished run is a record on
the disk at once.
"""

import asyncio
import copyreg
import importlib
import math
import multiprocessing
import os
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from types import SimpleNamespace

import joblib
import torch

from . import records as store
from . import runs

# A notebook's function that says both `torch` and `.classes` takes the module torch.classes along to a worker, and that
# one has no pickle of its own.
copyreg.pickle(type(torch.classes), lambda module: (importlib.import_module, ("torch.classes",)))

PATIENCE = 3  # seconds for a scheduler to answer
ONE_AT_A_TIME = threading.Lock()  # torch's random numbers are a process's own, so threads of a Dask worker take turns


class Records(list):
    """The records of a sweep, in the order of its jobs; `left` lists the jobs that found no time."""

    left = ()


class OutOfTime(Exception):
    """Runs whose epochs show that they would not end within the budget.

    Its arguments: the seconds until their end, in which they may have waited for others, and those of their epochs.
    """


def sweep(jobs, folder, *, tier="quick", device=None, precision="fp32", budget_minutes=None, workers=1, scheduler=None,
          stack=1, label="runs"):
    """Return the records of all jobs, running those that `folder` does not hold yet.

    `folder` is one for all jobs, or a list with one for each. `workers` processes run side by side, one thread each; 1
    means this process. `scheduler` is the address of a Dask cluster, "tcp://host:port", whose workers see the same
    `folder`. Up to `stack` runs that differ in nothing but protocol and seed train as one set of kernels in each
    process, for a GPU; what cannot is trained one by one.

    With `budget_minutes` no run starts whose expected end lies beyond the budget, judged by the slowest run of the
    same method on the same data in this sweep. The first of its kind starts while time is left, and is given up when
    a tenth of its epochs show that it would end too late, or two epochs that it would take three times as long.
    Stacked runs that do not fit are tried one by one.

    A loss that is not finite stops only its own run; the FloatingPointError that names the run comes after the
    others have ended. Any other error, Ctrl-C included, stops the sweep at once, and what has ended is recorded.
    """
    runs.code_of.cache_clear()  # a cell that was run again may have changed what a class uses, and not the class
    end = math.inf if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    folders = folder if isinstance(folder, list) else [folder] * len(jobs)
    configs = [runs.configuration(job, job.task(), device, precision) for job in jobs]
    found = {number: store.find(config, folders[number]) for number, config in enumerate(configs)}
    missing = [number for number, record in found.items() if record is None]
    pace = defaultdict(list)  # kind of run, and how many at once -> seconds an epoch
    failed, too_long = {}, {}  # numbers -> errors, methods -> minutes of one run
    kinds = [(config["method"], config["data"], config["epochs"] > 0) for config in configs]
    lengths = [max(job.epochs, 1) for job in jobs]  # a method without epochs is still something to do
    groups = _groups(missing, configs, folders, stack)
    alone, unstackable, ended = [], set(), 0

    with ExitStack() as opened:
        bar = opened.enter_context(_bar(sum(lengths[number] for number in missing), label))
        show = bar.update if workers == 1 and not scheduler else None
        parallel = _parallel(workers, scheduler, opened)
        options = dict(tier=tier, device=device, precision=precision)

        def in_time(groups):
            for group in groups:
                number, size = group[0], len(group)
                seen = pace[kinds[number], size]
                left = end - time.monotonic()
                late = max(seen, default=0) * lengths[number] >= left
                if size > 1 and (late or kinds[number] in unstackable):
                    alone.extend(group)
                elif not late:  # a worker cannot read a notebook's cells, so it is told their digest
                    named = [replace(jobs[number], code=configs[number]["code"]) for number in group]
                    own = options | {"precision": configs[number]["precision"]}  # a worker might read "auto" otherwise
                    yield joblib.delayed(_run)(group, named, folders[number], own, math.inf if seen else left, show)

        while groups:
            for group, outcome, seconds in parallel(in_time(groups)):
                number, size = group[0], len(group)
                if isinstance(outcome, list):
                    found.update(zip(group, outcome, strict=True))
                    pace[kinds[number], size].append(seconds / lengths[number])
                elif isinstance(outcome, OutOfTime):
                    pace[kinds[number], size].append(outcome.args[0] / lengths[number])  # a shorter one may fit
                    if size == 1 and (minutes := outcome.args[1] / 60) > budget_minutes:
                        too_long[configs[number]["method"]] = minutes
                elif size == 1:
                    failed[number] = outcome
                elif not isinstance(outcome, FloatingPointError):
                    unstackable.add(kinds[number])
                if size == 1 or isinstance(outcome, list):
                    ended += size * lengths[number]
                else:
                    alone.extend(group)
                bar.update(ended - bar.n)
            groups, alone = [[number] for number in alone], []

    done = Records(record for record in found.values() if record is not None)
    done.left = [jobs[number] for number, record in found.items() if record is None and number not in failed]
    _say(done, len(jobs), label, budget_minutes, too_long)
    if failed:
        names = "; ".join(f"{_name(configs[number])}: {error}" for number, error in failed.items())
        raise FloatingPointError(f"{len(failed)} of {len(jobs)} {label} failed, the others are recorded. {names}")
    return done


def _say(done, number, label, budget_minutes, too_long):
    """Say what found no time."""
    if done.left:
        print(f"{len(done)} of {number} {label} are recorded; {len(done.left)} did not fit into {budget_minutes:.3g} "
              f"minutes. The same command goes on from here.")  # fmt: skip
    if too_long:
        names = ", ".join(f"{method} about {minutes:.1f} minutes" for method, minutes in too_long.items())
        print(f"A single run takes longer than the whole budget: {names}. Give more minutes or fewer epochs.")


def _bar(total, label):
    try:
        from tqdm.auto import tqdm  # a widget in JupyterLab
    except ImportError:  # a bare machine records without a bar
        return nullcontext(SimpleNamespace(n=0, update=lambda epochs: None))
    return tqdm(total=total, unit=" epochs", desc=label, smoothing=0.1, mininterval=2, disable=not total)


def _groups(numbers, configs, folders, size):
    """Split runs into lists of up to `size` that may train at once."""
    alike = defaultdict(list)
    for number in numbers:
        stackable = size > 1 and configs[number]["epochs"]
        alike[(runs.kind(configs[number]), folders[number]) if stackable else number].append(number)
    return [group[at:at + size] for group in alike.values() for at in range(0, len(group), size)]


def _parallel(workers, scheduler, opened):
    """Return joblib's Parallel for this process, for processes or for a Dask cluster; `opened` closes what it opens."""
    own = {}
    if scheduler:
        client = opened.enter_context(connected(scheduler))
        opened.enter_context(joblib.parallel_config("dask"))
        workers = sum(client.nthreads().values())
    elif workers > 1:
        own["initializer"] = _end_with_parent
    return joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1, **own)


def _end_with_parent():
    """In a worker: end when the process that started it is gone, for which loky waits 300 idle seconds at 800 MB."""
    parent = multiprocessing.parent_process().pid

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def connected(scheduler):
    """Return a client of the Dask cluster at an address.

    ConnectionError where within three seconds no scheduler answers, or one that has no workers.
    """
    try:
        from dask.distributed import Client  # only here: a reader without a cluster does not wait for it

        with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop that runs
            thread.submit(asyncio.run, _greet(scheduler)).result()
        client = Client(scheduler, timeout=PATIENCE)
    except Exception as error:  # each of dask's ways to connect has errors of its own
        why = str(error) if isinstance(error, ImportError) else "write tcp://host:port"
        raise ConnectionError(f"No Dask scheduler answers at {scheduler}: {why}.") from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except Exception as error:
        client.close()
        raise ConnectionError(f"The Dask cluster at {scheduler} has no workers: start one with "
                              f"`dask worker {scheduler} --nworkers 4 --nthreads 1`.") from error  # fmt: skip
    return client


async def _greet(scheduler):
    """Exchange greetings, for which a Client would wait as long as it takes."""
    from distributed.comm import connect

    comm = await asyncio.wait_for(connect(scheduler, timeout=PATIENCE), PATIENCE)
    await comm.close()


def _run(group, jobs, folder, options, allowed, show):
    """Return the group, its records or the error that these runs may end with, and the seconds that it took."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # one of several workers: threads of one would slow down the others
    begin = time.monotonic()
    first, epochs = None, jobs[0].epochs

    def watch(epoch):
        nonlocal first
        now = time.monotonic()
        first = first or now
        pace = (now - first) / max(epoch - 1, 1)  # the first epoch warms up
        expected = now - begin + pace * (epochs - epoch)
        # The first epochs may run at half the later pace, so only what is hopeless is given up on their word.
        if expected > allowed and (epoch >= epochs / 10 or expected > 3 * allowed) and epoch > 1:
            raise OutOfTime(expected, pace * epochs)
        if show:
            show(len(jobs))

    cannot_stack = (ValueError, RuntimeError) if len(jobs) > 1 else ()
    try:
        with ONE_AT_A_TIME:
            outcome = runs.run_many(jobs, folder, progress=watch, **options)
    except (FloatingPointError, OutOfTime, *cannot_stack) as error:
        outcome = error.with_traceback(None)  # which would keep the images and weights of this group
    return group, outcome, time.monotonic() - begin


def _name(config):
    where = ", ".join(f"{name} {value}" for name, value in config["protocol"].items() if name != "name")
    return f"{config['method']} ({where}, seed {config['seed']})"
