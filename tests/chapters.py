"""The definitions of a chapter, so that tests can use what a notebook holds."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def definitions(chapter):
    """Return what a notebook imports and defines: functions, classes and constants; nothing else of it is run."""
    cells = json.loads((NOTEBOOKS / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace = {"__name__": f"chapter {chapter}"}
    for cell in cells:
        if cell["cell_type"] == "code":
            body = [node for node in ast.parse("".join(cell["source"])).body if _defines(node)]
            exec(compile(ast.Module(body, []), f"{chapter} {cell['id']}", "exec"), namespace)
    return SimpleNamespace(**{name: value for name, value in namespace.items() if not name.startswith("__")})


def _defines(node):
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
