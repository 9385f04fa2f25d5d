"""Whatever a program has told torch, numpy and Python: results are the same, and what it told is left as it was."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bundle import picture

import hflow
from hflow.codec.salvage import salvage
from hflow.codec.spending import spending
from hflow.codec.truncate import truncate
from hflow.nets import bundle, perceptual
from hflow.nets.bundle import Model

IMAGE = picture(70, 50)


@contextmanager
def default_type(kind: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def every_warning_an_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_type(torch.float64),
    "float16": lambda: default_type(torch.float16),
    "device": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "numpy": lambda: np.errstate(all="raise"),
    "warnings": every_warning_an_error,
}


def settings() -> tuple[Any, ...]:
    """What a program may have told, as it is now."""
    return (
        torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32, np.geterr(), list(warnings.filters),
    )  # fmt: skip


def everything() -> list[Any]:
    """What the codec makes of a picture, by all of its ways."""
    data = hflow.encode(IMAGE, 2.0)
    tokens = hflow.encode(IMAGE, 4.0, masking="1_4")
    ways = [
        data, tokens, hflow.encode(IMAGE, 2.0, effort=2), hflow.encode(IMAGE, 3.0, progressive=True),
        hflow.encode(IMAGE, 2.0, roi=(10, 10, 20, 20)), hflow.encode(IMAGE, 3.0, masking="rd"),
        truncate(data, len(data) - 9),
    ]  # fmt: skip
    pictures = [hflow.decode(tokens), hflow.decode(data[:-4], partial=True), hflow.decode(data, fidelity=0.5)]
    return [*ways, *(p.tobytes() for p in pictures), salvage(data[:-3]).note, spending(tokens).per_cell().tolist()]


@pytest.fixture(scope="module")
def expected(tiny: Model, tiny_models: Any) -> list[Any]:
    return everything()


@pytest.mark.parametrize("first", [False, True], ids=["loaded", "loads"])
@pytest.mark.parametrize("state", STATES)
def test_settings_change_nothing_and_stay(expected: list[Any], state: str, first: bool) -> None:
    def forget() -> None:
        for cached in (bundle._load, perceptual._load):
            cached.cache_clear()

    if first:
        forget()
    with STATES[state]():
        before = settings()
        assert everything() == expected
        assert settings() == before
    if first:  # what was loaded there serves elsewhere
        assert everything() == expected
        forget()


def test_threads_with_settings_of_their_own_do_not_meet(expected: list[Any]) -> None:
    def one(state: str) -> list[Any]:
        with STATES[state]():
            return everything()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, ["no_grad", "device", "inference_mode"])) == [expected] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_goes_on(tiny_models: Any) -> None:
    image = picture(400, 400)  # large enough for several threads
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = hflow.encode(image, 0.5)
        held, over = threading.Event(), threading.Event()

        def hold() -> None:  # as if another thread were loading, and computing, when the process is forked
            with bundle._LOADING:
                held.set()
                over.wait()

        other = threading.Thread(target=hold)
        other.start()
        held.wait()
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.apply_async(hflow.decode, (data,)).get(timeout=60)
        over.set()
        other.join()
        assert np.abs(np.asarray(found).astype(int) - np.asarray(hflow.decode(data))).max() <= 1
    finally:
        torch.set_num_threads(threads)
