"""Small tensors everywhere: one thread, unless a test says otherwise."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _threads(one_thread: None) -> None:
    pass
