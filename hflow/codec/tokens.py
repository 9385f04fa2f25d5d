"""The index chunks: tokens stage by stage with the predictor's frequencies, then the fill-in of what was not sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hflow.codec.geometry import Geometry, anchor
from hflow.entropy import Decoder, Encoder
from hflow.errors import FormatError
from hflow.masks import STAGES
from hflow.nets import continuous as C
from hflow.nets import predictor as P
from hflow.nets.bundle import Model, exact
from hflow.nets.grids import sent_grid, stage_grid

Code = Callable[[int, np.ndarray | None, np.ndarray], np.ndarray]


@torch.inference_mode()
@exact
def _run(
    model: Model,
    geo: Geometry,
    level: int | None,
    y: np.ndarray | None,
    m: int,
    mask: str,
    code: Code,
    tokens: np.ndarray | None,
) -> np.ndarray:
    """Visits the stages; `code(stage, indices (n, m) or None, frequencies (n, m, V))` returns the indices.

    `level` and `y` are None without a continuous stream. Returns all tokens (th, tw, m): sent ones and filled-in ones.
    """
    ops, p, cfg = model.ops, model.predictor, model.cfg
    t = C.tables(ops)
    at = ops.index([cfg.rates if level is None else anchor(level, cfg.rates)])
    grid = y if y is not None else np.zeros((geo.h, geo.w, cfg.latent))
    ctx = P.context(ops, t, p, ops.const(grid[None]), at)
    known = np.full((2 * geo.h, 2 * geo.w, cfg.m_max), cfg.codewords + P.UNUSED, dtype=np.int64)
    known[..., :m] = cfg.codewords + P.UNKNOWN
    inside = known[: geo.th, : geo.tw]  # a view: what is written here the predictor sees
    sent, stage = sent_grid(geo.th, geo.tw, mask), stage_grid(geo.th, geo.tw)

    def logits(rows: np.ndarray, cols: np.ndarray) -> Any:
        select = ops.index(rows * known.shape[1] + cols)
        return P.logits(ops, t, p, ops.index(known[None]), ctx, select)[:, :m]

    for s in range(1, STAGES + 1):
        rows, cols = np.nonzero(sent & (stage == s))
        if rows.size:
            freq = ops.numpy(ops.frequencies(logits(rows, cols), t["exp2"]))
            given = None if tokens is None else tokens[rows, cols, :m].astype(np.int64)
            inside[rows, cols, :m] = code(s, given, freq)
    rows, cols = np.nonzero(~sent)
    if rows.size:
        inside[rows, cols, :m] = ops.numpy(ops.argmax(logits(rows, cols)))
    return inside[..., :m].copy()


def write(
    model: Model,
    geo: Geometry,
    level: int | None,
    y: np.ndarray | None,
    m: int,
    mask: str,
    tokens: np.ndarray,
    chunked: bool = False,
) -> tuple[list[bytes], np.ndarray]:
    """Tokens (th, tw, >= m) to the index chunks' bytes and the tokens (th, tw, m) that a decoder will hold."""
    coders = [Encoder() for _ in range(STAGES if chunked else 1)]

    def code(s: int, given: np.ndarray | None, freq: np.ndarray) -> np.ndarray:
        assert given is not None
        coders[(s - 1) % len(coders)].encode(given.ravel(), freq.reshape(-1, freq.shape[-1]))
        return given

    full = _run(model, geo, level, y, m, mask, code, tokens)
    return [c.finish() for c in coders], full


def read(
    model: Model, geo: Geometry, level: int | None, y: np.ndarray | None, m: int, mask: str, chunks: tuple[bytes, ...]
) -> np.ndarray:
    """The tokens (th, tw, m), sent and filled in. FormatError if the bytes cannot be."""
    coders = [Decoder(c) for c in chunks]

    if len(chunks) > 1:
        present = {int(s) for s in np.unique(stage_grid(geo.th, geo.tw)[sent_grid(geo.th, geo.tw, mask)])}
        if any(c for s, c in enumerate(chunks, 1) if s not in present):
            raise FormatError("damaged: an index chunk of a stage without tokens is not empty")

    def code(s: int, given: np.ndarray | None, freq: np.ndarray) -> np.ndarray:
        flat = coders[(s - 1) % len(coders)].decode(freq.reshape(-1, freq.shape[-1]))
        return flat.reshape(freq.shape[:2])

    return _run(model, geo, level, y, m, mask, code, None)
