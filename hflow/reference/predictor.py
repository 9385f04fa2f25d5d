"""The predictor (decoding.md, section 5): state and context to logits."""

from __future__ import annotations

import numpy as np

from hflow.reference.bundle import Bundle
from hflow.reference.ops import act, add, attention, conv3, linear, norm, res, shift, table, upscale
from hflow.reference.tables import GELU, SQUASH

Windows = dict[tuple[int, int], np.ndarray]


def context(bundle: Bundle, y: np.ndarray, anchor: int) -> np.ndarray:
    """Section 5.1: y (h, w, C) to ctx (h, w, d)."""
    y1, y2 = bundle.layer("predictor.y1"), bundle.layer("predictor.y2")
    x = act(conv3(table(y, SQUASH), y1), y1)
    x = table(x + bundle.rows("predictor.rate")[anchor], GELU)
    return table(act(conv3(x, y2), y2), GELU)


def logits(bundle: Bundle, state: np.ndarray, ctx: np.ndarray) -> np.ndarray:
    """State (2h, 2w, M) and ctx (h, w, d) to (2h, 2w, M, V)."""
    x = inputs(bundle, state, ctx)
    for b in range(bundle.count("predictor.blocks")):
        x = block(bundle, b, x, ctx)
    head = bundle.layer("predictor.head")
    o = shift(linear(norm(x), head), head.acc_bits - 5, 32767)
    return o.reshape(*x.shape[:2], bundle.m_max, bundle.codewords)


def inputs(bundle: Bundle, state: np.ndarray, ctx: np.ndarray) -> np.ndarray:
    """Section 5.2."""
    x = bundle.rows("predictor.embed.0")[state[..., 0]]
    for k in range(1, bundle.m_max):
        x = add(x, bundle.rows(f"predictor.embed.{k}")[state[..., k]])
    up = bundle.layer("predictor.up")
    return add(x, res(upscale(linear(ctx, up)), up))


def block(bundle: Bundle, b: int, x: np.ndarray, ctx: np.ndarray) -> np.ndarray:
    """Section 5.4."""
    names = ("qkv", "out", "q", "kv", "out2", "up", "down")
    qkv, out, q_, kv, out2, up, down = (bundle.layer(f"predictor.blocks.{b}.{name}") for name in names)
    offset = 4 * (b % 2)
    tokens = windows(x.shape[0], x.shape[1], 8, offset)
    cells = windows(ctx.shape[0], ctx.shape[1], 4, offset // 2)

    q, k, v = np.split(act(linear(norm(x), qkv), qkv), 3, axis=-1)
    bias = bundle.rows(f"predictor.blocks.{b}.bias")
    x = add(x, res(linear(attend(q, k, v, tokens, tokens, bias, 1), out), out))
    q = act(linear(norm(x), q_), q_)
    k, v = np.split(act(linear(ctx, kv), kv), 2, axis=-1)
    bias = bundle.rows(f"predictor.blocks.{b}.bias2")
    x = add(x, res(linear(attend(q, k, v, tokens, cells, bias, 2), out2), out2))
    m = table(act(linear(norm(x), up), up), GELU)
    return add(x, res(linear(m, down), down))


def windows(rows: int, cols: int, size: int, offset: int) -> Windows:
    """Section 5.3: the members (row, column, i, j) of each window, (n, 4)."""
    found: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for r in range(rows):
        for c in range(cols):
            (a, i), (b, j) = divmod(r + offset, size), divmod(c + offset, size)
            found.setdefault((a, b), []).append((r, c, i, j))
    return {window: np.array(members) for window, members in found.items()}


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, queries: Windows, keys: Windows, bias: np.ndarray, unit: int
) -> np.ndarray:
    """self (unit 1: keys are tokens) and cross (unit 2: keys are cells, two tokens wide) of section 5.3.

    A difference of places is unit - 8 to 7 each way; the table of biases has a row for every pair of them.
    """
    heads = bias.shape[1]
    size, span, low = q.shape[-1] // heads, 16 - unit, 8 - unit
    out = np.empty_like(q)
    for window, here in queries.items():
        r, c, i, j = here.T
        r2, c2, i2, j2 = keys[window].T
        rows = span * (i[:, None] - unit * i2 + low) + (j[:, None] - unit * j2 + low)
        for a in range(heads):
            part = slice(a * size, (a + 1) * size)
            out[r, c, part] = attention(q[r, c, part], k[r2, c2, part], v[r2, c2, part], bias[rows, a])
    return out
