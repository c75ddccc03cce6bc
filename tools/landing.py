"""What the landing page shows of the book's own runs; made when the site is staged, never committed.

A picture with what a recorded autoencoder made of it, the first picture of each chapter, and the card for other sites.
"""

import base64
from pathlib import Path
from string import Template
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from helpers import records

CHAPTER, DATASET, PRODUCT = "mixer-autoencoder", "MVTec AD, 4 of 15", "bottle"
RUN = {"method": "baseline", "variant": "pictures"}  # the chapter's plain autoencoder
NIGHT, SKY, ORANGE = "#12243d", "#9fc2e8", "#ffb347"  # of the logo
GLOW = LinearSegmentedColormap.from_list("glow", [NIGHT, "#2f6aa8", ORANGE, "#fff6e5"])
WIDTH, RADIUS = 300, 4  # of the plot of scores in front.html, and of a dot in it


def draw(stage: Path, root: Path) -> None:
    """Give a staged book the pictures and the facts of its landing page, as far as the checkout has runs for them."""
    folder = stage / "book" / "_static" / "front"
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in sorted(stage.glob("notebooks/*.ipynb")):
        if picture := first_picture(notebook):
            (folder / f"{notebook.stem}.png").write_bytes(picture)
    if run := longest_run(root):
        bottle = broken_bottle(run)
        for name, picture in bottle.pictures.items():
            picture.resize((320, 320), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
        social_card(bottle.pictures.values()).savefig(folder / "card.png", dpi=100)
        page = stage / "book" / "front.html"
        text = Template(page.read_text(encoding="utf-8")).substitute(facts(bottle) | counts(root))
        page.write_text(text, encoding="utf-8")


def first_picture(notebook: Path) -> bytes | None:
    """The first PNG among the outputs of an executed notebook: the picture that its chapter opens with."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                return base64.b64decode(png)
    return None


def longest_run(root: Path) -> dict | None:
    """The record of RUN on DATASET with the most epochs; None where a checkout has none."""
    runs = records.read_all(root / "data/runs" / CHAPTER, **RUN)
    on_products = [run for run in runs if run["config"]["protocol"]["dataset"] == DATASET]
    return max(on_products, key=lambda run: run["config"]["epochs"], default=None)


def broken_bottle(record: dict) -> SimpleNamespace:
    """The broken bottle that a record kept: its pictures, its score, the scores of the good and of all broken bottles.

    Raises ValueError where its score is not above those of all good ones, since the page says so.
    """
    kept = {name: np.asarray(values) for name, values in record["images"].items()}
    of_product = kept["y"] == record["config"]["protocol"]["categories"].index(PRODUCT)
    broken = kept["anomalous"].astype(bool)
    k = next(k for k, i in enumerate(kept["at"]) if of_product[i] and broken[i])
    seen, redrawn = kept["shown"][k] / 255, kept["redrawn"][k] / 255
    error = np.abs(seen - redrawn)
    bottle = SimpleNamespace(
        pictures={name: Image.fromarray((255 * x).round().astype(np.uint8))
                  for name, x in (("seen", seen), ("redrawn", redrawn), ("error", GLOW(error / error.max())[..., :3]))},
        score=kept["test"][kept["at"][k]],
        good=kept["test"][of_product & ~broken],
        broken=kept["test"][of_product & broken],
        epochs=record["config"]["epochs"],
    )  # fmt: skip
    if bottle.score <= bottle.good.max():
        raise ValueError("The front page says its bottle scores above all good ones; its record does not show that.")
    return bottle


def facts(bottle) -> dict:
    """What front.html says of the bottle and its run, {name in the page: value}."""
    louder = int((bottle.broken > bottle.good.max()).sum())
    low, high = bottle.good.min(), np.quantile(bottle.broken, 0.98)

    def place(score):
        return RADIUS + float(np.clip((score - low) / (high - low), 0, 1)) * (WIDTH - 2 * RADIUS)

    shown_first = [bottle.score, *(score for score in bottle.broken if score != bottle.score)]
    return {"good": len(bottle.good), "broken": len(bottle.broken), "louder": louder, "others": louder - 1,
            "epochs": bottle.epochs, "score": f"{bottle.score:.4f}", "x": f"{place(bottle.score):.1f}",
            "good_dots": dots(map(place, bottle.good), 82),
            "broken_dots": dots(map(place, shown_first), 178)}  # fmt: skip


def dots(places, ground: float) -> str:
    """SVG circles at these places above a ground; one that would touch another is lifted."""
    rows, circles = {}, []
    for x in places:
        row = 0
        while any(abs(x - other) < 2 * RADIUS for other in rows.get(row, [])):
            row += 1
        rows.setdefault(row, []).append(x)
        circles.append(f'<circle cx="{x:.1f}" cy="{ground - (2 * row + 1) * RADIUS}" r="{RADIUS - 0.3}"/>')
    return "".join(circles)


def counts(root: Path) -> dict[str, str]:
    """How many papers, printed numbers and recorded runs the book holds."""
    tables = list((root / "data/paper").glob("*-table-*.csv"))
    papers = {path.name.partition("-table-")[0] for path in tables}
    printed = sum(pd.read_csv(path)["value"].count() for path in tables)
    runs = len(list((root / "data/runs").glob("*/*.json")))
    return {"papers": f"{len(papers)}", "printed": f"{printed:,}", "runs": f"{runs:,}"}


def social_card(pictures) -> Figure:
    """The picture of 1200 x 630 pixels that other sites show beside a link to the book."""
    figure = Figure(figsize=(12, 6.3), facecolor=NIGHT)
    figure.text(0.06, 0.84, "The Annotated Anomaly", color="white", fontsize=46, weight="bold", va="center")
    words = "Five papers on finding what does not belong, run again"
    figure.text(0.06, 0.72, words, color=SKY, fontsize=22, va="center")
    for k, picture in enumerate(pictures):
        panel = figure.add_axes((0.06 + 0.3 * k, 0.1, 0.27, 0.27 * 12 / 6.3), frameon=False, xticks=[], yticks=[])
        panel.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    return figure
