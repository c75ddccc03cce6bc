"""The three detectors that learn nothing."""

import numpy as np
import pytest
import torch

from helpers import engine, images, protocols
from helpers.baselines.trivial import TRIVIAL


@pytest.fixture(scope="module")
def task():
    return protocols.one_normal(images.load("digits"), "1")


def scores(name, task):
    model = TRIVIAL[name]()
    engine.fit(model, task, epochs=0)
    return engine.score(model, task.test)


def test_everything_anomalous_ranks_nothing(task):
    assert len(set(scores("everything anomalous", task))) == 1


def test_mean_intensity_is_the_distance_of_the_grey_values(task):
    grey = task.train.numpy().mean() / 255
    expected = np.abs(task.test.numpy().mean((1, 2, 3)) / 255 - grey)
    np.testing.assert_allclose(scores("mean intensity", task), expected, atol=1e-6)


def test_distance_to_mean_is_by_hand(task):
    mean = (task.train.numpy() / 255).mean(0)
    expected = np.square(task.test.numpy() / 255 - mean).mean((1, 2, 3))
    np.testing.assert_allclose(scores("distance to mean image", task), expected, atol=1e-6)


def test_images_do_not_influence_each_other(task):
    model = TRIVIAL["distance to mean image"]()
    engine.fit(model, task, epochs=0)
    mixed = torch.randperm(len(task.test), generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(engine.score(model, task.test[mixed]), engine.score(model, task.test)[mixed])
