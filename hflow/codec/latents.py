"""The continuous stream: z, then the slices of y in coding order, one run of the arithmetic coder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hflow.codec.geometry import Geometry, anchor
from hflow.entropy import CutDecoder, Decoder, Encoder, decode_latents, encode_latents
from hflow.errors import FormatError
from hflow.integer import scales as S
from hflow.nets import continuous as C
from hflow.nets.bundle import Model, exact

TABLES = np.array(S.latent_tables(), dtype=np.int64)
LOG2 = np.log2(2.0**S.FREQ_BITS / TABLES)
LIMIT = 2**15 - 1  # latents are 16-bit integers


class _Coder:
    """Codes one group of values given means (eighths) and scale indices; what `code` does is the subclass's."""

    def code(self, values: np.ndarray | None, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def group(self, values: np.ndarray | None, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        base = mean >> S.MEAN
        ids = (scale << S.MEAN) + (mean & (2**S.MEAN - 1))
        return self.code(None if values is None else values - base, ids) + base


def nearest(ids: np.ndarray) -> np.ndarray:
    """The rounded mean, less its whole part, of values with these table ids: 0 or 1; a half rounds up."""
    half = 2 ** (S.MEAN - 1)
    return ((ids & (2**S.MEAN - 1)) + half) >> S.MEAN


class _Writer(_Coder):
    def __init__(self) -> None:
        self.coder = Encoder()

    def code(self, values: np.ndarray | None, ids: np.ndarray) -> np.ndarray:
        assert values is not None
        encode_latents(self.coder, values, ids, TABLES)
        return values


def bits(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """What values (N,), less their means, take under tables `ids`, (N,)."""
    size = np.abs(values)
    out = LOG2[ids, np.where(size <= 15, values + 15, 31)]
    large = size > 15
    out[large] += 2 * np.floor(np.log2(size[large] - 15)) + 2
    return out


class _Meter(_Coder):
    """Counts bits instead of writing them."""

    def __init__(self) -> None:
        self.bits = 0.0

    def code(self, values: np.ndarray | None, ids: np.ndarray) -> np.ndarray:
        assert values is not None
        self.bits += float(bits(values, ids).sum())
        return values


class _Reader(_Coder):
    def __init__(self, data: bytes) -> None:
        self.coder = Decoder(data)

    def code(self, values: np.ndarray | None, ids: np.ndarray) -> np.ndarray:
        return decode_latents(self.coder, ids, TABLES)


class _Mapper(_Coder):
    """Reads, and notes what each value of each group took."""

    def __init__(self, reader: _Coder) -> None:
        self.reader = reader
        self.groups: list[np.ndarray] = []

    def code(self, values: np.ndarray | None, ids: np.ndarray) -> np.ndarray:
        found = self.reader.code(values, ids)
        self.groups.append(bits(found, ids))
        return found


class _CutReader(_Coder):
    """Reads what is there; everything beyond is at its mean. `groups`: how many groups were there whole."""

    def __init__(self, data: bytes) -> None:
        self.coder = CutDecoder(data)
        self.groups = 0

    def code(self, values: np.ndarray | None, ids: np.ndarray) -> np.ndarray:
        found, known = self.coder.decode_latents(ids, TABLES)
        self.groups += self.coder.open
        return np.where(known, found, nearest(ids))


def _prior(model: Model, geo: Geometry, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Means (eighths) and scale indices of all of z, flat."""
    at = model.ops.index([anchor(level, model.cfg.rates)])
    shape = geo.zh, geo.zw, model.cfg.hyper
    both = (np.broadcast_to(model.ops.numpy(v)[0], shape) for v in C.hyper_prior(model.ops, model.latent, at))
    mean, scale = (v.ravel() for v in both)
    return mean, scale


@torch.inference_mode()
@exact
def _run(
    model: Model, geo: Geometry, level: int, coder: _Coder, z: np.ndarray | None, y: np.ndarray | None
) -> np.ndarray:
    """z (zh, zw, Cz) and y (h, w, C) through `coder`; None where they are to be read. Returns y."""
    ops, p, cfg = model.ops, model.latent, model.cfg
    t = C.tables(ops)
    at = ops.index([anchor(level, cfg.rates)])
    mean, scale = _prior(model, geo, level)
    z = coder.group(None if z is None else z.ravel(), mean, scale).reshape(geo.zh, geo.zw, cfg.hyper)
    hyper = C.hyper_features(ops, t, p, ops.const(z[None]), at, geo.h, geo.w)
    offsets = np.cumsum([0, *cfg.slices])

    def fill(s: int, turn: int, mask: np.ndarray, mean: Any, scale: Any) -> Any:
        here = mask > 0
        out = np.zeros((geo.h, geo.w, cfg.slices[s]), dtype=np.int64)
        given = None if y is None else y[here, offsets[s] : offsets[s + 1]].ravel()
        values = coder.group(given, ops.numpy(mean)[0][here].ravel(), ops.numpy(scale)[0][here].ravel())
        out[here] = values.reshape(-1, cfg.slices[s])
        return ops.const(out[None])

    y = np.concatenate([ops.numpy(v)[0] for v in C.walk(ops, t, p, hyper, cfg.slices, fill)], axis=-1)
    if np.abs(y).max(initial=0) > LIMIT:
        raise FormatError("damaged: a latent is out of range")
    return y


def write(model: Model, geo: Geometry, level: int, z: np.ndarray, y: np.ndarray) -> bytes:
    """The section's bytes."""
    coder = _Writer()
    _run(model, geo, level, coder, z, y)
    return coder.coder.finish()


def measure(model: Model, geo: Geometry, level: int, z: np.ndarray, y: np.ndarray) -> float:
    """Its size in bits, without writing it; at most a byte below the truth."""
    coder = _Meter()
    _run(model, geo, level, coder, z, y)
    return coder.bits


def read(model: Model, geo: Geometry, level: int, data: bytes) -> np.ndarray:
    """y (h, w, C), int64. FormatError if the bytes cannot be."""
    return _run(model, geo, level, _Reader(data), None, None)


def read_cut(model: Model, geo: Geometry, level: int, data: bytes) -> np.ndarray:
    """y (h, w, C) of a stream whose end may be missing: what the bytes do not determine is at its mean.

    FormatError if not even z is whole.
    """
    coder = _CutReader(data)
    y = _run(model, geo, level, coder, None, None)
    if not coder.groups:
        raise FormatError(f"too short: {len(data)} bytes of the continuous stream do not make a picture")
    return y


@torch.inference_mode()
@exact
def least(model: Model, geo: Geometry, level: int, data: bytes) -> int:
    """How many bytes of a stream `read_cut` needs at least: those of z."""
    mean, scale = _prior(model, geo, level)
    low, high = 0, len(data)  # `high` is enough
    while low < high:
        middle = (low + high) // 2
        coder = _CutReader(data[:middle])
        coder.group(None, mean, scale)
        low, high = (low, middle) if coder.groups else (middle + 1, high)
    return high


def read_map(model: Model, geo: Geometry, level: int, data: bytes, cut: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """y (h, w, C) and how many bits each cell took (h, w); those of z are shared out evenly."""
    coder = _Mapper(_CutReader(data) if cut else _Reader(data))
    y = _run(model, geo, level, coder, None, None)
    z = coder.groups[0].reshape(geo.zh, geo.zw, -1).sum(2) / 16
    spent = np.repeat(np.repeat(z, 4, 0), 4, 1)[: geo.h, : geo.w].copy()
    first = C.checkerboard(geo.h, geo.w) > 0
    for n, group in enumerate(coder.groups[1:]):
        here = ~first if n % 2 else first
        spent[here] += group.reshape(int(here.sum()), model.cfg.slices[n // 2]).sum(1)
    return y, spent
