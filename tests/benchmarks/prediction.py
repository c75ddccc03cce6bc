"""How long each method of a chapter takes for a picture, from pixels to score, all side by side in one run.

    python tests/benchmarks/prediction.py                 all chapters, with the settings that their recorded runs have
    python tests/benchmarks/prediction.py --clock cpu     counts processor time, on a machine that others use too
    python tests/benchmarks/prediction.py --write         keeps the times in data/times.json, for the scoreboard
    python tests/benchmarks/prediction.py pseudo-anomalies -p size 256 -p width 64     one chapter, larger pictures

Pictures are uint8 and come as one batch; a method on features pays for the frozen network, too. Nothing is trained,
since that changes no time; memories, Gaussians and means are fitted. The methods of a chapter take turns, and the
median of their turns counts. Times belong to a machine, so look at the ratios to the chapter's plain network.
"""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import chapter, engine, images, prediction, records, results, runs, scoreboard  # noqa: E402
from helpers.files import whole  # noqa: E402

# what data/record.toml changes of the tier paper that decides how long a prediction takes
RECORDED = {"adversarial-noise": {"noise_width": 32, "rival_width": 16}}
PRINTED = {"adversarial-noise": ("alcn-table-5", dict(metric="ms_per_batch", dataset="mnist")),
           "pseudo-anomalies": ("algan-table-5", dict(metric="ms_per_image"))}  # fmt: skip
LEARNED_FROM = 256  # images at least, where pixels are learned from; the time does not depend on how many


def measured(name, parameters, pictures=16, repeats=7, clock=time.perf_counter):
    """Return what the methods of a chapter take: lines with method, settings, data set, size, pictures, ms a picture.

    A method is timed as in its first run without a variant, the plain network on every data set that occurs.
    """
    cells = chapter.opened(name, parameters)
    lines, turns = [], []
    for job in _timed(cells["jobs"](cells["p"]), scoreboard.PLAIN[name]):
        task = job.task()
        x = _pictures(cells, task)[:pictures]
        turns.append((_predictor(cells, job, task), x))
        lines.append({"chapter": name, "method": job.method, "settings": job.settings, "size": list(x.shape[1:]),
                      "dataset": task.protocol["dataset"], "pictures": len(x)})  # fmt: skip
    seconds = np.zeros((repeats + 1, len(turns)))
    for repeat in seconds:
        for k, (predict, x) in enumerate(turns):
            begin = clock()
            predict(x)
            repeat[k] = (clock() - begin) / len(x)
    middle = np.median(seconds[1:], 0)  # the first one warms up
    return [line | {"ms": records.rounded(1000 * value, 4)} for line, value in zip(lines, middle)]


def _timed(jobs, plain):
    """The first run of each method that is no variant, and of the plain network on each data set of those."""
    first, of_plain = {}, {}
    for job in (job for job in jobs if not job.variant):
        first.setdefault(job.method, job)
        if job.method == plain:
            of_plain.setdefault(job.task().protocol["dataset"], job)
    occur = {job.task().protocol["dataset"] for job in first.values()}
    return [*first.values(), *(job for dataset, job in of_plain.items() if dataset in occur and job != first[plain])]


def _pictures(cells, task):
    """The pictures to score, uint8 (n, C, H, W); for a frozen network as large as those that it cuts."""
    if "features" not in task.protocol:
        return task.test
    p = cells["p"]
    return images.load_once(p.dataset, p.data_root, False, p.feature_size * 8 // 7).x


def _predictor(cells, job, task):
    """The method of a run as a function from pictures to scores."""
    if "features" in task.protocol:  # all of them to remember: how many decides the time
        return cells["predictor"](job)
    method, every = runs.made(job), max(1, len(task.train) // LEARNED_FROM)
    engine.fit(method, replace(task, train=task.train[::every], train_y=task.train_y[::every]), 0)
    return partial(engine.score, method)


def show(lines):
    """Print the lines of a chapter, with the ratios to its plain network, ours and printed."""
    name = lines[0]["chapter"]
    ratios, plain, printed = prediction.ratios(lines, scoreboard.PLAIN), scoreboard.PLAIN[name], pd.Series(dtype=float)
    if name in PRINTED:
        table, fixed = PRINTED[name]
        printed = results.chosen(results.paper(table), **fixed).set_index("method").value
    print(f"\n{name}\n{'':30}{'ms':>10}{'/ ' + plain:>18}{'paper':>8}")
    for line in lines:
        method, size = line["method"], " x ".join(map(str, line["size"]))
        paper = f"{printed[method] / printed[plain]:.2f}" if method in printed and plain in printed else ""
        print(f"{method:30}{line['ms']:10.3f}{ratios[name, method]:18.4f}{paper:>8}   {line['dataset']}, {size}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", default=list(scoreboard.PLAIN), metavar="chapter")
    parser.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--pictures", type=int, default=16, help="in a batch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and (options.parameters or options.chapters != list(scoreboard.PLAIN)):
        parser.error("the scoreboard compares all chapters as they were recorded: --write takes no chapter and no -p")
    torch.set_num_threads(options.threads)
    given = {key: yaml.safe_load(value) for key, value in options.parameters}
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    begin, times = time.perf_counter(), []
    for name in options.chapters:
        parameters = {"tier": "paper", **RECORDED.get(name, {}), **given}
        lines = measured(name, parameters, options.pictures, options.repeats, clock)
        show(lines)
        times += lines
    happened = records.provenance(engine.default_device(), time.perf_counter() - begin)
    happened |= {"repeats": options.repeats, "clock": options.clock}
    print(f"\n{happened['device']}, {options.threads} threads, {options.clock} time, load {happened['load']}")
    if options.write:
        with whole(prediction.TIMES) as file:
            file.write(records.to_text({"provenance": happened, "times": times}).encode())
