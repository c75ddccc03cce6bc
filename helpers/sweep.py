"""A grid of runs: skips what is recorded, shows one progress bar, keeps to a time budget, goes on after a kill.

    jobs = [dict(method="CAE", build=CAE, task=partial(task, c), evaluate=..., epochs=20, ...) for c in range(10)]
    records = sweep(jobs, folder, budget_minutes=10)

A job is what `runs.run` takes. Its task is a function without arguments, so that only running jobs hold images.
Every finished run is a record on the disk at once.
"""

import multiprocessing
import time
from collections import defaultdict
from contextlib import ExitStack

import joblib
import torch
from tqdm import tqdm

from . import runs


class Records(list):
    """The records of a sweep, in the order of its jobs; `left` counts the jobs that found no time."""

    left = 0


def sweep(jobs, folder, *, budget_minutes=None, workers=1, scheduler=None, label="runs"):
    """Return the records of all jobs, running those that `folder` does not hold yet.

    `workers` processes run side by side, one thread each; 1 means this process. `scheduler` is the address of a Dask
    cluster, "tcp://host:port", whose workers see the same `folder`. With `budget_minutes` no run starts whose
    expected end, judged by the runs of the same method before it, lies beyond the budget.
    """
    begin = time.monotonic()
    records = {number: runs.known(job, folder) for number, job in enumerate(jobs)}
    missing = [number for number, record in records.items() if record is None]
    pace = defaultdict(list)  # method -> seconds an epoch

    def in_time():
        for number in missing:
            job = jobs[number]
            expected = max(pace[job["method"]], default=0) * job["epochs"]
            if budget_minutes is None or time.monotonic() - begin + expected < 60 * budget_minutes:
                yield joblib.delayed(_run)(number, job, folder)

    with ExitStack() as stack:
        parallel = _parallel(workers, scheduler, stack)
        bar = stack.enter_context(tqdm(total=len(missing), desc=label, disable=not missing))
        for number, record, seconds in parallel(in_time()):
            records[number] = record
            pace[jobs[number]["method"]].append(seconds / max(jobs[number]["epochs"], 1))
            bar.update()
    done = Records(record for record in records.values() if record is not None)
    done.left = len(jobs) - len(done)
    if done.left:
        print(f"{len(done)} of {len(jobs)} {label} are recorded; {done.left} did not fit into {budget_minutes} "
              f"minutes. The same command goes on from here.")  # fmt: skip
    return done


def _parallel(workers, scheduler, stack):
    """Return joblib's Parallel for this process, for processes or for a Dask cluster; `stack` closes what it opens."""
    if scheduler:
        from dask.distributed import Client  # only here: a reader without a cluster does not wait for it

        client = stack.enter_context(Client(scheduler))
        stack.enter_context(joblib.parallel_config("dask", wait_for_workers_timeout=60))
        workers = sum(client.nthreads().values())
    return joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)


def _run(number, job, folder):
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # one of several workers: threads of one would slow down the others
    begin = time.monotonic()
    record = runs.run(job, folder)
    return number, record, time.monotonic() - begin
