"""The small networks of the digit that readers draw: what is stored is what was trained, and small."""

import base64
import json

import numpy as np
import pytest
import torch

from helpers import engine, images, records
from helpers.play.digit import NAMES, STORED
from tools import digit


def restored(name, kept):
    """A method of the chapter with the stored weights."""
    model = digit.small_methods()[name](1, 28)
    with_weights = [layer for layer in digit.layers_of(model) if hasattr(layer, "weight")]
    with torch.no_grad():
        for layer, facts in zip(with_weights, (facts for facts in kept if "bias" in facts), strict=True):
            levels = np.frombuffer(base64.b64decode(facts["weight"]), np.int8).reshape(facts["shape"])
            each_output = [1] * levels.ndim
            each_output[facts["kind"] == "deconv"] = -1
            layer.weight.copy_(torch.tensor(levels) * torch.tensor(facts["scale"]).reshape(each_output))
            layer.bias.copy_(torch.tensor(facts["bias"]))
    return model.eval()


def pictures(text):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 1, 28, 28)


def check(facts):
    """What is stored redraws the examples as its training said."""
    examples = torch.tensor(pictures(facts["examples"]["pictures"]))
    for name in NAMES:
        model = restored(name, facts["nets"][name])
        assert engine.score(model, examples) == pytest.approx(facts["examples"]["errors"][name], abs=1e-6)
        redrawn = engine.each_image(model, examples, model)
        assert np.abs(redrawn - pictures(facts["examples"]["redrawn"][name]) / 255).max() < 0.6 / 255


def test_what_is_stored_is_what_was_trained(monkeypatch):
    monkeypatch.setattr(digit, "EPOCHS", 1)
    facts = json.loads(records.to_text(records.rounded(digit.made(images.load_once("digits")), 8)))
    check(facts)
    assert facts["record"]["config"]["epochs"] == 1
    for line in facts["record"]["metrics"]:
        assert line["auroc"] == pytest.approx(line["auroc_32_bits"], abs=0.02), "8 bits change hardly anything"


def test_the_committed_networks_are_those_of_mnist_and_small():
    facts = json.loads(STORED.read_text("utf-8"))
    check(facts)
    config = facts["record"]["config"]
    assert (config["protocol"]["dataset"], config["protocol"]["normal_class"]) == ("mnist", digit.NORMAL)
    assert len(json.dumps(facts["nets"])) < 300_000
    for name in NAMES:
        quantiles = facts["errors_of_normal"][name]
        assert len(quantiles) == 101 and quantiles == sorted(quantiles)
        assert facts["examples"]["errors"][name][1] < quantiles[95] < min(facts["examples"]["errors"][name][2:])
