"""A block transform as the starting point of the continuous stream: DCT in an orthonormal opponent colour space.

32x32 blocks for what is smooth, and 16x16 for finer frequencies of luminance, which need to be told where they are.

The analysis adds a learned part to it, the fusion decoder a learned correction, and the basis itself is trained on. A
linear codec is decent at once; learning it from nothing took the better part of a short training run.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets.blocks import laid_out

BLOCK = 32
# Luminance-like, red-blue, green-magenta; orthonormal rows.
COLOUR = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)),
)
CHROMA_RANK = 5  # chroma frequency k ranks with luminance frequency k + 5


def rank(colour: int, u: float, v: float) -> float:
    """Place of a frequency in the order from coarse to fine; u and v in half cycles per 32 pixels."""
    return math.hypot(u, v) + CHROMA_RANK * (colour > 0)


def order(channels: int) -> list[tuple[int, int, int]]:
    """(colour, vertical, horizontal frequency) of the first `channels` basis pictures, low frequencies first."""
    every = [(c, u, v) for c in range(3) for u in range(BLOCK) for v in range(BLOCK)]
    return sorted(every, key=lambda k: (rank(*k), k))[:channels]


def fine_order(coarse: int, fine: int) -> list[tuple[int, int, int]]:
    """The same of 16x16 pictures: the `fine` lowest luminance frequencies above what the `coarse` first 32x32 reach."""
    least = rank(*order(coarse)[-1])
    every = [(0, u, v) for u in range(BLOCK // 2) for v in range(BLOCK // 2) if rank(0, 2 * u, 2 * v) > least]
    return sorted(every, key=lambda k: (rank(*k), k))[:fine]


def basis(frequencies: list[tuple[int, int, int]], block: int = BLOCK) -> Tensor:
    """Orthonormal basis pictures (channels, 3, block, block)."""
    n = torch.arange(block, dtype=torch.float64)
    wave = torch.cos(math.pi * (n[None] + 0.5) * n[:, None] / block) * math.sqrt(2 / block)
    wave[0] /= math.sqrt(2)
    out = [torch.tensor(COLOUR[c])[:, None, None] * wave[u][:, None] * wave[v][None] for c, u, v in frequencies]
    return torch.stack(out).float()


def lapped(pictures: Tensor) -> Tensor:
    """Synthesis pictures (channels, 3, 2 * block, 2 * block) that cross-fade with their neighbours over half a block.

    Each basis picture is mirrored beyond its block and faded out with a squared-cosine window; shifted by a block the
    windows sum to one, so a flat picture stays flat and block edges do not show.
    """
    block = pictures.shape[-1]
    margin, overlap = block // 2, block // 4
    index = torch.arange(-margin, block + margin)
    inside = torch.where(index < 0, -1 - index, torch.where(index >= block, 2 * block - 1 - index, index))
    depth = torch.minimum(index + 0.5, block - 0.5 - index)  # distance from the block's edge, negative outside
    window = torch.sin(math.pi / 4 * (1 + (depth / overlap).clamp(-1, 1))) ** 2
    return pictures[:, :, inside][:, :, :, inside] * window[:, None] * window[None]


def synthesize(y: Tensor, pictures: Tensor) -> Tensor:
    """Overlap-adds `pictures` (C, 3, 2k, 2k), each centred on its block of k pixels, weighted by y (B, C, h, w).

    Gives (B, 3, k * h, k * w). The same as a transposed convolution of stride k, as a 2x2 convolution whose output
    channels are the pixels of a block (one matrix product: a tenth of the time). A ring of repeated cells gives the
    outermost blocks neighbours to fade into.
    """
    c, half = pictures.shape[0], pictures.shape[-1] // 4
    block = 2 * half
    kernel = pictures.view(c, 3, 2, block, 2, block).flip(2, 4).permute(3, 5, 1, 0, 2, 4).reshape(-1, c, 2, 2)
    blocks = F.conv2d(F.pad(y, (1, 1, 1, 1), "replicate"), kernel)
    return laid_out(blocks, block)[:, :, half:-half, half:-half]


def _channels(coarse: int, fine: int) -> list[tuple[int, float, float]]:
    """(colour, frequencies in half cycles per 32 pixels) of every channel of y."""
    small = fine_order(coarse, fine) if fine else []
    return [*order(coarse), *((c, 2.0 * u, 2.0 * v) for c, u, v in small for _ in range(4))]


def start_gain(coarse: int, fine: int) -> Tensor:
    """Offsets (latent,) of the log gain: means need less precision than their spread suggests, chroma less."""
    return torch.tensor([(-0.4 if u + v == 0 else 0.0) - 0.2 * (c > 0) for c, u, v in _channels(coarse, fine)])


def start_scale(coarse: int, fine: int) -> Tensor:
    """Rough log spread (latent,) of the scaled coefficients at the middle rate, to start the rate model."""
    out = []
    for c, u, v in _channels(coarse, fine):
        f = math.hypot(u, v)
        out.append(1.0 - 0.3 * (c > 0) if f == 0 else max(-2.2, 1.0 - 1.0 * math.log2(f + 1) - 1.2 * (c > 0)))
    return torch.tensor(out)
