"""Trainable twins: the integer operations with the same rounding and straight-through gradients.

Parameters are floats in real units; in the forward pass they are the integers that export will store. Products may run
in bf16 (their inputs are exact there), which rounds an occasional sum: good enough to train, and the exported network
is evaluated by the exact backends.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.integer import scales as S
from hflow.integer.fast import TorchOps, pick


def round_ste(x: Tensor) -> Tensor:
    """Rounds half up; the gradient passes."""
    return x + (torch.floor(x + 0.5) - x).detach()


class QLinear(nn.Module):
    """int8 weights (N, K) with a power-of-two scale, bias in the accumulator's units.

    `in_bits`: fractional bits of the input; `acc_bits`: of the accumulated sums.
    """

    def __init__(self, cin: int, cout: int, in_bits: int, gain: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(cout, cin) * (gain / math.sqrt(cin)))
        self.b = nn.Parameter(torch.zeros(cout))
        self.w_bits = max(4, round(math.log2(math.sqrt(cin))) + 3)
        self.acc_bits = self.w_bits + in_bits

    @property
    def weight(self) -> Tensor:
        return round_ste((self.w * 2.0**self.w_bits).clamp(-127, 127))

    @property
    def bias(self) -> Tensor:
        return round_ste(self.b * 2.0**self.acc_bits)

    @torch.no_grad()
    def confine(self, share: float = 0.98) -> None:
        """Draws weights back to what an int8 holds, and rows to a sum of magnitudes that export can prove exact.

        A step towards the projection onto the L1 ball (Duchi et al., ICML 2008): all weights of a row shrink alike. To
        be called after every optimizer step.
        """
        w = self.w.clamp_(-127 * 2.0**-self.w_bits, 127 * 2.0**-self.w_bits)
        room = (share * S.ACC_LIMIT - (self.b.abs() + 2) * 2.0**self.acc_bits) / (128 * 2.0**self.w_bits)
        over = (w.abs().sum(1) - room).clamp_min(0) / w.count_nonzero(1).clamp_min(1)
        w.copy_(w.sign() * (w.abs() - over[:, None]).clamp_min(0))


class QTable(nn.Module):
    """A table of integers (rows, channels) with `bits` fractional bits: embeddings, biases per setting or offset."""

    def __init__(self, rows: int, channels: int, bits: int, std: float) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.randn(rows, channels) * std)
        self.bits = bits

    @property
    def rows(self) -> Tensor:
        return round_ste((self.t * 2.0**self.bits).clamp(-S.RES_MAX, S.RES_MAX))


def confine(twin: nn.Module) -> None:
    """`QLinear.confine` for all layers."""
    for layer in twin.modules():
        if isinstance(layer, QLinear):
            layer.confine()


class _Table(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, t: Tensor) -> Tensor:
        i = x.clamp(-128, 127).add(128).to(torch.int32)
        slope = torch.zeros_like(t)
        slope[1:-1] = (t[2:] - t[:-2]) / 2
        ctx.save_for_backward(i, slope)
        return pick(t, i)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        i, slope = ctx.saved_tensors
        return grad * pick(slope, i), None


class _Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int, limit: int) -> Tensor:
        y = torch.floor(x * 2.0**-bits + 0.5)
        ctx.bits = bits
        ctx.save_for_backward((y >= -limit - 1) & (y <= limit))
        return y.clamp_(-limit - 1, limit)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside * 2.0**-ctx.bits, None, None


class TwinOps(TorchOps):
    """TorchOps with gradients. `bf16`: run products in bf16 (about twice as fast on a CPU)."""

    def __init__(self, device: str | torch.device = "cpu", bf16: bool = True) -> None:
        super().__init__(device)
        self.bf16 = bf16

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        if self.bf16:
            return (a.bfloat16() @ b.bfloat16()).float()
        return a @ b

    def linear(self, x: Tensor, layer: Any) -> Tensor:
        return self.matmul(x, layer.weight.T) + layer.bias

    def conv3(self, x: Tensor, layer: Any) -> Tensor:
        # The library's convolution instead of nine copies of the input: same sums, less memory traffic.
        w = layer.weight
        w = w.reshape(w.shape[0], 3, 3, -1).permute(0, 3, 1, 2)
        x = x.permute(0, 3, 1, 2)
        if self.bf16:
            x, w = x.bfloat16(), w.bfloat16()
        return F.conv2d(x, w, padding=1).float().permute(0, 2, 3, 1) + layer.bias

    def shift(self, x: Tensor, bits: int, limit: int) -> Tensor:
        return _Shift.apply(x, bits, limit)

    def table(self, x: Tensor, t: Tensor) -> Tensor:
        return _Table.apply(x, t)

    def norm(self, x: Tensor) -> Tensor:
        c = x.shape[-1]
        r = torch.rsqrt(x.square().sum(-1, keepdim=True) + c)
        return round_ste((x * (r * math.isqrt(c * 4**S.NORM))).clamp(-128, 127))

    def attention(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        s = _Shift.apply(self.matmul(q, k.transpose(-1, -2)), S.SCORE_SHIFT, 2**20) + bias
        s = torch.where(valid > 0, s, -1e9)
        p = torch.softmax(s * (math.log(2) / S.OCTAVE), -1)
        return round_ste(self.matmul(p, v))

    def grid_mean(self, x: Tensor) -> Tensor:
        return round_ste(x.mean((1, 2), keepdim=True))
