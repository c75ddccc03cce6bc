"""One record a finished run: a small JSON file, found again by everything that decides its numbers.

The key of a record is a digest of its configuration: method, settings, protocol, data digest, seed, epochs, batch
size, precision, and the digest of the code of the method and of its evaluation. What only happened along the way
(seconds, device, versions, commit, date, tier) is kept beside it, as provenance.
"""

import ast
import functools
import hashlib
import inspect
import json
import platform
import re
import subprocess
import textwrap
import time
import types
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sklearn
import torch

from . import engine, stacked
from .files import whole

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "data" / "runs"  # committed: the paper tier
SCRATCH = ROOT / "data" / "cache" / "runs"  # ignored: everything else
# Rooms whose code decides no number on its own: data and protocol are in the configuration by content, and tests hold
# every path of the engine to the same results.
NOT_IN_DIGEST = ("helpers.engine", "helpers.images", "helpers.protocols", "helpers.runs", "helpers.notebook")


def run(job, folder, progress=None):
    """Return the record of a job: from `folder` where it is known, else train, score and save it.

    A job is a dict: `method` (its name in tables), `build` (a function that makes the untrained method), `task` (a
    function that makes the Task), `evaluate(method, task)` (returns JSON-able metrics), `epochs`, `batch_size`,
    `seed` and `tier`; `settings` (every hyperparameter that the code alone does not tell), `device`, `precision` and
    `code` (the digest, where the process that runs the job cannot read the code) may follow.
    """
    return run_many([job], folder, progress)[0]


def run_many(jobs, folder, progress=None):
    """Return the records of jobs of one `kind`; those that `folder` does not hold are trained at once.

    Raises ValueError for several kinds or bf16, and what `stacked.fit_many` raises where these methods cannot be
    stacked; what is missing alone trains with `engine.fit`.
    """
    tasks = [job["task"]() for job in jobs]
    models, configs = zip(*map(configured, jobs, tasks), strict=True)
    if len(jobs) > 1 and (len(set(map(kind, jobs, configs))) > 1 or configs[0]["precision"] != "fp32"):
        raise ValueError("Only runs in fp32 that differ in nothing but protocol and seed can be trained at once.")
    records = [find(config, folder) for config in configs]
    missing = [k for k, record in enumerate(records) if record is None]
    if not missing:
        return records
    device = jobs[0].get("device") or engine.default_device()
    begin = time.perf_counter()
    losses = _train([models[k] for k in missing], [tasks[k] for k in missing], [configs[k] for k in missing],
                    device, progress)  # fmt: skip
    seconds = (time.perf_counter() - begin) / len(missing)
    for k, history in zip(missing, losses, strict=True):
        metrics = jobs[k]["evaluate"](models[k], tasks[k])
        curve = [[round(float(v), 6) for v in row] for row in history]
        where = provenance(device, seconds, jobs[k]["tier"]) | ({"stacked": len(missing)} if len(missing) > 1 else {})
        records[k] = save({"config": configs[k], "metrics": metrics, "losses": curve, "provenance": where}, folder)
    return records


def _train(models, tasks, configs, device, progress):
    epochs, batch_size, precision = (configs[0][name] for name in ("epochs", "batch_size", "precision"))
    seeds = [config["seed"] for config in configs]
    if len(models) == 1:
        return [engine.fit(models[0], tasks[0], epochs, batch_size, seeds[0], device, precision, progress)]
    return stacked.fit_many(models, tasks, epochs, batch_size, seeds, device, progress)


def kind(job, config):
    """Return a text that is the same for jobs that differ in nothing but protocol and seed."""
    return json.dumps([{**config, "protocol": None, "seed": None}, str(job.get("device"))], sort_keys=True)


def known(job, folder):
    """Return the record of a job in `folder`, or None; trains nothing."""
    return find(configured(job, job["task"]())[1], folder)


def configured(job, task):
    """Return the untrained method of a job and the configuration that its record is found by."""
    with seeded(job["seed"]):
        model = job["build"]()
    return model, {
        "method": job["method"], "settings": job.get("settings", {}), "protocol": task.protocol, "data": task.digest,
        "seed": job["seed"], "epochs": job["epochs"], "batch_size": job["batch_size"],
        "precision": job.get("precision", "fp32"), "code": job.get("code") or code_digest(model, job["evaluate"]),
    }  # fmt: skip


def key(config):
    """Return the 16 hex digits that stand for a configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def path_of(config, folder):
    """Return the file of a configuration's record in `folder`."""
    name = re.sub(r"[^a-z0-9]+", "-", config["method"].lower()).strip("-")
    return Path(folder) / f"{name}-{key(config)}.json"


def find(config, folder):
    """Return the record of exactly this configuration, or None."""
    path = path_of(config, folder)
    return read(path) if path.exists() else None


def save(record, folder):
    """Write a record and return it; the file is whole or absent, whatever happens to the process."""
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
    with whole(path_of(record["config"], folder)) as file:
        file.write(text.encode())
    return record


def read(path):
    """Return the record in one file; ValueError names a file that is not a record."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        record["config"], record["metrics"], record["provenance"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a run record ({error!r}); delete it to run again.") from error
    return record


def read_all(folder, **config):
    """Return the records of a folder, sorted by file name, whose configuration has the given entries."""
    records = [read(path) for path in sorted(Path(folder).glob("*.json"))]
    return [r for r in records if all(r["config"].get(name) == value for name, value in config.items())]


def provenance(device, seconds, tier):
    """Return how and where a run happened: tier, seconds, device, versions, commit, date (UTC)."""
    return {
        "tier": tier,
        "seconds": round(seconds, 3),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                     "scikit-learn": sklearn.__version__},
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip


def device_name(device):
    """Return the model name of the processor or GPU behind a torch device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
             if line.startswith("model name")] if cpuinfo.exists() else []  # fmt: skip
    return f"CPU: {names[0] if names else platform.processor() or platform.machine()}"


def commit():
    """Return the short commit of this checkout, with "+" where files have changed since, or "unknown"."""
    try:
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True)
        return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class seeded:
    """Context in which torch's random numbers start from `seed`; the state before comes back after it."""

    def __init__(self, seed):
        self.seed = seed

    def __enter__(self):
        self.state = torch.get_rng_state()
        torch.manual_seed(self.seed)

    def __exit__(self, *_):
        torch.set_rng_state(self.state)


def code_digest(*things):
    """Return 16 hex digits over the code of modules, classes and functions, and of our own code that they call.

    Comments, docstrings and layout do not count. Code counts that is defined in a notebook or in `helpers`;
    torch and the other libraries are named by their versions in the provenance.
    """
    sources = {}
    for thing in things:
        parts = thing.modules() if isinstance(thing, torch.nn.Module) else [thing]
        for part in parts:
            _collect(type(part) if isinstance(part, torch.nn.Module) else part, sources)
    return hashlib.sha256("\n".join(f"{name}: {sources[name]}" for name in sorted(sources)).encode()).hexdigest()[:16]


def _collect(thing, sources):
    thing = getattr(thing, "func", thing)  # functools.partial: its function
    thing = inspect.unwrap(thing.__func__ if isinstance(thing, types.MethodType) else thing)
    if not isinstance(thing, (type, types.FunctionType)) or not _ours(thing.__module__):
        return
    if isinstance(thing, type):
        for member in [*thing.__bases__, *vars(thing).values()]:
            member = getattr(member, "fget", None) or getattr(member, "__func__", member)  # property, static method
            _collect(member, sources)
        return
    name = f"{thing.__module__}.{thing.__qualname__}"
    if name not in sources:
        sources[name] = _normal_source(thing)
        names = _names(thing.__code__)
        for used in (thing.__globals__[name] for name in names if name in thing.__globals__):
            if isinstance(used, types.ModuleType) and _ours(used.__name__):
                for name in names & set(vars(used)):  # metrics.pairwise: the function behind the dot
                    _collect(getattr(used, name), sources)
            else:
                _collect(used, sources)


def _ours(module):
    return module.split(".")[0] in ("__main__", "helpers") and module not in NOT_IN_DIGEST


def _names(code):
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


@functools.cache  # read once: a file that is edited while a sweep runs must not change what the sweep is called
def _normal_source(function):
    source = textwrap.dedent(inspect.getsource(function))
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a lambda inside a longer expression: its line is the best there is
        return source.strip()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) and len(body) > 1:
            node.body = body[1:]
    return ast.unparse(tree)
