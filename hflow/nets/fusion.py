"""Fusion decoder: a VQ decoder corrected by the continuous latent at every level (HybridFlow 3.3).

The correction enters through a controllable feature transformation (CodeFormer, NeurIPS 2022, 3.3; SVR with fidelity
control): h + alpha * (scale(c, h) * h + shift(c, h)). alpha = 0 leaves the codebook's picture, 1 is the default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.nets.blocks import Up, conv, stack, to_depth, to_space
from hflow.nets.config import NetConfig
from hflow.nets.lattice import lattice_of, without_lattice
from hflow.nets.linear import BLOCK, basis, fine_order, lapped, order, synthesize

Features = tuple[Tensor, Tensor, Tensor, Tensor]


class Correction(nn.Module):
    """Dequantised latent (B, latent, h, w) on the 1/32 grid and rate (B,) to (c16, c8, c4, base).

    The first three are features at those levels, base (B, 3, 32h, 32w) is the linear transform's picture around 0.
    """

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        w4, w8, w16, w32 = cfg.widths
        n32, n16 = cfg.corr_blocks
        self.coarse, self.fine = cfg.coarse, cfg.fine
        self.inp = conv(cfg.coarse, w32)
        self.rate = nn.Linear(1, w32)
        self.body32, self.up16, self.body16 = stack(w32, n32), Up(w32, w16), stack(w16, n16)
        self.up8, self.up4 = Up(w16, w8), Up(w8, w4)
        self.linear = nn.ConvTranspose2d(cfg.coarse, 3, 2 * BLOCK, BLOCK, BLOCK // 2, bias=False)
        if self.fine:
            self.linear16 = nn.ConvTranspose2d(cfg.fine, 3, BLOCK, BLOCK // 2, BLOCK // 4, bias=False)
            self.inp16 = conv(cfg.fine, w16)
        self.base4, self.base8 = conv(48, w4), conv(w4, w8, stride=2)
        with torch.no_grad():
            self.linear.weight.copy_(lapped(basis(order(cfg.coarse)) / 2))
            if self.fine:
                self.linear16.weight.copy_(lapped(basis(fine_order(cfg.coarse, cfg.fine), BLOCK // 2) / 2))
                self.inp16.weight.mul_(0.1)

    def at16(self, y: Tensor, rate: Tensor) -> Tensor:
        """The first of the features alone, as the token head takes them."""
        return self.merged(*self.parts(y), rate)

    def merged(self, coarse: Tensor, fine: Tensor | None, rate: Tensor) -> Tensor:
        """What `parts` gives to c16."""
        h = self.inp(0.25 * coarse) + self.rate(rate[:, None])[:, :, None, None]
        c16 = self.up16(F.leaky_relu(self.body32(h), 0.1))
        out: Tensor = self.body16(c16 if fine is None else c16 + self.inp16(0.25 * fine))
        return out

    def parts(self, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Channels of whole cells, and the fine ones (B, fine, 2h, 2w), if there are any."""
        return y[:, : self.coarse], to_space(y[:, self.coarse :], 2) if self.fine else None

    def forward(self, y: Tensor, rate: Tensor) -> Features:
        y, fine = self.parts(y)
        c16 = self.merged(y, fine, rate)
        base = synthesize(y, self.linear.weight)
        if fine is not None:
            base = base + synthesize(fine, self.linear16.weight)
        b4 = F.leaky_relu(self.base4(to_depth(2 * base, 4)), 0.1)
        c8 = F.leaky_relu(self.up8(F.leaky_relu(c16, 0.1)) + self.base8(b4), 0.1)
        return c16, c8, F.leaky_relu(self.up4(c8), 0.1) + b4, base


class Transform(nn.Module):
    """Controllable feature transformation at one level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = conv(2 * channels, channels, 1)
        self.out = conv(channels, 2 * channels, 1)

    def forward(self, h: Tensor, c: Tensor, alpha: Tensor | float) -> Tensor:
        scale, shift = self.out(F.leaky_relu(self.mix(torch.cat([h, c], 1)), 0.1)).chunk(2, 1)
        change = torch.addcmul(shift, scale, h)
        return h + alpha * change if isinstance(alpha, Tensor) else torch.add(h, change, alpha=alpha)


class Given:
    """What gradients take as given of a decode: what late residual blocks add, and what is taken out in the end.

    It hardly changes from one step of a search to the next, so it is made anew only while `fresh`. through: how many
    of the blocks at 1/16, 1/8 and 1/4 gradients go through.
    """

    def __init__(self, through: tuple[int, int, int]) -> None:
        self.through, self.fresh = through, True
        self.kept: dict[str, Tensor] = {}

    def __call__(self, what: str, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, or gave when it was asked last."""
        if self.fresh:
            with torch.no_grad():
                self.kept[what] = make()
        return self.kept[what]

    def after(self, what: str, blocks: nn.Module, h: Tensor) -> Tensor:
        """Residual blocks of h (B, C, H, W)."""
        if not self.fresh:
            return h + self.kept[what]
        with torch.no_grad():
            out: Tensor = blocks(h.detach())  # if there are none, it is h
            self.kept[what] = out - h
        return out + (h - h.detach())  # exactly `out`, with the slope of h


class FusionDecoder(nn.Module):
    """Token vectors and continuous features to an image.

    tokens: (B, M*D + 2, H/16, W/16): codeword vectors, zero where a sub-quantizer is unused; then two planes, the share
    of sub-quantizers in use and 1 where the token was sent (0: filled in). Output (B, 3, H, W), nominally in [0, 1].
    """

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        w4, w8, w16, _ = cfg.widths
        self.depth = n16, n8, n4 = cfg.dec_blocks
        self.lattice = cfg.lattice
        self.correction = Correction(cfg)
        self.inp = conv(cfg.m_max * cfg.dims + 2, w16)
        self.t16, self.t8, self.t4 = Transform(w16), Transform(w8), Transform(w4)
        self.body16, self.up8 = stack(w16, n16), Up(w16, w8)
        self.body8, self.up4 = stack(w8, n8), Up(w8, w4)
        self.body4 = stack(w4, n4)
        self.up1 = Up(w4, 8, 4, 3)
        self.full = nn.ModuleList([conv(8, 8, 5), conv(8, 3, 3)])
        with torch.no_grad():
            cast(nn.Conv2d, self.full[1]).weight.mul_(0.1)

    def forward(
        self, tokens: Tensor, cont: Features, alpha: Tensor | float = 1.0, depth: tuple[int, ...] = (),
        given: Given | None = None,
    ) -> Tensor:  # fmt: skip
        """depth: with so many of the residual blocks at 1/16, 1/8 and 1/4 only, a rougher picture sooner, as it is.

        given: for rougher gradients, sooner.
        """
        c16, c8, c4, base = cont
        bodies = (self.body16, self.body8, self.body4)

        def body(level: int, h: Tensor) -> Tensor:
            blocks = bodies[level][: (depth or self.depth)[level]]
            if given is None:
                return cast(Tensor, blocks(h))
            early, late = blocks[: given.through[level]], blocks[given.through[level] :]
            return given.after(f"blocks {level}", late, early(h))

        h = self.inp(tokens)
        own = alpha.to(h.dtype) if isinstance(alpha, Tensor) else alpha
        h = self.t16(h, c16, own)
        h = self.up8(F.leaky_relu(body(0, h), 0.1))
        h = self.t8(h, c8, own)
        h = self.up4(F.leaky_relu(body(1, h), 0.1))
        h = self.t4(h, c4, own)
        h = self.up1(F.leaky_relu(body(2, h), 0.1))
        # The last layers run in fp32: they smooth across the pixel-shuffle's lattice, and rounding there is visible.
        # Not in training on a GPU, nor where much is of the last time anyway: they would take a tenth of a step.
        quick = not given.fresh if given else self.training and h.is_cuda
        with torch.autocast(h.device.type, enabled=quick and torch.is_autocast_enabled(h.device.type)):
            h = h if quick else h.float()
            h = F.leaky_relu_(self.full[0](h), 0.1) + h
            x: Tensor = self.full[1](h).float() + 0.5 + alpha * base.float()
            if depth or not self.lattice:
                return x
            if given is None:
                return without_lattice(x, self.lattice)
            return x - given("lattice", lambda: lattice_of(x, self.lattice))
