"""Product-quantised tokens: M sub-quantizers of V l2-normalised codewords each (PQ-MIM, TMLR 2023, 3.1 and 4.1).

Nested: a token's first m indices are a valid, coarser token, so M is chosen per file.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProductQuantizer(nn.Module):
    """Vectors (B, M*D, H, W) to indices (B, H, W, M) in 0..V-1 and back.

    The codebook is an exponential moving average of what was assigned to it; codewords that fall out of use
    are re-seeded from the current batch, which keeps usage high.
    """

    codebook: Tensor
    counts: Tensor

    def __init__(self, m: int, codewords: int, dims: int) -> None:
        super().__init__()
        self.m, self.v, self.d = m, codewords, dims
        self.register_buffer("codebook", F.normalize(torch.randn(m, codewords, dims), dim=-1))
        self.register_buffer("counts", torch.ones(m, codewords))

    def _split(self, x: Tensor) -> Tensor:
        """(B, M*D, H, W) to unit vectors (M, B*H*W, D)."""
        b, _, h, w = x.shape
        x = x.float().view(b, self.m, self.d, h, w).permute(1, 0, 3, 4, 2).reshape(self.m, b * h * w, self.d)
        return F.normalize(x, dim=-1)

    def _join(self, x: Tensor, b: int, h: int, w: int) -> Tensor:
        return x.view(self.m, b, h, w, self.d).permute(1, 0, 4, 2, 3).reshape(b, self.m * self.d, h, w)

    def encode(self, x: Tensor) -> Tensor:
        """(B, M*D, H, W) to the nearest codewords' indices (B, H, W, M), int64."""
        b, _, h, w = x.shape
        idx = torch.bmm(self._split(x), self.codebook.transpose(1, 2)).argmax(-1)
        return idx.view(self.m, b, h, w).permute(1, 2, 3, 0)

    def decode(self, idx: Tensor) -> Tensor:
        """Indices (B, H, W, M) to vectors (B, M*D, H, W)."""
        b, h, w, _ = idx.shape
        flat = idx.permute(3, 0, 1, 2).reshape(self.m, -1)
        return self._join(torch.stack([c[i] for c, i in zip(self.codebook, flat, strict=True)]), b, h, w)

    def forward(self, x: Tensor, used: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors to (quantised vectors with a straight-through gradient, indices, commitment loss).

        The commitment is of the sub-quantizers in use, used (B, M), all by default: with nothing but the pull to its
        codewords, one that is seldom in use would collapse onto a few of them.
        """
        b, _, h, w = x.shape
        unit = self._split(x)
        with torch.no_grad():
            idx = torch.bmm(unit, self.codebook.transpose(1, 2)).argmax(-1)
            if self.training:
                self._update(unit, idx)
        hard = torch.stack([c[i] for c, i in zip(self.codebook, idx, strict=True)])
        apart = (unit - hard).square().sum(-1).view(self.m, b, h * w).mean(-1).T
        used = torch.ones_like(apart) if used is None else used.to(apart.dtype)
        commit = (apart * used).sum() / used.sum().clamp_min(1)
        out = self._join(unit + (hard - unit).detach(), b, h, w)
        return out, idx.view(self.m, b, h, w).permute(1, 2, 3, 0), commit

    def _update(self, unit: Tensor, idx: Tensor, decay: float = 0.98) -> None:
        # Every codeword takes every step, masked: a choice of rows would wait for the device.
        for m in range(self.m):
            n = torch.zeros_like(self.counts[m]).index_add_(0, idx[m], torch.ones_like(idx[m], dtype=unit.dtype))
            total = torch.zeros_like(self.codebook[m]).index_add_(0, idx[m], unit[m])
            counts = torch.lerp(self.counts[m], n, 1 - decay)
            mean = F.normalize(total, dim=-1)
            step = ((1 - decay) * n / counts.clamp_min(1e-3)).clamp(max=1)
            words = F.normalize(torch.lerp(self.codebook[m], mean, step[:, None]), dim=-1)
            dead = counts < 0.03 * counts.mean()
            seeds = unit[m][torch.randint(unit.shape[1], (self.v,), device=unit.device)]
            self.codebook[m].copy_(torch.where(dead[:, None], seeds, words))
            self.counts[m].copy_(torch.where(dead, 0.3 * counts.mean(), counts))
