"""bf16 where the machine computes in it; elsewhere fp32: a CPU without it emulates bf16 at a tenth of fp32's speed."""

from __future__ import annotations

import functools

import torch


@functools.cache
def has_bf16(device: str) -> bool:
    """Whether products in bf16 run at full speed on a device ("cpu", "cuda", "cuda:0", ...)."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def mixed(device: str | torch.device) -> torch.autocast:
    """Mixed precision for a forward pass, as a context; does nothing where bf16 would be emulated."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=has_bf16(kind))
