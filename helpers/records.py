"""The store of finished runs: one small JSON file each, found by its configuration, with where it came from.

    config      everything that decides the numbers; its digest is the name of the file
    metrics     a list of lines: text names what was measured (a class, a score), numbers are the measurements
    history     such lines at epochs along the training, each with its "epoch"
    images      arrays with a number an image, where a method keeps them
    losses      one row an epoch, one number a player
    provenance  how and where it happened: seconds, device, versions, commit, date, tier
"""

import hashlib
import json
import math
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sklearn
import torch

from .files import whole

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "data" / "runs"  # committed: the paper tier
SCRATCH = ROOT / "data" / "cache" / "runs"  # ignored: everything else
PARTS = {"config": dict, "metrics": list, "history": list, "images": dict, "losses": list, "provenance": dict}
DECIDES = {"method": str, "protocol": dict, "settings": dict, "seed": int, "epochs": int}  # in every config


def key(config):
    """Return the 16 hex digits that stand for a configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def path_of(config, folder):
    """Return the file of a configuration's record in `folder`."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{config['method']} {config.get('variant', '')}".lower()).strip("-")
    return Path(folder) / f"{name}-{key(config)}.json"


def find(config, folder):
    """Return the record of exactly this configuration, or None; ValueError where its file holds another's."""
    path = path_of(config, folder)
    return read(path) if path.exists() else None  # `read` refuses another run's record under this name


def save(record, folder):
    """Write a record and return it; the file is whole or absent, whatever happens to the process.

    Two processes may save at once: each writes a file of its own and renames it, which replaces in one step.
    ValueError for what `read` would refuse.
    """
    if wrong := _wrong_part(record):
        raise ValueError(f"The {wrong} of a run of {record['config']['method']} cannot be recorded.")
    text = to_text(record)
    with whole(path_of(record["config"], folder)) as file:
        file.write(text.encode())
    return record


def to_text(record):
    """Return a record as JSON with a line a fact: each entry of a part, each line of metrics, each array."""
    parts = []
    for name, part in sorted(record.items()):
        if isinstance(part, dict):
            body = ",\n".join(f"  {_json(k)}: {_json(v)}" for k, v in sorted(part.items()))
            parts.append(f" {_json(name)}: {{\n{body}\n }}")
        elif part and isinstance(part[0], dict):
            parts.append(f" {_json(name)}: [\n" + ",\n".join(f"  {_json(line)}" for line in part) + "\n ]")
        else:
            parts.append(f" {_json(name)}: {_json(part)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def rounded(values, digits=6):
    """Return numbers, in lists or arrays of any depth, rounded to so many significant digits, as JSON can hold them."""
    if hasattr(values, "tolist"):  # an array or a number of numpy or torch
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [rounded(value, digits) for value in values]
    if isinstance(values, dict):
        return {name: rounded(value, digits) for name, value in values.items()}
    return float(f"{values:.{digits}g}") if isinstance(values, float) and math.isfinite(values) else values


def read(path):
    """Return the record in one file; ValueError names a file that is not a record, or not the one of its name."""
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        wrong = _wrong_part(record)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        wrong = type(error).__name__
    if wrong:
        raise ValueError(f"{path} is not the record of a run ({wrong}); delete it to run again.")
    if path.name != path_of(record["config"], path.parent).name:
        raise ValueError(f"{path} holds the record of another run; delete it to run again.")
    return record


def _wrong_part(record):
    """Return the name of a part that is not as this module's text says, or None."""
    for name, kind in PARTS.items():
        if not isinstance(record[name], kind):
            return name
    config, losses = record["config"], record["losses"]
    right = {
        "config": all(isinstance(config[name], kind) for name, kind in DECIDES.items()),
        "metrics": all(map(_is_line, record["metrics"])),
        "history": all(_is_line(line) and "epoch" in line for line in record["history"]),
        "images": all(map(_is_numbers, record["images"].values())),
        "losses": len(losses) == config["epochs"] and all(map(_is_numbers, losses)),
        "provenance": _is_number(record["provenance"]["seconds"]),
    }
    return next((name for name in right if not right[name]), None)


def _is_line(line):
    measured = [value for value in line.values() if not isinstance(value, str)] if isinstance(line, dict) else []
    return bool(measured) and all(map(_is_number, measured))


def _is_numbers(values):
    return isinstance(values, list) and all(_is_numbers(v) if isinstance(v, list) else _is_number(v) for v in values)


def _is_number(value):
    return isinstance(value, (int, float)) and math.isfinite(value)


def read_all(folder, **config):
    """Return the records of a folder, sorted by file name, whose configuration has the given entries."""
    records = [read(path) for path in sorted(Path(folder).glob("*.json"))]
    return [r for r in records if all(r["config"].get(name) == value for name, value in config.items())]


def provenance(device, seconds):
    """Return how and where a run happened: seconds, device, threads, load, versions, commit, date (UTC)."""
    return {
        "seconds": round(seconds, 3),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),  # other work beside it makes its seconds longer
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


def _json(value):
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
