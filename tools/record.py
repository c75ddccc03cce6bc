"""Run what the recorded tables lack, most valuable first, across chapters, without drawing a picture.

    python tools/record.py --minutes 120                           everything, in the order of data/record.toml
    python tools/record.py --minutes 120 --name mixer-autoencoder  one chapter's entries
    python tools/record.py --list                                  what is left, and how long it would take

It works in a clean copy of the committed tree, at low priority, so that you can go on editing; each record that ends
is in data/runs at once, whatever happens to the process, and the same command goes on from there. `--here` records
from this very folder instead: for a bare machine, where torch, numpy, scikit-learn and IPython are enough for
MNIST and Fashion-MNIST.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import chapter, engine, notebook, records, runs  # noqa: E402
from helpers.sweep import sweep  # noqa: E402

LIST = ROOT / "data" / "record.toml"
COPY = ROOT / "_build" / "record"
GUESS = 15.0  # minutes of a run of which nothing is known


def entries(name=None):
    """Return the entries of the list, in order; those of one chapter where it is named. ValueError for a wrong one."""
    try:
        listed = tomllib.loads(LIST.read_text(encoding="utf-8")).get("entry", [])
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{LIST} is not TOML: {error}.") from None
    for entry in listed:
        whole = set(entry) - {"only"} == {"what", "chapter", "parameters"} and isinstance(entry["parameters"], dict)
        if not whole or entry["chapter"] not in chapter.NAMES:
            raise ValueError(f"{LIST}: an entry has what, chapter, parameters and may have only; a chapter is one of "
                             f"{', '.join(chapter.NAMES)}; this one is {entry}.")  # fmt: skip
    if name and name not in chapter.NAMES:
        raise ValueError(f"There is no chapter {name!r}; the chapters are {', '.join(chapter.NAMES)}.")
    return [entry for entry in listed if name in (None, entry["chapter"])]


def jobs_of(entry, device):
    """Return the jobs of an entry and the settings that they share; none where its data are missing, and say why."""
    parameters = {"tier": "paper", **({"device": device} if device else {}), **entry["parameters"]}
    try:
        cells = chapter.opened(entry["chapter"], parameters)
        return cells["jobs"](cells["p"]), cells["p"]
    except ValueError as error:
        if "not found" not in str(error):  # else it is a set that is not at hand
            raise
        print(f"Passed over: {entry['what']} ({error})", flush=True)
        return [], None


def missing(listed, into, device=None):
    """Return the jobs that have no record in `into`, each with its entry and configuration, in order, each once."""
    found, seen = [], set()
    for entry in listed:
        jobs, p = jobs_of(entry, device)
        described = {}  # what a task is found by; to draw its images again for every method would take minutes
        for job in jobs:
            key = repr((job.task.func, job.task.args, job.task.keywords)) if isinstance(job.task, partial) else job.task
            if key not in described:
                task = job.task()
                described[key] = SimpleNamespace(protocol=task.protocol, digest=task.digest)
            config = runs.configuration(job, described[key], p.device, p.precision)
            folder, facts = into / entry["chapter"], {**config["protocol"], **config}
            if any(facts.get(name) != value for name, value in entry.get("only", {}).items()):
                continue
            # A run in the other precision is the same number: tests hold the two together.
            likes = [config | {"precision": precision} for precision in ("fp32", "bf16")]
            there = any(records.path_of(like, folder).exists() for like in likes)
            if not there and records.key(config) not in seen:
                found.append((entry, job, config))
            seen.add(records.key(config))
    return found


def paces(into, device=None):
    """Return {(chapter, method, data set, precision): seconds an epoch} of the records, the median over their runs.

    A processor's pace says nothing of a GPU's, so only records of the device's kind count.
    """
    on_cpu = (device or engine.default_device()) == "cpu"
    found = defaultdict(list)
    for name, record in ((folder.name, r) for folder in into.glob("*") for r in records.read_all(folder)):
        config, happened = record["config"], record["provenance"]
        if happened["device"].startswith("CPU") == on_cpu:
            found[_kind(name, config)].append(happened["seconds"] / max(config["epochs"], 1))
    return {kind: median(seconds) for kind, seconds in found.items()}


def _kind(name, config):
    return name, config["method"], config["protocol"].get("dataset"), config["precision"]  # a chapter has its own CAE


def minutes_of(name, config, known, guess=GUESS):
    """Return the expected minutes of a chapter's run: by its method on its data, by its method elsewhere, or a guess.

    Elsewhere is the slowest of the chapter's other data sets, in the run's precision where that was ever recorded.
    """
    if config["epochs"] == 0:
        return 0.1
    elsewhere = {kind: seconds for kind, seconds in known.items() if kind[:2] == (name, config["method"])}
    alike = [seconds for (*_, precision), seconds in elsewhere.items() if precision == config["precision"]]
    pace = known.get(_kind(name, config)) or max(alike or elsewhere.values(), default=None)
    return guess if pace is None else pace * config["epochs"] / 60


def say_left(left, into, device=None):
    """Print what is left, an entry a line, with its expected minutes in one process."""
    known, groups = paces(into, device), defaultdict(list)
    for entry, _, config in left:
        groups[entry["what"]].append(minutes_of(entry["chapter"], config, known))
    hours = sum(map(sum, groups.values())) / 60
    print(f"\nLeft: {len(left)} runs on the image sets at hand, about {hours:.1f} hours of one core.")
    for what, minutes in groups.items():
        print(f"  {len(minutes):4d} runs, {sum(minutes):6.0f} minutes: {what}")


def record(minutes, name, into, workers, stack, device):
    """Make the missing runs within the minutes, and say what was recorded and what is left."""
    begin = time.monotonic()
    before = set(into.glob("*/*.json"))
    todo = missing(entries(name), into, device)
    left, known = minutes - (time.monotonic() - begin) / 60, paces(into, device)
    # What no like of was ever run is tried: the sweep gives it up after two epochs where it would take too long.
    chosen = [item for item in todo if minutes_of(item[0]["chapter"], item[2], known, guess=0) <= left]
    for precision in dict.fromkeys(config["precision"] for _, _, config in chosen):  # trivial detectors have fp32
        items = [item for item in chosen if item[2]["precision"] == precision]
        left = max(minutes - (time.monotonic() - begin) / 60, 0.01)
        try:
            sweep([job for _, job, _ in items], [into / entry["chapter"] for entry, _, _ in items], tier="paper",
                  device=device, precision=precision, budget_minutes=left, workers=workers, stack=stack)  # fmt: skip
        except FloatingPointError as error:  # it names its runs; all others are recorded
            print(f"record: {error}", file=sys.stderr)
    made = sorted(set(into.glob("*/*.json")) - before)
    print(f"\nRecorded: {len(made)} runs." + "".join(f"\n  {path.relative_to(into)}" for path in made))
    say_left(missing(entries(name), into, device), into, device)


def in_a_copy(arguments, into):
    """Become this script in a clean clone of the committed tree, at low priority, writing its records into `into`."""
    if records.commit() == "unknown":
        raise ValueError("this folder is no git checkout, so it has no committed tree to copy; make record ARGS=--here "
                         "records from the folder as it is.")  # fmt: skip
    tree = COPY / records.commit().rstrip("+")
    if not tree.is_dir():
        COPY.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=COPY) as half:
            subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, f"{half}/tree"], check=True)
            with suppress(OSError):  # another process may have been faster
                os.rename(f"{half}/tree", tree)  # whole or absent, whatever kills this process
    cache = tree / "data" / "cache"
    if not cache.exists() and (ROOT / "data" / "cache").is_dir():
        cache.symlink_to(ROOT / "data" / "cache")  # decoded pictures and downloads
    command = [sys.executable, str(tree / "tools" / "record.py"), *arguments, "--here", "--into", str(into.resolve())]
    os.chdir(tree)
    os.nice(10)
    os.execve(sys.executable, command, os.environ | {"PYTHONPATH": str(tree)})  # no second process to leave behind


def main(argv=None):
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--minutes", type=float, default=60, help="start no run that would end later")
    parser.add_argument("--name", help="only the entries of this chapter")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs side by side, one thread each")
    parser.add_argument("--stack", type=int, default=1, help="runs trained at once as one set of kernels, for a GPU")
    parser.add_argument("--device", help="cpu or cuda; default: cuda where there is one")
    parser.add_argument("--list", action="store_true", help="say what is left, and run nothing")
    parser.add_argument("--here", action="store_true", help="record from this folder, not from a clean copy")
    parser.add_argument("--into", type=Path, default=records.RECORDED, help="the folder of the records")
    options = parser.parse_args(argv)
    try:
        entries(options.name)
        if not options.minutes > 0:
            raise ValueError(f"MINUTES must be above 0, not {options.minutes:g}.")
        notebook.check_shared(budget_minutes=options.minutes, workers=options.workers, stack=options.stack)
        if options.list:
            left = missing(entries(options.name), options.into, options.device)
            say_left(left, options.into, options.device)
        elif options.here:
            record(options.minutes, options.name, options.into, options.workers, options.stack, options.device)
        else:
            in_a_copy(sys.argv[1:] if argv is None else argv, options.into)
    except (OSError, ValueError) as error:
        print(f"record: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
