"""How long a prediction takes: the file against the chapters and their records, and a measurement of small images."""

import json
import time

import pytest
from benchmarks import prediction as benchmark

from helpers import prediction, records, scoreboard

COMMAND = "python tests/benchmarks/prediction.py --write"


@pytest.fixture(scope="module")
def times():
    return prediction.read()["times"]


@pytest.mark.parametrize("name", scoreboard.PLAIN)
def test_every_method_of_a_chapter_has_a_time(name, times):
    there, timed = set(scoreboard.jobs_of(name)), {line["method"] for line in times if line["chapter"] == name}
    assert there == timed, f"{sorted(there ^ timed)} has no time, or no method; run {COMMAND}"


@pytest.mark.parametrize("name", scoreboard.PLAIN)
def test_methods_were_timed_as_their_runs_were_made(name, times):
    def decides(settings):
        return json.dumps({key: value for key, value in settings.items() if key != "epochs"}, sort_keys=True)

    runs = [record["config"] for record in records.read_all(records.RECORDED / name, variant="")]
    recorded = {(run["method"], run["protocol"]["dataset"], decides(run["settings"])) for run in runs}
    timed = {(line["method"], line["dataset"], decides(line["settings"])) for line in times if line["chapter"] == name}
    other = {line for line in timed - recorded if line[:2] in {run[:2] for run in recorded}}
    assert not other, f"no run is recorded with what was timed; set RECORDED in {benchmark.__file__} and run {COMMAND}"
    assert len(timed & recorded) > 5


def test_ratios_are_of_the_same_images():
    lines = [dict(chapter="mine", method=method, dataset=dataset, ms=ms) for method, dataset, ms in (
        ("net", "small", 2), ("slow", "small", 6), ("other", "large", 10), ("net", "large", 40))]  # fmt: skip
    expected = {("mine", "net"): 1, ("mine", "slow"): 3, ("mine", "other"): 0.25}
    assert prediction.ratios(lines, {"mine": "net"}) == expected


def test_times_are_plausible(times):
    ms = {(line["chapter"], line["method"]): line["ms"] for line in times}
    of_algan = {method: value for (chapter, method), value in ms.items() if chapter == "pseudo-anomalies"}
    frozen = ["ALGAN-feature", "GANomaly-feature", "DifferNet", "PaDiM", "SPADE", "Mahalanobis-AD", "PatchCore-10"]
    slowest = max(of_algan[method] for method in ("ALGAN-image", "GANomaly", "ALOCC", "CutPaste"))
    assert min(of_algan[method] for method in frozen) > 5 * max(slowest, ms["comparing-autoencoders", "CAE"])
    assert of_algan["PatchCore-25"] > of_algan["PatchCore-10"] > of_algan["PatchCore-1"], "a larger memory takes longer"
    assert ms["adversarial-noise", "AnoGAN"] > 10 * ms["adversarial-noise", "GANomaly"], "it searches"
    for name, plain in scoreboard.PLAIN.items():
        trivial = [value for (chapter, method), value in ms.items() if chapter == name and method in scoreboard.TRIVIAL]
        assert max(trivial) < ms[name, plain] / 5


def test_the_file_says_how_it_was_made():
    made = prediction.read()["provenance"]
    assert made["threads"] == 1 and made["repeats"] >= 5
    assert "+" not in made["commit"] and made["commit"] != "unknown", "times come from a committed tree"
    assert made["date"][:10] in prediction.how() and made["device"] in prediction.how()


def test_a_chapter_on_the_books_own_images_is_timed_in_seconds():
    parameters = {"tier": "smoke", "dataset": "parts", "methods": ["ALGAN-image", "ALGAN-feature", "PaDiM"]}
    lines = benchmark.measured("pseudo-anomalies", parameters, pictures=4, repeats=3, clock=time.process_time)
    ms = {line["method"]: line["ms"] for line in lines}
    assert ms["ALGAN-feature"] > 3 * ms["ALGAN-image"] > 0 and ms["PaDiM"] > 3 * ms["ALGAN-image"]
    assert {line["dataset"] for line in lines} == {"parts"} and {line["pictures"] for line in lines} == {4}


def test_the_plain_network_is_timed_on_every_data_set_that_occurs():
    parameters = {"tier": "smoke", **scoreboard.EMBEDDED["adversarial-noise"]}
    lines = benchmark.measured("adversarial-noise", parameters, pictures=2, repeats=1)
    assert {line["dataset"] for line in lines} == {"digits", "parts"}
    assert {line["dataset"] for line in lines if line["method"] == "DAE"} == {"digits", "parts"}
    assert {line["method"] for line in lines} == set(scoreboard.jobs_of("adversarial-noise"))
