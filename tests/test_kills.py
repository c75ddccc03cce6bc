"""A sweep with stacks and workers that is killed at random: the short form of tests/benchmarks/kills.py."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("it reads /proc and /dev/shm", allow_module_level=True)

from benchmarks import kills


def test_kills_lose_double_and_leave_nothing(tmp_path):
    hits = kills.trial(3, tmp_path)
    assert hits["parent"] and hits["in the middle"]
