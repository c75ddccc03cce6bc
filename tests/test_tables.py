"""Paper beside record: means, differences, verdicts, and what a reader sees of them."""

import re

import pandas as pd
import pytest

from helpers import tables

PRINTED = pd.DataFrame([("0", "CAE", 0.90), ("2", "CAE", 0.80), ("0", "VAE", 0.70), ("2", "VAE", 0.60)],
                       columns=["row", "column", "value"])


def runs(*lines):
    return pd.DataFrame(lines, columns=["row", "column", "value"])


def cell(table, row, column):
    return table[(table.row == row) & (table.column == column)].iloc[0]


def test_each_cell_has_paper_mean_sd_and_difference():
    recorded = runs(("0", "CAE", 0.95), ("0", "CAE", 0.97), ("2", "CAE", 0.805))
    table = tables.compare(PRINTED, recorded, runs(("0", "CAE", 0.5)))
    first = cell(table, "0", "CAE")
    assert (first.paper, first.recorded, first.n, first.here) == pytest.approx((0.90, 0.96, 2, 0.5))
    assert first.sd == pytest.approx(0.02 / 2**0.5)
    assert first.difference == pytest.approx(0.06)
    assert first.verdict == "higher"
    assert cell(table, "2", "CAE").verdict == "reproduced"
    assert cell(table, "2", "VAE").verdict == "not run"
    assert pd.isna(cell(table, "2", "VAE").recorded)


@pytest.mark.parametrize(("values", "verdict"), [
    ([0.905], "reproduced"), ([0.911], "higher"), ([0.889], "lower"), ([0.91], "reproduced"),
    ([0.93, 0.97], "reproduced"),  # 0.05 above the paper, within two standard deviations of 0.028
    ([0.949, 0.951], "higher"),
])  # fmt: skip
def test_verdict_allows_a_point_or_two_standard_deviations(values, verdict):
    table = tables.compare(PRINTED, runs(*(("0", "CAE", v) for v in values)))
    assert cell(table, "0", "CAE").verdict == verdict


def test_method_that_the_paper_lacks_has_no_verdict():
    table = tables.compare(PRINTED, runs(("0", "mean intensity", 0.4)))
    assert cell(table, "0", "mean intensity").verdict == ""
    assert cell(table, "0", "mean intensity").recorded == 0.4


def test_shown_table_has_a_line_a_kind_and_says_not_run():
    recorded = runs(("0", "CAE", 0.95), ("0", "CAE", 0.97), ("0", "mean <intensity>", 0.4))
    shown = tables.show(tables.compare(PRINTED, recorded), ["CAE", "VAE", "mean <intensity>"], ["0", "2"], "A caption.")
    assert "recorded (n = 2)" in shown
    assert "0.960<span class='sd'> ± 0.014</span>" in shown
    assert re.search(r"\+0\.060 <span class='higher'[^>]*>▲", shown)
    assert shown.count("title='not run'") == 3  # CAE 2, VAE 0 and VAE 2
    assert "mean &lt;intensity&gt;" in shown and "mean <intensity>" not in shown
    assert "this run" not in shown
    assert "nan" not in shown.lower().replace("mean", "")


def test_real_table_is_read_with_its_names():
    table = tables.paper("schneider-table-5")
    assert cell(table, "7", "VAE / AUC_ROC").value == 0.9971
    assert set(table.row) == {*"023456789", "time_tr"}


def test_method_with_one_line_has_one_head_over_both_columns():
    table = tables.compare(PRINTED, runs(("0", "mean intensity", 0.4)))
    shown = tables.show(table, ["CAE", "mean intensity"], ["0", "2"], "A caption.")
    assert shown.count("colspan='2'") == 1
    assert shown.count("scope='rowgroup' rowspan='2'>CAE<") == 1
    assert all(row.count("</td>") == 2 for row in shown.split("<tr")[2:])
