"""What a notebook's first cells need: parameters checked before anything is computed, data, runs, a card."""

import ast
import os
import platform
import statistics
import textwrap
import time
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from IPython import get_ipython

from . import engine, images, protocols, records
from .sweep import connected, sweep

TIER_NAMES = ("smoke", "quick", "paper")
# Every notebook has these parameters; None leaves the choice to the code that uses them.
COMMON = {"tier": str, "device": str, "precision": str, "data_root": str, "download": bool, "budget_minutes": float,
          "workers": int, "stack": int, "scheduler": str}  # fmt: skip
MAY_BE_NONE = ("device", "precision", "data_root", "budget_minutes", "scheduler")
PROCESSORS = os.cpu_count() or 1
# The largest number that a person could mean, by a parameter's name or by the last word of it.
MOST = {"epochs": 100_000, "seeds": 100, "classes": 1000, "size": 1024, "batch_size": 65_536, "width": 256,
        "dense": 16_384, "rotations": 1000, "probes": 1000, "noise": 10, "stack": 1024, "budget_minutes": 525_600,
        "workers": 4 * PROCESSORS, "false_alarms": 0.5, "tiles": 8}  # fmt: skip
MOST_ELSE = 1_000_000


class ParameterError(ValueError):
    """A parameter that cannot be used; notebooks show it as one sentence, without a traceback."""

    def _render_traceback_(self):
        return [f"ParameterError: {self}"]


@contextmanager
def refused():
    """Show what readers, protocols and the store of runs refuse in this block as one sentence: a ParameterError."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ParameterError(" ".join(str(error).split())) from None


def settings(namespace, chapter, tiers, choices=None, injected=None, common=tuple(COMMON)):
    """Return the checked parameters of a notebook; a parameter that is None takes its tier's value.

    `namespace` is the notebook's globals(), `chapter` its name. `tiers` maps "smoke", "quick" and "paper" to
    {parameter: value} and so names the chapter's own parameters and their types. `choices` maps a parameter to what
    it, or each of its list, may be; a single value stands for a list of one. `injected` is the source that papermill
    put in; None finds it. `common` names those of COMMON that the notebook has. Raises ParameterError, one sentence,
    for an unknown name, a wrong type, a value that is not possible, a scheduler that does not answer and a damaged
    record of the chapter.
    """
    own = tiers["quick"]
    names = [*common, *own]
    injected = namespace.get("injected", _injected_cell()) if injected is None else injected
    for name in _assigned(injected):
        if name not in names:
            raise ParameterError(f"There is no parameter {name!r}; the parameters are {', '.join(names)}.")
    choices = {"tier": TIER_NAMES, "precision": engine.PRECISIONS} | (choices or {})
    given = {name: namespace[name] for name in names}
    _check("tier", given["tier"], str, choices["tier"])
    values = {}
    for name in names:
        value = given[name]
        if name in own and value is None:
            value = tiers[given["tier"]][name]
        elif not (value is None and name in MAY_BE_NONE):
            kind = COMMON.get(name) or type(own[name])
            inner = next((type(item) for tier in tiers.values() for item in tier[name]), None) if kind is list else None
            value = _check(name, value, kind, choices.get(name), inner)
        values[name] = value
    _check_device(values["device"])
    values["precision"] = values.get("precision") or ("auto" if values["tier"] == "paper" else "fp32")
    folder = (records.RECORDED if values["tier"] == "paper" else records.SCRATCH) / chapter
    with refused():
        if values.get("scheduler"):
            connected(values["scheduler"]).close()
        for place in {records.RECORDED / chapter, folder}:
            records.read_all(place)  # what is damaged would stop the notebook later, after a training
    about = {"chapter": chapter, "folder": folder, "began": time.monotonic()}
    return SimpleNamespace(**about | values)  # a notebook without runs may have a parameter of its own named folder


def check_shared(**given):
    """Raise ParameterError for a value that a parameter of all notebooks cannot have: check_shared(workers=3)."""
    for name, value in given.items():
        _check(name, value, COMMON[name], None)


def run(p, jobs, label="runs", lines=None):
    """Return the frame of jobs that are run, or found, with what all jobs of a notebook share: the settings `p`.

    Records of the tier "paper" are the committed ones, those of the others lie in the cache. `lines` as in
    `results.frame`.
    """
    from . import results  # pandas: not on a bare machine, which records without it

    done = sweep(jobs, p.folder, tier=p.tier, device=p.device, precision=p.precision, budget_minutes=minutes_left(p),
                 workers=p.workers, scheduler=p.scheduler, stack=p.stack, label=label)  # fmt: skip
    distinct = {records.key(record["config"]): record for record in done}  # a grid may name a run twice
    return results.frame(distinct.values(), "this run", lines)


def minutes_left(p):
    """Return the minutes left of `budget_minutes`, counted from the check of the settings; None without a budget."""
    return p.budget_minutes and max(p.budget_minutes - (time.monotonic() - p.began) / 60, 0)


def load(p, name=None):
    """Return the Images named by the settings `p`; ParameterError says in one sentence what is missing or damaged.

    The limit of the settings, where there is one, must suit the classes of these images.
    """
    with refused():
        data = images.load_once(name or p.dataset, p.data_root, p.download)
        protocols.check_limit(getattr(p, "limit", None), data)
    return data


def class_name(p, data, default):
    """Return the name of the class that the settings call normal, or `default` where they leave it open."""
    with refused():
        return data.classes[images.class_index(data, p.normal_class or default)]


def class_names(p, data):
    """Return the names of the classes that the settings list in `classes`; all of them where they list none."""
    return [class_name(SimpleNamespace(normal_class=c), data, c) for c in p.classes or data.classes]


def card(p, data):
    """Return what this execution is, tier, data, device and versions, in lines that fit the page."""
    return textwrap.fill(f"tier {p.tier} · {data.name} ({len(data.x):,} images, digest {data.digest}) · "
                         f"{records.device_name(p.device or engine.default_device())} · "
                         f"torch {torch.__version__} · Python {platform.python_version()}", 88)  # fmt: skip


def seconds(function, *given, repeats=3):
    """Return the median time of function(*given) in seconds, of so many calls after a first one that warms up."""
    function(*given)
    took = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function(*given)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def check(answer, right, hint, mistakes=None):
    """Say whether an exercise is solved: `right(answer)` decides; None is no answer yet.

    `mistakes` maps what helps against a known mistake to the function of the answer that recognises it; the first that
    does is said, else the hint.
    """
    if answer is None:
        print("No answer yet.")
    elif right(answer):
        print("Right.")
    else:
        print(f"Not yet: {next((words for words, made in (mistakes or {}).items() if made(answer)), hint)}")


def _injected_cell():
    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    return next((cell for cell in reversed(cells) if cell.startswith("# Parameters\n")), "")


def _assigned(source):
    targets = [t for node in ast.parse(source).body if isinstance(node, ast.Assign) for t in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _check(name, value, kind, allowed, inner=None, subject="Parameter"):
    """Return a value as its kind; of a list each item is checked as `inner`."""
    if kind in (list, bool) and isinstance(value, str):  # papermill's -p passes "['cae']" and "True" as text
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            pass
    if kind is list:
        value = list(value) if isinstance(value, (list, tuple)) else [value]
        if not value:
            raise ParameterError(f"Parameter {name} is an empty list; name at least one.")
        return [_check(name, item, inner or type(item), allowed, subject="An item of parameter") for item in value]
    if kind is str and type(value) is int:  # -p normal_class 3 arrives as a number
        value = str(value)
    right = (
        isinstance(value, (int, float)) and not isinstance(value, bool) if kind is float
        else type(value) is kind
    )  # fmt: skip
    if not right:
        words = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}
        raise ParameterError(f"{subject} {name} must be {words[kind]}, not {value!r}.")
    if allowed is not None and value not in allowed:
        raise ParameterError(f"{subject} {name} cannot be {value!r}; possible are {', '.join(map(str, allowed))}.")
    if kind in (int, float):
        most = MOST.get(name, MOST.get(name.rpartition("_")[2], MOST_ELSE))
        if not 0 < value <= most:  # not even NaN is
            why = f", four for each of {PROCESSORS} processors" if name == "workers" else ""
            raise ParameterError(f"{subject} {name} must be above 0 and at most {most:,}{why}, not {value!r}.")
    return value


def _check_device(device):
    if device is None:
        return
    try:
        known = torch.device(device).type in ("cpu", "cuda")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        known = False
    if not known:
        found = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise ParameterError(f"Device {device!r} is not at hand; this machine has {found}.")
