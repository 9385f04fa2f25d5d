"""How large the continuous stream will be, guessed from the linear part of the latent alone: where a search begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hflow.codec.geometry import RATE_ONE
from hflow.nets.bundle import Model

# Log bits of a cell from log activity a and rate r: a, r, a r, a^2, 1. Fitted to bundle hf16 on training photos
# (`python -m hflow.train.guess`), within some 14 per cent; another bundle's search may take a guess more.
FIT = (0.5671, 1.1689, -0.0486, 0.051, 1.0779)


@torch.inference_mode()
def activity(model: Model, linear: Tensor, rate: float) -> float:
    """Mean over the cells of the sum of log2(1 + |v|), v the linear latent (1, C, h, w) in steps at a rate."""
    gain = model.nets.gain(torch.tensor([rate], dtype=torch.float32, device=linear.device))
    magnitude = (linear * gain).abs()
    return float(torch.log2(1 + (magnitude - 0.1).clamp_min(0)).sum((1, 2, 3)) / linear[0, 0].numel())


def terms(model: Model, linear: Tensor, rate: float) -> tuple[float, ...]:
    """What FIT weighs."""
    a = math.log(max(activity(model, linear, rate), 1e-3))
    return a, rate, a * rate, a * a, 1.0


def stream_bytes(model: Model, linear: Tensor, level: float) -> float:
    """Guessed bytes of the continuous stream at a rate level, which may lie between two."""
    log_bits = sum(k * v for k, v in zip(FIT, terms(model, linear, level / RATE_ONE), strict=True))
    return math.exp(log_bits) * linear[0, 0].numel() / 8
