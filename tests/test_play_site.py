"""Figures to play with, on the built site in a real browser: by keyboard, by pointer, without a fault."""

import base64
import json

import numpy as np
import pytest
import torch

from helpers.play.digit import NAMES, STORED
from helpers.play.figure import HERE
from tests.conftest import DESK, PHONE
from tests.test_digit import restored

CHAPTER = "notebooks/comparing-autoencoders.html"
NEXT_FRAME = "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
PIXELS = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, k) => k % 4 === 0)"


def numbers(figure, *names):
    return [float(figure.locator(f"[data-text={name}]").first.inner_text()) for name in names]


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_threshold_moves_by_the_keyboard(visit, viewport):
    page = visit(CHAPTER, viewport=viewport)
    figure = page.get_by_role("group", name="A threshold on the error, to drag")
    slider = figure.get_by_role("slider", name="Threshold on the error")
    normal, anomalous = (sum(numbers(figure, *kinds)) for kinds in (("tn", "fp"), ("fn", "tp")))
    assert normal > 0 and anomalous > 0
    slider.focus()
    page.keyboard.press("Home")
    assert numbers(figure, "tn", "fp", "fn", "tp") == [0, normal, 0, anomalous]
    assert numbers(figure, "recall", "false_alarms") == [1, 1]
    everything = [figure.locator(f".move.{part}").bounding_box() for part in ("line", "roc", "pr")]
    page.keyboard.press("ArrowRight")
    one_step = figure.locator(".move.line").bounding_box()
    page.keyboard.press("End")
    assert numbers(figure, "tn", "fp", "fn", "tp") == [normal, 0, anomalous, 0]
    assert figure.locator("[data-text=precision]").inner_text() == "–"
    nothing = [figure.locator(f".move.{part}").bounding_box() for part in ("line", "roc", "pr")]
    assert everything[0]["x"] < one_step["x"] < nothing[0]["x"]
    assert everything[1]["x"] > nothing[1]["x"] and everything[1]["y"] < nothing[1]["y"]  # the ROC's corners
    assert everything[2]["x"] > nothing[2]["x"]
    assert f"0 of {anomalous:.0f} anomalous" in slider.get_attribute("aria-valuetext")
    assert page.faults == []


def test_the_threshold_is_dragged_over_the_histogram(visit):
    page = visit(CHAPTER)
    figure = page.get_by_role("group", name="A threshold on the error, to drag")
    panel, line = figure.locator("[data-drag=line]"), figure.locator(".move.line")
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    middle, height = box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"]
    page.mouse.move(box["x"] + 0.3 * box["width"], height)
    page.mouse.down()
    page.mouse.move(middle, height, steps=5)
    page.mouse.up()
    page.mouse.move(box["x"] + 5, height)  # let go: the line stays
    at = line.bounding_box()
    assert abs(at["x"] + at["width"] / 2 - middle) < 3
    roc, point = figure.locator("[data-drag=roc]").bounding_box(), figure.locator(".move.roc")
    page.mouse.click(roc["x"] + 0.95 * roc["width"], roc["y"] + 0.15 * roc["height"])
    assert numbers(figure, "recall")[0] > 0.8 and point.bounding_box()["x"] > roc["x"] + 0.8 * roc["width"]
    assert page.faults == []


@pytest.fixture(scope="module")
def stored():
    return json.loads(STORED.read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_redraws_as_pytorch_does(browser, stored, name):
    digits = np.frombuffer(base64.b64decode(stored["examples"]["pictures"]), np.uint8).reshape(-1, 28, 28) / 255
    noise = np.random.default_rng(0).random((2, 28, 28))
    x = torch.tensor(np.concatenate([digits, noise, np.zeros((1, 28, 28))])).float()[:, None]
    with torch.no_grad():
        expected = restored(name, stored["nets"][name])(x).flatten(1).numpy()
    page = browser.new_page()
    page.add_script_tag(content=(HERE / "net.js").read_text("utf-8"))
    drawn = page.evaluate("""([layers, all]) => {
        const network = layers.map(unpack);
        return all.map(pixels => [...redraw(network, Float32Array.from(pixels))]);
    }""", [stored["nets"][name], x.flatten(1).tolist()])
    page.close()
    assert expected.std() > 0.05
    assert np.abs(np.array(drawn) - expected).max() < 1e-4


def test_a_digit_is_loaded_drawn_and_cleared_from_the_keyboard(visit, stored):
    page = visit(CHAPTER)
    figure = page.get_by_role("group", name="A digit to draw")

    def errors():
        page.evaluate(NEXT_FRAME)
        return np.array([float(figure.locator(f"[data-part='{name} error']").inner_text()) for name in NAMES])

    of_page = []
    for k in (1, 8):
        figure.get_by_role("button", name=f"Load a {k}").press("Enter")
        expected = [stored["examples"]["errors"][name][k] for name in NAMES]
        assert errors() == pytest.approx(expected, abs=6e-5)
        of_page.append(errors())
    assert (of_page[1] > 2 * of_page[0]).all(), "an eight is an anomaly, a one is not"
    figure.get_by_role("button", name="Clear").press("Enter")
    empty = errors()
    figure.get_by_label("Your digit, 28 by 28 pixels").focus()
    for key in ["ArrowUp"] * 8 + ["Shift+ArrowDown"] * 16:
        page.keyboard.press(key)
    upright = errors()
    assert (upright != empty).all() and (upright < of_page[1]).all(), "an upright stroke is a one"
    said = ", ".join(f"{name} {error:.4f}" for name, error in zip(NAMES, upright))
    figure.get_by_role("status").get_by_text(f"Errors: {said}.").wait_for(state="attached")
    page.keyboard.press("Backspace")
    assert (errors() == empty).all()
    assert page.faults == []


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_a_digit_is_drawn_with_the_pointer_and_centred(visit, viewport):
    page = visit(CHAPTER, viewport=viewport)
    figure = page.get_by_role("group", name="A digit to draw")
    figure.get_by_role("button", name="Clear").click()
    canvas = figure.get_by_label("Your digit, 28 by 28 pixels")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])  # draws no more
    page.evaluate(NEXT_FRAME)
    ink = np.array(canvas.evaluate(PIXELS)).reshape(28, 28)
    assert ink[3:16, 6:8].min() == 255 and ink[:, 11:].max() == 0 and ink[20:].max() == 0
    figure.get_by_role("button", name="Centre it").click()
    page.evaluate(NEXT_FRAME)
    moved = np.array(canvas.evaluate(PIXELS)).reshape(28, 28)
    y, x = ((moved * axis).sum() / moved.sum() for axis in np.indices((28, 28)))
    assert abs(x - 13.5) <= 0.6 and abs(y - 13.5) <= 0.6
    redrawn = np.array(figure.locator("[data-part='VAE redrawn']").evaluate(PIXELS)).reshape(28, 28)
    assert redrawn[:, 11:17].mean() > 4 * redrawn[:, :6].mean(), "what comes back is a one"
    assert page.faults == []


def test_a_walk_between_two_codes_shows_one_step_at_a_time(visit):
    page = visit(CHAPTER)
    figure = page.get_by_role("group", name="between two codes")
    slider = figure.get_by_role("slider")

    def seen():
        return [image.get_attribute("alt") for image in figure.locator("img:visible").all()]

    names = figure.locator(".play-name").all_inner_texts()
    assert seen() == [f"Drawn by the {name}, 0% of the way" for name in names] and names
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert seen() == [f"Drawn by the {name}, 5% of the way" for name in names]
    page.keyboard.press("End")
    assert seen() == [f"Drawn by the {name}, 100% of the way" for name in names]
    assert slider.get_attribute("aria-valuetext") == "100% of the way"
    assert page.faults == []


def test_the_weight_of_the_second_loss_is_turned_over_recorded_runs(visit):
    page = visit("notebooks/improved-autoencoder.html")
    figure = page.get_by_role("group", name="Weight λ of the second loss")
    figure.get_by_role("slider").focus()
    said = []
    for key in ("Home", "ArrowRight", "End"):
        page.keyboard.press(key)
        assert figure.locator("svg:visible").count() == 3
        said.append(figure.locator("[data-text=words]").inner_text())
    assert [text.split(":")[0] for text in said] == ["λ = 0", "λ = 5e-05", "λ = 0.05"]
    assert all(text.endswith("(MNIST, 8, 20 of 250 epochs, one seed).") for text in said)
    assert page.faults == []


def test_the_mixers_threshold_starts_at_the_rule_of_its_chapter(visit):
    page = visit("notebooks/mixer-autoencoder.html")
    figure = page.get_by_role("group", name="A threshold on the relative error, to drag")
    assert numbers(figure, "value") == [1]
    f1 = figure.locator("[data-text=f1]").inner_text()
    assert page.get_by_text(f"At 1 the F1 of this run is {f1}").count() == 1
    assert page.faults == []
