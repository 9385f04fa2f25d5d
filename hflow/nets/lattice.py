"""What a decoder draws alike into cell after cell is taken out of its pictures: a lattice is no texture.

A network that decodes every cell of 32 x 32 pixels alike, and is taught to please a perceptual network where it knows
nothing, answers with marks at the same place of every cell. A photo has next to none: what its cells have in common
is chance. So each cell is compared with its neighbours. The mean of them all keeps what repeats and an n-th of the
power of what does not, which tells how much of it is lattice (Wiener's filter; as fixed-pattern noise of a sensor is
found, Lukas, Fridrich and Goljan, IEEE TIFS 2006, 3). Faint ones pass for grain and stay in part.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets.linear import BLOCK as CELL

SMOOTH = 5  # pixels of a box that, applied twice, leaves what is too coarse to be looked at
FAINT, PLAIN = 0.15, 0.5  # share of the fine detail's power that is lattice: below nobody sees it, above everybody
FROM, UPTO = 0.3, 0.9  # of faint and of plain ones, how much is taken out
PEAK = 1.2  # of the lattice's own root mean square; what stands out more is taken out whatever the share
LEAST = 9  # cells in a mean; with fewer, chance is taken for a lattice
TINY = 1e-9


def without_lattice(x: Tensor, reach: int) -> Tensor:
    """Pictures (B, 3, 32h, 32w), values in about 0..1, less what cells share with those up to `reach` cells away.

    Horizontal and vertical lines, which run through many cells, stay. Gradients take how much is removed as given.
    """
    b, c, height, width = x.shape
    h, w, window = height // CELL, width // CELL, 2 * reach + 1
    fine = (x - _smooth(x)).view(b, c, h, CELL, w, CELL).permute(0, 1, 3, 5, 2, 4)
    fine = fine - fine.mean(2, keepdim=True)
    fine = (fine - fine.mean(3, keepdim=True)).reshape(b, -1, h, w)
    shared = _mean(fine, window)
    with torch.no_grad():
        count = torch.ones(1, 1, h, w, device=x.device)
        count = F.avg_pool2d(count, window, 1, reach, divisor_override=1)
        power, found = _mean(fine.square().mean(1, keepdim=True), window), shared.square().mean(1, keepdim=True)
        lattice = ((found - power / count) / (1 - 1 / count).clamp(min=TINY)).clamp(min=0) * (count >= LEAST)
        share = lattice / power.clamp(min=TINY)
        plain = ((share - FAINT) / (PLAIN - FAINT)).clamp(0, 1)
        much = (FROM + (UPTO - FROM) * plain)[:, :, None]
        size = shared.view(b, c, -1, h, w).square().mean(1, keepdim=True).sqrt()
        peak = (1 - PEAK * found.sqrt()[:, :, None] / size.clamp(min=TINY)).clamp(min=0)
        gain = (lattice / found.clamp(min=TINY))[:, :, None] * (much + (1 - much) * peak)
    taken = (shared.view(b, c, -1, h, w) * gain).view(b, c, CELL, CELL, h, w)
    return x - taken.permute(0, 1, 4, 2, 5, 3).reshape(x.shape)


def _smooth(x: Tensor) -> Tensor:
    return _mean(_mean(x, SMOOTH), SMOOTH)


def _mean(x: Tensor, size: int) -> Tensor:
    """Of `size` by `size` places around each, as many as there are; first down, then along."""
    half = size // 2
    x = F.avg_pool2d(x, (size, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, size), 1, (0, half), count_include_pad=False)
