"""Bits under a logistic distribution: what the frequency tables of the latent say, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from hflow.integer import scales as S


def logistic_bits(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of the unit-wide bin around `x` under a logistic distribution."""
    inv = torch.exp(-log_scale)
    d = (x - mean).abs()
    # Both terms on the side where the sigmoid is small, so that far tails keep their precision.
    p = torch.sigmoid((0.5 - d) * inv) - torch.sigmoid((-0.5 - d) * inv)
    return -torch.log2(p.clamp_min(1e-6))


def table_bits(x: Tensor, mean: Tensor, scale: Tensor, scales: int) -> Tensor:
    """Bits of values as the entropy model's tables have them: mean in eighths, scale an index, one of `scales`."""
    return logistic_bits(x, mean / 2**S.MEAN, S.log_scale(scale, scales))
