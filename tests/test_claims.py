"""A sentence about results is printed where it holds, says so where it does not, and is silent without a record."""

import pytest

from helpers import claims
from helpers.claims import claim


@pytest.fixture
def said(monkeypatch):
    shown = []
    monkeypatch.setattr(claims, "display", shown.append)
    return shown


def test_a_claim_that_holds_is_its_sentence_with_numbers(said):
    claim("**{k} of 8** lie {gap:+.1f} below <it>.", True, k=7, gap=1.25)
    assert repr(said[0]) == "**7 of 8** lie +1.2 below <it>."
    assert said[0].data == "<p class='claim holds' data-claim='holds'><b>7 of 8</b> lie +1.2 below &lt;it&gt;.</p>"


def test_a_claim_that_does_not_hold_says_so(said):
    claim("{k} of 8.", False, k=2)
    claim("{k} of 8.", False, about="this run", k=2)
    assert repr(said[0]) == "This does not hold for the recorded runs: 2 of 8." and claims.FAILED in said[0].data
    assert repr(said[1]) == "This does not hold for this run: 2 of 8." and claims.FAILED not in said[1].data


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_without_a_record_there_is_no_sentence(said, missing):
    claim("{k} and {m}.", False, k=1, m=missing)
    assert said == []


def test_a_claim_is_about_one_of_two_things(said):
    with pytest.raises(ValueError, match='"recorded" or "this run", not "it"' .replace('"it"', "'it'")):
        claim("a", True, about="it")
