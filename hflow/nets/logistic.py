"""Bits under a logistic distribution: what the frequency tables of the latent say, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def logistic_bits(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Bits of the unit-wide bin around `x` under a logistic distribution."""
    inv = torch.exp(-log_scale)
    d = (x - mean).abs()
    # Both terms on the side where the sigmoid is small, so that far tails keep their precision.
    p = torch.sigmoid((0.5 - d) * inv) - torch.sigmoid((-0.5 - d) * inv)
    return -torch.log2(p.clamp_min(1e-6))
