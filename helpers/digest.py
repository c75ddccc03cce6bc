"""What a record is found by, as far as code decides it: the code of a method and of its evaluation, and nothing else.

Counted are functions and classes of notebooks and of `helpers`, all of ours that they call, and the plain values that
they use: module constants, defaults, class attributes, keywords of a `partial`, variables of a closure. Not counted are
comments, docstrings, layout, and *where* code lies: moving a function to another file changes no digest.
"""

import ast
import dis
import functools
import hashlib
import inspect
import textwrap
import types
from enum import Enum
from functools import partial

import numpy as np
import torch

# Rooms that are not counted: data and protocol are in the configuration by content, tests hold every path of the engine
# to the same results, so none may change its defaults, and what comes after a record cannot change it.
NOT_COUNTED = {"files", "images", "protocols", "engine", "stacked", "records", "digest", "runs", "sweep", "results",
               "tables", "figures", "claims", "notebook", "chapter"}  # fmt: skip
PLAIN = (type(None), bool, int, float, complex, str, bytes, Enum, range, torch.dtype, torch.device, np.generic)


def code_digest(*things):
    """Return 16 hex digits over the code of modules (nn.Module), classes and functions, and of our own that they use.

    torch and the other libraries are named by their versions in a record's provenance.
    """
    pieces = set()
    for thing in things:
        for part in thing.modules() if isinstance(thing, torch.nn.Module) else [thing]:
            _collect(type(part) if isinstance(part, torch.nn.Module) else part, pieces)
    return hashlib.sha256("\n".join(sorted(pieces)).encode()).hexdigest()[:16]


def _collect(thing, pieces):
    """Add the code behind a function, class, method or partial to the pieces, with all that it uses."""
    if isinstance(thing, partial):
        pieces.add(f"partial {_rendered(thing, pieces)}")
        return
    thing = inspect.unwrap(thing.__func__ if isinstance(thing, types.MethodType) else thing)
    if not isinstance(thing, (type, types.FunctionType)) or not _ours(thing.__module__):
        return
    if isinstance(thing, type):
        _collect_class(thing, pieces)
    else:
        _collect_function(thing, pieces)


def _collect_class(cls, pieces):
    for base in cls.__bases__:
        _collect(base, pieces)
    for name, member in vars(cls).items():
        if name.startswith("__") and not callable(member):
            continue
        member = getattr(member, "fget", None) or getattr(member, "__func__", member)  # property, static method
        if callable(member):
            _collect(member, pieces)
        elif (text := _rendered(member, pieces)) is not None:
            pieces.add(f"{cls.__qualname__}.{name} = {text}")


def _collect_function(function, pieces):
    source = f"{function.__qualname__}: {_normal_source(function)}"
    if source in pieces:
        return
    pieces.add(source)
    used = dict(enumerate(function.__defaults__ or ())) | (function.__kwdefaults__ or {})
    used |= inspect.getclosurevars(function).nonlocals
    names, attributes = _names(function.__code__)
    for name, value in used.items():
        _use(f"{function.__qualname__}.{name}", value, attributes, pieces)
    for name in sorted(names & set(function.__globals__)):
        _use(name, function.__globals__[name], attributes, pieces)


def _use(name, value, attributes, pieces):
    """Add what a function uses under a name: a module of ours, code, or a plain value."""
    if isinstance(value, types.ModuleType):
        for inner in sorted(attributes & set(vars(value))) if _ours(value.__name__) else ():
            _use(inner, getattr(value, inner), attributes, pieces)  # metrics.auroc: the function behind the dot
    elif callable(value):
        _collect(value, pieces)
    elif (text := _rendered(value, pieces)) is not None:
        pieces.add(f"{name} = {text}")


def _rendered(value, pieces):
    """Return a plain value, or a container of such, as text, collecting code that it holds; None for anything else."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, partial):
        keywords = _rendered(value.keywords, pieces)
        return f"{_rendered(value.func, pieces)}({_rendered(value.args, pieces)}, {keywords})"
    if callable(value):
        _collect(value, pieces)
        return getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, (tuple, list, set, frozenset)):
        texts = [_rendered(item, pieces) for item in value]
        if None in texts:
            return None
        return f"{type(value).__name__}({', '.join(sorted(texts) if isinstance(value, (set, frozenset)) else texts)})"
    if isinstance(value, dict):
        texts = [(_rendered(k, pieces), _rendered(v, pieces)) for k, v in value.items()]
        return None if None in (t for pair in texts for t in pair) else f"dict({texts})"
    if isinstance(value, (np.ndarray, torch.Tensor)):
        array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
        return f"array({array.shape}, {hashlib.sha256(array.tobytes()).hexdigest()[:16]})"
    return None


def _ours(module):
    parts = module.split(".")
    return parts[0] == "__main__" or (parts[0] == "helpers" and not NOT_COUNTED & set(parts[1:2]))


def _names(code):
    """The names that code looks up outside of itself, and those that it looks up behind a dot."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    attributes = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more = _names(inner)
            names, attributes = names | more[0], attributes | more[1]
    return names, attributes


@functools.cache  # read once: a file that is edited while a sweep runs must not change what the sweep is called
def _normal_source(function):
    source = textwrap.dedent(inspect.getsource(function))
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a lambda inside a longer expression: its line is the best there is
        return source.strip()
    modules = {name for name, value in function.__globals__.items()
               if isinstance(value, types.ModuleType) and value.__name__.split(".")[0] == "helpers"}  # fmt: skip
    return ast.unparse(_Normal(modules).visit(tree))


class _Normal(ast.NodeTransformer):
    """Code without docstrings, without the names of our modules in front of what they hold, and with fixed quotes."""

    def __init__(self, modules):
        self.modules = modules

    def visit_Attribute(self, node):
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in self.modules:
            return ast.copy_location(ast.Name(node.attr, node.ctx), node)
        return node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node) and len(node.body) > 1:
            node.body = node.body[1:]
        return node

    visit_ClassDef = visit_FunctionDef

    def visit_JoinedStr(self, node):
        """Return an f-string as a name that reads as Python 3.11 writes it; ast.unparse of 3.12 takes other quotes."""
        parts = [_inside(self.visit(value)) for value in node.values]
        quotes = ["'", '"', '"""', "'''"]
        for part in parts:
            free = [quote for quote in quotes if quote not in part]
            quotes = sorted(free, key=lambda quote: part.endswith(quote[0])) or quotes
        return ast.Name(f"f{quotes[0]}{''.join(parts)}{quotes[0]}", ast.Load())

    def visit_FormattedValue(self, node):
        node.value = self.visit(node.value)
        for part in node.format_spec.values if node.format_spec else ():  # it is an f-string that has no quotes
            self.visit(part)
        return node


def _inside(part):
    """Return a part of an f-string, its text or what it has in braces, as it stands between the quotes."""
    if isinstance(part, ast.FormattedValue):
        text = ast.unparse(ast.JoinedStr([part]))
        return text[text.index("{") : text.rindex("}") + 1]  # without quotes, whichever they are
    text = part.value.replace("{", "{{").replace("}", "}}")
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
