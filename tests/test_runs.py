"""Runs: found again by everything that decides their numbers, and by nothing else."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import engine, metrics, records, runs
from helpers.runs import Job


class Linear(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.layer = nn.Linear(16, width)

    def loss(self, batch):
        x = batch.x.flatten(1)
        return (self.layer(x) - x).square().mean()

    def score(self, x):
        return (self.layer(x.flatten(1)) - x.flatten(1)).square().mean(1)


def a_task(**protocol):
    images = torch.arange(40 * 16, dtype=torch.uint8).view(40, 1, 4, 4)
    protocol = {"name": "one_normal", "normal_class": "0", **protocol}
    return SimpleNamespace(train=images[:30], train_y=torch.zeros(30, dtype=torch.int64), test=images[30:],
                           protocol=protocol, digest="0123456789abcdef")  # fmt: skip


def mean_score(method, task):
    return [{"mean": float(engine.score(method, task.test).mean())}]


def a_job(**other):
    return Job(**{"method": "Linear AE", "make": Linear, "task": a_task, "evaluate": mean_score, "epochs": 2,
                  "batch_size": 10, **other})  # fmt: skip


# A record comes back, and is not computed twice


def test_a_record_holds_what_decided_its_numbers_and_where_they_come_from(tmp_path):
    record = runs.run(a_job(settings={"width": 16}, paper_epochs=50), tmp_path, tier="smoke")
    config, where = record["config"], record["provenance"]
    assert config["method"] == "Linear AE" and config["settings"] == {"width": 16}
    assert config["protocol"]["normal_class"] == "0" and config["data"] == "0123456789abcdef"
    assert (config["seed"], config["epochs"], config["batch_size"], config["precision"]) == (0, 2, 10, "fp32")
    assert np.shape(record["losses"]) == (2, 1)
    assert where["tier"] == "smoke" and where["seconds"] > 0 and where["versions"]["torch"] == torch.__version__
    assert {"device", "commit", "date", "threads", "load"} <= set(where) and where["paper_epochs"] == 50
    assert config["variant"] == "" and record["history"] == [] and record["images"] == {}
    assert records.read_all(tmp_path) == [record] == [records.find(config, tmp_path)]


def test_a_finished_run_is_not_computed_again(tmp_path, monkeypatch):
    fits = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda *given, **named: fits.append(1) or fit(*given, **named))
    assert runs.known(a_job(), tmp_path) is None
    first = runs.run(a_job(), tmp_path)
    assert runs.run(a_job(), tmp_path) == first == runs.known(a_job(), tmp_path)
    assert len(fits) == 1
    runs.run(a_job(seed=1), tmp_path)
    assert len(fits) == 2


def test_a_run_repeats_whatever_the_random_state_was(tmp_path):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    runs.configuration(a_job(), a_task())
    assert torch.equal(torch.get_rng_state(), state), "making a configuration draws from nobody's random numbers"
    first = runs.run(a_job(), tmp_path / "a")
    torch.manual_seed(2)
    again = runs.run(a_job(), tmp_path / "b")
    assert first["metrics"] == again["metrics"] and first["losses"] == again["losses"]


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"epochs": 3}, {"batch_size": 11}, {"settings": {"width": 16}}, {"method": "Other"},
    {"variant": "wider"}, {"task": partial(a_task, limit=5)}, {"evaluate": metrics.of_every_score},
    {"keep": metrics.of_every_score},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_every_part_of_the_configuration_makes_another_record(change, tmp_path):
    runs.run(a_job(), tmp_path)
    assert runs.known(a_job(**change), tmp_path) is None


def test_other_data_makes_another_record(tmp_path):
    runs.run(a_job(), tmp_path)
    other = a_task()
    other.digest = "fedcba9876543210"
    assert runs.known(a_job(task=lambda: other), tmp_path) is None


def test_what_only_happened_along_the_way_does_not(tmp_path):
    first = runs.run(a_job(), tmp_path)
    assert runs.run(a_job(paper_epochs=9, looks=2), tmp_path, tier="paper", device="cpu") == first


def test_the_record_says_which_precision_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "resolve_precision", lambda asked, device: "bf16" if asked == "auto" else asked)
    low = runs.run(a_job(), tmp_path, precision="auto")
    assert low["config"]["precision"] == "bf16" and runs.known(a_job(), tmp_path) is None
    assert runs.known(a_job(), tmp_path, precision="bf16") == low
    untrained = runs.run(a_job(epochs=0), tmp_path, precision="auto")
    assert untrained["config"]["precision"] == "fp32", "what does not train has no precision to choose"


def test_settings_are_what_json_knows(tmp_path):
    with pytest.raises(TypeError, match="function"):
        runs.run(a_job(settings={"width": mean_score}), tmp_path)


# What a method looks back at, and what it keeps of each image


class Dropping(Linear):
    """Draws random numbers in training, so that a look that disturbed them would show."""

    def loss(self, batch):
        return super().loss(batch._replace(x=nn.functional.dropout(batch.x, 0.5)))


def test_looking_back_changes_nothing_and_ends_at_the_headline(tmp_path):
    plain = runs.run(a_job(make=Dropping, epochs=9), tmp_path / "plain")
    watched = runs.run(a_job(make=Dropping, epochs=9, looks=4), tmp_path / "watched")
    assert watched["losses"] == plain["losses"] and watched["metrics"] == plain["metrics"]
    assert [line["epoch"] for line in watched["history"]] == [1, 2, 4, 9]
    assert watched["history"][-1]["mean"] == pytest.approx(watched["metrics"][0]["mean"], rel=1e-5)
    assert watched["history"][0]["mean"] != pytest.approx(watched["metrics"][0]["mean"], rel=1e-3)


def test_numbers_an_image_are_kept_as_arrays(tmp_path):
    def keep(method, task):
        return {"score": engine.score(method, task.test), "good": task.test.flatten(1).float().mean(1) > 100}

    record = runs.run(a_job(keep=keep), tmp_path)
    assert np.shape(record["images"]["score"]) == (10,) and set(record["images"]["good"]) <= {True, False}
    assert np.mean(record["images"]["score"]) == pytest.approx(record["metrics"][0]["mean"], rel=1e-5)
