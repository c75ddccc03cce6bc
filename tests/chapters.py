"""The definitions of a chapter, so that tests can use what a notebook holds."""

from types import SimpleNamespace

from helpers import chapter


def definitions(name):
    """Return what a notebook imports and defines: functions, classes and constants; nothing else of it is run."""
    found = chapter.definitions(name, module=f"chapter {name}")
    return SimpleNamespace(**{name: value for name, value in found.items() if not name.startswith("__")})
