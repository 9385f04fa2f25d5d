"""Many pictures at once: a pool of threads around the codec, with one model for all of them.

Operations on small pictures do not keep several threads busy, and entropy coding and image files never do: pictures
side by side, each with its share of torch's threads, use the cores better. The results are the same (`threads`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from hflow.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

MOST = 8  # jobs unless asked for more: each holds a picture and its features in memory
AHEAD = 4  # results to a job that may wait for an earlier one


def default_jobs() -> int:
    """One for each core that this process may use, and not more than MOST."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST)


def encode_batch(
    images: Iterable[Image.Image | np.ndarray], bpp: float | None = None, *, jobs: int | None = None, **options: Any
) -> Iterator[bytes]:
    """Encodes pictures side by side; yields the file of each as `hflow.encode` makes it, in order.

    images: as for `hflow.encode`; each is taken when there is a thread for it, so that `jobs` of them are in memory.
    jobs: pictures at once, default one for each core, 8 at most. options: those of `hflow.encode`. Raises what
    `hflow.encode` raises, in place of the result, and ends with it. InputError for jobs below 1.
    """
    import hflow

    return in_order(lambda image: hflow.encode(image, bpp, **options), images, jobs)


def decode_batch(files: Iterable[bytes | str], *, jobs: int | None = None, **options: Any) -> Iterator[Image.Image]:
    """Decodes files side by side; yields the picture of each as `hflow.decode` makes it, in order.

    files: bytes or text, as for `hflow.decode`. jobs: files at once, default one for each core, 8 at most; up to four
    times as many pictures wait to be taken. options: those of `hflow.decode`. Raises what `hflow.decode` raises, in
    place of the result, and ends with it. InputError for jobs below 1.
    """
    import hflow

    return in_order(lambda data: hflow.decode(data, **options), files, jobs)


def in_order(work: Callable[[T], R], items: Iterable[T], jobs: int | None = None) -> Iterator[R]:
    """`map` with up to `jobs` threads: results in the order of the items.

    Items are taken when there is a thread for them. When the iterator is closed or `work` raises, what has begun is
    finished and the rest is left. With one job it all happens in the caller's thread, with all of torch's threads.
    """
    jobs = default_jobs() if jobs is None else jobs
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, not at least 1")
    return map(work, items) if jobs == 1 else _side_by_side(work, items, jobs)


def _side_by_side(work: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    import torch

    from hflow.codec.threads import share

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(jobs, "hflow", share, (threads, jobs))
    wait_for_it = True
    try:
        yield from _results(pool, work, items, jobs)
    except GeneratorExit:
        wait_for_it = False  # one that was dropped may end in any thread, even one that all others wait for
        raise
    finally:
        pool.shutdown(wait_for_it, cancel_futures=True)
        # The number of torch's threads is each thread's own; only what a new thread starts with is everyone's.
        torch.set_num_threads(threads)


def _results(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        busy = [one for one in waiting if not one.done()]
        if len(busy) >= jobs:
            wait(busy, return_when=FIRST_COMPLETED)
        while waiting and (waiting[0].done() or len(waiting) >= AHEAD * jobs):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
