"""The continuous stream: z, then the slices of y in coding order, one run of the arithmetic coder."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch

from hflow.codec import recorded
from hflow.codec.geometry import Geometry, anchor
from hflow.entropy import Bounds, CutDecoder, Decoder, Encoder, Tables, decode_latents, encode_latents, narrowed
from hflow.errors import FormatError
from hflow.integer import scales as S
from hflow.nets import continuous as C
from hflow.nets.bundle import Model
from hflow.nets.caller import exact

LIMIT = 2**15 - 1  # latents are 16-bit integers


@lru_cache
def _tables(scales: int) -> Tables:
    return Tables(np.array(S.latent_tables(scales), dtype=np.int64), 2 ** S.TABLE_BITS[scales])


class _Coder:
    """Codes one group of values given means (eighths) and scale indices; what `code` does is the subclass's.

    bounds: what is known of the values, None if nothing is.
    """

    def __init__(self, model: Model) -> None:
        self.tables = _tables(model.cfg.scales)

    def code(self, values: np.ndarray | None, ids: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        raise NotImplementedError

    def group(
        self, values: np.ndarray | None, mean: np.ndarray, scale: np.ndarray, bounds: Bounds | None = None
    ) -> np.ndarray:
        base = mean >> S.MEAN
        ids = (scale << S.MEAN) + (mean & (2**S.MEAN - 1))
        within = None if bounds is None else (bounds[0] - base, bounds[1] - base)
        return self.code(None if values is None else values - base, ids, within) + base


def nearest(ids: np.ndarray) -> np.ndarray:
    """The rounded mean, less its whole part, of values with these table ids: 0 or 1; a half rounds up."""
    half = 2 ** (S.MEAN - 1)
    return ((ids & (2**S.MEAN - 1)) + half) >> S.MEAN


class _Writer(_Coder):
    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.coder = Encoder()

    def code(self, values: np.ndarray | None, ids: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        assert values is not None
        encode_latents(self.coder, values, ids, self.tables, bounds)
        return values


def bits(values: np.ndarray, ids: np.ndarray, tables: Tables, bounds: Bounds | None = None) -> np.ndarray:
    """What values (N,), less their means, take under the tables `ids`, (N,), narrowed by what is known of them."""
    size = np.abs(values)
    symbols = np.where(size <= 15, values + 15, 31)
    if bounds is None:
        out = tables.bits[ids, symbols]
    else:
        freqs = narrowed(tables.freqs[ids], *bounds, tables.total)
        out = np.log2(tables.total / freqs[np.arange(len(ids)), symbols])
    large = size > 15
    out[large] += 2 * np.floor(np.log2(size[large] - 15)) + 2
    return out


class _Meter(_Coder):
    """Counts bits instead of writing them."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.bits = 0.0

    def code(self, values: np.ndarray | None, ids: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        assert values is not None
        self.bits += float(bits(values, ids, self.tables, bounds).sum())
        return values


class _Reader(_Coder):
    def __init__(self, model: Model, data: bytes) -> None:
        super().__init__(model)
        self.coder = Decoder(data)

    def code(self, values: np.ndarray | None, ids: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        return decode_latents(self.coder, ids, self.tables, bounds)


class _Mapper(_Coder):
    """Reads, and notes what each value of each group took."""

    def __init__(self, model: Model, reader: _Coder) -> None:
        super().__init__(model)
        self.reader = reader
        self.groups: list[np.ndarray] = []

    def code(self, values: np.ndarray | None, ids: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        found = self.reader.code(values, ids, bounds)
        self.groups.append(bits(found, ids, self.tables, bounds))
        return found


class _CutReader(_Coder):
    """Reads what is there; everything beyond is at its mean. `groups`: how many groups were there whole.

    known: of each group, which of its values were there.
    """

    def __init__(self, model: Model, data: bytes) -> None:
        super().__init__(model)
        self.coder = CutDecoder(data)
        self.groups = 0
        self.known: list[np.ndarray] = []

    def code(self, values: np.ndarray | None, ids: np.ndarray, bounds: Bounds | None) -> np.ndarray:
        found, known = self.coder.decode_latents(ids, self.tables, bounds)
        self.groups += self.coder.open
        self.known.append(known)
        return np.where(known, found, nearest(ids))


def _prior(model: Model, geo: Geometry, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Means (eighths) and scale indices of all of z, flat."""
    at = model.ops.index([anchor(level, model.cfg.rates)])
    shape = geo.zh, geo.zw, model.cfg.hyper
    both = model.ops.cat(C.hyper_prior(model.ops, model.latent, at, model.cfg.scales))  # one wait for a GPU, not two
    mean, scale = (np.broadcast_to(v, shape).ravel() for v in np.split(model.ops.numpy(both)[0], 2, axis=-1))
    return mean, scale


@torch.inference_mode()
@exact
def _write(
    model: Model, geo: Geometry, level: int, coder: _Coder, z: np.ndarray, y: np.ndarray, bounds: Bounds | None = None
) -> None:
    """z (zh, zw, Cz) and y (h, w, C) through `coder`, in coding order.

    bounds: the least and the greatest that each value of y should be, (h, w, C) both.
    """
    ops, cfg = model.ops, model.cfg
    coder.group(z.ravel(), *_prior(model, geo, level))
    at = ops.index([anchor(level, cfg.rates)])
    hyper = C.hyper_features(ops, model.tables, model.latent, ops.const(z[None]), at, geo.h, geo.w)
    both = ops.cat(C.known(ops, model.tables, model.latent, hyper, cfg, ops.const(y[None]), model.local))
    means, scales = np.split(ops.numpy(both)[0], 2, axis=-1)
    for part in chain(*_places(model, geo)):
        coder.group(y[part].ravel(), means[part].ravel(), scales[part].ravel(), _within(bounds, part))
    _check_range(y)


@torch.inference_mode()
@exact
def _read(
    model: Model, geo: Geometry, level: int, coder: _Coder, bounds: Bounds | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """z (zh, zw, Cz) and y (h, w, C) as `coder` finds them; bounds as for `_write`."""
    ops, cfg = model.ops, model.cfg
    z = coder.group(None, *_prior(model, geo, level)).reshape(geo.zh, geo.zw, cfg.hyper)
    y = np.zeros((geo.h, geo.w, cfg.latent), dtype=np.int64)
    places = _places(model, geo)

    def code(s: int, turn: int, params: np.ndarray) -> np.ndarray:
        here, channels = part = places[s][turn]
        means, scales = np.split(params[here].astype(np.int64, copy=False), 2, axis=1)
        y[part] = coder.group(None, means.ravel(), scales.ravel(), _within(bounds, part)).reshape(means.shape)
        return y[..., channels]

    def fill(s: int, turn: int, mask: np.ndarray, mean: Any, scale: Any) -> Any:
        params = ops.numpy(ops.cat([mean, scale]))[0]  # one wait for a GPU, not two
        return ops.const(code(s, turn, params)[None])

    at = anchor(level, cfg.rates)
    if recording := recorded.of(model, geo):
        recording.play(z, at, code)
    else:
        recorded.walk(model, ops.const(z[None]), ops.index([at]), geo.h, geo.w, fill)
    _check_range(y)
    return z, y


def _within(bounds: Bounds | None, part: tuple[np.ndarray, slice]) -> Bounds | None:
    """The bounds of some cells and channels, flat."""
    return None if bounds is None else (bounds[0][part].ravel(), bounds[1][part].ravel())


def _check_range(y: np.ndarray) -> None:
    if np.abs(y).max(initial=0) > LIMIT:
        raise FormatError("damaged: a latent is out of range")


def write(model: Model, geo: Geometry, level: int, z: np.ndarray, y: np.ndarray, bounds: Bounds | None = None) -> bytes:
    """The section's bytes."""
    coder = _Writer(model)
    _write(model, geo, level, coder, z, y, bounds)
    return coder.coder.finish()


def measure(
    model: Model, geo: Geometry, level: int, z: np.ndarray, y: np.ndarray, bounds: Bounds | None = None
) -> float:
    """Its size in bits, without writing it; at most a byte below the truth."""
    coder = _Meter(model)
    _write(model, geo, level, coder, z, y, bounds)
    return coder.bits


def read(model: Model, geo: Geometry, level: int, data: bytes, bounds: Bounds | None = None) -> np.ndarray:
    """y (h, w, C), int64. FormatError if the bytes cannot be."""
    return read_both(model, geo, level, data, bounds)[1]


def read_both(
    model: Model, geo: Geometry, level: int, data: bytes, bounds: Bounds | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """z (zh, zw, Cz) and y: what `write` was given. FormatError if the bytes cannot be."""
    return _read(model, geo, level, _Reader(model, data), bounds)


def read_cut(model: Model, geo: Geometry, level: int, data: bytes) -> np.ndarray:
    """y (h, w, C) of a stream whose end may be missing: what the bytes do not determine is at its mean.

    FormatError if not even z is whole.
    """
    coder = _CutReader(model, data)
    _, y = _read(model, geo, level, coder)
    if not coder.groups:
        raise FormatError(f"too short: {len(data)} bytes of the continuous stream do not make a picture")
    return y


def read_known(model: Model, geo: Geometry, level: int, data: bytes, bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """y (h, w, C) of a stream whose end may be missing, 0 where it is, and what of it is there, (h, w, C) bool."""
    coder = _CutReader(model, data)
    _, y = _read(model, geo, level, coder, bounds)
    known = np.zeros(y.shape, dtype=bool)
    for (here, channels), group in zip(chain(*_places(model, geo)), coder.known[1:], strict=True):
        known[here, channels] = group.reshape(int(here.sum()), channels.stop - channels.start)
    return np.where(known, y, 0), known


def _places(model: Model, geo: Geometry) -> list[list[tuple[np.ndarray, slice]]]:
    """Cells (h, w) bool and channels of each pass of each slice of y, in coding order."""
    ends, counts = np.cumsum([0, *model.cfg.slices]), model.cfg.turns
    return [
        [(cells > 0, slice(start, end)) for cells in C.passes(geo.h, geo.w, n)]
        for (start, end), n in zip(pairwise(ends), counts, strict=True)
    ]


@torch.inference_mode()
@exact
def least(model: Model, geo: Geometry, level: int, data: bytes) -> int:
    """How many bytes of a stream `read_cut` needs at least: those of z."""
    mean, scale = _prior(model, geo, level)
    low, high = 0, len(data)  # `high` is enough
    while low < high:
        middle = (low + high) // 2
        coder = _CutReader(model, data[:middle])
        coder.group(None, mean, scale)
        low, high = (low, middle) if coder.groups else (middle + 1, high)
    return high


def read_map(
    model: Model, geo: Geometry, level: int, data: bytes, cut: bool = False, bounds: Bounds | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """y (h, w, C) and how many bits each cell took (h, w); those of z are shared out evenly."""
    coder = _Mapper(model, _CutReader(model, data) if cut else _Reader(model, data))
    _, y = _read(model, geo, level, coder, bounds)
    z = coder.groups[0].reshape(geo.zh, geo.zw, -1).sum(2) / 16
    spent = np.repeat(np.repeat(z, 4, 0), 4, 1)[: geo.h, : geo.w].copy()
    for (here, channels), group in zip(chain(*_places(model, geo)), coder.groups[1:], strict=True):
        spent[here] += group.reshape(int(here.sum()), channels.stop - channels.start).sum(1)
    return y, spent
