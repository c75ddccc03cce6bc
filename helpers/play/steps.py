"""A slider over what was computed beforehand: recorded runs that differ in one setting, or the steps of a way."""

import html
import io

import numpy as np
from PIL import Image

from .figure import SCRIPT, Playable, embedded, page, panel, png, slider, svg


def steps(label, draws, frames, words, start=0):
    """Return a figure with a slider over `frames`, {value: frame}, which draws each frame in one panel or several.

    `draws` are functions of matplotlib's axes and a frame, one a panel: give all frames the same limits. `words(value,
    frame)` says what there is to see, for those who do not; `start` is the number of the frame that is shown first.
    ValueError without a frame.
    """
    if not frames:
        raise ValueError(f"The slider over {label} has nothing to show: there is no frame.")
    spoken = [words(value, frame) for value, frame in frames.items()]
    figures = [[panel(lambda ax, draw=draw, frame=frame: draw(ax, frame)) for draw in draws]
               for frame in frames.values()]  # fmt: skip
    shown = ""
    for k, (row, said) in enumerate(zip(figures, spoken)):
        panels = (svg(figure, f"Panel {n}. {said}") for n, figure in enumerate(row, 1))
        inside = "".join(f'<div class="play-panel">{drawn}</div>' for drawn in panels)
        shown += _step(k, start, "play-panels", inside)
    facts = {"texts": {"value": [*frames], "words": spoken}, "spoken": spoken, "start": start}
    body = f'{slider(label, len(frames), start)}{shown}<p data-text="words"></p>'
    title = f"{label}, to drag"
    return Playable(page(title, body, SCRIPT, facts), png(figures[start]), f"{title}. {spoken[start]}")


def walk(pictures, label="On the way"):
    """Return a figure with a slider over the steps of a way, of which each row of `pictures` is a drawing.

    `pictures` maps names to images (steps, C, H, W) in [0, 1], one or three channels, of the same number of steps.
    """
    rows = {name: [_image(x) for x in np.asarray(images)] for name, images in pictures.items()}
    count = len(next(iter(rows.values())))
    spoken = [f"{k / (count - 1):.0%} of the way" for k in range(count)]
    cards = "".join(
        f'<div class="play-card"><p class="play-name">{html.escape(name)}</p>' + "".join(
            _step(k, 0, "", f'<img src="{embedded(x)}" alt="Drawn by the {html.escape(name)}, {said}">')
            for k, (x, said) in enumerate(zip(row, spoken))) + "</div>"
        for name, row in rows.items())
    facts = {"texts": {"value": [said.split()[0] for said in spoken]}, "spoken": spoken, "start": 0}
    width, height = rows[next(iter(rows))][0].size
    whole = Image.new("RGB", (width * count, height * len(rows)))
    for down, row in enumerate(rows.values()):
        for right, x in enumerate(row):
            whole.paste(x, (right * width, down * height))
    still = io.BytesIO()
    whole.resize((2 * whole.width, 2 * whole.height), Image.Resampling.NEAREST).save(still, format="png")
    title = f"{label} between two codes, to drag"
    body = f'{slider(label, count, 0)}<div class="play-cards">{cards}</div>'
    return Playable(page(title, body, SCRIPT, facts), still.getvalue(), f"{title}: {', '.join(rows)}.")


def _step(k, start, kind, inside):
    return f'<div class="{kind}" data-step="{k}"{"" if k == start else " hidden"}>{inside}</div>'


def _image(x):
    """An image (C, H, W) in [0, 1] as one of Pillow's."""
    x = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(x[0] if len(x) == 1 else x.transpose(1, 2, 0)).convert("RGB")
