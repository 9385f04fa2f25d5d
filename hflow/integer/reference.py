"""Every integer operation in plain numpy int64: short, slow, obvious. The oracle for all backends."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np

from hflow.integer import scales as S

Array = np.ndarray


class NumpyOps:
    """Operations on int64 arrays. Layouts are channel-last: (batch, rows, columns, channels)."""

    def const(self, values: Any) -> Array:
        return np.asarray(values, dtype=np.int64)

    def index(self, values: Any) -> Array:
        """Integers that select rows of a table."""
        return np.asarray(values, dtype=np.int64)

    def numpy(self, x: Array) -> Array:
        return np.asarray(x, dtype=np.int64)

    # shape
    def permute(self, x: Array, dims: Sequence[int]) -> Array:
        return x.transpose(dims)

    def cat(self, xs: Sequence[Array]) -> Array:
        return np.concatenate(xs, axis=-1)

    def stack(self, xs: Sequence[Array]) -> Array:
        """One batch after the other."""
        return np.concatenate(xs)

    def pad(self, x: Array, top: int, bottom: int, left: int, right: int) -> Array:
        """Zeros around the two grid axes of (B, H, W, C)."""
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))

    def tile(self, x: Array, n: int) -> Array:
        """The first axis repeated n times as a whole."""
        return np.concatenate([x] * n)

    def where(self, mask: Array, a: Array, b: Array) -> Array:
        return np.where(mask > 0, a, b)

    # arithmetic
    def linear(self, x: Array, layer: Any) -> Array:
        """int8 (..., K) times weight (N, K) plus bias (N,): exact sums, |sum| < 2^24."""
        return x @ layer.weight.T + layer.bias

    def conv3(self, x: Array, layer: Any) -> Array:
        """3x3 convolution, zero padding: int8 (B, H, W, C), weight (N, 9*C) with taps row by row, channels inner."""
        _, h, w, _ = x.shape
        p = self.pad(x, 1, 1, 1, 1)
        return self.linear(self.cat([p[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]), layer)

    def shift(self, x: Array, bits: int, limit: int) -> Array:
        """floor(x / 2^bits + 1/2), clamped to [-limit - 1, limit]."""
        x = (x + (1 << (bits - 1))) >> bits if bits > 0 else x << -bits
        return np.clip(x, -limit - 1, limit)

    def add(self, x: Array, y: Array) -> Array:
        """Residual sum, clamped to 16 bits."""
        return np.clip(x + y, -S.RES_MAX - 1, S.RES_MAX)

    def table(self, x: Array, t: Array) -> Array:
        """t[x + 128] with x clamped to int8."""
        return t[np.clip(x, -128, 127) + 128]

    def embed(self, t: Array, idx: Array) -> Array:
        """Rows of t (V, C) at idx (...): (..., C)."""
        return t[idx]

    def norm(self, x: Array) -> Array:
        """Root-mean-square normalisation of the last axis, to NORM fractional bits.

        r = isqrt(sum x^2 + C), result floor((2 x k + r) / 2 r), k = isqrt(C * 4^NORM), clamped to int8.
        """
        c = x.shape[-1]
        n = (x * x).sum(-1, keepdims=True) + c
        r = np.array([isqrt(int(v)) for v in n.ravel()], dtype=np.int64).reshape(n.shape)
        return np.clip((2 * x * isqrt(c * 4**S.NORM) + r) // (2 * r), -128, 127)

    def attention(self, q: Array, k: Array, v: Array, bias: Array, valid: Array, t: Array) -> Array:
        """int8 (..., N, D), (..., K, D), (..., K, D); bias (..., N, K); valid (..., 1, K), 0 or 1: int8 (..., N, D).

        Scores are in sixteenths of an octave, weights are t[distance from the largest], the mean is rounded half up.
        """
        s = self.shift(q @ np.swapaxes(k, -1, -2), S.SCORE_SHIFT, 2**20) + bias
        top = np.where(valid > 0, s, -(2**21)).max(-1, keepdims=True)
        e = t[np.clip(top - s, 0, 255)] * valid
        den = np.maximum(e.sum(-1, keepdims=True), 1)
        return (2 * (e @ v) + den) // (2 * den)

    def grid_mean(self, x: Array) -> Array:
        """Mean over the grid of (B, H, W, C), rounded half up: (B, 1, 1, C)."""
        n = x.shape[1] * x.shape[2]
        return (2 * x.sum((1, 2), keepdims=True) + n) // (2 * n)

    def frequencies(self, x: Array, t: Array) -> Array:
        """Logits (..., V) to frequencies >= 1 that sum to 2^16; what rounding leaves goes to the first maximum."""
        v = x.shape[-1]
        e = t[np.clip(x.max(-1, keepdims=True) - x, 0, 511)]
        f = 1 + e * (2**S.FREQ_BITS - v) // e.sum(-1, keepdims=True)
        rest = 2**S.FREQ_BITS - f.sum(-1, keepdims=True)
        first = np.arange(v) == x.argmax(-1)[..., None]
        return f + rest * first

    def argmax(self, x: Array) -> Array:
        """Index of the largest, the lowest where several are."""
        return x.argmax(-1)
