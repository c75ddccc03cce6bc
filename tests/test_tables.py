"""What a reader sees of a results table."""

import re

from test_results import PRINTED, a_record, printed, table

from helpers import results, tables


def shown(of_records, paper=PRINTED, caption="A caption.", **options):
    return tables.show(table(of_records, paper), caption, **options).data


TWO = [a_record(auroc=0.95), a_record(seed=1, auroc=0.97)]


def test_a_block_has_a_line_a_kind_and_says_not_run():
    html = shown([*TWO, a_record("mean <intensity>", auroc=0.4, epochs=0)], not_run="make notebook NAME=x")
    assert "recorded (n = 2)" in html
    assert "0.960<span class='sd'> ± 0.014</span>" in html
    assert re.search(r"\+0\.060 <span class='higher'[^>]*>▲", html)
    assert html.count("title='not run'") == 5  # CAE 1 and mean, VAE 0, 1 and mean
    assert "mean &lt;intensity&gt;" in html and "mean <intensity>" not in html
    assert "Not run: <code>make notebook NAME=x</code>" in html
    assert "this run" not in html and "nan" not in html.lower()


def test_the_caption_explains_the_marks_that_are_used_and_no_others():
    assert "✓ reproduced" not in shown(TWO) and "▲ higher" in shown(TWO)
    one = shown([a_record(auroc=0.9)])
    assert "① one seed" in one and "▲" not in one
    assert "Not run:" not in shown(TWO, not_run=None)


def test_a_quoted_number_is_marked_beside_it_and_not_judged():
    quoted = printed(("CAE", "0", "0.90"), ("VAE", "0", "0.70"), note="quoted: from elsewhere")
    html = shown(TWO, quoted)
    assert html.count("title='quoted'>❝") == 4 + 2  # each beside its mean, and the verdicts of what was run
    assert "❝ quoted from another paper" in html and "title='higher'" not in html
    assert "❝" not in shown(TWO)


def test_what_is_not_like_the_paper_is_said_in_the_head_of_its_block():
    short = shown([a_record(epochs=20), a_record(seed=1, epochs=20), a_record(c="1"), a_record(c="1", seed=1)])
    assert "(n = 2; 20 of 250 epochs in 1 of 2 cells)" in short and "title='20 of 250 epochs'>◔" in short
    assert "◔ fewer epochs than the paper" in short
    cells = table([a_record(dataset="jpeg")], printed(("CAE", "0", "0.90")), stand_in={"mnist": "jpeg"})
    assert "n = 1; jpeg" in tables.show(cells, "").data and "≠ other data" in tables.show(cells, "").data


def test_a_row_with_one_line_has_one_head_over_both_columns():
    html = shown([a_record("mean intensity", epochs=0, paper_epochs=None), *TWO])
    assert html.count("colspan='2'") == 1 and html.count("scope='rowgroup' rowspan='3'>CAE<") == 1
    assert "<b>mean intensity</b> recorded<" in html, "what does not train has no luck"
    assert all(row.count("</td>") == 3 for row in html.split("<tr")[2:])


def test_digits_follow_the_unit():
    assert ">90.0<" in shown(TWO, printed(("CAE", "0", "90.00"), unit="%"))
    assert ">0.9000<" in shown(TWO, digits=4)


def test_columns_that_are_metrics_have_the_names_of_the_field():
    cells = results.table("metric", this_run=results.frame([a_record()], "this run"), dataset="mnist", normal_class="0")
    html = tables.show(cells, "").data
    assert "<th scope='col'>AUROC</th>" in html and "<th scope='col'>last loss</th>" in html


def test_a_table_without_a_line_says_that_nothing_was_run_and_what_would():
    nothing = tables.show(table([a_record()])[:0], "Table 9.", not_run="make <it>").data
    assert "Table 9. Not run: <code>make &lt;it&gt;</code>." in nothing and "<th" not in nothing


def test_whole_numbers_in_the_head_have_no_point():
    cells = table(TWO, PRINTED)
    cells = cells[cells.normal_class.isin(["0", "1"])].astype({"normal_class": float})
    assert re.findall(r"<th scope='col'>(.*?)</th>", tables.show(cells, "").data) == ["0", "1"]
