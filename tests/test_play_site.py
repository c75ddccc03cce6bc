"""Figures to play with, on the built site in a real browser: by keyboard, by pointer, without a fault."""

import pytest

from tests import test_site

address, browser, visit = test_site.address, test_site.browser, test_site.visit
CHAPTER = "notebooks/comparing-autoencoders.html"


def numbers(figure, *names):
    return [float(figure.locator(f"[data-text={name}]").first.inner_text()) for name in names]


@pytest.mark.parametrize("viewport", [test_site.DESK, test_site.PHONE], ids=["desk", "phone"])
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
