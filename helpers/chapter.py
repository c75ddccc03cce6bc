"""A chapter's notebook as a module: its definitions, for tests; its jobs, for recording without drawing a picture."""

import ast
import json
import linecache
import re
from copy import copy
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")  # a name that Python's custom takes for a constant
# What reproduces a paper says which runs it has; other notebooks are no chapters.
NAMES = tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb") if "def jobs(" in path.read_text("utf-8")))


def definitions(chapter, module="__main__"):
    """Return what a notebook imports and defines, {name: value}: functions, classes, constants; nothing else is run.

    Constants are literals, and names in capitals whatever they are made of.
    """
    return _run(chapter, {"__name__": module}, whole=())


def opened(chapter, parameters, module="__main__"):
    """Return the definitions of a notebook after its setup has run with these parameters, as papermill would.

    Cells tagged "setup" run whole; a package that draws and is not installed stands in for itself and does nothing.
    Everything is as in the notebook's own kernel, so that its runs have the same records.
    """
    return _run(chapter, {"__name__": module}, whole=("parameters", "setup"), parameters=parameters)


def _run(chapter, namespace, whole, parameters=None):
    path = NOTEBOOKS / f"{chapter}.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        file = f"<{chapter} {cell['id']}>"
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file  # inspect reads it there
        for node in ast.parse(source).body:
            if set(whole) & set(tags) or _defines(node):
                _execute(node, file, namespace, tolerant="setup" in whole)
        if "parameters" in tags:
            namespace.update(parameters or {})
            namespace["injected"] = "".join(f"{name} = {value!r}\n" for name, value in (parameters or {}).items())
    return namespace


def _execute(node, file, namespace, tolerant):
    try:
        exec(compile(ast.Module([node], []), file, "exec"), namespace)
    except ModuleNotFoundError as error:
        if not tolerant or not isinstance(node, (ast.Import, ast.ImportFrom)) or error.name.startswith("helpers"):
            raise
        for alias in node.names:  # one by one, since what is missing may be one of several
            name = alias.asname or alias.name.partition(".")[0]
            try:
                one = copy(node)
                one.names = [alias]
                exec(compile(ast.Module([one], []), file, "exec"), namespace)
            except ModuleNotFoundError:
                namespace[name] = Absent()


class Absent:
    """A package that is not installed: whatever is asked of it, it does nothing."""

    def __getattr__(self, name):
        return Absent() if not name.startswith("__") else super().__getattribute__(name)

    def __call__(self, *_, **__):
        return Absent()


def _defines(node):
    if isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if len(names) == len(node.targets) and all(map(CONSTANT.fullmatch, names)):
            return True
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
