"""The scoreboard: its cells against the records and the printed tables, then its page in a real browser."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

from helpers import fidelity, prediction, records, results, scoreboard
from helpers.runs import code_of
from tests.conftest import DESK, PHONE, ROOT
from tests.test_site import CONTRAST

PAGE = "notebooks/scoreboard.html"
TABLE = "#every-method"
expect.set_options(timeout=20_000)  # a busy machine draws late


@pytest.fixture(scope="module")
def board():
    return scoreboard.cells()


def cell(board, method, benchmark):
    found = board[(board.method == method) & board.benchmark.str.endswith(benchmark)]
    return found.iloc[0]


def test_every_method_whose_auroc_a_paper_prints_has_a_row(board):
    printed = pd.concat([results.paper(name) for name in dict.fromkeys(name for name, *_ in fidelity.TABLES)])
    assert set(printed[printed.metric == "auroc"].method) <= set(board.method)
    assert set(board.chapter) == set(fidelity.CHAPTERS)
    assert set(scoreboard.TRIVIAL) <= set(board.method)


def test_a_cell_is_the_mean_of_the_runs_that_it_opens(board):
    once = board[[run.seed.nunique() == 1 for run in board.runs]].dropna(subset="recorded")
    assert len(once) > 50
    for line in once.itertuples():
        assert line.recorded == pytest.approx(100 * line.runs.auroc.mean()), (line.method, line.benchmark)
    assert (once.classes == once.of_classes).all()
    few = board[(board.classes > 0) & (board.classes < board.of_classes)]
    assert few.recorded.isna().all(), "a mean over some of the classes is no mean over all"


def test_a_cell_agrees_with_the_table_of_its_chapter(board):
    table = results.table("normal_class", "auroc", printed=results.paper("iaead-table-3"), dataset="mnist", ratio=0.1,
                          recorded=fidelity.recorded("improved-autoencoder"))  # fmt: skip
    of_table = table[(table.method == "IAEAD") & (table.normal_class == "mean")].iloc[0]
    ours = cell(board, "IAEAD", "MNIST: a tenth is anomalous, also in training")
    assert ours.recorded == pytest.approx(of_table.recorded) and ours.epochs == of_table.epochs
    assert ours.paper == 92.05  # Table 2


def test_there_is_no_verdict_on_other_data_and_the_head_or_the_row_says_so(board):
    other = board[board.other_data.fillna("") != ""]
    assert len(other) > 10
    assert set(other.verdict) <= {"other data", "quoted", ""}
    for line in other.itertuples():
        of_head = line.benchmark.split(":")[0] in (line.other_data, scoreboard.TITLES.get(line.other_data))
        assert of_head or "other data" in scoreboard._cell(line), "the head is the paper's own set"
        assert not re.search(r"[+−]\d", scoreboard._cell(line)), "a difference from a number on other images"


def test_the_screw_is_in_no_mean_of_products(board):
    of_products = board[board.benchmark.str.contains("product") & (board.classes > 0)]
    assert of_products.benchmark.nunique() == 2 and of_products.benchmark.str.endswith("the screw left out").all()
    assert "screw" not in set().union(*(names for runs in of_products.runs for names in runs.classes))


def test_weights_are_those_that_papers_count(board):
    counted = cell(board, "DAE", "one class is anomalous").weights
    printed = results.chosen(results.paper("alcn-table-5"), metric="parameters", method="DAE").value.iloc[0]
    assert round(counted / 1e6, 2) == printed == 1.12
    assert round(cell(board, "IAEAD", "MNIST: a tenth is anomalous, also in training").weights / 1e6, 2) == 2.85
    assert cell(board, "PatchCore-10", "defects").weights == 0


def runs(seconds, seed=0, epochs=5, device="CPU", load=1.0):
    return {"classes": ["1"], "seed": seed, "epochs": epochs, "precision": "fp32", "device": device,
            "seconds": seconds, "load": load}  # fmt: skip


@pytest.mark.parametrize("own, expected", [
    ([runs(20), runs(60, seed=1)], 2.5),  # 2 and 3
    ([runs(20), runs(60, seed=1, load=9.0)], 2),  # the second had much other work beside it
    ([runs(20, load=None)], 2),
    ([runs(20, device="GPU")], None),
    ([runs(20, epochs=4)], None),
    ([runs(20) | {"precision": "bf16"}], None),
    ([runs(20) | {"classes": ["2"]}], None),
    ([runs(20, load=1.6)], None),
    ([runs(20, load=1.4)], 2),
    ([], None),
])  # fmt: skip
def test_times_are_compared_between_runs_that_are_alike(own, expected):
    plain = pd.DataFrame([runs(10), runs(20, seed=1)])
    assert scoreboard.time_ratio(pd.DataFrame(own, columns=plain.columns), plain) == expected


@pytest.mark.parametrize("name", scoreboard.PLAIN)
def test_the_code_of_today_is_that_of_the_records(name):
    """A digest of a method's code is part of a run's name: change the code, and its runs are to be made again."""
    codes = {}
    for record in records.read_all(records.RECORDED / name, variant=""):
        codes.setdefault(record["config"]["method"], set()).add(record["config"]["code"])
    jobs = {method: job for method, job in scoreboard.jobs_of(name).items() if method in codes}
    now = {method: code_of(job.make, json.dumps(job.settings, sort_keys=True), job.evaluate, job.keep)
           for method, job in jobs.items()}  # fmt: skip
    assert len(now) > 5 and [method for method, code in now.items() if code not in codes[method]] == []


def test_predictions_are_those_that_were_timed(board):
    ratios = prediction.ratios(prediction.read()["times"], scoreboard.PLAIN)
    timed = board.dropna(subset="prediction")
    assert len(timed) > 50
    assert [ratios[pair] for pair in zip(timed.chapter, timed.method)] == list(timed.prediction)
    assert set(board[board.classes > 0].index) <= set(timed.index), "what was run has a time"
    cae = board[(board.method == "CAE") & (board.chapter == "comparing-autoencoders")]
    assert re.findall(">([^<]+)<", scoreboard._time_text(cae, "prediction")) == ["1.0 × CAE"]


def test_every_run_leads_to_its_record(board):
    html = scoreboard.show(board, "AUROC").data
    links = set(re.findall(r"href='([^']*)'", html))
    assert len(links) > 400
    for link in links:
        path = (ROOT / "notebooks" / link).resolve()
        assert path.parent.parent == records.RECORDED and path.exists(), link
    panels = re.findall(r"popover id='([^']*)'", html)
    assert sorted(panels) == sorted(set(panels))
    assert set(re.findall(r"popovertarget='([^']*)'", html)) == set(panels)


# -- the page ------------------------------------------------------------------------------------------------------


def methods(page):
    return page.eval_on_selector_all(f"{TABLE} tbody td:first-child", "all => all.map(cell => cell.firstChild.data)")


def numbers(page, column):
    texts = page.eval_on_selector_all(
        f"{TABLE} tbody td:nth-child({column})", "all => all.map(cell => cell.querySelector('b')?.innerText ?? '')"
    )
    return [float(text) for text in texts if text]


@pytest.fixture
def page(visit):  # noqa: F811
    page = visit(PAGE)
    page.wait_for_selector(f"{TABLE} tbody tr")
    yield page
    assert page.faults == []


def test_the_page_says_what_its_columns_show(page):
    claims = page.locator("p.claim")
    assert claims.count() == 6, "a claim without a number is silent"
    assert page.locator(f"{TABLE} tbody tr").count() > 40
    assert page.locator("article table").last.inner_text().count("\n") >= len(fidelity.CHAPTERS)


def test_a_head_sorts_by_mouse_and_by_key(page):
    order = methods(page)
    head = page.locator(f"{TABLE} thead th").nth(4)
    head.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    falling = numbers(page, 5)
    assert len(falling) > 5 and falling == sorted(falling, reverse=True) and methods(page) != order
    head.locator(".dt-column-order").press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert numbers(page, 5) == sorted(falling)
    head.locator(".dt-column-order").press("Enter")
    expect(head).not_to_have_attribute("aria-sort", re.compile("."))
    assert methods(page) == order


def sorted_by(page, name):
    """The filled cells of a column, the largest first, as texts."""
    heads = page.eval_on_selector_all(f"{TABLE} thead th", "all => all.map(head => head.innerText.trim())")
    column = heads.index(name)
    head = page.locator(f"{TABLE} thead th").nth(column)
    head.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    texts = page.eval_on_selector_all(f"{TABLE} tbody td:nth-child({column + 1})", "all => all.map(c => c.innerText)")
    return [text for text in texts if text.strip()]


def test_times_sort_by_what_they_say(page):
    texts = sorted_by(page, "Prediction time")
    times = [float(text.split(" ×")[0]) for text in texts]
    assert len(times) > 40 and times == sorted(times, reverse=True)
    assert texts.index("1.0 × CAE") < texts.index(next(text for text in texts if text.startswith("0.")))


def test_weights_sort_as_numbers_not_as_words(page):
    scale = {"": 1, "k": 1e3, "M": 1e6}
    most = [re.search(r"([\d.]+) ?([kM]?)$", text).groups() for text in sorted_by(page, "Weights")]
    counts = [float(number) * scale[unit] for number, unit in most]
    assert len(counts) > 30 and counts == sorted(counts, reverse=True)
    assert {unit for _, unit in most} >= {"k", "M"}, "as words, 2.9 M comes before 961 k"


def test_a_word_filters(page, board):
    page.get_by_label("Filter").fill("PatchCore")
    expect(page.locator(f"{TABLE} tbody tr")).to_have_count(3)
    assert set(methods(page)) == {"PatchCore-1", "PatchCore-10", "PatchCore-25"}
    of_mixer = set(board[board.chapter == "mixer-autoencoder"].method)
    page.get_by_label("Filter").fill("mixer")
    expect(page.locator(f"{TABLE} tbody tr")).to_have_count(len(of_mixer))
    assert set(methods(page)) == of_mixer
    page.get_by_label("Filter").fill("popovertarget")
    expect(page.locator(f"{TABLE} tbody")).to_have_text("No row has these words.")


def test_a_cell_opens_its_runs_and_a_run_its_record_by_key(visit):  # noqa: F811
    page = visit(PAGE)
    page.wait_for_selector(f"{TABLE} tbody tr")
    button = page.locator(f"{TABLE} tbody button").first
    button.focus()
    page.keyboard.press("Enter")
    panel = page.locator(f"#{button.get_attribute('popovertarget')}")
    expect(panel).to_be_visible()
    assert panel.locator("tbody tr").count() >= 1
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.keyboard.press("Enter")
    link = panel.get_by_role("link").first
    name = Path(link.get_attribute("href")).name
    assert page.faults == []
    link.press("Enter")
    page.wait_for_url(f"**/data/runs/**/{name}")
    assert '"metrics"' in page.inner_text("body")


@pytest.mark.parametrize("dark, viewport", [(False, DESK), (True, DESK), (False, PHONE), (True, PHONE)])
def test_the_table_can_be_read_and_scrolls_in_its_box(visit, dark, viewport):  # noqa: F811
    page = visit(PAGE, dark, viewport)
    page.wait_for_selector(f"{TABLE} tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    box = page.locator(".dt-layout-table > .dt-layout-cell").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"]
    cells = page.eval_on_selector_all(f"{TABLE} :is(th, td, button, span, small)",
                                      f"all => all.filter(c => c.innerText.trim()).map({CONTRAST})")  # fmt: skip
    assert len(cells) > 200 and np.min(cells) >= 4.5
    page.locator(".dt-layout-table > .dt-layout-cell").evaluate("box => box.scrollTo(400, 900)")
    head = page.locator(f"{TABLE} thead th").first.bounding_box()
    assert abs(head["x"] - box["x"]) < 3 and abs(head["y"] - box["y"]) < 40, "head and methods stay in sight"
    page.locator(f"{TABLE} tbody button").last.evaluate("button => button.click()")
    panel = page.locator(".runs:popover-open").bounding_box()
    assert panel["x"] >= 0 and panel["x"] + panel["width"] <= viewport["width"]
    assert page.faults == []
