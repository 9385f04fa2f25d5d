"""The encoder's float side: one trunk, two heads. What it produces are integers; how, is nobody's business but ours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.nets.blocks import ResBlock, Up, between, blocks_of, conv, stack, to_depth
from hflow.nets.config import NetConfig
from hflow.nets.linear import BLOCK, basis, fine_order, order, start_gain


class Gain(nn.Module):
    """Per-channel step sizes of the latent at every rate (gain units: Cui et al., CVPR 2021, 3.2).

    The anchors are interpolated geometrically, so a rate in [0, 1] is continuous, and beyond 1 steps go on getting
    finer. Dequantisation is the inverse gain.
    """

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        start = torch.linspace(-2.4, 0.0, cfg.rates)[:, None] + start_gain(cfg.coarse, cfg.fine)[None]
        self.log_gain = nn.Parameter(start)

    def forward(self, rate: Tensor) -> Tensor:
        """Rates (B,), 0 or more, to gains (B, C, 1, 1)."""
        return between(self.log_gain, rate).exp()[:, :, None, None]


OFFSET = 0.4


def quantize(scaled: Tensor, offset: float = OFFSET) -> Tensor:
    """Rounds towards zero from below 1 - offset: fewer small values, which cost more bits than they are worth."""
    return scaled.sign() * torch.floor(scaled.abs() + offset)


class Analysis(nn.Module):
    """Image (B, 3, H, W) in [0, 1], H and W multiples of 32, to trunk features and the continuous latent.

    Returns (h16, y): features (B, C16, H/16, W/16) for the tokenizer, latent (B, latent, H/32, W/32) before the gain.
    The rate enters the last stage, so that a low rate can ask for another latent, not only a coarser one. The fine
    channels are made on the 1/16 grid and laid out as four channels of a cell each.
    """

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        w4, w8, w16, w32 = cfg.widths
        n8, n16, n32 = cfg.enc_blocks
        self.fine = cfg.fine
        self.linear = nn.Conv2d(3, cfg.coarse, BLOCK, BLOCK, bias=False)
        self.stem = conv(48, w4)
        self.to8 = nn.Sequential(conv(w4, w8, stride=2), stack(w8, n8))
        self.to16 = nn.Sequential(conv(w8, w16, stride=2), stack(w16, n16))
        self.to32 = conv(w16, w32, stride=2)
        self.rate = nn.Linear(1, w32)
        self.body = stack(w32, n32)
        self.head = conv(w32, cfg.coarse)
        if self.fine:
            self.linear16 = nn.Conv2d(3, cfg.fine, BLOCK // 2, BLOCK // 2, bias=False)
            self.up16, self.body16, self.head16 = Up(w32, w16), ResBlock(w16), conv(w16, cfg.fine)
        with torch.no_grad():
            self.linear.weight.copy_(basis(order(cfg.coarse)))
            self.head.weight.mul_(0.1)
            if self.fine:
                self.linear16.weight.copy_(basis(fine_order(cfg.coarse, cfg.fine), BLOCK // 2))
                self.head16.weight.mul_(0.1)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image to features at 1/4, 1/8 and 1/16 of the resolution; the last is h16."""
        h4 = self.stem(to_depth(x * 2 - 1, 4))
        h8 = self.to8(F.leaky_relu(h4, 0.1))
        return h4, h8, self.to16(F.leaky_relu(h8, 0.1))

    def trunk(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Image to (h16, linear part of y): everything that does not depend on the rate."""
        h16 = self.features(x)[2]
        x = x * 2 - 1
        linear = blocks_of(x, self.linear.weight, BLOCK)
        if self.fine:
            linear = torch.cat([linear, to_depth(blocks_of(x, self.linear16.weight, BLOCK // 2), 2)], 1)
        return h16, linear

    def latent(self, h16: Tensor, linear: Tensor, rate: Tensor) -> Tensor:
        """What `trunk` gave and rate (B,), 0 or more, to y."""
        h = self.to32(F.leaky_relu(h16, 0.1)) + self.rate(rate[:, None])[:, :, None, None]
        h = F.leaky_relu(self.body(h), 0.1)
        y = self.head(h)
        if self.fine:
            f = self.head16(F.leaky_relu(self.body16(h16 + self.up16(h)), 0.1))
            y = torch.cat([y, to_depth(f, 2)], 1)
        return linear + y

    def forward(self, x: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        h16, linear = self.trunk(x)
        return h16, self.latent(h16, linear, rate)


class TokenHead(nn.Module):
    """Trunk features and what the continuous stream already says (both on the 1/16 grid) to token vectors.

    Seeing the continuous features lets the tokens carry what the continuous stream lacks.
    """

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        w16 = cfg.widths[2]
        self.mix = conv(2 * w16, w16, 1)
        self.body = ResBlock(w16)
        self.out = conv(w16, cfg.m_max * cfg.dims, 1)

    def forward(self, h16: Tensor, c16: Tensor) -> Tensor:
        h = self.mix(torch.cat([F.leaky_relu(h16, 0.1), c16], 1))
        return self.out(F.leaky_relu(self.body(h), 0.1))


class HyperAnalysis(nn.Module):
    """Scaled latent (B, latent, h, w) to z (B, hyper, ceil(h/4), ceil(w/4)) before rounding."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.net = nn.Sequential(
            conv(cfg.latent, 96),
            nn.LeakyReLU(0.1),
            conv(96, 96, stride=2),
            nn.LeakyReLU(0.1),
            conv(96, cfg.hyper, stride=2),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.net(y)
