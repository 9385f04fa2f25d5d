"""Distances of feature maps, a scalar each, with their gradients worked out by hand.

Autograd would read such a map some twenty times and keep half as many copies of it, and memory is what a gradient of
large maps waits for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

EPS = 1e-3  # least length that a feature is divided by


def unit(h: Tensor) -> Tensor:
    """Features (B, C, H, W) at unit length at every place, in fp32."""
    return h / _length(h)


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Squares of a - b, both (B, C, H, W), summed over channels; the mean over places."""
    return _Squared.apply(a, b)


def spread(h: Tensor, own: Tensor, by: Tensor) -> Tensor:
    """Mean square of (unit(h) - own) / by; h and own (B, C, H, W), by (1, C, 1, 1). Only h has a gradient."""
    return _Spread.apply(h, own, by)


def _length(h: Tensor) -> Tensor:
    return torch.linalg.vector_norm(h, dim=1, keepdim=True, dtype=torch.float32).clamp_(min=EPS)


def _squares(d: Tensor) -> Tensor:
    return torch.linalg.vector_norm(d, dtype=torch.float32).square()


class _Squared(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        d = a - b
        ctx.save_for_backward(d)
        ctx.places = d.numel() // d.shape[1]
        return _squares(d) / ctx.places

    @staticmethod
    def backward(ctx: Any, *down: Tensor) -> tuple[Tensor, Tensor | None]:
        (d,) = ctx.saved_tensors
        a = d * (down[0] * (2 / ctx.places))
        return a, -a if ctx.needs_input_grad[1] else None


class _Spread(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, own: Tensor, by: Tensor) -> Tensor:
        length = _length(h)
        direction = h / length
        d = (direction - own).div_(by)
        ctx.save_for_backward(direction, length, d, by)
        ctx.dtype = h.dtype
        return _squares(d) / d.numel()

    @staticmethod
    def backward(ctx: Any, *down: Tensor) -> tuple[Tensor, None, None]:
        direction, length, d, by = ctx.saved_tensors
        d = d * (down[0] * (2 / d.numel()) / by)
        along = (d * direction).sum(1, keepdim=True)  # where length is divided by, nothing is to be gained that way
        along.masked_fill_(length == EPS, 0)
        return d.addcmul_(direction, along, value=-1).div_(length).to(ctx.dtype), None, None
