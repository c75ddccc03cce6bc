"""Move records to another digest of code, once, where old and new code provably compute the same.

    git worktree add OLD 7f8a2bb            the commit whose code made the records
    python tools/rekey.py OLD               proves, method by method, and rewrites data/runs

For each method, with all its settings, the old and the new code train two epochs from the same seed on the same 300
images and score 200 others, on one thread: losses, scores and thresholds have to be equal to the bit. A record whose
method passes keeps its numbers and gets the new configuration as its key; the others are named and left out.
"""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
RUNS = [  # chapter, and the parameters of its notebook with which records were made
    ("comparing-autoencoders", {"dataset": "mnist", "epochs": 20}),
    ("comparing-autoencoders", {"dataset": "mnist", "epochs": 5}),
    ("comparing-autoencoders", {"dataset": "cifar10_jpeg", "epochs": 20}),
    ("improved-autoencoder", {"dataset": "mnist", "epochs": 20, "seeds": 1, "lams": [0.005, 0.05]}),
    ("improved-autoencoder", {"dataset": "mnist", "epochs": 250, "seeds": 1, "precision": "bf16"}),
    ("improved-autoencoder", {"dataset": "mnist", "epochs": 250, "seeds": 1, "precision": "fp32"}),
    ("mixer-autoencoder", {"dataset": "mvtec:bottle,screw", "epochs": 30}),
    ("mixer-autoencoder", {"dataset": "parts", "epochs": 30}),
]


# -- the old code, in a process of its own -------------------------------------------------------------------------


def old_jobs(chapter, parameters):
    """Return the jobs that an old notebook would run: its cells are executed, its sweeps only listen."""
    from IPython.core.interactiveshell import InteractiveShell

    from helpers import engine, runs, sweep

    heard = []

    codes = {}  # an old digest counts names that happen to exist: those of the first sweep

    def listen(jobs, *_, **__):
        for job in jobs:
            model = job["build"]()
            kind = type(model).__name__
            codes[kind] = codes.get(kind) or runs.code_digest(model, job["evaluate"])
            heard.append(job | {"code": codes[kind]})
        return sweep.Records()

    sweep.sweep = listen
    fit, engine.fit = engine.fit, lambda method, task, epochs, *_, **__: np.zeros((epochs, 9))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.showtraceback = lambda *_, **__: None  # cells that draw fail without records; nothing is lost with them
    for cell in json.loads((Path("notebooks") / f"{chapter}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"]), silent=True)
            if "parameters" in cell["metadata"].get("tags", []):
                given = {"tier": "paper", "example_epochs": 1, **parameters}
                shell.run_cell("# Parameters\n" + "".join(f"{k} = {v!r}\n" for k, v in given.items()))
    engine.fit = fit
    return heard


def prove_old(path):
    """Write {key of an old record: what the old code computes} for one record of each method and settings."""
    from helpers import runs

    torch.set_num_threads(1)
    results, seen = {}, {}
    for chapter, parameters in RUNS:
        for job in old_jobs(chapter, parameters):
            task = job["task"]()
            model, config = runs.configured(job, task)
            record = runs.path_of(config, Path("data/runs") / chapter)
            group = chapter, config["method"], json.dumps(config["settings"]), config["data"], config["epochs"]
            if record.exists() and group not in seen:
                seen[group] = record.name
                results[chapter, record.name] = computed(model, task, config)
            if record.exists():
                results[chapter, record.name, "as"] = seen[group]
    Path(path).write_bytes(pickle.dumps(results))


# -- both ----------------------------------------------------------------------------------------------------------


def computed(model, task, config):
    """Return all that two epochs on a part of the task leave: losses, scores and buffers, as bytes."""
    from helpers import engine

    some = torch.linspace(0, len(task.train) - 1, 300).long()
    few = replace(task, train=task.train[some], train_y=task.train_y[some], test=task.test[:200])
    epochs = min(config["epochs"], 2)
    losses = engine.fit(model, few, epochs, min(config["batch_size"], 64), config["seed"], "cpu", "fp32")
    buffers = {name.rpartition(".")[2]: buffer for name, buffer in model.named_buffers()}
    kept = {name: buffers[name].numpy().tobytes() for name in ("T", "mean", "c", "R") if name in buffers}
    return {"losses": losses.tobytes(), "score": engine.score(model, few.test).tobytes(), **kept}


# -- the new code --------------------------------------------------------------------------------------------------


def essence(config):
    """What is the same in the old and the new configuration of a run."""
    names = ("protocol", "data", "seed", "epochs", *(("batch_size", "precision") if config["epochs"] else ()))
    method, _, variant = config["method"].partition(", ")
    return json.dumps([config.get("variant") or variant, method, *(config[name] for name in names)], sort_keys=True)


def converted(record, chapter):
    """Return an old record in the present form: lines of numbers, arrays, history."""
    from helpers import records

    found, history, images = record["metrics"], [], {}
    if chapter == "comparing-autoencoders":
        lines = [{"anomalous_class": c, **numbers} for c, numbers in found["pairs"].items()]
    elif chapter == "improved-autoencoder":
        lines = [found["headline"], *({"score": name, **v} for name, v in found["scores"].items() if name != "score")]
        for then in found["curve"]:
            epoch = {"epoch": then["epoch"]}
            history += [epoch | {"spread": then["spread"], "directions": then["directions"]}]
            history += [epoch | {"score": name, "auroc": then[name]} for name in ("mean", "centre", "l1")]
    else:
        lines = [{name: found[name]} for name in ("aupro", "pixel_auroc") if name in found]
        images = {name: [float(v) for v in text.split()] for name, text in found.items() if isinstance(text, str)}
        images |= {name: [int(v) for v in images[name]] for name in ("y", "anomalous", "test_group", "held_group")}
    return {**record, "metrics": records.rounded(lines, 9), "history": records.rounded(history), "images": images}


def main(old):
    from helpers import chapter, records, runs

    torch.set_num_threads(1)
    old = Path(old).resolve()
    proof = old / "_build" / "proof"  # of the old code, made once
    if not proof.exists():
        proof.parent.mkdir(exist_ok=True)
        environment = os.environ | {"PYTHONPATH": str(old)}
        subprocess.run([sys.executable, __file__, "--old", proof], cwd=old, env=environment, check=True)
    proven = pickle.loads(proof.read_bytes())
    jobs = {}
    for name, parameters in RUNS:
        notebook = chapter.opened(name, {"tier": "paper", **parameters})
        p = notebook["p"]
        for job in notebook["jobs"](p):
            config = runs.configuration(job, job.task(), "cpu", p.precision)
            jobs[name, essence(config)] = job, config
    verdicts, kept, lost = {}, [], []
    for path in sorted((old / "data" / "runs").glob("*/*.json")):
        name, record = path.parent.name, json.loads(path.read_text())
        job, config = jobs.get((name, essence(record["config"])), (None, None))
        group = proven.get((name, path.name, "as"))
        if job is None or group is None:
            lost.append(f"{name}/{path.name}: no {'new' if job is None else 'old'} run is the same")
            continue
        if (name, group) not in verdicts:
            like, its = jobs[name, essence(json.loads((path.parent / group).read_text())["config"])]
            ours, theirs = computed(runs.made(like), like.task(), its), proven[name, group]
            verdicts[name, group] = [part for part in theirs if ours.get(part) != theirs[part]]
            print(f"{name} {config['method']} {config['variant']}: "
                  f"{verdicts[name, group] or 'equal to the bit'}", flush=True)  # fmt: skip
        if verdicts[name, group]:
            lost.append(f"{name}/{path.name}: other {', '.join(verdicts[name, group])}")
            continue
        new = converted(record, name) | {"config": config}
        if job.paper_epochs:
            new["provenance"]["paper_epochs"] = job.paper_epochs
        kept.append((name, new))
    for path in (old / "data" / "runs").glob("*/*.json"):  # records that came later stay
        (records.RECORDED / path.parent.name / path.name).unlink(missing_ok=True)
    for name, record in kept:
        records.save(record, records.RECORDED / name)
    print(f"{len(kept)} records kept, {len(lost)} lost.", *lost, sep="\n  ")


if __name__ == "__main__":
    if sys.argv[1] == "--old":
        sys.path.insert(0, os.getcwd())
        prove_old(sys.argv[2])
    else:
        sys.path.insert(0, str(ROOT))
        main(sys.argv[1])
