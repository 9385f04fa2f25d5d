"""Trained twins to the integers that ship, with the proof that fp32 accumulation is exact."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hflow.integer.scales import ACC_LIMIT
from hflow.integer.twin import QLinear, QTable


class BoundError(ValueError):
    """A layer's sums could reach 2^24."""


def bound(weight: np.ndarray, bias: np.ndarray, max_in: int = 128) -> int:
    """Largest |sum| that any input of magnitude <= max_in can reach, over output channels."""
    return int((np.abs(weight.astype(np.int64)).sum(1) * max_in + np.abs(bias.astype(np.int64))).max())


@torch.no_grad()
def export(module: nn.Module) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """(flat parameters by name, proven bound of each linear layer). Raises BoundError where a bound fails."""
    flat: dict[str, np.ndarray] = {}
    bounds: dict[str, int] = {}
    for name, part in module.named_modules():
        if isinstance(part, QLinear):
            if not all(torch.isfinite(p).all() for p in part.parameters()):
                raise ValueError(f"{name}: parameters are not finite, the run diverged")
            weight = part.weight.cpu().numpy().astype(np.int8)
            bias = part.bias.cpu().numpy().astype(np.int32)
            # Rounding and the scale index add at most two units to a sum.
            bounds[name] = bound(weight, bias) + 2 ** (part.acc_bits + 1)
            if bounds[name] >= ACC_LIMIT:
                raise BoundError(f"{name}: sums could reach {bounds[name]}, the limit is {ACC_LIMIT}")
            flat[f"{name}.weight"], flat[f"{name}.bias"] = weight, bias
            flat[f"{name}.acc_bits"] = np.array(part.acc_bits, dtype=np.int32)
        elif isinstance(part, QTable):
            if not torch.isfinite(part.t).all():
                raise ValueError(f"{name}: parameters are not finite, the run diverged")
            flat[f"{name}.rows"] = part.rows.cpu().numpy().astype(np.int16)
    return flat, bounds
