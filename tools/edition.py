"""The reader's edition of a cell: what Jupyter and Colab show where the site has MyST.

Neither renders MyST, so a notebook has citations as links, exercises as headings, solutions folded, and theorems and
notes as quotations. The texts keep the directives, and the site is built from them.
"""

from functools import cache
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from mdit_py_plugins.myst_role import myst_role_plugin
from pybtex.database import parse_file

ROOT = Path(__file__).resolve().parent.parent
SETUP = "# setup: what tools/setup_cell.py says"  # all that a text holds of its first code cell
PLUGINS = (colon_fence_plugin, dollarmath_plugin, myst_block_plugin, myst_role_plugin)
QUOTED = ("admonition", "caution", "hint", "important", "note", "seealso", "tip", "warning",
          "prf:definition", "prf:lemma", "prf:proof", "prf:remark", "prf:theorem")  # fmt: skip
PARSER = MarkdownIt("commonmark").enable("table")
for plugin in PLUGINS:
    PARSER.use(plugin)


@cache
def config() -> dict:
    """_config.yml, the one place that holds the addresses of the repository and of the site."""
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def repository() -> str:
    """The address that Colab clones the book from."""
    return config()["repository"]["url"]


def page(path: str) -> str:
    """The address of a page of the site: page("book/data.html")."""
    return config()["html"]["baseurl"].rstrip("/") + "/" + path


def setup_cell() -> str:
    """The first code cell of every notebook, with the address of the repository filled in."""
    return (ROOT / "tools" / "setup_cell.py").read_text(encoding="utf-8").strip().replace("REPOSITORY", repository())


def title(source: str, name: str) -> str:
    """The first cell of the notebook NAME: below the heading, where else it can be opened."""
    heading, _, rest = markdown(source).partition("\n")
    path = repository().removeprefix("https://github.com/")
    branch = config()["repository"]["branch"]
    colab = f"{config()['launch_buttons']['colab_url']}/github/{path}/blob/{branch}/notebooks/{name}.ipynb"
    links = f"[Open in Colab]({colab}) · [Read on the site]({page(f'notebooks/{name}.html')})"
    return f"{heading}\n\n{links}\n{rest}".rstrip("\n")


def markdown(source: str) -> str:
    """Markdown that says in plain words what MyST says with directives and roles.

    Raises ValueError, one sentence, for a directive or role that has no such form.
    """
    lines = source.split("\n")
    for token in reversed(PARSER.parse(source)):  # from the end, so that line numbers stay right
        if token.type == "inline":
            first, last = token.map
            text = "\n".join(lines[first:last])
            for child in token.children:
                if child.type == "myst_role":
                    name = child.meta["name"]
                    text = text.replace(f"{{{name}}}`{child.content}`", _role(name, child.content))
            lines[first:last] = text.split("\n")
        elif token.type in ("colon_fence", "fence") and token.info.startswith("{"):
            if token.level:
                raise ValueError(f"{token.info} has to start at the left margin.")
            lines[slice(*token.map)] = _directive(token.info, token.content).split("\n")
        elif token.type == "math_block_label":
            last = token.map[1] - 1
            lines[last] = lines[last].rpartition("$$")[0] + "$$"
        elif token.type in ("myst_target", "myst_line_comment"):
            del lines[slice(*token.map)]
    return "\n".join(lines)


def _directive(info, content):
    name, _, argument = info[1:].partition("}")
    words = argument.strip()
    lines = content.rstrip("\n").split("\n")
    while lines and lines[0].startswith(":") and not lines[0].startswith(":::"):  # its options, as `:label: ex-blend`
        lines.pop(0)
    body = markdown("\n".join(lines).strip("\n"))
    if name == "exercise":
        return f"### Exercise: {words}\n\n{body}"
    if name == "solution":
        return f"<details>\n<summary>Solution</summary>\n\n{body}\n\n</details>"
    if name in QUOTED:
        head = words or name.rpartition(":")[2].capitalize()
        return "\n".join(f"> {line}".rstrip() for line in [f"**{head}.**", "", *body.split("\n")])
    raise ValueError(f"A notebook cannot show the directive {{{name}}}; it can show exercise, solution, "
                     f"{', '.join(QUOTED)}.")  # fmt: skip


def _role(name, content):
    if name in ("cite", "cite:p", "cite:t"):
        return _citation(name, content)
    words, _, target = content.rstrip(">").partition(" <")
    if name == "doc" and target:
        return f"[{words}]({page(target.removeprefix('../') + '.html')})"
    if name in ("ref", "numref") and target:
        return words
    raise ValueError(f"A notebook cannot show the role {{{name}}}`{content}`; it can show cite, cite:p and cite:t, and "
                     f"doc, ref and numref with words of their own, {{doc}}`words <target>`.")  # fmt: skip


@cache
def _bibliography():
    return parse_file(ROOT / "book" / "references.bib").entries


def _citation(name, keys):
    links = []
    for key in map(str.strip, keys.split(",")):
        if key not in _bibliography():
            raise ValueError(f"book/references.bib has no entry {key!r}.")
        entry = _bibliography()[key]
        names = [" ".join(map(str, person.rich_last_names)) for person in entry.persons["author"]]
        who = names[0] + (" et al." if len(names) > 2 else f" and {names[1]}" if len(names) == 2 else "")
        doi = entry.fields.get("doi")
        link = f"https://doi.org/{doi}" if doi else page(f"book/bibliography.html#{key}")
        year = entry.fields["year"]
        links.append(f"[{who} ({year})]({link})" if name == "cite:t" else f"[{who}, {year}]({link})")
    return "; ".join(links) if name == "cite:t" else f"({'; '.join(links)})"
