"""What figures take from frames of results, and how they lie beside each other."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from helpers import figures, results


def run(**changed):
    """A record with as little in it as a frame needs."""
    protocol = {"name": "contaminated", "dataset": "mnist", "normal_class": "0", "ratio": 0.1}
    protocol |= {name: changed.pop(name) for name in list(changed) if name in protocol}
    value = changed.pop("value", 0.5)
    config = {"method": "A", "variant": "", "settings": {}, "seed": 0, "epochs": 1, "batch_size": 8}
    config["precision"] = "fp32"
    return {"config": config | changed | {"protocol": protocol}, "metrics": [{"auroc": value}], "losses": [],
            "provenance": {"seconds": 1.0}, "history": []}  # fmt: skip


def test_chosen_lines_have_the_value_or_one_of_a_list():
    lines = results.frame([run(method=m, ratio=r) for m in "AB" for r in (0.1, 0.2)], "recorded")
    chosen = results.chosen(lines, metric="auroc", method=["A", "C"], ratio=0.2)
    assert list(zip(chosen.method, chosen.ratio)) == [("A", 0.2)]
    assert len(results.chosen(lines, no_such_column=1)) == 0
    assert len(results.chosen(lines)) == len(lines)


def test_a_mean_over_classes_asks_for_the_classes_of_its_own_data_set():
    printed = pd.DataFrame({"dataset": ["mnist", "fashion_mnist"], "normal_class": "mean", "method": "A",
                            "metric": "auroc", "value": 50.0, "digits": 1, "unit": "%", "note": ""})  # fmt: skip
    made = [run(normal_class=c, value=v) for c, v in (("0", 0.4), ("1", 0.6))]
    made += [run(dataset="fashion_mnist", normal_class=c, value=0.9) for c in ("Bag", "Coat")]
    cells = results.table("dataset", "auroc", printed=printed, recorded=results.frame(made, "recorded"),
                          normal_class="mean").set_index("dataset")  # fmt: skip
    assert cells.recorded.to_dict() == pytest.approx({"mnist": 50.0, "fashion_mnist": 90.0})


def test_a_mean_over_products_is_one_over_runs_of_one_product_each():
    def of_product(c, value):
        record = run()
        record["config"]["protocol"] = {"name": "train_on_good", "dataset": "two", "categories": c.split(", ")}
        record["metrics"] = [{"category": each, "auroc": value} for each in c.split(", ")]
        return record

    def mean(*of_records):
        cells = results.table("dataset", "auroc", recorded=results.frame(of_records, "recorded"), dataset="two",
                              category="mean")  # fmt: skip
        return cells.recorded.tolist()

    assert mean(of_product("a", 0.4), of_product("b", 0.6)) == pytest.approx([0.5])
    assert mean(of_product("a, b", 0.8)) == pytest.approx([0.8])
    with pytest.raises(ValueError, match="differ in categories"):  # one model of both is another thing
        mean(of_product("a", 0.4), of_product("b", 0.6), of_product("a, b", 0.8))


def test_frames_lie_side_by_side_and_an_empty_one_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    frame, drawn = pd.DataFrame({"y": [1.0, 2.0]}), []
    frames = {"left": frame, "right": frame.iloc[:0]}
    figures.side_by_side(lambda ax, frame: drawn.append(len(frame)), frames, "make it")
    left, right = plt.gcf().axes
    assert drawn == [2] and not left.texts
    assert [text.get_text() for text in right.texts] == ["make it"]
    assert (left.get_title(), right.get_title()) == ("left", "right")
    plt.close("all")
