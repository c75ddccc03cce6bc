"""What a detector found, for people: a CSV file, pictures with their unusual places coloured, and a page."""

import base64
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jinja2 import Environment
from matplotlib.figure import Figure
from PIL import Image
from torch.nn import functional as F

from . import detector, figures

SHOWN = 60  # pictures on the page and as files; the CSV file has them all
COLUMNS = ["file", "product", "score", "threshold", "verdict"]
BINS = 30
TEMPLATE = Path(__file__).with_suffix(".html")


def names(count) -> list[str]:
    """Return the names of the files that `write` makes for so many pictures."""
    return ["scores.csv", "report.html", *[f"overlay-{k + 1:03d}.jpg" for k in range(min(count, SHOWN))]]


def write(folder, judged, found, model, title):
    """Write the files of `names` to a folder that is there: every score, the report, an overlay of the first pictures.

    `judged` are `detector.Judged` pictures of the `own.Folder` found, `model` the Detector that judged them.
    """
    judged.lines[COLUMNS].to_csv(Path(folder, "scores.csv"), index=False, float_format="%.6g")
    overlays = [overlay(judged, found, model, line) for line in judged.lines.head(SHOWN).itertuples()]
    for name, jpeg in zip(names(len(judged.lines))[2:], overlays, strict=True):
        Path(folder, name).write_bytes(jpeg)
    Path(folder, "report.html").write_text(page(judged, found, model, title, overlays), encoding="utf-8")


def page(judged, found, model, title, overlays) -> str:
    """Return the report as one HTML page that needs no other file and no network; `overlays` are JPEGs, worst first."""
    pictures, (products, defects) = by_file(found), detector.qualities(judged, found)
    cards = [line._asdict() | {"picture": _text(pictures[line.file].thumbnail), "masked": _masked(pictures[line.file]),
                               "overlay": _text(jpeg) if line.file in judged.heats else None}
             for line, jpeg in zip(judged.lines.itertuples(), overlays)]  # fmt: skip
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    passed_over = [f"Passed over: {'; '.join(found.passed_over)}."] * bool(found.passed_over)
    judged_by = {name: part for name, part in model.parts.items() if (judged.lines["product"] == name).any()}
    return template.render(
        title=title, counts=counted(judged), how=how(model), notes=notes(model) + passed_over, drawn=bool(judged.heats),
        products=_table(products), defects=_table(defects), cards=cards, rest=len(judged.lines) - len(cards),
        thresholds=_table(thresholds(model)), scores=_table(judged.lines[COLUMNS]),
        charts=[_chart(name, part, judged) for name, part in judged_by.items()])  # fmt: skip


def counted(judged) -> str:
    """Say how many pictures were judged, and how many were flagged."""
    flagged = int((judged.lines.verdict == "flagged").sum())
    if len(judged.lines) == 1:
        return f"1 picture, {'flagged' if flagged else 'not flagged'}."
    return f"{len(judged.lines)} pictures, {flagged} of them flagged."


def how(model) -> str:
    """Say how a detector looks at pictures."""
    shape = {"pad": "with bars beside it", "squeeze": "squeezed", "tile": "in tiles"}[model.config["shape"]]
    size = model.config["size"]
    return f"{model.config['method']} saw each picture {shape}, at {size} x {size} pixels."


def thresholds(model) -> pd.DataFrame:
    """Return a line a product: how many good pictures set its threshold, and which share of new ones it should flag."""
    return pd.DataFrame([{
        "product": name, "good pictures": part.threshold.n, "threshold": part.threshold.value,
        "false alarms, at most about": f"{part.threshold.rate:.1%}",
        "95 % interval": f"{part.threshold.low:.1%} to {part.threshold.high:.1%}"}
        for name, part in model.parts.items()])  # fmt: skip


def notes(model) -> list[str]:
    """Say in a sentence which products have too few good pictures for the wished rate of false alarms; none is []."""
    wished = model.config["false_alarms"]
    few = [name for name, part in model.parts.items() if part.threshold.rate > wished + 1e-9]
    if few:
        needed = math.ceil(1 / wished - 1e-9) - 1
        return [f"A rate of {wished:.1%} false alarms takes {needed} good pictures of a product. With fewer, as here "
                f"of {', '.join(few)}, the threshold is the largest score of a good one."]  # fmt: skip
    return []


def table(frame):
    """Return a frame as notebooks show it, without its index."""
    return frame.style.format(precision=3, na_rep="").hide(axis="index").set_table_attributes('class="results"')


def overlay(judged, found, model, line) -> bytes:
    """Return a picture of Judged as a JPEG, with the heat of its unusual places and the outline of its mask."""
    picture = by_file(found)[line.file]
    if line.file not in judged.heats:
        return picture.thumbnail
    image = np.asarray(Image.open(io.BytesIO(picture.thumbnail)).convert("RGB")).transpose(2, 0, 1)
    height, width = image.shape[1:]
    heat = _resized(judged.heats[line.file], height, width)
    outline = None if picture.mask is None else _resized(picture.mask, height, width) >= 0.5
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    figures.overlay(image, heat, outline, figure.add_axes((0, 0, 1, 1)), model.parts[line.product].limits)
    figure.savefig(jpeg := io.BytesIO(), format="jpg", pil_kwargs={"quality": 85})
    return jpeg.getvalue()


def by_file(found):
    return {picture.file: picture for picture in found.pictures}


def histogram(ax, part, lines):
    """Draw the scores that set a threshold, and those of judged pictures of the product, lines of `Judged`, on axes."""
    known = lines[lines.kind != "unknown"]
    groups = {"good, held out": (part.held, "#8a939c"), "good": (known[known.kind == "good"].score, "C0"),
              "defective": (known[known.kind != "good"].score, "C3"),
              "judged": (lines[lines.kind == "unknown"].score, "C0")}  # fmt: skip
    every = np.concatenate([np.asarray(scores, float) for scores, _ in groups.values()])
    edges = np.linspace(every.min(), every.max() + 1e-9, BINS)
    for name, (scores, colour) in groups.items():
        if len(scores):
            ax.hist(scores, edges, color=colour, alpha=0.7, lw=0, label=f"{name} ({len(scores)})")
    ax.axvline(part.threshold.value, color="black", ls="--", lw=1.2, label="threshold")
    ax.set(xlabel="score", ylabel="pictures")
    ax.legend(fontsize=8, frameon=False)


def _chart(product, part, judged):
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    own = judged.lines[judged.lines["product"] == product]
    histogram(ax := figure.add_subplot(), part, own.iloc[:0] if judged.held_out else own)  # those are drawn already
    ax.set_title(product, loc="left", fontsize=10)
    figure.savefig(svg := io.BytesIO(), format="svg", facecolor="white")
    flagged = int((own.verdict == "flagged").sum())
    alt = (f"Histogram of the scores of {product}: {len(own)} pictures, {flagged} of them to the right of the "
           f"threshold {part.threshold.value:.4g}.")  # fmt: skip
    return {"svg": _text(svg.getvalue()), "alt": alt}


def _table(frame):
    """A frame as an HTML table, its texts escaped; empty for an empty one."""
    if frame.empty:
        return ""
    with pd.option_context("display.max_colwidth", None):
        return frame.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)


def _text(raw):
    return base64.b64encode(raw).decode()


def _masked(picture):
    return picture.mask is not None and picture.mask.any()


def _resized(values, height, width):
    tensor = torch.from_numpy(np.asarray(values, np.float32))[None, None]
    return F.interpolate(tensor, (height, width), mode="bilinear", align_corners=False)[0, 0].numpy()
