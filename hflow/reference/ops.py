"""The operations (integer.md, section 4) on int64 arrays: vectors along the last axis, grids (row, column, channel)."""

from __future__ import annotations

from math import isqrt

import numpy as np

from hflow.reference.bundle import Layer
from hflow.reference.tables import EXP2, WEIGHT

Array = np.ndarray


def rdiv(a: Array, b: Array | int) -> Array:
    """The quotient rounded to the nearest integer, halves up."""
    return (2 * a + b) // (2 * b)


def linear(x: Array, layer: Layer) -> Array:
    return x @ layer.weight.T + layer.bias


def conv3(x: Array, layer: Layer) -> Array:
    rows, cols, channels = x.shape
    around = np.zeros((rows + 2, cols + 2, channels), np.int64)
    around[1:-1, 1:-1] = x
    sums = np.zeros((rows, cols, len(layer.bias)), np.int64) + layer.bias
    for i in range(3):
        for j in range(3):
            tap = layer.weight[:, (3 * i + j) * channels : (3 * i + j + 1) * channels]
            sums += around[i : i + rows, j : j + cols] @ tap.T
    return sums


def shift(x: Array, s: int, limit: int) -> Array:
    y = (x + 2 ** (s - 1)) // 2**s if s > 0 else x * 2**-s
    return np.clip(y, -limit - 1, limit)


def act(x: Array, layer: Layer) -> Array:
    return shift(x, layer.acc_bits - 4, 127)


def res(x: Array, layer: Layer) -> Array:
    return shift(x, layer.acc_bits - 8, 32767)


def add(x: Array, y: Array) -> Array:
    return np.clip(x + y, -32768, 32767)


def table(x: Array, entries: Array) -> Array:
    return entries[np.clip(x, -128, 127) + 128]


def upscale(x: Array) -> Array:
    rows, cols, four = x.shape
    c = four // 4
    out = np.empty((2 * rows, 2 * cols, c), np.int64)
    for i in range(2):
        for j in range(2):
            out[i::2, j::2] = x[..., (2 * i + j) * c : (2 * i + j + 1) * c]
    return out


def norm(x: Array) -> Array:
    channels = x.shape[-1]
    k = isqrt(channels * 4**5)
    squares = (x * x).sum(-1, keepdims=True) + channels
    r = np.array([isqrt(int(n)) for n in squares.flat], np.int64).reshape(squares.shape)
    return np.clip(rdiv(x * k, r), -128, 127)


def attention(q: Array, k: Array, v: Array, bias: Array) -> Array:
    """Queries (N, D), keys and values (J, D), biases (N, J): (N, D)."""
    score = shift(q @ k.T, 6, 2**20) + bias
    top = score.max(1, keepdims=True)
    e = WEIGHT[np.minimum(top - score, 255)]
    return rdiv(e @ v, e.sum(1, keepdims=True))


def grid_mean(x: Array) -> Array:
    rows, cols, _ = x.shape
    return rdiv(x.sum((0, 1)), rows * cols)


def frequencies(x: Array) -> list[int]:
    """Logits (V,) to V frequencies that sum to 65536."""
    v = len(x)
    e = EXP2[np.minimum(x.max() - x, 511)]
    f = 1 + e * (65536 - v) // e.sum()
    f[argmax(x)] += 65536 - f.sum()
    return f.tolist()


def argmax(x: Array) -> int:
    """The lowest index of the largest value of (V,)."""
    return int(np.flatnonzero(x == x.max())[0])


def scale_index(x: Array, a: int, scales: int) -> Array:
    half = scales // 2
    return shift(x + (half - 32) * 2 ** (a - 3), a - 3, half - 1) + half
