"""How many threads torch computes a picture's floats with.

Their last bit may depend on it, and with it a rounded latent and a file. So it depends on the picture alone, not on
how many are done side by side: one thread for a small picture, all of them, in turns, for others. Integers are exact
with any number. A forked process computes with one: of OpenMP's other threads it has none, and waits for them forever.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar

import torch

from hflow.forks import Lock, in_child

P = ParamSpec("P")
R = TypeVar("R")

SMALL = 2**17  # pixels

_own = threading.local()
_turn = Lock()
in_child(lambda: torch.set_num_threads(1))


def share(threads: int, jobs: int) -> None:
    """Makes the calling thread one of `jobs` that have torch's `threads` between them."""
    _own.all = threads
    torch.set_num_threads(max(1, threads // jobs))


def steady(area: Callable[[Any], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For a function (model, argument, ...) of floats. area: the argument to the picture's pixels."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            before = torch.get_num_threads()
            wanted = 1 if area(args[1]) <= SMALL else getattr(_own, "all", before)
            if wanted == before:
                return function(*args, **kwargs)
            with _turn if wanted > 1 else nullcontext():
                torch.set_num_threads(wanted)
                try:
                    return function(*args, **kwargs)
                finally:
                    torch.set_num_threads(before)

        return inner

    return decorate
