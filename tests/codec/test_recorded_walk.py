"""A recorded walk is the plain one. Here a tape for the CPU stands in for CUDA's graphs, as strict as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bundle import picture
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hflow.codec import latents, pixels, recorded
from hflow.codec.geometry import Geometry
from hflow.errors import FormatError
from hflow.integer.fast import TorchOps
from hflow.nets.bundle import Model

# A number read back, a size that depends on values, a constant from the host.
WAITS = "_local_scalar_dense", "nonzero", "masked_select", "lift_fresh"


def place(t: Tensor) -> int:
    return t.untyped_storage().data_ptr()


class Operations(TorchDispatchMode):
    """Notes every operation, to repeat it on the same memory: what Python did in between is not repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(w in str(func) for w in WAITS), func
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for func, args, kwargs, out in self.done:
            again = func(*args, **kwargs)
            given = {place(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if place(old) not in given:  # a view follows what it is of
                    old.copy_(new)


class CpuTape:
    made: list[CpuTape] = []  # noqa: RUF012
    open: Operations | None = None

    def __init__(self, device: torch.device) -> None:
        self.replays: list[int] = []
        self.recorded = 0
        self.made.append(self)

    def running(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def begin(self) -> None:
        assert CpuTape.open is None
        CpuTape.open = Operations()
        CpuTape.open.__enter__()

    def end(self) -> Callable[[], None]:
        operations, n = CpuTape.open, self.recorded
        assert operations is not None
        operations.__exit__(None, None, None)
        CpuTape.open, self.recorded = None, n + 1

        def replay() -> None:
            self.replays.append(n)
            operations.replay()

        return replay

    def wait(self) -> None:
        assert CpuTape.open is None


@pytest.fixture
def taped(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    """The tiny model on a device that records; what goes to the host or comes from it while it does is an error."""
    monkeypatch.setattr(recorded, "TAPES", {"cpu": CpuTape})
    monkeypatch.setattr(CpuTape, "made", [])

    def guarded(plain: Callable[..., Any]) -> Callable[..., Any]:
        def inner(self: TorchOps, x: Any) -> Any:
            assert CpuTape.open is None
            return plain(self, x)

        return inner

    for name in ("const", "index", "numpy"):
        monkeypatch.setattr(TorchOps, name, guarded(getattr(TorchOps, name)))
    tiny.kept.clear()
    yield tiny
    tiny.kept.clear()


@pytest.mark.parametrize("size", [(150, 100), (1, 1), (300, 40)])
def test_a_recorded_walk_finds_what_the_plain_one_does(taped: Model, size: tuple[int, int]) -> None:
    geo, want = Geometry(*size), []
    for seed, level in ((0, 63), (1, 10), (2, 40)):
        z, y = pixels.latents(taped, pixels.trunk(taped, picture(*size, seed)), level)
        taped.kept.clear()  # the first walk of a size is plain
        want.append((level, latents.write(taped, geo, level, z, y), z, y, latents.measure(taped, geo, level, z, y)))
    for _ in range(2):
        for level, data, z, y, size_in_bits in want:
            assert latents.write(taped, geo, level, z, y) == data
            assert latents.measure(taped, geo, level, z, y) == size_in_bits
            for got, true in zip(latents.read_both(taped, geo, level, data), (z, y), strict=True):
                np.testing.assert_array_equal(got, true)
    steps = sum(taped.cfg.turns)
    assert CpuTape.made[-1].recorded == steps + 1
    assert CpuTape.made[-1].replays[-3 * steps :] == 3 * list(range(steps))


def test_what_a_damaged_stream_leaves_does_not_reach_the_next(taped: Model) -> None:
    geo, (z, y) = Geometry(100, 70), pixels.latents(taped, pixels.trunk(taped, picture(100, 70)), 40)
    data = latents.write(taped, geo, 40, z, y)
    latents.read(taped, geo, 40, data)
    for _ in range(2):
        with suppress(FormatError):  # or other values
            latents.read(taped, geo, 40, b"\xff" * len(data))
        cut = latents.read_cut(taped, geo, 40, data[: len(data) // 2])
        assert not np.array_equal(cut, y)
        np.testing.assert_array_equal(latents.read(taped, geo, 40, data), y)
    assert len(CpuTape.made) == 1


def test_sizes_are_recorded_when_they_come_again_and_a_few_are_kept(
    taped: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "LARGEST", 9)
    sizes = [(32 * w, 32) for w in range(1, recorded.KEPT + 2)]
    for size in sizes:
        assert recorded.of(taped, Geometry(*size)) is None
    assert recorded.of(taped, Geometry(*sizes[0])) is None  # too long ago
    last = recorded.of(taped, Geometry(*sizes[-1]))
    assert last is not None
    assert recorded.of(taped, Geometry(sizes[-1][0] - 31, 1)) is last  # of as many cells
    assert len(taped.kept["walks"]) == recorded.KEPT
    for _ in range(3):
        assert recorded.of(taped, Geometry(320, 32)) is None


def test_the_tape_sees_what_a_graph_cannot_hold() -> None:
    x = torch.rand(5)
    for f in (lambda: float(x[0]), lambda: x[x.nonzero()], lambda: torch.tensor([1.0]) + x):
        with pytest.raises(AssertionError), Operations():
            f()
