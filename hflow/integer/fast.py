"""The integer operations in torch, on CPU or CUDA, equal to the reference bit for bit.

Integers live in fp32 tensors: products of 8-bit numbers and all their partial sums stay below 2^24 (export proves it
per output channel), so a GEMM with fp32 accumulation is exact in any order of summation, and its inputs also fit TF32
and bf16. Wider sums and divisions use fp64: a correctly rounded quotient of integers below 2^50 has the right floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.integer import scales as S

HALF, ZERO = (torch.from_numpy(np.array(v, dtype=np.float32)) for v in (0.5, 0.0))


def pick(t: Tensor, at: Tensor) -> Tensor:
    """t[at] of t (N,) for whole numbers in any shape: a third of the time that indexing takes."""
    return t.index_select(0, at.to(torch.int32).reshape(-1)).reshape(at.shape)


class TorchOps:
    """Operations on fp32 tensors that hold integers. Layouts are channel-last: (batch, rows, columns, channels)."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)

    def const(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def index(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.int64), device=self.device)

    def numpy(self, x: Tensor) -> np.ndarray:
        return x.cpu().numpy().astype(np.int64)

    # shape
    def permute(self, x: Tensor, dims: Sequence[int]) -> Tensor:
        return x.permute(*dims)

    def cat(self, xs: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(xs), -1)

    def stack(self, xs: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(xs))

    def pad(self, x: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
        return F.pad(x, (0, 0, left, right, top, bottom))

    def tile(self, x: Tensor, n: int) -> Tensor:
        return x.repeat(n, *[1] * (x.dim() - 1))

    def where(self, mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask > 0, a, b)

    # arithmetic
    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def linear(self, x: Tensor, layer: Any) -> Tensor:
        return F.linear(x, layer.weight, layer.bias if isinstance(layer.bias, Tensor) else None)

    def conv3(self, x: Tensor, layer: Any) -> Tensor:
        b, h, w, c = x.shape
        p = self.pad(x, 1, 1, 1, 1)
        image, row, column, _ = p.stride()
        rows = p.as_strided((b, h, w, 3, 3 * c), (image, row, column, row, 1))  # three neighbours lie side by side
        return self.linear(rows.reshape(b, h, w, 9 * c), layer)

    def shift(self, x: Tensor, bits: int, limit: int) -> Tensor:
        # Powers of two: product and sum are exact below 2^24, in one pass; the rest is done in place.
        return torch.add(HALF if bits > 0 else ZERO, x, alpha=2.0**-bits).floor_().clamp_(-limit - 1, limit)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).clamp(-S.RES_MAX - 1, S.RES_MAX)

    def table(self, x: Tensor, t: Tensor) -> Tensor:
        return pick(t, x.clamp(-128, 127).add_(128))

    def embed(self, t: Tensor, idx: Tensor) -> Tensor:
        return t[idx]

    def norm(self, x: Tensor) -> Tensor:
        c = x.shape[-1]
        wide = x.double()
        n = wide.square().sum(-1, keepdim=True) + c
        r = torch.floor(n.sqrt())
        r = r - (r * r > n).double()
        r = r + ((r + 1) * (r + 1) <= n).double()
        return torch.floor((wide * (2 * isqrt(c * 4**S.NORM)) + r) / (2 * r)).clamp(-128, 127).float()

    def attention(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        s = self.shift(self.matmul(q, k.transpose(-1, -2)), S.SCORE_SHIFT, 2**20) + bias
        top = torch.where(valid > 0, s, -(2.0**21)).amax(-1, keepdim=True)
        e = pick(t, (top - s).clamp(0, 255)) * valid
        den = e.double().sum(-1, keepdim=True).clamp_min(1)
        return torch.floor((2 * self.matmul(e, v).double() + den) / (2 * den)).float()

    def grid_mean(self, x: Tensor) -> Tensor:
        n = x.shape[1] * x.shape[2]
        return x.sum((1, 2), keepdim=True, dtype=torch.float64).mul_(2).add_(n).div_(2 * n).floor_().float()

    def frequencies(self, x: Tensor, t: Tensor) -> Tensor:
        v = x.shape[-1]
        e = pick(t, (x.amax(-1, keepdim=True) - x).clamp(0, 511)).double()
        f = 1 + torch.floor(e * (2**S.FREQ_BITS - v) / e.sum(-1, keepdim=True))
        rest = 2**S.FREQ_BITS - f.sum(-1)
        first = self.argmax(x)
        return f.scatter_add(-1, first[..., None], rest[..., None])

    def argmax(self, x: Tensor) -> Tensor:
        # torch.argmax promises no order among equals: take the lowest position that holds the maximum.
        v = x.shape[-1]
        pos = torch.arange(v, device=x.device)
        return torch.where(x == x.amax(-1, keepdim=True), pos, v).amin(-1)
