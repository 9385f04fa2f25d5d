"""Tokens (decoding.md, section 4): index chunks and context to all tokens."""

from __future__ import annotations

import numpy as np

from hflow.errors import FormatError
from hflow.reference.bundle import Bundle
from hflow.reference.ops import argmax, frequencies
from hflow.reference.predictor import logits
from hflow.reference.range_decoder import RangeDecoder


def sent(row: int, col: int, schedule: str) -> bool:
    """Section 4.1: whether the token is sent."""
    if schedule in ("1_16", "1_9", "1_4"):
        n = {"1_16": 4, "1_9": 3, "1_4": 2}[schedule]
        return row % n == 0 and col % n == 0
    return {"none": False, "1_2": (row + col) % 2 == 0, "all": True}[schedule]


def stage(row: int, col: int) -> int:
    """Section 4.1: the quincunx stage."""
    if (row + col) % 2 == 1:
        return 5
    if row % 2 == 1:
        return 4
    if row % 4 == 0 and col % 4 == 0:
        return 1
    if row % 4 == 2 and col % 4 == 2:
        return 2
    return 3


def tokens(
    bundle: Bundle, chunks: tuple[bytes, ...], schedule: str, m: int, grid: tuple[int, int], ctx: np.ndarray
) -> np.ndarray:
    """All tokens (*grid, m), sent and filled in. FormatError for chunks that cannot be."""
    state = np.full((2 * ctx.shape[0], 2 * ctx.shape[1], bundle.m_max), bundle.codewords + 1, np.int64)
    state[..., :m] = bundle.codewords
    positions = [(r, c) for r in range(grid[0]) for c in range(grid[1])]
    decoders = [RangeDecoder(chunk) for chunk in chunks]
    for s in range(1, 6):
        coded = [(r, c) for r, c in positions if sent(r, c, schedule) and stage(r, c) == s]
        if not coded:
            if len(chunks) == 5 and chunks[s - 1]:
                raise FormatError("damaged: an index chunk of a stage without tokens is not empty")
            continue
        decoder = decoders[s - 1] if len(chunks) == 5 else decoders[0]
        o = logits(bundle, state, ctx)
        for r, c in coded:
            for k in range(m):
                state[r, c, k] = decoder.symbol(frequencies(o[r, c, k]))
    rest = [(r, c) for r, c in positions if not sent(r, c, schedule)]
    if rest:
        o = logits(bundle, state, ctx)
        for r, c in rest:
            for k in range(m):
                state[r, c, k] = argmax(o[r, c, k])
    return state[: grid[0], : grid[1], :m].copy()
