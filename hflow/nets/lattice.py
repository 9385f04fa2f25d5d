"""What a decoder draws alike into cell after cell is taken out of its pictures: a lattice is no texture.

A network that decodes every cell of 32 x 32 pixels alike, and is taught to please a perceptual network where it knows
nothing, answers with marks at the same place of every cell. A photo has next to none: what its cells have in common
is chance. So each cell is compared with its neighbours. The mean of n of them keeps what repeats and an n-th of the
power of what does not, which tells how much of it is lattice (Wiener's filter; as fixed-pattern noise of a sensor is
found, Lukas, Fridrich and Goljan, IEEE TIFS 2006, 3). Faint ones pass for grain and stay in part.

A line through many cells repeats as well, along itself. So what does not change down a cell is compared with
neighbours to the left and right alone, and what does not change along it with those above and below.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hflow.nets.linear import BLOCK as CELL

SMOOTH = 5  # pixels of a box that, applied twice, leaves what is too coarse to be looked at
UPTO = 0.4  # of what is plain, how much is taken out: the rest is grain, without its peaks
PEAK = 1.0  # of the root mean square of marks; what stands out more is taken out whatever the share
LOUD = 2 / 255  # root mean square of stripes; a decoder's are fainter, louder ones are a fence
VARIES = 2.0  # a cell's marks are at most so much stronger than its neighbours'
TINY = 1e-9


class Kind(NamedTuple):
    """own: cells down and along that it runs through. least: with fewer to compare, chance is taken for a lattice.

    faint, plain: its share of the fine detail's power that nobody sees, and that everybody does. first: how much of
    what is faint is taken out.
    """

    own: tuple[bool, bool]
    least: int
    faint: float
    plain: float
    first: float


MARKS = Kind((False, False), 9, 0.15, 0.5, 0.2)
UPRIGHT, LEVEL = (Kind(own, 4, 0.3, 0.7, 0.0) for own in ((True, False), (False, True)))


def without_lattice(x: Tensor, reach: int) -> Tensor:
    """Pictures (B, 3, 32h, 32w), values in about 0..1, less what cells share with those up to `reach` cells away.

    Gradients take as given what is coarse, and how much of the rest is removed.
    """
    b, c, height, width = x.shape
    cells = (x - _smooth(x)).view(b, c, height // CELL, CELL, width // CELL, CELL).permute(0, 1, 3, 5, 2, 4)
    down, along, even = cells.mean(2, keepdim=True), cells.mean(3, keepdim=True), cells.mean((2, 3), keepdim=True)
    marks = _shared(cells - down - along + even, MARKS, reach)
    taken = marks + _shared(down - even, UPRIGHT, reach) + _shared(along - even, LEVEL, reach)
    return x - taken.permute(0, 1, 4, 2, 5, 3).reshape(x.shape)


def _shared(part: Tensor, kind: Kind, reach: int) -> Tensor:
    """Of a part of each cell (B, C, rows, columns, h, w), the share of its neighbours' mean that is to be taken out."""
    b, c, _, _, h, w = part.shape
    size = 2 * reach + 1
    flat, whole = part.reshape(b, -1, h, w), (size, size)
    own = size if kind.own[0] else 1, size if kind.own[1] else 1
    mean = _mean(flat, whole)
    with torch.no_grad():
        count = _count(flat, whole) / _count(flat, own)
        power = _mean(_mean(flat, own).square().mean(1, keepdim=True), whole)
        found = mean.square().mean(1, keepdim=True)
        lattice = ((found - power / count) / (1 - 1 / count).clamp(min=TINY)).clamp(min=0) * (count >= kind.least)
        plain = ((lattice / power.clamp(min=TINY) - kind.faint) / (kind.plain - kind.faint)).clamp(0, 1)
        much = (kind.first + (UPTO - kind.first) * plain)[:, :, None]
        if kind is MARKS:
            height = mean.view(b, c, -1, h, w).square().mean(1, keepdim=True).sqrt()
            peak = (1 - PEAK * found.sqrt()[:, :, None] / height.clamp(min=TINY)).clamp(min=0)
            strength = (flat * mean).mean(1, keepdim=True) / found.clamp(min=TINY)
            much = (much + (1 - much) * peak) * strength.clamp(0, VARIES)[:, :, None]
        else:
            much = much * (2 - lattice.sqrt() / LOUD).clamp(0, 1)[:, :, None]
        gain = much * (lattice / found.clamp(min=TINY))[:, :, None]
    return (mean.view(b, c, -1, h, w) * gain).view(part.shape)


@torch.no_grad()
def _smooth(x: Tensor) -> Tensor:
    """Means over boxes, twice; one direction after the other is faster."""
    for down, along in ((SMOOTH, 1), (1, SMOOTH)) * 2:
        x = F.avg_pool2d(x, (down, along), 1, (down // 2, along // 2), count_include_pad=False)
    return x


def _mean(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Of `size` places, down and along, around each, as many as there are."""
    down, along = (_near(n, k, x.device) for n, k in zip(x.shape[2:], size, strict=True))
    return (down / down.sum(1, keepdim=True)) @ x @ (along / along.sum(1, keepdim=True)).T


def _count(x: Tensor, size: tuple[int, int]) -> Tensor:
    """How many there are around each, (h, w)."""
    down, along = (_near(n, k, x.device).sum(1) for n, k in zip(x.shape[2:], size, strict=True))
    return down[:, None] * along


def _near(n: int, size: int, device: torch.device) -> Tensor:
    """(n, n): 1 where two of n places are within a window of `size`."""
    k = torch.arange(n, device=device)
    return ((k[:, None] - k).abs() <= size // 2).float()
