"""What floats are computed in.

bf16 where the machine computes in it; elsewhere fp32: a CPU without it emulates bf16 at a tenth of fp32's speed. Whole
fp32 where two machines are to make the same picture.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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


class _Switches:
    """How many threads want whole fp32; what a GPU's convolutions (TF32 unless told) and a CPU's products were told."""

    lock = threading.Lock()
    wanted, told, products = 0, True, "none"


@contextmanager
def whole_fp32() -> Iterator[None]:
    """No TF32 in a GPU's convolutions, no bf16 in a CPU's products: the same pixels everywhere, to a step of 255.

    Convolutions are in TF32 unless told; bf16 in products is what `torch.set_float32_matmul_precision` may allow.
    They are switches for the whole program, so the first thread turns them and the last one turns them back.
    """
    state, switch = _Switches, torch.backends.cudnn
    products = getattr(torch.backends.mkldnn, "matmul", None)  # from torch 2.9 on
    with state.lock:
        if state.wanted == 0:
            state.told, switch.allow_tf32 = switch.allow_tf32, False
            if products is not None:
                state.products, products.fp32_precision = products.fp32_precision, "ieee"
        state.wanted += 1
    try:
        yield
    finally:
        with state.lock:
            state.wanted -= 1
            if state.wanted == 0:
                switch.allow_tf32 = state.told
                if products is not None:
                    products.fp32_precision = state.products
