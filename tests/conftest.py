"""The executed notebooks and the built site are made once and shared by all tests that look at them."""

from pathlib import Path

import pytest
from hypothesis import settings

from tools import book

settings.register_profile("busy machine", deadline=None)  # a slow example says nothing about the code
settings.load_profile("busy machine")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def smoke_folder():
    """Where notebooks executed at tier smoke are kept, and reused by tools/book.py while nothing has changed."""
    return ROOT / "_build" / "executed" / "smoke"


@pytest.fixture(scope="session")
def site(smoke_folder, tmp_path_factory):
    """The folder of the site, built with warnings as errors from the notebooks executed at tier smoke."""
    folder = tmp_path_factory.mktemp("site")
    executed = book.execute_all({"tier": "smoke"}, smoke_folder)
    return book.build(book.stage(executed, folder / "stage"), folder).parent
