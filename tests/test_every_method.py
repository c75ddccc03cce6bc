"""Every method that the two chapters with adversaries train: the same run in a stack, and nearly the same in bf16."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from helpers import chapter
from helpers.sweep import sweep

METHODS = {  # a run of each is the first of the chapter's own list at the tier smoke
    "adversarial-noise": ["DAE", "DAE+Random Noise", "DAE+Gaussian Noise", "DAE+ALCN", "VAE", "AnoGAN", "EGBAD",
                          "GANomaly", "Skip-GANomaly", "ADAE", "Deep SVDD", "OCGAN", "LSA", "ARAE", "OLED"],
    "pseudo-anomalies": ["ALGAN-image", "ALGAN-feature", "GANomaly", "Skip-GANomaly", "ALOCC", "CutPaste",
                         "GANomaly-feature", "DifferNet"],
}  # fmt: skip


@cache
def trained_jobs(name):
    cells = chapter.opened(name, {"tier": "smoke"})
    return {job.method: job for job in reversed(cells["jobs"](cells["p"])) if job.epochs and not job.variant}


@pytest.mark.parametrize("name", METHODS)
def test_the_list_is_complete(name):
    assert set(trained_jobs(name)) == set(METHODS[name])


@pytest.mark.parametrize(("name", "method"), [(name, method) for name in METHODS for method in METHODS[name]])
def test_a_stack_gives_the_same_run_and_bf16_nearly_the_same(name, method, tmp_path):
    pair = [replace(trained_jobs(name)[method], seed=seed) for seed in (0, 1)]
    alone, stacked, rough = (sweep(pair, tmp_path / str(k), tier="smoke", **how)
                             for k, how in enumerate(({}, {"stack": 2}, {"precision": "bf16"})))  # fmt: skip
    for one, two, three in zip(alone, stacked, rough):
        assert np.isfinite([line["auroc"] for line in three["metrics"] if "auroc" in line]).all()
        np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)
        np.testing.assert_allclose(three["losses"], one["losses"], rtol=0.1, atol=1e-6)
        assert three["config"]["precision"] == "bf16" and three["config"]["seed"] == one["config"]["seed"]
