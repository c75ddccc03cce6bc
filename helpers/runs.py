"""A run: one method, trained and scored on one task, as a record that is found again instead of run again."""

import functools
import json
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from . import engine, metrics, records, stacked
from .digest import code_digest


@dataclass(frozen=True)
class Job:
    """What decides a run's numbers, but for what all runs of a notebook share (precision, device, tier).

    `make(**settings)` gives the untrained method, so `settings` holds every hyperparameter, as JSON knows them. `task`
    is a function without arguments that gives the Task, so only running jobs hold images. `evaluate(method, task)`
    gives lines of numbers (see `helpers.records`), `keep(method, task)` arrays with a number an image, by name.
    `variant` says in words how this run departs from the one of the paper's tables, whose variant is "".
    `paper_epochs` are the paper's own, where `epochs` are fewer. At `looks` epochs, evenly spread on a logarithmic
    axis, `evaluate` is called along the training; its lines become the record's history.
    """

    method: str
    make: Callable
    task: Callable
    settings: dict = field(default_factory=dict)
    evaluate: Callable = metrics.of_every_score
    epochs: int = 0
    batch_size: int = 128
    seed: int = 0
    variant: str = ""
    paper_epochs: int | None = None
    keep: Callable | None = None
    looks: int = 0
    code: str | None = None  # the digest, where the process that runs the job cannot read the code


def run(job, folder, **options):
    """Return the record of a job: from `folder` where it is known, else train, score and save it (see `run_many`)."""
    return run_many([job], folder, **options)[0]


def run_many(jobs, folder, tier="quick", device=None, precision="fp32", progress=None):
    """Return the records of jobs of one `kind`; those that `folder` does not hold are trained at once.

    Raises ValueError for several kinds, and what `stacked.fit_many` raises where these methods cannot be stacked; what
    is missing alone trains with `engine.fit`.
    """
    device = device or engine.default_device()
    tasks = [job.task() for job in jobs]
    configs = [configuration(job, task, device, precision) for job, task in zip(jobs, tasks)]
    if len(set(map(kind, configs))) > 1:
        raise ValueError("Only runs that differ in nothing but protocol and seed can be trained at once.")
    found = [records.find(config, folder) for config in configs]
    missing = [k for k, record in enumerate(found) if record is None]
    if missing:
        chosen = [[part[k] for k in missing] for part in (jobs, tasks, configs)]
        for k, record in zip(missing, _train(*chosen, tier, device, progress), strict=True):
            found[k] = records.save(record, folder)
    return found


def _train(jobs, tasks, configs, tier, device, progress):
    """Return the records of jobs, trained at once."""
    methods, histories = list(map(made, jobs)), [[] for _ in jobs]

    def look_back(epoch, k):
        histories[k] += [{"epoch": epoch, **line} for line in jobs[k].evaluate(methods[k], tasks[k])]

    first = configs[0]
    looks = engine.epochs_to_look_at(first["epochs"], jobs[0].looks) if jobs[0].looks else ()
    options = dict(device=device, precision=first["precision"], progress=progress, looks=looks)
    begin = time.perf_counter()
    if len(jobs) == 1:
        losses = [engine.fit(methods[0], tasks[0], first["epochs"], first["batch_size"], first["seed"],
                             look_back=lambda epoch, _: look_back(epoch, 0), **options)]  # fmt: skip
    else:
        seeds = [config["seed"] for config in configs]
        losses = stacked.fit_many(methods, tasks, first["epochs"], first["batch_size"], seeds, look_back=look_back,
                                  **options)  # fmt: skip
    happened = records.provenance(device, (time.perf_counter() - begin) / len(jobs)) | {"tier": tier}
    happened |= {"stacked": len(jobs)} if len(jobs) > 1 else {}
    return [{
        "config": configs[k],
        "metrics": records.rounded(job.evaluate(methods[k], tasks[k]), 9),
        "history": records.rounded(histories[k]),
        "images": records.rounded(job.keep(methods[k], tasks[k])) if job.keep else {},
        "losses": records.rounded(losses[k]),
        "provenance": happened | ({"paper_epochs": job.paper_epochs} if job.paper_epochs else {}),
    } for k, job in enumerate(jobs)]  # fmt: skip


def made(job):
    """Return the untrained method of a job; its seed draws the first weights."""
    with seeded(job.seed):
        return job.make(**job.settings)


def kind(config):
    """Return a text that is the same for runs that differ in nothing but protocol and seed."""
    return json.dumps({**config, "protocol": None, "data": None, "seed": None}, sort_keys=True)


def known(job, folder, device=None, precision="fp32"):
    """Return the record of a job in `folder`, or None; trains nothing."""
    return records.find(configuration(job, job.task(), device, precision), folder)


def configuration(job, task, device=None, precision="fp32"):
    """Return what the record of a job is found by; TypeError for settings that JSON does not know, as functions."""
    settings = json.dumps(job.settings, sort_keys=True)
    precision = engine.resolve_precision(precision, device or engine.default_device()) if job.epochs else "fp32"
    config = {name: getattr(job, name) for name in ("method", "variant", "settings", "seed", "epochs", "batch_size")}
    config |= {"protocol": task.protocol, "data": task.digest, "precision": precision}
    config["code"] = job.code or code_of(job.make, settings, job.evaluate, job.keep)
    return json.loads(json.dumps(config))  # tuples become lists, as in a record that was read


@functools.lru_cache(maxsize=1000)  # a grid has many runs of few methods
def code_of(make, settings, evaluate, keep):
    """Return the digest of the code behind a method with these settings, as JSON, its evaluation and what it keeps."""
    with seeded(0):
        method = make(**json.loads(settings))
    return code_digest(method, evaluate, *([keep] if keep else []))


@contextmanager
def seeded(seed):
    """Let torch's random numbers start from `seed`; the processor's state before comes back afterwards."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield
