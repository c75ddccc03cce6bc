"""The summary of how close the records are to the papers."""

import pandas as pd
import pytest

from helpers import chapter, fidelity, results
from tools import fidelity as command

TIMES_AND_COUNTS = ["seconds", "ms_per_batch", "ms", "minutes", "parameters"]


@pytest.fixture(scope="module")
def tables():
    return fidelity.of_tables()


@pytest.fixture
def of_all(tables):
    return tables.droplevel("chapter")


def test_every_cell_of_a_table_is_counted_once(of_all):
    counted = of_all[fidelity.VERDICTS].sum(axis=1)
    assert (counted == of_all.cells).all()
    whole = [name for name in of_all.index if name not in ("mixer-table-4", "algan-table-2")]  # shown in part
    assert len(whole) == 13
    for name in whole:
        printed = results.paper(name)
        assert of_all.cells[name] == (~printed.metric.isin(TIMES_AND_COUNTS)).sum(), name


def test_every_chapter_has_tables():
    assert set(fidelity.CHAPTERS) == set(chapter.NAMES)


def test_a_summary_of_known_cells():
    cells = pd.DataFrame({
        "method": ["A", "A", "B", "B", "C", "C"],
        "column": ["1", "2"] * 3,
        "paper": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        "recorded": [0.91, 0.79, 0.5, 0.5, 0.6, None],
        "unit": "",
        "verdict": ["reproduced", "one seed", "lower", "20 of 250 epochs", "higher", "not run"],
    })  # fmt: skip
    cells["difference"] = cells.recorded - cells.paper
    found = fidelity.summary(cells)
    assert found["cells"] == 6
    assert [found[name] for name in fidelity.VERDICTS] == [1, 1, 1, 1, 1, 0, 0, 1]
    assert found["within a point"] == 2
    assert found["mean |Δ|"] == pytest.approx((1 + 1 + 20 + 10 + 10) / 5)
    assert found["rank"] == pytest.approx(0.5)  # in column 1 A, B, C as printed; A, C, B as recorded


def test_a_method_is_ranked_among_those_of_its_column_alone():
    """A method that was run on hard classes only would else stand below one that was run on all."""
    printed = {"easy": [0.9, 0.8, 0.7], "hard": [0.5, 0.4, 0.3]}
    cells = pd.DataFrame([
        {"method": method, "column": column, "paper": paper, "recorded": paper - 0.1, "unit": "", "verdict": "lower",
         "difference": -0.1}
        for column, values in printed.items() for method, paper in zip("ABC", values)])  # fmt: skip
    cells.loc[(cells.method == "A") & (cells.column == "easy"), "recorded"] = None
    assert fidelity.summary(cells)["rank"] == pytest.approx(1)


def test_cells_in_per_cent_are_points_already():
    cells = pd.DataFrame({"method": ["A"], "column": [""], "paper": [90.0], "recorded": [88.0], "difference": [-2.0],
                          "unit": ["%"], "verdict": ["lower"]})  # fmt: skip
    assert fidelity.summary(cells)["mean |Δ|"] == pytest.approx(2)


def test_the_command_prints_a_line_a_table(capsys):
    command.main(["--name", "pseudo-anomalies"])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:]] == [f"algan-table-{n}" for n in range(1, 5)] + ["all"]


def test_a_papers_line_adds_up_its_tables(tables, of_all):
    papers = fidelity.of_papers(tables)
    assert list(papers.index) == fidelity.CHAPTERS
    assert papers.cells.sum() == of_all.cells.sum()
    two = of_all.loc[["mixer-table-3", "mixer-table-4"]]
    weights = two.cells - two["not run"]
    expected = (two["mean |Δ|"] * weights).sum() / weights.sum()
    assert papers.loc["mixer-autoencoder", "mean |Δ|"] == pytest.approx(expected)
    assert papers.loc["mixer-autoencoder", "rank"] == pytest.approx(two["rank"].dropna().mean())
