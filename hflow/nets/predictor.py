"""Masked token transformer, integer-only: one network codes the tokens that are sent and fills in those that are not.

HybridFlow 3.1 (cross-attention into the continuous latent in every block, one pass, max logit) with PQ-MIM's heads and
quincunx stages (3.2). Attention works in 8x8 windows of tokens, shifted by half a window in every second block, each
against itself and against the 4x4 cells of the continuous latent under it, so cost grows linearly with pixels.
The network is written once over `ops` (see hflow.integer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from hflow.integer import scales as S
from hflow.integer.twin import QLinear, QTable
from hflow.nets.config import NetConfig
from hflow.nets.continuous import upscale

WINDOW = 8
UNKNOWN, UNUSED = 0, 1  # offsets behind the codewords in the embedding


@dataclass(frozen=True)
class PredictorConfig:
    width: int = 160
    heads: int = 5
    blocks: int = 5
    hidden: int = 384

    @staticmethod
    def of(data: dict) -> PredictorConfig:
        return PredictorConfig(**data)


class PredictorTwin(nn.Module):
    """The trainable parameters; the forward pass is `context` and `logits`."""

    def __init__(self, cfg: NetConfig, size: PredictorConfig) -> None:
        super().__init__()
        d = size.width
        self.embed = nn.ModuleList(QTable(cfg.codewords + 2, d, S.RES, 0.5) for _ in range(cfg.m_max))
        self.y1 = QLinear(9 * cfg.latent, d, S.ACT, 0.5)
        self.y2 = QLinear(9 * d, d, S.ACT)
        self.rate = QTable(cfg.rates + 1, d, S.ACT, 0.1)  # last row: no continuous stream
        self.up = QLinear(d, 4 * d, S.ACT)
        self.blocks = nn.ModuleList(BlockTwin(size) for _ in range(size.blocks))
        self.head = QLinear(d, cfg.m_max * cfg.codewords, S.NORM, 0.5)


class BlockTwin(nn.Module):
    """Self-attention, cross-attention, perceptron; biases by relative position, in sixteenths of an octave."""

    def __init__(self, size: PredictorConfig) -> None:
        super().__init__()
        d = size.width
        small = 0.5 / size.blocks**0.5
        self.qkv = QLinear(d, 3 * d, S.NORM)
        self.out = QLinear(d, d, S.ACT, small)
        self.q = QLinear(d, d, S.NORM)
        self.kv = QLinear(d, 2 * d, S.ACT)
        self.out2 = QLinear(d, d, S.ACT, small)
        self.up = QLinear(d, size.hidden, S.NORM)
        self.down = QLinear(size.hidden, d, S.ACT, small)
        self.bias = QTable((2 * WINDOW - 1) ** 2, size.heads, 4, 0.02)
        self.bias2 = QTable((2 * WINDOW - 2) ** 2, size.heads, 4, 0.02)


def relative_positions() -> tuple[np.ndarray, np.ndarray]:
    """Rows of the bias tables for (token, token) (64, 64) and (token, latent cell) (64, 16)."""
    n, half = WINDOW, WINDOW // 2
    r, c = np.divmod(np.arange(n * n), n)
    own = (r[:, None] - r[None] + n - 1) * (2 * n - 1) + c[:, None] - c[None] + n - 1
    yr, yc = np.divmod(np.arange(half * half), half)
    dr, dc = r[:, None] - 2 * yr[None] + n - 2, c[:, None] - 2 * yc[None] + n - 2
    return own, dr * (2 * n - 2) + dc


def windows(ops: Any, x: Any, n: int, offset: int, heads: int) -> Any:
    """(B, H, W, C) to (B * windows, heads, n*n, C / heads), the grid moved down and right by `offset`, zero-padded."""
    b, h, w, c = x.shape
    x = ops.pad(x, offset, -(h + offset) % n, offset, -(w + offset) % n)
    rows, cols = x.shape[1] // n, x.shape[2] // n
    x = ops.permute(x.reshape(b, rows, n, cols, n, heads, c // heads), (0, 1, 3, 5, 2, 4, 6))
    return x.reshape(b * rows * cols, heads, n * n, c // heads)


def unwindow(ops: Any, x: Any, b: int, h: int, w: int, offset: int) -> Any:
    """The inverse of `windows` for tokens: back to (B, h, w, C)."""
    n = WINDOW
    rows, cols = -(-(h + offset) // n), -(-(w + offset) // n)
    heads, d = x.shape[1], x.shape[3]
    x = ops.permute(x.reshape(b, rows, cols, heads, n, n, d), (0, 1, 4, 2, 5, 3, 6))
    return x.reshape(b, rows * n, cols * n, heads * d)[:, offset : offset + h, offset : offset + w]


def context(ops: Any, t: dict[str, Any], p: Any, y: Any, anchor: Any) -> Any:
    """Latent integers (B, hy, wy, latent), anchor rates (B,) (the last: no continuous stream) to int8 features."""
    rate = ops.embed(p.rate.rows, anchor)
    x = ops.shift(ops.conv3(ops.table(y, t["squash"]), p.y1), p.y1.acc_bits - S.ACT, 127)
    x = ops.table(x + rate.reshape(rate.shape[0], 1, 1, rate.shape[1]), t["gelu"])
    return ops.table(ops.shift(ops.conv3(x, p.y2), p.y2.acc_bits - S.ACT, 127), t["gelu"])


def logits(ops: Any, t: dict[str, Any], p: Any, tokens: Any, ctx: Any, select: Any = None, cross: bool = True) -> Any:
    """Tokens (B, H, W, M) (V: unknown, V + 1: unused) with H, W = 2 hy, 2 wy, and `context`'s features, to logits.

    Result: (B, H, W, M, V), or (n, M, V) at the n positions of the flattened grid that `select` names. Units: 32 to an
    octave. `cross=False` leaves out everything that comes from the continuous stream (for ablations).
    """
    b, h, w, m = tokens.shape
    heads = p.blocks[0].bias.rows.shape[1]
    x = ops.embed(p.embed[0].rows, tokens[..., 0])
    for k in range(1, m):
        x = ops.add(x, ops.embed(p.embed[k].rows, tokens[..., k]))
    if cross:
        x = ops.add(x, ops.shift(upscale(ops, ops.linear(ctx, p.up)), p.up.acc_bits - S.RES, S.RES_MAX))
    own, other = (ops.index(r) for r in relative_positions())
    inside = ops.const(np.ones((1, h, w, 1))), ops.const(np.ones((1, ctx.shape[1], ctx.shape[2], 1)))

    def residual(x: Any, y: Any, layer: Any) -> Any:
        return ops.add(x, ops.shift(ops.linear(y, layer), layer.acc_bits - S.RES, S.RES_MAX))

    for k, blk in enumerate(p.blocks):
        offset = WINDOW // 2 if k % 2 else 0
        valid, valid_y = (windows(ops, v, WINDOW // s, offset // s, 1) for v, s in ((inside[0], 1), (inside[1], 2)))
        valid, valid_y = (ops.permute(v, (0, 1, 3, 2)) for v in (valid, valid_y))
        if b > 1:
            valid, valid_y = ops.tile(valid, b), ops.tile(valid_y, b)

        def parts(y: Any, layer: Any, n: int, size: int = WINDOW, offset: int = offset) -> list[Any]:
            y = ops.shift(ops.linear(y, layer), layer.acc_bits - S.ACT, 127)
            d = y.shape[-1] // n
            return [windows(ops, y[..., i * d : (i + 1) * d], size, offset * size // WINDOW, heads) for i in range(n)]

        q, kk, v = parts(ops.norm(x), blk.qkv, 3)
        bias = ops.permute(ops.embed(blk.bias.rows, own), (2, 0, 1))
        y = ops.attention(q, kk, v, bias, valid, t["attention"])
        x = residual(x, unwindow(ops, y, b, h, w, offset), blk.out)
        if cross:
            (q,) = parts(ops.norm(x), blk.q, 1)
            kk, v = parts(ctx, blk.kv, 2, WINDOW // 2)
            bias = ops.permute(ops.embed(blk.bias2.rows, other), (2, 0, 1))
            y = ops.attention(q, kk, v, bias, valid_y, t["attention"])
            x = residual(x, unwindow(ops, y, b, h, w, offset), blk.out2)
        y = ops.shift(ops.linear(ops.norm(x), blk.up), blk.up.acc_bits - S.ACT, 127)
        x = residual(x, ops.table(y, t["gelu"]), blk.down)
    x = x.reshape(b * h * w, -1)
    if select is not None:
        x = x[select]
    out = ops.shift(ops.linear(ops.norm(x), p.head), p.head.acc_bits - S.LOGIT, S.RES_MAX)
    shape = (b, h, w) if select is None else (x.shape[0],)
    return out.reshape(*shape, m, out.shape[-1] // m)
