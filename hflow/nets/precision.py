"""What floats are computed in.

bf16 where the machine computes in it; elsewhere fp32: a CPU without it emulates bf16 at a tenth of fp32's speed. Whole
fp32 where two machines are to make the same picture.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from hflow.forks import Lock, in_child


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


# Whose setting, its name, and what it says for whole fp32: a GPU's convolutions, a CPU's products (from torch 2.9 on).
SWITCHES: list[tuple[Any, str, Any]] = [(torch.backends.cudnn, "allow_tf32", False)]
if hasattr(torch.backends.mkldnn, "matmul"):
    SWITCHES.append((torch.backends.mkldnn.matmul, "fp32_precision", "ieee"))


class _Wish:
    """How many threads want whole fp32, and what the switches said before the first."""

    lock = Lock()
    wanted = 0
    before: ClassVar[list[Any]] = []

    @classmethod
    def forget(cls) -> None:
        """In a forked process none of them is left."""
        if cls.wanted:
            _switch(cls.before)
        cls.wanted = 0


in_child(_Wish.forget)


def _switch(values: list[Any]) -> None:
    for (whose, name, _), value in zip(SWITCHES, values, strict=True):
        setattr(whose, name, value)


@contextmanager
def whole_fp32() -> Iterator[None]:
    """No TF32 in a GPU's convolutions, no bf16 in a CPU's products: the same pixels everywhere, to a step of 255.

    Convolutions are in TF32 unless told; bf16 in products is what `torch.set_float32_matmul_precision` may allow.
    They are switches for the whole program, so the first thread turns them and the last one turns them back.
    """
    with _Wish.lock:
        if _Wish.wanted == 0:
            _Wish.before = [getattr(whose, name) for whose, name, _ in SWITCHES]
            _switch([whole for *_, whole in SWITCHES])
        _Wish.wanted += 1
    try:
        yield
    finally:
        with _Wish.lock:
            _Wish.wanted = max(0, _Wish.wanted - 1)  # 0 already in a process forked from within
            if _Wish.wanted == 0:
                _switch(_Wish.before)
