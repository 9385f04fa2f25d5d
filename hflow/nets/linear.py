"""A block transform as the starting point of the continuous stream: 32x32 DCT in an orthonormal opponent colour space.

The analysis adds a learned part to it, the fusion decoder a learned correction, and the basis itself is trained on. A
linear codec is decent at once; learning it from nothing took the better part of a short training run.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 32
# Luminance-like, red-blue, green-magenta; orthonormal rows.
COLOUR = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)),
)
CHROMA_RANK = 5  # chroma frequency k ranks with luminance frequency k + 5


def order(channels: int) -> list[tuple[int, int, int]]:
    """(colour, vertical, horizontal frequency) of the first `channels` basis pictures, low frequencies first."""
    every = [(c, u, v) for c in range(3) for u in range(BLOCK) for v in range(BLOCK)]
    return sorted(every, key=lambda k: (math.hypot(k[1], k[2]) + CHROMA_RANK * (k[0] > 0), k))[:channels]


def basis(channels: int) -> Tensor:
    """Orthonormal basis pictures (channels, 3, 32, 32)."""
    n = torch.arange(BLOCK, dtype=torch.float64)
    wave = torch.cos(math.pi * (n[None] + 0.5) * n[:, None] / BLOCK) * math.sqrt(2 / BLOCK)
    wave[0] /= math.sqrt(2)
    out = [torch.tensor(COLOUR[c])[:, None, None] * wave[u][:, None] * wave[v][None] for c, u, v in order(channels)]
    return torch.stack(out).float()


def lapped(pictures: Tensor, overlap: int = 8) -> Tensor:
    """Synthesis pictures (channels, 3, 64, 64) that cross-fade with their neighbours over 2 * overlap pixels.

    Each basis picture is mirrored beyond its block and faded out with a squared-cosine window; shifted by a block the
    windows sum to one, so a flat picture stays flat and block edges do not show.
    """
    margin = BLOCK // 2
    index = torch.arange(-margin, BLOCK + margin)
    inside = torch.where(index < 0, -1 - index, torch.where(index >= BLOCK, 2 * BLOCK - 1 - index, index))
    depth = torch.minimum(index + 0.5, BLOCK - 0.5 - index)  # distance from the block's edge, negative outside
    window = torch.sin(math.pi / 4 * (1 + (depth / overlap).clamp(-1, 1))) ** 2
    return pictures[:, :, inside][:, :, :, inside] * window[:, None] * window[None]


def synthesize(y: Tensor, pictures: Tensor) -> Tensor:
    """Overlap-adds `pictures` (C, 3, 64, 64), each centred on its block, weighted by y (B, C, h, w): (B, 3, 32h, 32w).

    The same as a transposed convolution of stride 32, as a 2x2 convolution whose output channels are the pixels of
    a block (one matrix product: a tenth of the time). A ring of repeated cells gives the outermost blocks neighbours
    to fade into.
    """
    c, half = pictures.shape[0], BLOCK // 2
    kernel = pictures.view(c, 3, 2, BLOCK, 2, BLOCK).flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(-1, c, 2, 2)
    blocks = F.conv2d(F.pad(y, (1, 1, 1, 1), "replicate"), kernel)
    return F.pixel_shuffle(blocks, BLOCK)[:, :, half:-half, half:-half]


def start_gain(channels: int) -> Tensor:
    """Offsets (channels,) of the log gain: means need less precision than their spread suggests, chroma less."""
    return torch.tensor([(-0.4 if u + v == 0 else 0.0) - 0.2 * (c > 0) for c, u, v in order(channels)])


def start_scale(channels: int) -> Tensor:
    """Rough log spread (channels,) of the scaled coefficients at the middle rate, to start the rate model."""
    out = []
    for c, u, v in order(channels):
        f = math.hypot(u, v)
        out.append(1.0 - 0.3 * (c > 0) if f == 0 else max(-2.2, 1.0 - 1.0 * math.log2(f + 1) - 1.2 * (c > 0)))
    return torch.tensor(out)
