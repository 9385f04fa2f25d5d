"""Latent residual prediction: what rounding took from the latent, guessed from the rounded one and its neighbours.

After Minnen and Singh (ICIP 2020, 3.2), who predict the rounding error from what is already decoded, slice by slice.
Here one network sees the whole latent, costs no bits, and learns what makes the better picture instead: it works on
the 1/32 grid, so even a deep one is a small part of a decode.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.nets.blocks import conv, stack
from hflow.nets.config import NetConfig


class LatentResidual(nn.Module):
    """y (B, C, h, w) in whole steps and rate (B,) to a change of y, in steps."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        width, depth = cfg.residual
        self.inp, self.rate = conv(3 * cfg.latent, width, 1), nn.Linear(1, width)
        self.body, self.out = stack(width, depth), conv(width, cfg.latent, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, y: Tensor, rate: Tensor) -> Tensor:
        known = torch.cat([y.sign() * y.abs().log1p(), (y != 0).to(y.dtype), y.clamp(-3, 3)], 1)
        h = self.inp(known) + self.rate(rate[:, None])[:, :, None, None]
        change: Tensor = self.out(F.leaky_relu(self.body(h), 0.1))
        return change


def with_residual(nets: Any, y: Tensor, rate: Tensor) -> Tensor:
    """y (B, C, h, w) in steps with its predicted residual; as it is, if `nets.residual` is None."""
    changed: Tensor = y if nets.residual is None else y + nets.residual(y, rate)
    return changed
