"""A float rate model for the time in which the transforms still move.

Much like the integer entropy model that ships (hyperprior, channel slices, two checkerboard passes each), but float and
cheap. Parameters are fitted to the rounded latents, which is the true rate; the latents get their gradient from a
noisy copy, because rounding has none (additive noise alone reads three times the true rate here).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hflow.integer.scales import log_scale
from hflow.nets.analysis import HyperAnalysis, quantize
from hflow.nets.blocks import conv
from hflow.nets.config import NetConfig
from hflow.nets.linear import start_scale
from hflow.nets.logistic import logistic_bits


class RateProxy(nn.Module):
    """Bits of a scaled latent, as (gradient surrogate (B,), true bits of the rounded latent (B,))."""

    def __init__(self, cfg: NetConfig) -> None:
        super().__init__()
        self.slices, self.lowest = cfg.slices, log_scale(0, cfg.scales)
        self.analysis = HyperAnalysis(cfg)
        # In eighths, so that one optimizer step moves the prior as far as it moves a network's output.
        self.z_mean = nn.Parameter(torch.zeros(cfg.rates, cfg.hyper))
        self.z_scale = nn.Parameter(torch.full((cfg.rates, cfg.hyper), -1.5 / 8))
        self.rate = nn.Parameter(torch.zeros(cfg.rates, 96))
        self.synthesis = nn.Sequential(
            nn.ConvTranspose2d(cfg.hyper, 96, 4, 2, 1), nn.LeakyReLU(0.1), nn.ConvTranspose2d(96, 96, 4, 2, 1)
        )
        self.nets = nn.ModuleList(
            nn.Sequential(
                conv(96 + cfg.latent, 128), nn.LeakyReLU(0.1), conv(128, 96, 1), nn.LeakyReLU(0.1), conv(96, 2 * c, 1)
            )
            for c in cfg.slices
        )
        offset, spread = 0, start_scale(cfg.coarse, cfg.fine)
        with torch.no_grad():
            for net, c in zip(self.nets, cfg.slices, strict=True):
                last = list(net.children())[-1]
                assert isinstance(last, nn.Conv2d) and last.bias is not None
                last.bias[c:] = spread[offset : offset + c]
                last.weight.mul_(0.3)
                offset += c

    def forward(self, y: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, C, h, w) scaled by the gain, rate (B,); beyond 1 tables are those of the last anchor."""
        last = self.rate.shape[0] - 1
        anchor = (rate * last + 0.5).long().clamp(max=last)
        z_mean, z_scale = (8 * p.index_select(0, anchor)[:, :, None, None] for p in (self.z_mean, self.z_scale))
        z_scale = z_scale.clamp(self.lowest, 4)
        hard = quantize(y.detach())
        noisy = y + torch.rand_like(y) - 0.5
        z = self.analysis(hard)
        zq = z + (z.round() - z).detach()
        z_bits = logistic_bits(z + torch.rand_like(z) - 0.5, z_mean, z_scale).sum((1, 2, 3))
        z_true = logistic_bits(z.detach().round(), z_mean, z_scale).sum((1, 2, 3))
        h, w = y.shape[2:]
        hyper = F.leaky_relu(
            self.synthesis(zq)[:, :, :h, :w] + self.rate.index_select(0, anchor)[:, :, None, None], 0.1
        )
        # As the first of two `passes`, made on the device.
        first = (torch.arange(h, device=y.device)[:, None] + torch.arange(w, device=y.device)) % 2 == 0
        # All values are at hand, so the two passes of a slice go through its network together, as one batch.
        told = hard.sign() * torch.log2(1 + hard.abs())
        start, guesses = 0, []
        for c, net in zip(self.slices, self.nets, strict=True):
            before, half = told[:, :start], told[:, start : start + c] * first
            known = torch.cat([torch.cat([before, torch.zeros_like(half)], 1), torch.cat([before, half], 1)])
            one, two = self.guess(net, torch.cat([hyper, hyper]), known).float().chunk(2)
            guesses.append(torch.where(first, one, two).chunk(2, 1))
            start += c
        mean, scale = (torch.cat(parts, 1) for parts in zip(*guesses, strict=True))
        scale = scale.clamp(self.lowest, 4)
        true = z_true + logistic_bits(hard, mean, scale).sum((1, 2, 3))
        soft = z_bits + logistic_bits(noisy, mean.detach(), scale.detach()).sum((1, 2, 3))
        return soft, true

    @staticmethod
    def guess(net: nn.Module, hyper: Tensor, known: Tensor) -> Tensor:
        """A slice's network on the channels that there are by then; for the others its inputs would be zero."""
        first, *rest = net.children()
        assert isinstance(first, nn.Conv2d)
        x = torch.cat([hyper, known], 1)
        h = F.conv2d(x, first.weight[:, : x.shape[1]], first.bias, padding=1)
        for layer in rest:
            h = layer(h)
        return h
