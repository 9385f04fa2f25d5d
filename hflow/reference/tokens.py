"""Tokens (decoding.md, section 4): index chunks and context to all tokens."""

from __future__ import annotations

import numpy as np

from hflow.errors import FormatError
from hflow.reference.bundle import Bundle
from hflow.reference.masks import stage
from hflow.reference.ops import argmax, frequencies
from hflow.reference.predictor import logits
from hflow.reference.range_decoder import CutDecoder, RangeDecoder


def tokens(
    bundle: Bundle, chunks: tuple[bytes, ...], cut: bool, sent: np.ndarray, m: int, ctx: np.ndarray
) -> np.ndarray:
    """All tokens (rows, columns, m), of which those of `sent` (rows, columns) are in the chunks; the rest is filled in.

    cut: the chunks' ends may be missing. FormatError for chunks that cannot be.
    """
    state = np.full((2 * ctx.shape[0], 2 * ctx.shape[1], bundle.m_max), bundle.codewords + 1, np.int64)
    state[..., :m] = bundle.codewords
    positions = list(np.ndindex(*sent.shape))
    known = set()
    decoders = [CutDecoder(chunk) if cut else RangeDecoder(chunk) for chunk in chunks]
    if len(chunks) == 1 and chunks[0] and not sent.any():
        raise FormatError("damaged: an index chunk without tokens is not empty")
    for s in range(1, 6):
        coded = [(r, c) for r, c in positions if sent[r, c] and stage(r, c) == s]
        if not coded:
            if len(chunks) == 5 and chunks[s - 1]:
                raise FormatError("damaged: an index chunk without tokens is not empty")
            continue
        decoder = decoders[s - 1] if len(chunks) == 5 else decoders[0]
        o = logits(bundle, state, ctx)
        for r, c in coded:
            indices = [decoder.symbol(frequencies(o[r, c, k])) for k in range(m)]
            if None not in indices:
                state[r, c, :m] = indices
                known.add((r, c))
    rest = [(r, c) for r, c in positions if (r, c) not in known]
    if rest:
        o = logits(bundle, state, ctx)
        for r, c in rest:
            state[r, c, :m] = [argmax(o[r, c, k]) for k in range(m)]
    return state[: sent.shape[0], : sent.shape[1], :m].copy()
