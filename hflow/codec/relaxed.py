"""The size of the continuous stream with gradients: the integer entropy model on latents between integers.

The networks are the bundle's own, rounding and all, with straight-through gradients (`integer.twin`). Contexts see the
integers that a decoder will have, so a value's gradient tells what it costs itself and what it makes others cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hflow.codec.geometry import anchor
from hflow.integer.twin import TwinOps, round_ste
from hflow.nets import continuous as C
from hflow.nets.bundle import Model
from hflow.nets.logistic import table_bits
from hflow.nets.precision import has_bf16


def stream_bits(model: Model, level: int, y: Tensor, hard: Tensor, z: Tensor) -> tuple[Tensor, float]:
    """Bits of z (1, Cz, zh, zw) and y (1, C, h, w), both in steps, a scalar; and bits of both rounded.

    hard: y rounded, with the gradient passed on to y. At integers it is the stream's size but for the shape of the
    tables' tails; between them it rises smoothly, so that a value below its rounding threshold is pulled back too.
    """
    ops, p, cfg = TwinOps(model.device, has_bf16(model.device.type)), model.latent, model.cfg
    t, at = C.tables(ops), ops.index([anchor(level, cfg.rates)])
    y, hard, z = (v.permute(0, 2, 3, 1) for v in (y, hard, z))
    h, w = y.shape[1:3]
    mean, scale = C.hyper_prior(ops, p, at, cfg.scales)
    total = table_bits(z, mean, scale, cfg.scales).sum()
    rounded = float(table_bits(round_ste(z.detach()), mean, scale, cfg.scales).sum())
    hyper = C.hyper_features(ops, t, p, round_ste(z), at, h, w)
    mean, scale = C.known(ops, t, p, hyper, cfg, hard, model.local)
    total = total + table_bits(y, mean, scale, cfg.scales).sum()
    with torch.no_grad():
        rounded += float(table_bits(hard, mean, scale, cfg.scales).sum())
    return total, rounded
