"""The index chunks: tokens stage by stage with the predictor's frequencies, then the fill-in of what was not sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hflow.codec.geometry import Geometry, anchor
from hflow.entropy import CutDecoder, Decoder, Encoder
from hflow.errors import FormatError
from hflow.integer.scales import FREQ_BITS
from hflow.masks import STAGES
from hflow.nets import predictor as P
from hflow.nets.bundle import Model
from hflow.nets.caller import exact
from hflow.nets.grids import stage_grid

# (stage, positions (n, 2), frequencies (n, m, V)) to the indices (n, m) and which positions are known (n,)
Code = Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@torch.inference_mode()
@exact
def _run(
    model: Model, geo: Geometry, level: int | None, y: np.ndarray | None, m: int, sent: np.ndarray, code: Code
) -> tuple[np.ndarray, np.ndarray]:
    """Visits the stages, then fills in what is not known.

    `level` and `y` are None without a continuous stream. Returns all tokens (th, tw, m) and which are known (th, tw).
    """
    ops, p, cfg = model.ops, model.predictor, model.cfg
    t = model.tables
    at = ops.index([cfg.rates if level is None else anchor(level, cfg.rates)])
    grid = y if y is not None else np.zeros((geo.h, geo.w, cfg.latent))
    ctx = P.context(ops, t, p, ops.const(grid[None]), at)
    state = np.full((2 * geo.h, 2 * geo.w, cfg.m_max), cfg.codewords + P.UNUSED, dtype=np.int64)
    state[..., :m] = cfg.codewords + P.UNKNOWN
    inside = state[: geo.th, : geo.tw]  # a view: what is written here the predictor sees
    known, stage = np.zeros_like(sent), stage_grid(geo.th, geo.tw)

    def logits(rows: np.ndarray, cols: np.ndarray) -> Any:
        select = ops.index(rows * state.shape[1] + cols)
        return P.logits(ops, t, p, ops.index(state[None]), ctx, select)[:, :m]

    for s in range(1, STAGES + 1):
        rows, cols = np.nonzero(sent & (stage == s))
        if rows.size:
            freq = ops.numpy(ops.frequencies(logits(rows, cols), t["exp2"]))
            values, there = code(s, np.stack([rows, cols], 1), freq)
            rows, cols = rows[there], cols[there]
            inside[rows, cols, :m] = values[there]
            known[rows, cols] = True
    rows, cols = np.nonzero(~known)
    if rows.size:
        inside[rows, cols, :m] = ops.numpy(ops.argmax(logits(rows, cols)))
    return inside[..., :m].copy(), known


def write(
    model: Model,
    geo: Geometry,
    level: int | None,
    y: np.ndarray | None,
    m: int,
    sent: np.ndarray,
    tokens: np.ndarray,
    chunked: bool = False,
) -> tuple[list[bytes], np.ndarray]:
    """Tokens (th, tw, >= m), of which those where `sent` (th, tw) is true are sent.

    Returns the index chunks' bytes and the tokens (th, tw, m) that a decoder will hold.
    """
    coders = [Encoder() for _ in range(STAGES if chunked else 1)]

    def code(s: int, at: np.ndarray, freq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = tokens[at[:, 0], at[:, 1], :m].astype(np.int64)
        coders[(s - 1) % len(coders)].encode(given.ravel(), freq.reshape(-1, freq.shape[-1]))
        return given, np.ones(len(at), dtype=np.bool_)

    full, _ = _run(model, geo, level, y, m, sent, code)
    return [c.finish() for c in coders], full


def price(
    model: Model, geo: Geometry, level: int | None, y: np.ndarray | None, m: int, sent: np.ndarray, tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """How many bits each token that is sent would take (th, tw), and the tokens (th, tw, m) that a decoder holds."""
    spent = np.zeros(sent.shape)

    def code(s: int, at: np.ndarray, freq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = tokens[at[:, 0], at[:, 1], :m].astype(np.int64)
        spent[at[:, 0], at[:, 1]] = bits(given, freq)
        return given, np.ones(len(at), dtype=np.bool_)

    full, _ = _run(model, geo, level, y, m, sent, code)
    return spent, full


def bits(values: np.ndarray, freq: np.ndarray) -> np.ndarray:
    """What indices (n, m) take under frequencies (n, m, V), (n,)."""
    took: np.ndarray = FREQ_BITS - np.log2(np.take_along_axis(freq, values[..., None], 2)[..., 0])
    return took.sum(1)


def _check(geo: Geometry, sent: np.ndarray, chunks: tuple[bytes, ...]) -> None:
    """FormatError if there are bytes in a chunk without tokens: nobody would read them."""
    stages = stage_grid(geo.th, geo.tw)[sent]
    for s, chunk in enumerate(chunks, 1):
        if chunk and not (stages == s if len(chunks) > 1 else stages).any():
            raise FormatError("damaged: an index chunk without tokens is not empty")


def _decoder(chunks: tuple[bytes, ...], cut: bool) -> Code:
    """What reads the stages of these chunks; with `cut` their end may be missing."""
    coders = [CutDecoder(c) if cut else Decoder(c) for c in chunks]

    def code(s: int, at: np.ndarray, freq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = coders[(s - 1) % len(coders)].decode(freq.reshape(-1, freq.shape[-1]))
        flat, there = found if isinstance(found, tuple) else (found, np.ones(len(found), dtype=np.bool_))
        whole: np.ndarray = np.logical_and.reduce(there.reshape(freq.shape[:2]), axis=1)
        return flat.reshape(freq.shape[:2]), whole

    return code


def read(
    model: Model, geo: Geometry, level: int | None, y: np.ndarray | None, m: int, sent: np.ndarray,
    chunks: tuple[bytes, ...],
) -> np.ndarray:  # fmt: skip
    """The tokens (th, tw, m), sent and filled in. FormatError if the bytes cannot be."""
    _check(geo, sent, chunks)
    return _run(model, geo, level, y, m, sent, _decoder(chunks, False))[0]


def read_cut(
    model: Model, geo: Geometry, level: int | None, y: np.ndarray | None, m: int, sent: np.ndarray,
    chunks: tuple[bytes, ...],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Tokens (th, tw, m) of chunks whose end may be missing, and which of them the bytes determine (th, tw)."""
    _check(geo, sent, chunks)
    return _run(model, geo, level, y, m, sent, _decoder(chunks, True))


def read_map(
    model: Model, geo: Geometry, level: int | None, y: np.ndarray | None, m: int, sent: np.ndarray,
    chunks: tuple[bytes, ...], cut: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """How many bits each token took (th, tw), which are there, and which of these the predictor had right (th, tw)."""
    read_stage = _decoder(chunks, cut)
    spent, right = np.zeros(sent.shape), np.zeros(sent.shape, dtype=np.bool_)

    def code(s: int, at: np.ndarray, freq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, whole = read_stage(s, at, freq)
        spent[at[:, 0], at[:, 1]] = bits(values, freq) * whole
        right[at[:, 0], at[:, 1]] = (values == freq.argmax(2)).all(1) & whole
        return values, whole

    _, known = _run(model, geo, level, y, m, sent, code)
    return spent, known, right
