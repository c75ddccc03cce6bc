"""The notebook your-own-pictures: runs offline without a folder, makes a detector of one, refuses in one sentence."""

import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from PIL import Image

from helpers import chapter, detector, notebook
from tools import book
from tools import notebook as make_notebook

ROOT = Path(__file__).resolve().parent.parent
NAME = "your-own-pictures"


@pytest.fixture
def photographs(tmp_path):
    """A folder of six pictures that say nothing about themselves, and half of another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        Image.effect_noise((90, 60), 20 + i).convert("RGB").save(folder / f"{i}.jpg")
    (folder / "half.jpg").write_bytes((folder / "0.jpg").read_bytes()[:500])
    return folder


def executed_on(folder, out):
    """The text and tables that the notebook shows when it is executed on a folder."""
    papermill.execute_notebook(ROOT / f"notebooks/{NAME}.ipynb", out, {"folder": str(folder), "size": 64},
                               cwd=ROOT, kernel_name="python3", progress_bar=False)  # fmt: skip
    return str([cell.get("outputs") for cell in nbformat.read(out, as_version=4).cells])


def test_without_a_folder_it_runs_and_shows_its_figures(smoke_folder):
    executed, _ = book.execute(f"notebooks/{NAME}", {"tier": "smoke"}, smoke_folder)
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    text = "".join(out.get("text", "") for cell in cells for out in cell.outputs)
    assert "brushed_metal: 8 to learn from, 12 to judge" in text and "of them flagged." in text
    assert sum("image/png" in out.get("data", {}) for cell in cells for out in cell.outputs) == 3


def test_a_folder_becomes_a_detector_beside_it(photographs, tmp_path):
    shown = executed_on(photographs, tmp_path / "out.ipynb")
    assert "half.jpg (is damaged or truncated)" in shown
    results = tmp_path / "photos-detector"
    assert make_notebook.outcome(tmp_path / "out.ipynb").endswith(f"beside the report:\n{results / 'report.html'}\n")
    model = detector.load(results / "detector.pt")
    assert list(model.parts) == ["photos"] and model.parts["photos"].threshold.n == 6
    assert {"report.html", "scores.csv", "overlay-006.jpg"} <= {path.name for path in results.iterdir()}
    assert sorted(path.name for path in photographs.iterdir()) == [*(f"{i}.jpg" for i in range(6)), "half.jpg"]


def test_pictures_that_nobody_has_judged_are_scored(photographs, tmp_path):
    for i in range(6):
        place = photographs / ("score" if i < 2 else "good")
        place.mkdir(exist_ok=True)
        (photographs / f"{i}.jpg").rename(place / f"{i}.jpg")
    shown = executed_on(photographs, tmp_path / "out.ipynb")
    assert "4 to learn from, 2 to judge (2 unknown)" in shown and "false alarms</th>" not in shown
    lines = pd.read_csv(tmp_path / "photos-detector" / "scores.csv")
    assert sorted(lines.file) == ["score/0.jpg", "score/1.jpg"] and (lines.threshold > 0).all()


@pytest.mark.parametrize(("parameters", "says"), [
    ({"foldr": "x"}, ["'foldr'", "folder, output, method"]),
    ({"folder": "/no/such/folder"}, ["There is no folder /no/such/folder."]),
    ({"method": "GANomaly"}, ["'GANomaly'", "PatchCore, PaDiM, SPADE"]),
    ({"false_alarms": 0}, ["false_alarms must be above 0 and at most 0.5"]),
    ({"false_alarms": 1.2}, ["false_alarms must be above 0 and at most 0.5"]),
    ({"false_alarms": float("nan")}, ["false_alarms", "nan"]),
    ({"size": 32}, ["Size must be 64 pixels or more, not 32."]),
    ({"size": 10**6}, ["size", "at most 1,024"]),
    ({"shape": "crop"}, ["'crop'", "pad, squeeze, tile"]),
    ({"tiles": 9}, ["tiles", "at most 8"]),
    ({"device": "gpu"}, ["gpu", "cpu"]),
    ({"output": "/proc/nope"}, ["/proc", "not a folder that you may write to"]),
    ({"output": "x" * 300}, ["name of a folder", "too long"]),
])  # fmt: skip
def test_a_wrong_parameter_is_refused_in_one_sentence(parameters, says, monkeypatch, photographs):
    if parameters.get("output", "").startswith("/proc") and sys.platform != "linux":
        pytest.skip("there is no /proc")
    with pytest.raises(notebook.ParameterError) as refused:
        chapter.opened(NAME, {"tier": "smoke", "folder": str(photographs), **parameters})
    message = str(refused.value)
    assert [word for word in says if word not in message] == [] and "\n" not in message and message.endswith(".")


def test_results_of_somebody_else_are_not_replaced(photographs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    with pytest.raises(notebook.ParameterError, match="report.html is not, or no longer, what this book wrote"):
        chapter.opened(NAME, {"tier": "smoke", "folder": str(photographs), "output": str(tmp_path / "mine")})


def test_its_code_is_short_and_fits_the_page():
    cells = nbformat.read(ROOT / f"notebooks/{NAME}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    shown = [cell.source.splitlines() for cell in code if "hide-input" not in cell.metadata.get("tags", [])]
    assert sum(map(len, shown)) <= 100 and max(map(len, shown)) <= 25
    assert [line for cell in code for line in cell.source.splitlines() if len(line) > 88] == []
    for cell in code:
        if "plt.show()" in cell.source or "figures.pictures(" in cell.source:
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 60
