"""How long a picture takes each method, from pixels to score: what data/times.json has of it, and how it was measured.

`python tests/benchmarks/prediction.py --write` measures all methods side by side and writes the file:

    times       a line a method: chapter, method, settings, dataset, size [C, H, W], pictures in a batch, ms a picture
    provenance  as in a record of a run, and the clock and the repeats
"""

import json

from . import records

TIMES = records.ROOT / "data" / "times.json"


def read():
    """Return what the file has, {"times": [...], "provenance": {...}}."""
    return json.loads(TIMES.read_text(encoding="utf-8"))


def ratios(times, plain):
    """Return {(chapter, method): its time over that of the chapter's plain network on the same data set}.

    `times` are lines as above, `plain` maps a chapter to the name of that network.
    """
    of_plain = {(line["chapter"], line["dataset"]): line["ms"] for line in times
                if line["method"] == plain[line["chapter"]]}  # fmt: skip
    return {(line["chapter"], line["method"]): line["ms"] / of_plain[line["chapter"], line["dataset"]]
            for line in times}  # fmt: skip


def how():
    """Return in words where and how the file's times were measured."""
    timed = read()
    made, batch = timed["provenance"], timed["times"][0]["pictures"]
    clock = {"cpu": "processor time", "wall": "time on the wall"}[made["clock"]]
    return (f"Measured on {made['date'][:10]} with {made['threads']} thread{'s' * (made['threads'] > 1)} "
            f"({made['device']}, PyTorch {made['versions']['torch']}), in batches of {batch} pictures: the median "
            f"{clock} of {made['repeats']} turns, one method of a chapter after the other, while the load of the "
            f"machine was {made['load']}.")  # fmt: skip
