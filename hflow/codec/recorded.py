"""The walk of a stream as a row of CUDA graphs: what a GPU does between two reads of the arithmetic coder is one call.

The walk is about a thousand small kernels, and launching them from Python takes longer than running them. It is run
once while CUDA records it; every time the walk asks for values, one recording ends and the next begins.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from hflow.codec.geometry import Geometry
from hflow.forks import Lock
from hflow.integer.fast import TorchOps
from hflow.nets import continuous as C
from hflow.nets.bundle import Model

LARGEST = 64 * 64  # cells of a picture; beyond, the kernels take longer than their launch
KEPT = 4  # sizes of a model

# (slice, pass, means and scale indices (h, w, 2C)) to the slice's values (h, w, C), valid at least in the pass's cells
Code = Callable[[int, int, np.ndarray], np.ndarray]


class Tape(Protocol):
    """Records what a device does."""

    def running(self) -> AbstractContextManager[Any]:
        """Where everything goes that is recorded or replayed."""

    def begin(self) -> None: ...

    def end(self) -> Callable[[], None]:
        """What repeats all since `begin`, in the same memory. Repeated in the order of the recordings."""

    def wait(self) -> None:
        """Until the device is done."""


class CudaTape:
    """One memory pool for all of its graphs: one at a time runs, always in the same order."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.stream.wait_stream(torch.cuda.current_stream(device))  # which may still upload the bundle
        self.pool = torch.cuda.graph_pool_handle()
        self.graph: torch.cuda.CUDAGraph | None = None

    def running(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self.stream)

    def begin(self) -> None:
        self.graph = torch.cuda.CUDAGraph()
        # CUDA's random generator notes every recording in tensors of its own, which others have to be able to change.
        with torch.inference_mode(False):
            self.graph.capture_begin(self.pool, capture_error_mode="thread_local")  # other threads may do as they like

    def end(self) -> Callable[[], None]:
        assert self.graph is not None
        graph, self.graph = self.graph, None
        graph.capture_end()
        return graph.replay

    def wait(self) -> None:
        self.stream.synchronize()


# Of the types of devices that gain by it. On request only, until a GPU has shown that its recordings are right.
TAPES: dict[str, Callable[[torch.device], Tape]] = {"cuda": CudaTape} if os.environ.get("HFLOW_GRAPHS") == "1" else {}


def walk(model: Model, z: Any, at: Any, h: int, w: int, fill: C.Fill, passes: C.Passes | None = None) -> None:
    """From z (1, zh, zw, Cz) and its anchor rate (1,) through all of y (h, w, C)."""
    hyper = C.hyper_features(model.ops, model.tables, model.latent, z, at, h, w)
    for _ in C.walk(model.ops, model.tables, model.latent, hyper, model.cfg, fill, model.local, passes):
        pass


class Segment(NamedTuple):
    """What the device does up to a `fill`; the tensors are those that the graphs read and write, and their like here.

    params (1, h, w, 2C): what it finds. values (1, h, w, C): what the next segment wants to know.
    """

    slice: int
    turn: int
    replay: Callable[[], None]
    params: Tensor
    params_here: Tensor
    values: Tensor
    values_here: Tensor


class Recording:
    """The walk of pictures of one size."""

    def __init__(self, model: Model, geo: Geometry, tape: Tape) -> None:
        self.tape, self.lock = tape, threading.Lock()
        ops, h, w = model.ops, geo.h, geo.w
        with tape.running():
            # All that comes from the host is there before, and all that a graph reads is kept as long as the graph is.
            passes = C.all_passes(ops, h, w, model.cfg)
            self.z, self.z_here = _twice(ops.const(np.zeros((1, geo.zh, geo.zw, model.cfg.hyper))))
            self.at, self.at_here = _twice(torch.zeros(1, dtype=torch.int64, device=ops.device))
            self.reads = model.tables, model.latent, model.local, passes
            # Once without recording: libraries choose their kernels and take their memory.
            walk(model, self.z, self.at, h, w, lambda s, turn, mask, mean, scale: torch.zeros_like(mean), passes)
            tape.wait()
            self.segments: list[Segment] = []

            def fill(s: int, turn: int, mask: np.ndarray, mean: Tensor, scale: Tensor) -> Tensor:
                params = ops.cat([mean, scale])
                replay, values = tape.end(), torch.zeros_like(mean)
                self.segments.append(Segment(s, turn, replay, *_twice(params), *_twice(values)))
                tape.begin()
                return values

            tape.begin()
            try:
                walk(model, self.z, self.at, h, w, fill, passes)
            finally:
                tape.end()  # what follows the last `fill` nobody asks for

    def play(self, z: np.ndarray, at: int, code: Code) -> None:
        """z (zh, zw, Cz) and its anchor rate through all of y."""
        with self.lock, self.tape.running():
            _send(z, self.z_here, self.z)
            _send(np.array(at), self.at_here, self.at)
            for part in self.segments:
                part.replay()
                part.params_here.copy_(part.params, non_blocking=True)
                self.tape.wait()  # for copies to the device, too: what they read may be written again
                _send(code(part.slice, part.turn, part.params_here[0].numpy()), part.values_here, part.values)
            self.tape.wait()


def _twice(there: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor, and one on the host that a device copies from and to by itself."""
    return there, torch.empty_like(there, device="cpu", pin_memory=there.is_cuda)


def _send(values: np.ndarray, here: Tensor, there: Tensor) -> None:
    here.numpy()[...] = values
    there.copy_(here, non_blocking=True)


_recording = Lock()  # one recording at a time, of all models


def of(model: Model, geo: Geometry) -> Recording | None:
    """The recording for pictures of a size, None where the plain walk is to be taken.

    A size is recorded when it comes a second time: one picture alone would not gain by it. A model keeps the last few.
    """
    ops, size = model.ops, (geo.h, geo.w)
    if not isinstance(ops, TorchOps) or ops.device.type not in TAPES or geo.h * geo.w > LARGEST:
        return None
    with _recording:
        kept: dict[tuple[int, int], Recording | None] = model.kept.setdefault("walks", {})  # the latest is last
        seen, found = size in kept, kept.pop(size, None)
        if seen and found is None:
            found = Recording(model, geo, TAPES[ops.device.type](ops.device))
        kept[size] = found
        while len(kept) > KEPT:
            del kept[next(iter(kept))]
    return found
