"""The few layers every float network is made of.

Images enter by space-to-depth, so nothing but the last two thin layers works above 1/4 resolution: at a few
hundredths of a bit per pixel the wait is for element-wise work at high resolution, not for multiply-adds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Conv2d):
    """A convolution whose weights, while they are frozen, are kept as it takes them.

    That is in bf16 under autocast, which would cast them at every call, and with output channels in another order where
    there are `parts` of each: first the first part of all.
    """

    parts = 1

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.taken()
        return F.conv2d(x, weight, bias, self.stride, self.padding)

    def taken(self) -> list[Tensor]:
        """Weight and bias."""
        assert self.bias is not None
        plain, kind = [self.weight, self.bias], self.weight.device.type
        half = not self.weight.requires_grad and torch.is_autocast_enabled(kind)
        if self.parts == 1 and not half:
            return plain
        if self.weight.requires_grad:
            return self.ordered(plain)
        state = [(p.device, p.data_ptr(), 0 if p.is_inference() else p._version) for p in plain]
        kept = self.__dict__.setdefault("_kept", {})
        if half not in kept or kept[half][0] != state:
            with torch.inference_mode(False), torch.no_grad():  # gradients may be asked for the next time
                dtype = torch.get_autocast_dtype(kind) if half else self.weight.dtype
                kept[half] = state, self.ordered([p.detach().clone().to(dtype) for p in plain])
        found: list[Tensor] = kept[half][1]
        return found

    def ordered(self, params: list[Tensor]) -> list[Tensor]:
        """Weight and bias in the order of `parts`."""
        if self.parts == 1:
            return params
        return [p.unflatten(0, (-1, self.parts)).transpose(0, 1).flatten(0, 1) for p in params]


def conv(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> Conv:
    """A zero-padded convolution that keeps (or divides by `stride`) the spatial size."""
    return Conv(cin, cout, kernel, stride, kernel // 2)


def between(knots: Tensor, rate: Tensor) -> Tensor:
    """Rows (K, ...) that stand evenly over the rates 0 to 1, at rates (B,): straight lines between them, (B, ...).

    Beyond 1 the last line goes on.
    """
    place = rate.clamp(min=0) * (len(knots) - 1)
    low = place.floor().clamp(max=len(knots) - 2).long()
    share = (place - low).view(-1, *[1] * (knots.ndim - 1))
    return torch.lerp(knots.index_select(0, low), knots.index_select(0, low + 1), share)


def to_space(x: Tensor, factor: int) -> Tensor:
    """Pixel shuffle: (B, C * factor^2, H, W) to (B, C, factor * H, factor * W).

    `F.pixel_shuffle` keeps channels last on a CPU only; elsewhere every convolution behind it would copy once more.
    """
    return shuffle_last(x, factor) if x.is_cuda else F.pixel_shuffle(x, factor)


def to_depth(x: Tensor, factor: int) -> Tensor:
    """Its inverse: (B, C, factor * H, factor * W) to (B, C * factor^2, H, W)."""
    return unshuffle_last(x, factor) if x.is_cuda else F.pixel_unshuffle(x, factor)


def shuffle_last(x: Tensor, r: int) -> Tensor:
    """`F.pixel_shuffle` whose result has its channels last in memory."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, c // r**2, r, r)
    return x.permute(0, 1, 4, 2, 5, 3).reshape(b, h * r, w * r, c // r**2).permute(0, 3, 1, 2)


def laid_out(x: Tensor, r: int) -> Tensor:
    """Pixel shuffle of channels in the order (row, column, channel): (B, r^2 * C, H, W) to (B, C, r * H, r * W).

    With channels last in memory a row of a cell is one piece, forward and backward; in the order of `F.pixel_shuffle`
    every value moves by itself.
    """
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h, w, r, c // r).transpose(2, 3)
    return x.reshape(b, h * r, w * r, c // r**2).permute(0, 3, 1, 2)


def blocks_of(x: Tensor, weight: Tensor, size: int) -> Tensor:
    """Convolution of (B, C, H, W) with `weight` (cout, C, size, size), its stride as large as its kernel.

    One matrix product: a GPU's library has no fast kernel for three channels and so large a window.
    """
    return F.conv2d(to_depth(x, size), weight.flatten(1)[:, :, None, None])


def unshuffle_last(x: Tensor, r: int) -> Tensor:
    """`F.pixel_unshuffle` whose result has its channels last in memory."""
    b, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(b, h // r, r, w // r, r, c)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(b, h // r, w // r, c * r**2).permute(0, 3, 1, 2)


class ResBlock(nn.Module):
    """x + conv(act(conv(act(x)))), both 3x3; starts close to the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b = conv(channels, channels), conv(channels, channels)
        with torch.no_grad():
            self.b.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu_(self.a(F.leaky_relu(x, 0.1)), 0.1)  # in place: memory anew takes its time
        out: Tensor = self.b(h)
        return out.add_(x) if out.dtype == x.dtype else x + out


class Up(nn.Module):
    """1x1 convolution and pixel shuffle: (B, cin, H, W) to (B, cout, 2H, 2W); sub-pixels of a cell start equal."""

    def __init__(self, cin: int, cout: int, factor: int = 2, kernel: int = 1) -> None:
        super().__init__()
        self.proj = conv(cin, cout * factor**2, kernel)
        self.factor = factor
        n = self.proj.parts = factor**2
        with torch.no_grad():
            w = self.proj.weight.view(cout, n, *self.proj.weight.shape[1:])
            w.copy_(w[:, :1].expand_as(w).clone() + 0.1 * w)
            bias = self.proj.bias
            assert bias is not None
            bias.view(cout, n).copy_(bias.view(cout, n)[:, :1].expand(cout, n).clone())

    def forward(self, x: Tensor) -> Tensor:
        return laid_out(self.proj(x), self.factor)


def stack(channels: int, depth: int) -> nn.Sequential:
    """`depth` residual blocks in a row."""
    return nn.Sequential(*(ResBlock(channels) for _ in range(depth)))
