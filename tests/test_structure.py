"""Which room of `helpers` may import which: data flow in one direction, without a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up: a room imports rooms of its own line or of lines above it. Rooms that are planned may be named.
ORDER = [
    "files",
    "images",
    "protocols",
    "engine stacked nets features",  # they know nothing of papers, which baselines do
    "baselines",
    "metrics pixel_metrics thresholds",
    "detector",  # for a reader's own pictures
    "records digest runs sweep",
    "results",
    "tables figures claims notebook fidelity play prediction",
    "report",
    "chapter",  # opens notebooks, for tests and for recording
    "scoreboard",  # counts the weights of what chapters train
]
HEIGHT = {room: height for height, rooms in enumerate(ORDER) for room in rooms.split()}


def modules(root):
    """{dotted name: file} of every module of `helpers` below a folder."""
    names = {}
    for file in sorted((root / "helpers").rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imported(name, file, known):
    """What a module imports anywhere in its file, also inside functions: the longest names that are known, or as they
    are written."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*(package[: len(package) - node.level + 1] if node.level else []),
                             *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base


def graph(root):
    known = modules(root)
    return {name: set(imported(name, file, known)) for name, file in known.items()}


def circle(root):
    """The modules of a circle, in order, or None."""
    found = graph(root)
    try:
        TopologicalSorter({name: used & set(found) for name, used in found.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def room(module):
    return module.split(".")[1] if module.startswith("helpers.") else None


def climbs(root):
    """The imports of a higher room by a lower one, as pairs of modules."""
    return sorted((name, used) for name, uses in graph(root).items() for used in uses
                  if room(name) and room(used) and HEIGHT[room(used)] > HEIGHT[room(name)])


def test_no_import_goes_in_a_circle():
    assert circle(ROOT) is None


def test_every_room_has_its_place_in_the_order():
    assert {room(name) for name in modules(ROOT)} - {None} <= set(HEIGHT)


def test_no_room_imports_a_higher_one():
    assert climbs(ROOT) == []


def test_helpers_import_no_notebook_and_no_test():
    used = {name.split(".")[0] for uses in graph(ROOT).values() for name in uses}
    assert "torch" in used and not used & {"notebooks", "tests", "tools", "chapters"}


def test_only_the_loader_knows_all_sources_of_images():
    wing = {name: uses for name, uses in graph(ROOT).items() if name.startswith("helpers.images.")}
    loader = "helpers.images.load"
    assert [name for name, uses in wing.items() if uses & {"helpers", "helpers.images", loader}] == []
    assert {use for use in wing["helpers.images.dataset"] if use.startswith("helpers")} == set()
    sources = {f"helpers.images.{name}" for name in ("standard", "cifar", "industrial")}
    assert [name for name, uses in wing.items() if uses >= sources] == [loader]


FILES = {  # a small package in order
    "__init__.py": "",
    "images/__init__.py": "from .load import load",
    "images/load.py": "from .cache import keep",
    "images/cache.py": "from ..files import whole",
    "files.py": "import os",
    "engine.py": "from . import nets",
    "nets.py": "import helpers.images",
    "runs.py": "def run():\n    from . import engine\n    from .engine import fit",
}


@pytest.mark.parametrize("change, expected", [
    ({}, None),
    ({"images/cache.py": "def f():\n    from .load import load"}, {"helpers.images.load", "helpers.images.cache"}),
    ({"nets.py": "if False:\n    from .engine import fit"}, {"helpers.nets", "helpers.engine"}),
    ({"files.py": "from helpers import images"}, {"helpers.files", "helpers.images", "helpers.images.load",
                                                  "helpers.images.cache"}),
])
def test_a_circle_is_seen(tmp_path, change, expected):
    write(tmp_path, FILES | change)
    found = circle(tmp_path)
    assert found is None if expected is None else set(found) == expected


@pytest.mark.parametrize("change, expected", [
    ({}, []),
    ({"engine.py": "def fit():\n    from .runs import save"}, [("helpers.engine", "helpers.runs")]),
    ({"images/cache.py": "import helpers.engine"}, [("helpers.images.cache", "helpers.engine")]),
    ({"nets.py": "class Net:\n    from . import runs, files"}, [("helpers.nets", "helpers.runs")]),
])
def test_a_climb_is_seen(tmp_path, change, expected):
    write(tmp_path, FILES | change)
    assert climbs(tmp_path) == expected


def write(folder, files):
    for name, text in files.items():
        path = folder / "helpers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
