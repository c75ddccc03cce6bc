"""A digit to draw: three small networks, trained beforehand, redraw it in the page while it grows."""

import base64
import json

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ..records import ROOT
from .figure import FONTS, HERE, Playable, page, png

STORED = ROOT / "data" / "play" / "digit.json"  # written by tools/digit.py
NAMES = ("CAE", "VAE", "AAE")
SCRIPT = (HERE / "net.js").read_text("utf-8") + (HERE / "digit.js").read_text("utf-8")
INPUT = """<div class="play-card play-input"><p class="play-name">You draw</p>
<canvas width="28" height="28" data-part="drawn" tabindex="0" role="application" aria-describedby="PLAY-keys"
 aria-label="Your digit, 28 by 28 pixels"></canvas>
<p id="PLAY-keys">With keys: arrows move the pen, Shift and arrows draw, Backspace clears.</p></div>"""
CARD = """<div class="play-card"><p class="play-name">{name}</p>
<canvas width="28" height="28" data-part="{name} redrawn" role="img"
 aria-label="Your digit, redrawn by the {name}"></canvas>
<canvas width="28" height="28" data-part="{name} map" role="img"
 aria-label="Where the {name} errs: red for ink that is missing, blue for ink that it made up"></canvas>
<p>error <b data-part="{name} error"></b>, larger than for <b><span data-part="{name} rank"></span> %</b> of the
ones</p></div>"""
BUTTONS = """<div class="play-bar" role="group" aria-label="Digits to start from"><span>From MNIST:</span>{digits}
<button type="button" data-part="centre">Centre it</button>
<button type="button" data-part="clear">Clear</button></div>"""


def digit():
    """Return a figure in which a digit is drawn, and a CAE, a VAE and an AAE that know only ones redraw it.

    FileNotFoundError where the checkout has no trained networks.
    """
    stored = json.loads(STORED.read_text("utf-8"))
    nets, config = {name: stored["nets"][name] for name in NAMES}, stored["record"]["config"]
    title = "A digit to draw, and three autoencoders that know only ones"
    digits = "".join(f'<button type="button" data-digit="{k}" aria-label="Load a {k}">{k}</button>' for k in range(10))
    count = sum(int(np.prod(layer["shape"])) + len(layer["bias"])
                for layer in nets["CAE"] if "bias" in layer)
    caption = (f"Small versions of the three: {count:,} numbers each, weights of {config['bits']} bits, trained on the "
               f"{config['train']:,} ones of MNIST for {config['epochs']} epochs, one seed. An error is compared with "
               "those of the ones of the test set. Red: ink that the redrawing lacks; blue: ink that it made "
               "up.")  # fmt: skip
    cards = "".join(CARD.format(name=name) for name in NAMES)
    body = (f'{BUTTONS.format(digits=digits)}<div class="play-cards">{INPUT}{cards}</div>'
            f'<p class="play-caption">{caption}</p><p class="play-unseen" role="status" data-part="said"></p>')
    facts = {"nets": nets, "quantiles": stored["errors_of_normal"],
             "pictures": stored["examples"]["pictures"]}  # fmt: skip
    return Playable(page(title, body, SCRIPT, facts), png([_still(stored["examples"])]), f"{title}. {caption}")


def _still(examples, shown=0):
    """A figure of one example: the digit, and below each name the redrawing and the map of its errors."""
    x = _pictures(examples["pictures"])[shown]
    with mpl.rc_context(FONTS):
        figure = Figure((6.4, 3.3), layout="constrained", facecolor="white")
        axes = figure.subplots(2, 1 + len(NAMES))
        axes[0][0].imshow(x, cmap="gray", vmin=0, vmax=1)
        axes[0][0].set_title("input")
        for (above, below), name in zip(axes.T[1:], NAMES):
            redrawn = _pictures(examples["redrawn"][name])[shown]
            above.imshow(redrawn, cmap="gray", vmin=0, vmax=1)
            above.set_title(name)
            below.imshow(x - redrawn, cmap="RdBu_r", vmin=-1, vmax=1)
            below.set_title(f"error {examples['errors'][name][shown]:.4f}")
        for ax in axes.flat:
            ax.set_axis_off()
    return figure


def _pictures(text):
    """(n, 28, 28) in [0, 1] of what tools/digit.py packed."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 28, 28) / 255
