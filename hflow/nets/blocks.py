"""The few layers every float network is made of.

Images enter by space-to-depth, so nothing but the last two thin layers works above 1/4 resolution: at a few
hundredths of a bit per pixel the wait is for element-wise work at high resolution, not for multiply-adds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A zero-padded convolution that keeps (or divides by `stride`) the spatial size."""
    return nn.Conv2d(cin, cout, kernel, stride, kernel // 2)


class ResBlock(nn.Module):
    """x + conv(act(conv(act(x)))), both 3x3; starts close to the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b = conv(channels, channels), conv(channels, channels)
        with torch.no_grad():
            self.b.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(F.leaky_relu(x, 0.1))
        return x + self.b(F.leaky_relu(h, 0.1))


class Up(nn.Module):
    """1x1 convolution and pixel shuffle: (B, cin, H, W) to (B, cout, 2H, 2W); sub-pixels of a cell start equal."""

    def __init__(self, cin: int, cout: int, factor: int = 2, kernel: int = 1) -> None:
        super().__init__()
        self.proj = conv(cin, cout * factor**2, kernel)
        self.shuffle = nn.PixelShuffle(factor)
        with torch.no_grad():
            n = factor**2
            w = self.proj.weight.view(cout, n, *self.proj.weight.shape[1:])
            w.copy_(w[:, :1].expand_as(w).clone() + 0.1 * w)
            bias = self.proj.bias
            assert bias is not None
            bias.view(cout, n).copy_(bias.view(cout, n)[:, :1].expand(cout, n).clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.proj(x))


def stack(channels: int, depth: int) -> nn.Sequential:
    """`depth` residual blocks in a row."""
    return nn.Sequential(*(ResBlock(channels) for _ in range(depth)))
