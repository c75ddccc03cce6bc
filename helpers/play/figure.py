"""A still figure with a slider: matplotlib draws it, a few lines of script move its parts and fill in its numbers.

The same HTML works in the built site, JupyterLab and Colab, and asks nobody for anything. Where no script runs, the
picture stands as it was drawn; where no HTML is shown, there is a PNG of it.
"""

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).parent
STYLE, SCRIPT = (HERE / "play.css").read_text("utf-8"), (HERE / "slider.js").read_text("utf-8")
FONTS = {"font.size": 9, "axes.labelsize": 9, "axes.titlesize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
         "legend.fontsize": 8, "svg.fonttype": "none"}  # fmt: skip


class Playable:
    """What a cell displays: HTML where it can be played with, a PNG elsewhere, words where there are only words."""

    def __init__(self, markup, png, words):
        self.markup, self.png, self.words = markup, png, words

    def _repr_mimebundle_(self, **_):
        return {"text/html": self.markup, "image/png": self.png, "text/plain": self.words}


def panel(draw, size=(3.1, 2.7)):
    """Return a matplotlib figure of this size in inches, drawn by draw(axes), at one point a pixel."""
    with mpl.rc_context(FONTS):
        figure = Figure(size, dpi=72, layout="constrained", facecolor="white")
        draw(figure.subplots())
        figure.draw_without_rendering()
    return figure


def places(figure, x, y):
    """Return where data coordinates x, y (K,) lie in a panel's SVG: (K, 2) in points from the upper left corner."""
    x, y = np.broadcast_arrays(x, y)
    points = figure.axes[0].transData.transform(np.stack([x, y], 1))
    return np.stack([points[:, 0], figure.bbox.height - points[:, 1]], 1).round(1)


def svg(figure, words):
    """Return a figure as SVG to stand in a page; an artist with the gid "move NAME" has these as its classes."""
    drawn = io.StringIO()
    salt = hashlib.sha256(f"{words}{figure.get_size_inches()}".encode()).hexdigest()
    with mpl.rc_context({**FONTS, "svg.hashsalt": salt}):  # the names in a page must not clash
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg"):], flags=re.S)
    text = re.sub(r' id="(move [\w-]+)"', r' class="\1"', text)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(words)}" ', 1)


def png(figures):
    """Return the figures beside each other as PNG."""
    pictures = []
    for figure in figures:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=144)
        pictures.append(Image.open(drawn).convert("RGB"))
    whole = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), "white")
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width
    drawn = io.BytesIO()
    whole.save(drawn, format="png", optimize=True)
    return drawn.getvalue()


def embedded(picture):
    """Return one of Pillow's images as an address that holds the picture itself."""
    drawn = io.BytesIO()
    picture.save(drawn, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"


def page(title, body, script, facts):
    """Return the HTML of a figure: `body` under its style, with the facts that its script reads."""
    facts = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    name = "play-" + hashlib.sha256((title + body + facts).encode()).hexdigest()[:8]
    return (f'<style>{STYLE}</style><div class="play" id="{name}" role="group" aria-label="{html.escape(title)}">'
            f'{body.replace("PLAY", name)}<script type="application/json">{facts}</script></div>'
            f'<script>{script.replace("PLAY", name)}</script>')  # fmt: skip


def slider(label, count, start):
    """Return the HTML of a labelled slider over `count` steps."""
    return (f'<div class="play-bar"><label for="PLAY-slider">{html.escape(label)}: <b data-text="value"></b></label>'
            f'<input type="range" id="PLAY-slider" min="0" max="{count - 1}" value="{start}"></div>')  # fmt: skip
