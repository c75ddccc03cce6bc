"""Kill a sweep with stacks and workers at random moments, again and again, and look at what it leaves.

    python tests/benchmarks/kills.py --kills 50

Each time a process is started that sweeps a grid on two workers, two runs at once, and at a random moment SIGKILL ends
it or one of its workers. Then every record has to be whole and as it was, no process and no memory file may be left,
and the same command has to go on; a grid that is complete has the numbers of an undisturbed one. Linux.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import test_sweep  # noqa: E402

from helpers import records  # noqa: E402
from helpers.sweep import sweep  # noqa: E402

SEEDS = range(4)  # of three classes: twelve runs, two at once for 0.8 seconds
FORK = multiprocessing.get_context("fork")  # torch is there already


def grid():
    return test_sweep.grid(test_sweep.Slow, "Slow", seeds=SEEDS)


def undisturbed(folder):
    """The records of the grid, one run after the other."""
    with test_sweep.one_thread():
        return sweep(test_sweep.grid(test_sweep.Linear, "Slow", seeds=SEEDS), folder)


def sweep_marked(folder):
    """In a process of its own: sweep the grid into a folder; `MARK` tells the workers from all other processes."""
    shared = folder.parent / "shared"
    shared.mkdir(exist_ok=True)
    os.environ |= {"MARK": str(folder.parent), "JOBLIB_TEMP_FOLDER": str(shared), "OMP_NUM_THREADS": "1"}
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    sweep(grid(), folder, workers=2, stack=2)


def workers(folder):
    """The processes that sweeps into a folder have started, whoever is their parent now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == str(folder.parent) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it has ended, or is not ours
            pass
    return found


def left_over(folder, pid):
    """What a sweep may not leave once it is gone: processes, shared memory, temporary folders."""
    memory = [path for path in Path("/dev/shm").glob(f"*loky-{pid}-*")]
    return workers(folder) + memory + list((folder.parent / "shared").iterdir())


def kill(folder, chance, victim):
    """Start a sweep, kill it, the "parent", or a "worker", and wait for the end; return who was killed."""
    child = FORK.Process(target=sweep_marked, args=(folder,))
    child.start()
    if chance.random() < 0.3:
        time.sleep(chance.uniform(0, 5))  # while it starts, on most machines
    else:
        goal = len(contents(folder)) + chance.randint(1, 4)
        while child.is_alive() and len(contents(folder)) < goal:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1))  # into the runs that follow
    at_work = [process for process in workers(folder) if "popen_loky" in " ".join(process.cmdline())]
    victim = victim if at_work else "parent"
    with suppress(ProcessLookupError):
        os.kill(chance.choice(at_work).pid if victim == "worker" else child.pid, signal.SIGKILL)
    child.join(timeout=100)
    assert not child.is_alive(), f"the sweep hangs after the kill of a {victim}"
    deadline = time.monotonic() + 60
    while rest := left_over(folder, child.pid):
        assert time.monotonic() < deadline, f"left over after the kill of a {victim}: {rest}"
        time.sleep(0.1)
    print(victim, child.exitcode, flush=True)
    return victim if child.exitcode else "nobody"


def trial(kills, folder, seed=0):
    """Kill so many sweeps; return how often a parent or a worker was hit, and nobody, since all had ended before.

    AssertionError where something is lost, doubled, damaged or left over.
    """
    chance, hits = random.Random(seed), {"parent": 0, "worker": 0, "nobody": 0, "in the middle": 0}
    victims = cycle(["parent", "worker"])
    expected = undisturbed(folder / "undisturbed")
    round_ = 0
    while hits["parent"] + hits["worker"] < kills:
        place = folder / f"{round_}" / "records"
        place.mkdir(parents=True, exist_ok=True)
        before = contents(place)
        hits[kill(place, chance, next(victims))] += 1
        after = contents(place)
        assert before.items() <= after.items(), "a record was lost or made again"
        assert len(records.read_all(place)) == len(after) <= len(expected), "a record was doubled"
        hits["in the middle"] += len(before) < len(after) < len(expected)
        if len(after) == len(expected):
            test_sweep.assert_same(sweep(grid(), place), expected)
            round_ += 1
    final = folder / f"{round_}" / "records"
    test_sweep.assert_same(sweep(grid(), final, stack=2), expected)
    for part in (parts := list(folder.rglob(".*.part"))):
        os.utime(part, (0, 0))  # as an hour later
        with records.whole(part.with_name("next")):
            pass
    assert not list(folder.rglob(".*.part"))
    return hits | {"half files": len(parts)}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as there:
        found = trial(options.kills, Path(there), options.seed)
    print(", ".join(f"{name} {count}" for name, count in found.items()))
