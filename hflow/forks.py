"""What a forked process must not take over from its parent, whose other threads it does not have."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def in_child(function: Callable[[], None]) -> None:
    """Calls a function in every process that is forked from this one, where processes are forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


class Lock:
    """A lock, as a context, that is free in a forked process: whoever held it in the parent is not there."""

    def __init__(self) -> None:
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
