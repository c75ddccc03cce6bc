"""Parameters: what is refused, what is converted, what a tier fills in."""

from functools import partial
from types import SimpleNamespace

import pytest

from helpers import notebook, protocols, records
from helpers.baselines.trivial import DistanceToMean
from helpers.runs import Job

TIERS = {
    "smoke": {"dataset": "digits", "methods": ["cae"], "epochs": 1, "normal_class": ""},
    "quick": {"dataset": "digits", "methods": ["cae", "vae"], "epochs": 5, "normal_class": ""},
    "paper": {"dataset": "mnist", "methods": ["cae", "vae"], "epochs": 50, "normal_class": ""},
}
DEFAULTS = {"tier": "quick", "device": None, "precision": None, "data_root": None, "download": False,
            "budget_minutes": None, "workers": 1, "stack": 1, "scheduler": None, **dict.fromkeys(TIERS["quick"])}
CHOICES = {"dataset": ["digits", "mnist"], "methods": ["cae", "vae"]}


def settings(injected="", **values):
    return notebook.settings(DEFAULTS | values, "a-chapter", TIERS, CHOICES, injected=injected)


@pytest.mark.parametrize("tier", TIERS)
def test_tier_fills_what_is_left_open(tier):
    p = settings(tier=tier)
    assert {name: getattr(p, name) for name in TIERS[tier]} == TIERS[tier]
    assert settings(tier=tier, epochs=7).epochs == 7


def test_the_minutes_left_count_from_the_check_of_the_settings(monkeypatch):
    monkeypatch.setattr(notebook.time, "monotonic", lambda: 100.0 + 6 * 60)
    left = [notebook.minutes_left(SimpleNamespace(budget_minutes=m, began=100.0)) for m in (10, 5, None)]
    assert left == [4, 0, None]


def test_the_tier_decides_where_records_lie_and_which_precision_is_left_to_the_device():
    assert (settings(tier="paper").precision, settings().precision) == ("auto", "fp32")
    assert settings(tier="paper", precision="fp32").precision == "fp32"
    assert settings(tier="paper").folder == records.RECORDED / "a-chapter"
    assert settings(tier="smoke").folder == records.SCRATCH / "a-chapter"


def test_jobs_share_what_the_settings_say_and_become_a_frame(tmp_path):
    p = settings(tier="smoke")
    p.folder = tmp_path
    data = notebook.load(p)
    job = Job("mean image", DistanceToMean, partial(protocols.one_normal, data, "1"))
    lines = notebook.run(p, [job, job])
    assert set(lines["where"]) == {"this run"} and lines.run.nunique() == 1
    assert len(lines[lines.metric == "auroc"]) == 1, "a run that is named twice counts once"
    [record] = records.read_all(tmp_path)
    assert record["provenance"]["tier"] == "smoke"


@pytest.mark.parametrize(("given", "kept"), [
    ({"methods": "['vae']"}, ("methods", ["vae"])),
    ({"methods": "vae"}, ("methods", ["vae"])),
    ({"normal_class": 3}, ("normal_class", "3")),
    ({"download": "True"}, ("download", True)),
    ({"budget_minutes": 10}, ("budget_minutes", 10)),
    ({"budget_minutes": 0.5}, ("budget_minutes", 0.5)),
])  # fmt: skip
def test_values_arrive_as_papermill_passes_them(given, kept):
    assert getattr(settings(**given), kept[0]) == kept[1]


@pytest.mark.parametrize(("given", "says"), [
    ({"tier": "papr"}, "smoke, quick, paper"),
    ({"dataset": "minst"}, "digits, mnist"),
    ({"methods": ["cae", "gan"]}, "cae, vae"),
    ({"methods": []}, "at least one"),
    ({"epochs": "many"}, "a whole number"),
    ({"epochs": 2.5}, "a whole number"),
    ({"epochs": True}, "a whole number"),
    ({"epochs": 0}, "above 0"),
    ({"workers": -1}, "above 0"),
    ({"stack": 0}, "above 0"),
    ({"stack": -2}, "above 0"),
    ({"stack": 1.5}, "a whole number"),
    ({"budget_minutes": "long"}, "a number"),
    ({"precision": "fp16"}, "auto, fp32, bf16"),
    ({"device": "gpu"}, "cpu"),
    ({"download": "perhaps"}, "True or False"),
])  # fmt: skip
def test_wrong_values_are_refused_in_one_sentence(given, says):
    with pytest.raises(notebook.ParameterError) as refused:
        settings(**given)
    message = str(refused.value)
    assert says in message and next(iter(given)) in message.lower()
    assert "\n" not in message and message.endswith(".")


def test_unknown_name_is_refused_and_the_known_are_listed():
    with pytest.raises(notebook.ParameterError, match="'datset'.*dataset"):
        settings(injected='# Parameters\ndatset = "mnist"\n')
    settings(injected='# Parameters\ndataset = "mnist"\nepochs = 3\n')


def test_missing_data_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("DATA_ROOT", raising=False)
    p = settings(dataset="mnist", data_root=str(tmp_path))
    with pytest.raises(notebook.ParameterError) as refused:
        notebook.load(p)
    assert "mnist" in str(refused.value) and "\n" not in str(refused.value)


def test_class_is_checked_against_the_data():
    p = settings(normal_class="12")
    data = notebook.load(p)
    with pytest.raises(notebook.ParameterError, match="12"):
        notebook.class_name(p, data, "1")
    assert notebook.class_name(settings(), data, "1") == "1"


def test_answers_are_judged(capsys):
    notebook.check(None, lambda a: True, "")
    notebook.check(3, lambda a: a == 3, "three")
    notebook.check(4, lambda a: a == 3, "think of three")
    assert capsys.readouterr().out.splitlines() == ["No answer yet.", "Right.", "Not yet: think of three"]


def test_a_known_mistake_is_answered_and_the_first_that_fits_counts(capsys):
    mistakes = {"that is the double": lambda a: a == 6, "too large": lambda a: a > 3}
    for answer in (3, 6, 5, 2):
        notebook.check(answer, lambda a: a == 3, "think of three", mistakes)
    assert capsys.readouterr().out.splitlines() == [
        "Right.", "Not yet: that is the double", "Not yet: too large", "Not yet: think of three"]


def test_a_time_is_the_median_of_the_calls_after_the_first(monkeypatch):
    clock, calls = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0]), []
    monkeypatch.setattr(notebook.time, "perf_counter", lambda: next(clock))
    assert notebook.seconds(calls.append, "x", repeats=3) == 2.0
    assert calls == ["x"] * 4
