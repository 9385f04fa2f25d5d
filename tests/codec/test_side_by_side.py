"""Many pictures at once: the results of one by one, in order, and nothing held that need not be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_bundle import picture

import hflow
from hflow.codec import threads
from hflow.codec.batch import AHEAD, in_order
from hflow.errors import InputError, TargetError

SIZES = [(70, 50), (33, 90), (64, 64), (20, 31), (90, 70)]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_files_and_pictures_are_those_of_one_by_one(jobs: int, tiny_models: Path) -> None:
    pictures = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    files = list(hflow.encode_batch(pictures, 2.0, jobs=jobs, device="cpu"))
    assert files == [hflow.encode(x, 2.0) for x in pictures]
    decoded = hflow.decode_batch(files, jobs=jobs, fidelity=0.5)
    for found, file in zip(decoded, files, strict=True):
        assert np.array_equal(np.asarray(found), np.asarray(hflow.decode(file, fidelity=0.5)))


def test_large_pictures_share_threads_and_give_the_same(
    tiny_models: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "SMALL", 0)
    pictures = [picture(20, 31), picture(40, 20)]
    assert list(hflow.encode_batch(pictures, size=60, jobs=2)) == [hflow.encode(x, size=60) for x in pictures]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("small", [2**17, 0])
def test_refined_files_are_those_of_one_by_one(
    small: int, tiny_models: Path, two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "SMALL", small)
    pictures = [picture(70, 50), picture(40, 60, 1)]
    options = {"size": 200, "masking": "none", "effort": 1}
    assert list(hflow.encode_batch(pictures, jobs=2, **options)) == [hflow.encode(x, **options) for x in pictures]


def test_the_bundle_is_loaded_once(tiny_models: Path) -> None:
    from hflow.nets.bundle import _load

    _load.cache_clear()
    assert len(list(hflow.encode_batch([picture(40, 40)] * 4, 2.0, jobs=4))) == 4
    assert _load.cache_info().misses == 1


def test_an_error_comes_in_its_place(tiny_models: Path) -> None:
    good, bad = picture(40, 40), np.zeros((4, 4), np.uint8)
    results = hflow.encode_batch([good, bad, good], 2.0, jobs=2)
    assert next(results) == hflow.encode(good, 2.0)
    with pytest.raises(InputError, match=r"\(H, W, 3\)"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(TargetError):
        list(hflow.encode_batch([Image.new("RGB", (40, 40))], size=1))
    with pytest.raises(InputError, match="jobs"):
        hflow.encode_batch([good], jobs=0)


def test_items_are_taken_when_there_is_a_thread_for_them() -> None:
    lock, begun, ended, most = threading.Lock(), 0, 0, 0
    hold = threading.Event()  # the first item is done last

    def items() -> Iterator[int]:
        nonlocal begun, most
        for n in range(40):
            with lock:
                begun += 1
                most = max(most, begun - ended)
            yield n

    def work(n: int) -> int:
        nonlocal ended
        if n == 0:
            assert hold.wait(60)
        elif n == AHEAD * 3 - 1:  # so many results wait for it, and no more
            hold.set()
        with lock:
            ended += 1
        return n

    assert list(in_order(work, items(), 3)) == list(range(40))
    assert most <= 3


def test_what_has_not_begun_is_left_when_nobody_wants_it() -> None:
    done: list[int] = []
    results = in_order(lambda n: done.append(n) or n, range(100), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(done) <= 4


def test_threads_of_floats_depend_on_the_picture_alone(two_threads: None) -> None:
    @threads.steady(lambda pixels: pixels)
    def seen(_model: None, _pixels: int) -> int:
        return torch.get_num_threads()

    def both(_: int) -> tuple[int, int, int]:
        return seen(None, threads.SMALL), seen(None, threads.SMALL + 1), torch.get_num_threads()

    assert both(0) == (1, 2, 2)
    assert set(in_order(both, range(6), 2)) == {(1, 2, 1)}
    assert torch.get_num_threads() == 2
