"""Keeps what a program has told torch away from the codec, whose results depend on the file alone.

Default type and device, autocast, gradients and inference mode are the program's, not ours. They are left as they are,
and the codec runs aside of them. (New tensors state their type, as the default one belongs to all threads.)
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

import torch

from hflow.nets.precision import whole_fp32

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _own() -> Iterator[None]:
    """No autocast, where integers would not be integers, no TF32, and the CPU as the default device."""
    here: Any = torch.device("cpu") if _chose_a_device() else nullcontext()
    with here, torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), whole_fp32():
        yield


def _chose_a_device() -> bool:
    """Whether the default device is not the CPU; the module that knows is loaded only where one was chosen."""
    return "torch.utils._device" in sys.modules and torch.get_default_device().type != "cpu"


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates what computes: it gives the same whatever the caller's settings are."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with _own():
            return function(*args, **kwargs)

    return inner


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates what makes tensors to keep, or needs gradients: as `exact`, and outside of inference_mode and no_grad.

    A tensor from inference mode could never be used for gradients.
    """

    run = exact(function)

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            return run(*args, **kwargs)

    return inner
