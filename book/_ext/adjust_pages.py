"""What the theme and Jupyter Book put on every page, adjusted by a few lines."""

import re
from html import escape
from pathlib import Path
from textwrap import shorten

from docutils import nodes

LAB = "http://localhost:8888/lab/tree"


def add_lab_button(app, pagename, templatename, context, doctree):
    """Add JupyterLab to the launch menu of a chapter: the reader's own server, as `make lab` starts it."""
    for menu in context.get("header_buttons", []):
        if menu.get("label") == "launch-buttons":
            menu["buttons"].append(
                {
                    "type": "link",
                    "text": "JupyterLab",
                    "tooltip": "Open in your own JupyterLab (start it with: make lab)",
                    "icon": "fas fa-flask",
                    "url": f"{LAB}/{pagename}.ipynb",
                }
            )


def remove_thebe(app, pagename, templatename, context, doctree):
    """Leave out sphinx-thebe, which Jupyter Book always loads: unused here, and its script names a CDN twice."""
    scripts = context.get("script_files", [])
    scripts[:] = [script for script in scripts if "thebe" not in f"{script.filename}{script.attributes.get('body')}"]


def free_list_of_references(app, pagename, templatename, context, doctree):
    """Take the role of a list from the references: docutils gives their entries a role that no list may hold."""
    body = context.get("body", "")
    context["body"] = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def describe(app, pagename, templatename, context, doctree):
    """Describe a page to search engines by the whole sentences that its first long paragraph begins with."""
    paragraphs = (" ".join(node.astext().split()) for node in doctree.findall(nodes.paragraph)) if doctree else ()
    first = next((text for text in paragraphs if len(text) > 100 and not text.startswith("After ")), "")
    sentences = re.match(r".{1,299}(?<! al)\.(?= )", first) if len(first) > 300 else None
    words = sentences[0] if sentences else shorten(first, 300, placeholder=" …")
    if words:
        context["meta"] = {"og:description": words, **(context.get("meta") or {})}
        context["metatags"] += f'<meta name="description" content="{escape(words)}" />\n'


def introduce(app, exception):
    """Give the site's own address, which only leads on to the landing page, that page's title, words and card."""
    landing = f"{app.config.master_doc}.html"
    if exception is None and app.builder.name == "html" and landing != "index.html":
        page = Path(app.outdir, landing).read_text(encoding="utf-8")
        said = re.findall(r'<title>.*?</title>|<meta (?:name="(?:description|twitter)|property="og:)[^>]*>', page, re.S)
        lines = [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            *said,
            f'<meta http-equiv="refresh" content="0; url={landing}">',
            f'<a href="{landing}">{app.config.html_title}</a>',
        ]
        Path(app.outdir, "index.html").write_text("\n".join(lines), encoding="utf-8")


def setup(app):
    # The theme makes the launch menu in the same event, at a priority near the default of 500.
    app.connect("html-page-context", add_lab_button, priority=900)
    app.connect("html-page-context", remove_thebe, priority=900)
    # Before sphinxext-opengraph, which keeps a description that it finds.
    app.connect("html-page-context", describe, priority=400)
    app.connect("build-finished", introduce)
    app.connect("html-page-context", free_list_of_references)
    return {"parallel_read_safe": True}
